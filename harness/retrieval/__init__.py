"""Which files and symbols of a tree a task is about, without any model weights."""

from __future__ import annotations

from harness.retrieval.files import rank_files
from harness.retrieval.symbols import rank_symbols

__all__ = ["rank_files", "rank_symbols"]

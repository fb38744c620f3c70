"""Source trees from literals, for tests that need no git history."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from harness.tree import Tree


def tree_of(files: Mapping[str, str | bytes]) -> Tree:
    """Return a tree with these files; text is stored as UTF-8."""
    data = {path: text if isinstance(text, bytes) else text.encode() for path, text in files.items()}
    return Tree(MappingProxyType({}), _nothing).replace(data)


def _nothing(blob: str) -> bytes:
    raise KeyError(blob)

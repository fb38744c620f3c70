"""Guess files from their paths alone, for the stage that has read nothing yet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from harness.index.names import INIT, ModuleNames
from harness.index.terms import terms
from harness.retrieval.query import Query
from harness.retrieval.signals import bm25

MENTIONED = 2.0
IN_SUBJECT = 1.0
SHARE = 0.5
"""Of the best score; what lies below is noise."""


def match_paths(query: Query, paths: Sequence[str]) -> list[str]:
    """Return the paths that the task points at, best first; empty when it points at none."""
    names = ModuleNames(paths)
    words = [list(terms(path.removesuffix(".py").replace("/", " "))) for path in paths]
    scores = dict(zip(paths, bm25(words, query.terms), strict=True))
    for path in paths:
        pure = PurePosixPath(path)
        stem = (pure.parent.name if pure.name == INIT else pure.stem).strip("_").lower()
        scores[path] += MENTIONED * query.mentions(path, names.name_of(path))
        scores[path] += IN_SUBJECT * (stem in query.subject_words)
    best = max(scores.values(), default=0.0)
    found = [path for path in paths if scores[path] > 0 and scores[path] >= SHARE * best]
    return sorted(found, key=lambda path: (-scores[path], path))

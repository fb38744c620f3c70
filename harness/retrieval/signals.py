"""The single signals that ranking adds up, each a list of numbers in 0..1, one per document.

A signal is a plain function of the query and what the index knows; weights live with the rankers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.index.repo import RepoIndex
from harness.retrieval.query import Query

K1 = 1.5
B = 0.5
"""Milder length normalisation than the usual 0.75: changes go to large files more often than to small ones."""
NAMES_FOR_FULL_SCORE = 2


def bm25(documents: Sequence[Iterable[str]], query: Sequence[str]) -> list[float]:
    """Return the BM25 score of each document, scaled so that the best is 1; zeros without any match."""
    tokens = [list(document) for document in documents]
    known = {token for document in tokens for token in document}
    wanted = [term for term in query if term in known]
    if not wanted:
        return [0.0] * len(tokens)
    from bm25s import BM25  # noqa: PLC0415 - brings numpy, which `--help` must not pay for

    model = BM25(k1=K1, b=B)
    model.index(tokens, show_progress=False)
    return scaled([float(score) for score in model.get_scores(wanted)])


def definitions(query: Query, defined: Sequence[Iterable[str]]) -> list[float]:
    """Score documents by the named identifiers they define; a name that many define counts less."""
    owners: dict[str, set[int]] = {}
    for position, names in enumerate(defined):
        for name in query.names.intersection(names):
            owners.setdefault(name, set()).add(position)
    scores = [0.0] * len(defined)
    for name in sorted(owners):
        for position in owners[name]:
            scores[position] += 1 / len(owners[name]) / NAMES_FOR_FULL_SCORE
    return [min(score, 1.0) for score in scores]


def from_tests(index: RepoIndex, tests: Mapping[str, float], paths: Sequence[str]) -> list[float]:
    """Pass the scores of test files on to the source files they use, shared out among those."""
    scores = dict.fromkeys(paths, 0.0)
    for test, score in tests.items():
        used = index.imports(test)
        for path in used:
            if path in scores:
                scores[path] += score**2 / len(used)
    return scaled(list(scores.values()))


def scaled(scores: Sequence[float]) -> list[float]:
    """Divide by the largest score; unchanged when nothing scored."""
    top = max(scores, default=0.0)
    return [score / top for score in scores] if top > 0 else list(scores)

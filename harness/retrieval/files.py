"""Source files of a tree, best first for a task.

The score is a weighted sum of independent signals: BM25 over contents, over what a file is and
defines (path, symbol names, docstrings), over its path alone; names and files the task mentions
outright; tests that match and what they import; files that import a match; size. Weights were set on
real histories (tests/bench/retrieval.py), three of the four measured repositories in view. Only source files are
candidates, the order is total (score, then path), and nothing outside the given tree is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from harness.index.names import INIT
from harness.index.repo import RepoIndex
from harness.index.syntax import ModuleFacts
from harness.index.terms import terms
from harness.paths import Role, role
from harness.retrieval.query import Query, read_query
from harness.retrieval.signals import bm25, definitions, from_tests, scaled
from harness.stages import Candidate
from harness.tree import Tree

WEIGHTS = {
    "content": 1.0,
    "identity": 0.75,
    "path": 0.5,
    "defines": 1.0,
    "named": 1.0,
    "subject": 0.5,
    "tested by": 0.3,
    "test name": 0.3,
    "used by": 0.2,
    "size": 0.5,
}
PATH_REPEATS = 3
SUMMARY_CHARS = 400
REASONS = 4


def rank_files(
    task: str, keywords: Sequence[str], index: RepoIndex, tree: Tree, *, limit: int
) -> tuple[Candidate, ...]:
    """Return up to `limit` source files, best first; scores lie in 0..1."""
    query = read_query(task, keywords)
    paths = [path for path in index.modules if role(path) is Role.SOURCE]
    if not paths:
        return ()
    signals = _signals(query, paths, index, tree)
    total = sum(WEIGHTS.values())
    candidates = []
    for position, path in enumerate(paths):
        shares = {name: WEIGHTS[name] * values[position] / total for name, values in signals.items()}
        score, reasons = round(sum(shares.values()), 6), _reasons(shares, path, query, index)
        candidates.append(Candidate(path, summarise(index.modules[path]), score, reasons))
    candidates.sort(key=lambda candidate: (-candidate.score, candidate.path))
    return tuple(candidates[:limit])


def summarise(facts: ModuleFacts) -> str:
    """Return the first docstring line and the names of the top-level symbols, whole names only."""
    names = dict.fromkeys(s.qualname for s in facts.symbols if "." not in s.qualname and s.kind != "constant")
    names |= dict.fromkeys(s.qualname for s in facts.symbols if s.kind == "constant")
    text = facts.doc or facts.error or ""
    separator = " | " if text else ""
    for count, name in enumerate(names):
        if len(text) + len(separator) + len(name) > SUMMARY_CHARS:
            return f"{text}, +{len(names) - count} more"
        text = f"{text}{separator}{name}"
        separator = ", "
    return text


def _signals(query: Query, paths: Sequence[str], index: RepoIndex, tree: Tree) -> dict[str, list[float]]:
    tests = [path for path in index.modules if role(path) is Role.TEST]
    counts = {path: index.cache.terms(tree.entries[path].blob, tree.read_blob) for path in (*paths, *tests)}

    def full_text(path: str) -> Iterable[str]:
        return [*counts[path].elements(), *_path_terms(path) * PATH_REPEATS]

    content = bm25([full_text(path) for path in paths], query.terms)
    matching = dict(zip(tests, bm25([full_text(path) for path in tests], query.terms), strict=True))
    by_path = dict(zip(paths, content, strict=True))
    return {
        "content": content,
        "identity": bm25([_identity(path, index) for path in paths], query.terms),
        "path": bm25([_path_terms(path) for path in paths], query.terms),
        "defines": definitions(query, [_defined(index.modules[path]) for path in paths]),
        "named": [float(query.mentions(path, index.module_name(path))) for path in paths],
        "subject": [float(_stem(path) in query.subject_words) for path in paths],
        "tested by": from_tests(index, matching, paths),
        "test name": [_own_test_score(path, matching) for path in paths],
        "used by": [max((by_path.get(user, 0.0) for user in index.importers(path)), default=0.0) for path in paths],
        "size": scaled([math.log1p(counts[path].total()) for path in paths]),
    }


def _path_terms(path: str) -> list[str]:
    return list(terms(path.removesuffix(".py").replace("/", " ")))


def _identity(path: str, index: RepoIndex) -> list[str]:
    facts = index.modules[path]
    described = "\n".join([facts.doc, *(f"{s.qualname.rpartition('.')[2]} {s.doc}" for s in facts.symbols)])
    return [*_path_terms(path) * 2, *terms(described)]


def _defined(facts: ModuleFacts) -> set[str]:
    return {symbol.qualname.rpartition(".")[2] for symbol in facts.symbols}


def _stem(path: str) -> str:
    pure = PurePosixPath(path)
    return (pure.parent.name if pure.name == INIT else pure.stem).strip("_").lower()


def _own_test_score(path: str, matching: dict[str, float]) -> float:
    stem = _stem(path)
    own = (score for test, score in matching.items() if _stem(test).removeprefix("test_").removesuffix("_test") == stem)
    return max(own, default=0.0)


def _reasons(shares: dict[str, float], path: str, query: Query, index: RepoIndex) -> tuple[str, ...]:
    """Say what put a file here, the largest contribution first."""
    top = sorted((name for name, share in shares.items() if share > 0), key=lambda name: (-shares[name], name))
    details = {
        "defines": ", ".join(sorted(query.names & _defined(index.modules[path]))),
        "named": "in the task",
        "subject": _stem(path),
    }
    return tuple(f"{name} {details.get(name) or format(shares[name], '.3f')}" for name in top[:REASONS])

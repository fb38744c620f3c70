"""Measure lexical retrieval against what real commits changed.

For each of the last commits that change both sources and tests, the parent tree is indexed, its
source files are ranked for the commit message, and the ranking is compared with the source files the
commit changed (those that existed before). Then the symbols of the changed files are ranked and
compared with the symbols whose lines changed.

    python tests/bench/retrieval.py /path/to/repo.git --count 100
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.git import GitRepo, run_git
from harness.index.facts import FactsCache
from harness.index.repo import RepoIndex
from harness.index.terms import count_terms, terms
from harness.paths import Role, role
from harness.retrieval import rank_files, rank_symbols
from harness.retrieval.signals import bm25
from harness.tree import Tree

FILE_CUTS = (1, 5, 10)
SYMBOL_CUTS = (5, 10, 20)


@dataclass(frozen=True)
class Case:
    """One commit as a retrieval question."""

    sha: str
    parent: str
    sources: tuple[str, ...]


def cases(git_dir: Path, count: int) -> Iterator[Case]:
    """Yield the newest commits that change both sources and tests, merges left out."""
    log = run_git(["--git-dir", str(git_dir), "log", "--no-merges", "--format=%x00%H %P", "--name-only", "HEAD"])
    found = 0
    for record in log.decode("utf-8", "surrogateescape").split("\0")[1:]:
        head, *names = [line for line in record.splitlines() if line]
        roles = {name: role(name) for name in names if name.endswith(".py")}
        sources = tuple(name for name, kind in roles.items() if kind is Role.SOURCE)
        ids = head.split()
        if len(ids) == 2 and sources and Role.TEST in roles.values():
            yield Case(ids[0], ids[1], sources)
            found += 1
            if found == count:
                return


def changed_symbols(git_dir: Path, case: Case, path: str, index: RepoIndex) -> set[tuple[str, str]]:
    """Return the innermost symbols of the parent whose lines a commit changed; "" for module level."""
    diff = run_git(["--git-dir", str(git_dir), "diff", "-U0", case.parent, case.sha, "--", path])
    found: set[tuple[str, str]] = set()
    for line in diff.decode("utf-8", "replace").splitlines():
        if line.startswith("@@ "):
            start, _, length = line.split()[1][1:].partition(",")
            first, last = int(start), int(start) + max(int(length or 1), 1) - 1
            for number in range(first, last + 1):
                holders = [s for s in index.modules[path].symbols if s.start <= number <= s.end]
                inner = min(holders, key=lambda s: s.end - s.start, default=None)
                found.add((path, inner.qualname if inner else ""))
    return found


def recall(ranked: Sequence[object], wanted: set[object], cut: int) -> float:
    """Return the share of `wanted` among the first `cut`."""
    return len(wanted.intersection(ranked[:cut])) / len(wanted)


def baseline(task: str, index: RepoIndex, tree: Tree) -> list[str]:
    """Rank by BM25 over path and content alone, the whole message as the query."""
    paths = [path for path in index.modules if role(path) is Role.SOURCE]
    documents = []
    for path in paths:
        words: Counter[str] = index.cache.terms(tree.entries[path].blob, tree.read_blob) + count_terms(path)
        documents.append(list(words.elements()))
    scores = dict(zip(paths, bm25(documents, list(terms(task))), strict=True))
    return sorted(paths, key=lambda path: (-scores[path], path))


def main() -> None:
    """Print the table for one repository."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("git_dir", type=Path)
    parser.add_argument("--count", type=int, default=100)
    options = parser.parse_args()
    rows: dict[str, list[list[float]]] = {"files, baseline": [], "files": [], "ceiling": [], "symbols": []}
    seconds: list[float] = []
    cache = FactsCache()
    with GitRepo(options.git_dir) as repo:
        for case in cases(options.git_dir, options.count):
            tree = repo.tree(case.parent)
            task = repo.commit_body(case.sha)
            started = time.perf_counter()
            index = RepoIndex.build(tree, cache)
            ranked = [item.path for item in rank_files(task, (), index, tree, limit=1_000)]
            seconds.append(time.perf_counter() - started)
            wanted: set[object] = {path for path in case.sources if path in index.modules}
            if not wanted:
                continue
            rows["files"].append([recall(ranked, wanted, cut) for cut in FILE_CUTS])
            rows["files, baseline"].append([recall(baseline(task, index, tree), wanted, cut) for cut in FILE_CUTS])
            rows["ceiling"].append([min(cut / len(wanted), 1) for cut in FILE_CUTS])
            touched: set[object] = set()
            for path in sorted(map(str, wanted)):
                touched |= changed_symbols(options.git_dir, case, path, index)
            cards = [
                (card.path, card.symbol)
                for card in rank_symbols(task, (), index, [path for path in ranked if path in wanted])
            ]
            if touched:
                rows["symbols"].append([recall(cards, touched, cut) for cut in SYMBOL_CUTS])
    lines = [f"{len(rows['files'])} commits of {options.git_dir}"]
    for name, values in rows.items():
        cuts = SYMBOL_CUTS if name == "symbols" else FILE_CUTS
        cells = [f"@{cut} {statistics.fmean(row[at] for row in values):.3f}" for at, cut in enumerate(cuts) if values]
        lines.append(f"recall, {name:16s} {'  '.join(cells)}")
    lines.append(f"index + rank: median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

"""One commit as a task: the tree before it, the true solution, and the trees that are graded.

The model's side gets `parent` alone. `gold` exists for the gate, the gold answerer and the tests
of the grading tree. Invariant: a graded tree is the parent, plus edits to source files, plus tests
and configuration exactly as the gold commit has them.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from functools import cached_property

from harness.git import GitRepo
from harness.gold.truth import GoldTruth, derive
from harness.index.facts import FactsCache
from harness.manifest import Commit
from harness.paths import Role, is_from_gold, role
from harness.tree import Tree, changed_paths

GRADED_ROLES = {Role.SOURCE, Role.OTHER, Role.TEST, Role.PROTECTED}


@dataclass(frozen=True)
class Case:
    """A commit with both of its trees."""

    commit: Commit
    parent: Tree
    gold: Tree
    facts: FactsCache = field(default_factory=FactsCache, repr=False)

    @cached_property
    def truth(self) -> GoldTruth:
        """What the right answers of all stages are; derived when first asked for."""
        return derive(self.parent, self.gold, self.facts)

    @cached_property
    def changed(self) -> tuple[str, ...]:
        """Paths that the commit changed."""
        return changed_paths(self.parent, self.gold)

    @cached_property
    def changed_source(self) -> tuple[str, ...]:
        """Changed paths that a solution has to change itself."""
        return tuple(path for path in self.changed if role(path) in {Role.SOURCE, Role.OTHER})

    @cached_property
    def gold_graded(self) -> Tree:
        """The tree that the true solution is graded in: docs and CI stay as the parent has them."""
        return self.parent.overlay(self.gold, lambda path: role(path) in GRADED_ROLES)

    @cached_property
    def parent_graded(self) -> Tree:
        """The tree of doing nothing: the parent with the gold tests."""
        return self.graded(self.parent)

    def graded(self, candidate: Tree) -> Tree:
        """Return the tree that a candidate is graded in."""
        return candidate.overlay(self.gold, is_from_gold)

    def added_source_lines(self) -> list[str]:
        """Return the lines that only the solution has."""
        added: list[str] = []
        for path in self.changed_source:
            old = set(_lines(self.parent, path))
            added += [line for line in _lines(self.gold, path) if line not in old]
        return added


def load_case(repo: GitRepo, commit: Commit, facts: FactsCache) -> Case:
    """Read both trees of a commit; GitFailed when the repository lacks them."""
    return Case(commit, repo.tree(commit.parent), repo.tree(commit.sha), facts)


def patch(old: Tree, new: Tree) -> str:
    """Return a unified diff between two trees; files that are not text are named only."""
    chunks: list[str] = []
    for path in changed_paths(old, new):
        try:
            before = old.text(path) if path in old else ""
            after = new.text(path) if path in new else ""
        except UnicodeDecodeError:
            chunks.append(f"Binary files a/{path} and b/{path} differ\n")
            continue
        names = (f"a/{path}" if path in old else "/dev/null", f"b/{path}" if path in new else "/dev/null")
        lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), *names)  # noqa: FBT003
        chunks += [line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines]
    return "".join(chunks)


def _lines(tree: Tree, path: str) -> list[str]:
    try:
        return tree.text(path).splitlines() if path in tree else []
    except UnicodeDecodeError:
        return []

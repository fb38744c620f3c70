"""One commit as a task: the tree before it, the true solution, and the trees that are graded.

The model's side gets `parent` alone. `gold` exists for the gate, the gold answerer and the tests
of the grading tree. Invariant: a graded tree is the parent, plus edits to source files, plus tests
and configuration exactly as the gold commit has them.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from harness.edits import join_lines, split_lines
from harness.git import GitRepo
from harness.gold.truth import GoldTruth, derive
from harness.index.facts import FactsCache
from harness.manifest import Commit
from harness.paths import Role, is_from_gold, role
from harness.tree import FILE_MODE, SYMLINK_MODE, Tree, changed_paths

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

    @cached_property
    def inexpressible(self) -> tuple[str, ...]:
        """Changed source and data files that the answers of the true solution cannot bring about.

        Binary and non-UTF-8 content, links, modes, and a final newline of a data file. Where this is
        empty, the gold answers lead to `gold_graded`, but for final newlines of Python files.
        """
        return tuple(path for path in self.changed_source if not self._is_expressible(path))

    def _is_expressible(self, path: str) -> bool:
        change, before, after = (self.truth.changes.get(path), *(t.entries.get(path) for t in (self.parent, self.gold)))
        if after is None:
            return change is not None
        if after.mode != (before.mode if before else FILE_MODE) or after.mode == SYMLINK_MODE:
            return False
        if before is None and change is None:
            return False
        old = self.parent.read(path) if before else b"\n"
        if change is None or change.after is None:
            made = old
        else:  # an edit keeps the end of the file as it is; a new file gets a final newline
            made = join_lines(split_lines(change.after)[0], final_newline=not old or old.endswith(b"\n")).encode()
        wanted = self.gold.read(path)
        if role(path) is Role.SOURCE:  # the end of a module means nothing to Python
            return made.removesuffix(b"\n") == wanted.removesuffix(b"\n")
        return made == wanted

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
        lines = difflib.unified_diff(_ended_lines(before), _ended_lines(after), *names)
        chunks += [line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines]
    return "".join(chunks)


def path_conflict(tree: Tree) -> str | None:
    """Return a path that is a file in this tree and a folder as well, or None; such a tree cannot be written out."""
    folders = (str(folder) for path in sorted(tree) for folder in PurePosixPath(path).parents)
    return next((folder for folder in folders if folder in tree), None)


def _ended_lines(text: str) -> list[str]:
    """Return the lines with their ends, as git sees them: only a line feed ends one."""
    *lines, last = text.split("\n")
    return [*(f"{line}\n" for line in lines), *([last] if last else [])]


def _lines(tree: Tree, path: str) -> list[str]:
    try:
        return tree.text(path).splitlines() if path in tree else []
    except UnicodeDecodeError:
        return []

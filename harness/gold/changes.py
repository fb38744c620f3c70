"""The files a commit changes, as far as steps can express them.

Not expressible, and so left out here: binary and non-UTF-8 files, symbolic links, file modes, and a
final newline that comes or goes. Where the grading of a commit can depend on them, `Case.inexpressible` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.edits import split_lines
from harness.paths import Role, role
from harness.tree import SYMLINK_MODE, Tree, changed_paths


@dataclass(frozen=True)
class FileChange:
    """One file before and after; None where it does not exist."""

    path: str
    before: str | None
    after: str | None

    @property
    def action(self) -> str:
        """What a step does to the file: create, delete or modify."""
        if self.before is None:
            return "create"
        return "delete" if self.after is None else "modify"


def changed_files(parent: Tree, gold: Tree, wanted: Callable[[str], bool]) -> tuple[FileChange, ...]:
    """Return the changes of the files that `wanted` names, by path."""
    found: list[FileChange] = []
    for path in changed_paths(parent, gold):
        if not wanted(path) or _is_link(parent, path) or _is_link(gold, path):
            continue
        try:
            path.encode()
            before, after = _text(parent, path), _text(gold, path)
        except UnicodeError:
            continue
        if before is None or after is None or split_lines(before)[0] != split_lines(after)[0]:
            found.append(FileChange(path, before, after))
    return tuple(found)


def is_planned(path: str) -> bool:
    """Return whether steps of a plan cover this file: sources and what lies beside them."""
    return role(path) in {Role.SOURCE, Role.OTHER}


def in_package(tree: Tree, path: str) -> bool:
    """Return whether a file is a source, or data in or below a folder of sources."""
    if role(path) is Role.SOURCE:
        return True
    folders = {str(folder) for folder in PurePosixPath(path).parents} - {"."}
    return role(path) is Role.OTHER and any(f"{folder}/__init__.py" in tree for folder in folders)


def _is_link(tree: Tree, path: str) -> bool:
    return path in tree and tree.entries[path].mode == SYMLINK_MODE


def _text(tree: Tree, path: str) -> str | None:
    return tree.text(path) if path in tree else None

"""Modules of a candidate that would stand before what the tests rely on.

The project's import roots come first on the path, as in any editable install, so a new top-level
`pytest.py` would be pytest. A candidate may not add such a module; the project's own modules of
such names, which the gold commit has, too, are the project's business.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

SITE_HOOKS = frozenset({"sitecustomize", "usercustomize"})


def shadowing(
    candidate: Iterable[str], own: Iterable[str], roots: Iterable[str], taken: frozenset[str]
) -> str | None:  # fmt: skip
    """Return the first path of the candidate that takes somebody else's import name, or None.

    `own` are the paths of the project itself, before the candidate's edits.
    """
    known = set(own)
    for root in roots:
        theirs = taken - {_import_name(path, root) for path in known}
        for path in sorted(set(candidate) - known):
            if _import_name(path, root) in theirs:
                return path
    return None


def taken_names(site_packages: Iterable[Path]) -> frozenset[str]:
    """Return the import names of the standard library, of the site hooks and of installed packages."""
    installed = {entry.name.partition(".")[0] for folder in site_packages for entry in folder.iterdir()}
    return frozenset(sys.stdlib_module_names | SITE_HOOKS | installed)


def _import_name(path: str, root: str) -> str:
    """Return the top-level name that a file gives to an import root, "" when it gives none."""
    pure = PurePosixPath(path)
    if root != "." and not pure.is_relative_to(root):
        return ""
    relative = pure if root == "." else pure.relative_to(root)
    return relative.parts[0].partition(".")[0] if relative.suffix in {".py", ".pyc", ".so", ".pyd"} else ""

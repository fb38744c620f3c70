"""Modules of a candidate that would stand before what the tests rely on.

The project's import roots come first on the path, as in any editable install, so a new top-level
`pytest.py` would be pytest. A candidate may not add such a module, by an edit or by its build; the
project's own modules of such names, which the gold commit has, too, are the project's business.
"""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from harness.constructs import constructs
from harness.envs.layer import Layer
from harness.pytestconfig import configured
from harness.redflags import is_hard
from harness.tree import Tree

SITE_HOOKS = frozenset({"sitecustomize", "usercustomize"})


def shadowing(
    candidate: Iterable[str], own: Iterable[str], roots: Iterable[str], taken: frozenset[str]
) -> str | None:  # fmt: skip
    """Return the first path of the candidate that takes somebody else's import name, or None.

    `own` are the paths of the project itself, before the candidate's edits.
    """
    known = set(own)
    fresh = sorted(set(candidate) - known)
    for root in roots:
        for path in fresh:
            name = _import_name(path, root)
            if name in taken and name not in {_import_name(old, root) for old in known}:
                return path
    return None


def forged_layer(layer: Layer, gold: Layer) -> str | None:
    """Return what the build of a candidate brings that decides how tests run, or None.

    A build runs the candidate's code, so its answer is the candidate's word: metadata and nothing else, no
    plugins, import roots or files beyond those of the true solution's build. A file that only this build makes
    is source that nobody looked at, and one that both make may hold nothing that an edit may not.
    """
    strange = [path for path in sorted(layer.files) if not path.partition("/")[0].endswith(".dist-info")]
    strange += sorted(set(layer.generated) - set(gold.generated))
    strange += [word for path in sorted({*layer.generated} & {*gold.generated}) for word in _flags(path, layer, gold)]
    strange += [f"the plugin {name}" for name in layer.pytest_plugins if name not in gold.pytest_plugins]
    strange += [f"the import root {root}" for root in layer.roots if root not in {*gold.roots, ".", "src"}]
    return f"{strange[0]}, which its build brings," if strange else None


def _flags(path: str, layer: Layer, gold: Layer) -> list[str]:
    """Return the hard red flags of a generated source that the true solution's build does not have there."""
    mine, theirs = (constructs(part.generated[path]) if path.endswith(".py") else () for part in (layer, gold))
    if mine is None:
        return [] if theirs is None else [f"{path}, which does not parse and"]
    known = {construct.name for construct in theirs or ()}
    return [f"{found.name} in {path}" for found in mine if is_hard(found) and found.name not in known]


def import_roots(tree: Tree, roots: Iterable[str], tests: Iterable[str]) -> tuple[str, ...]:
    """Return every folder that may come to be on the import path of a run, relative to the tree.

    The layer's roots, the tree itself, the folders that pytest adds for test modules and those that the
    project's configuration adds.
    """
    folders = [str(parent) for path in tests for parent in PurePosixPath(path).parents]
    added = [posixpath.normpath(word) for word in configured(tree, "pythonpath")]
    return tuple(dict.fromkeys([*roots, ".", *folders, *added]))


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

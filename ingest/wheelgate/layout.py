"""Where the members of a wheel end up in an environment.

Paths are relative to the environment; the folder of modules is written `site-packages/` whatever
its real name. Pure: from member names to paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

SITE = "site-packages/"
_SCHEMES = {"purelib": SITE, "platlib": SITE, "scripts": "bin/", "headers": "include/", "data": ""}
MODULE_ENDINGS = (".py", ".pyc", ".so", ".pyd")


def installed_path(member: str) -> str | None:
    """Return where a file goes; None when it lies in a .data folder outside of the schemes that there are."""
    top, _, rest = member.partition("/")
    if not top.casefold().endswith(".data"):
        return SITE + member
    scheme, _, inner = rest.partition("/")
    return _SCHEMES[scheme] + inner if scheme in _SCHEMES and inner else None


def layout(members: Iterable[str]) -> dict[str, str]:
    """Return member to path for every file that has one."""
    return {member: path for member in members if (path := installed_path(member)) is not None}


def top_levels(paths: Iterable[str]) -> set[str]:
    """Return the names directly in the folder of modules."""
    return {path.removeprefix(SITE).partition("/")[0] for path in paths if path.startswith(SITE)}


def module_of(path: str) -> str | None:
    """Return the import name that a path provides, e.g. `a.b` for a/b/__init__.py; None when it provides none."""
    if not path.startswith(SITE) or not path.endswith(MODULE_ENDINGS):
        return None
    *folders, name = path.removeprefix(SITE).split("/")
    if folders[-1:] == ["__pycache__"]:
        folders.pop()
    stem = name.partition(".")[0]
    return ".".join([*folders, stem] if stem != "__init__" else folders)


def owned_names(paths: Iterable[str]) -> Mapping[str, str]:
    """Return the top-level import names that paths take hold of, each with one of its paths.

    Any file in a package's folder counts but type stubs; a file beside the packages counts as a module.
    """
    found: dict[str, str] = {}
    for path in paths:
        if not path.startswith(SITE):
            continue
        top, _, rest = path.removeprefix(SITE).partition("/")
        if rest and not rest.endswith((".pyi", "py.typed")):
            found.setdefault(top, path)
        elif not rest and top.endswith(MODULE_ENDINGS):
            found.setdefault(top.partition(".")[0], path)
    return found

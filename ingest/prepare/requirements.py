"""What a commit needs for its tests, chosen from everything its tree declares.

The narrowest group that is enough wins: tests before dev. `pool` keeps every other requirement that
the project declares anywhere, so that an import which the chosen group does not cover can be traced
to a declaration instead of being guessed from a package index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from harness.tree import Tree
from ingest.prepare.legacy import read_nox, read_requirements, read_setup_cfg, read_setup_py, read_tox
from ingest.prepare.pyproject import Groups, parse_toml, project_name, read_pyproject

TEST_NAMES = ("tests", "test", "testing", "pytest", "unittest", "unit", "unit-tests", "test-suite")
DEV_NAMES = ("dev", "develop", "development", "devel", "default", "all", "ci")
_TOOL_NAMES = """
    black isort flake8 ruff mypy pyright pylint pyflakes pycodestyle bandit interrogate tox tox-uv nox pre-commit prek
    twine bumpversion bump2version bumpver wheel watchdog watchfiles furo mkdocs mkdocs-material towncrier zest-releaser
    check-manifest pyroma cogapp myst-parser readme-renderer pyperf asv codespell pip-tools build uv ipython ipdb
"""
TOOLS = frozenset(_TOOL_NAMES.split())
"""Tools that no test needs: left out of every group not named for tests, back through the pool if imported."""
DECLARING_FILES = ("pyproject.toml", "setup.py", "setup.cfg", "tox.ini", "noxfile.py")
DEFAULT_BUILD = ("setuptools", "wheel")
_SELF = re.compile(r"^\.(?:\[([^\]]*)\])?$")


@dataclass(frozen=True)
class Declared:
    """Everything that one tree declares about its dependencies."""

    project: str
    """Canonical name of the project, "" when nothing readable names it."""
    backend: str
    """Build backend, e.g. `hatchling.build`."""
    groups: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Requirements:
    """What the environment of a commit is asked for."""

    project: str
    wanted: tuple[str, ...]
    """Sorted PEP 508 requirements: base, tests, build backend, pytest."""
    pool: tuple[str, ...]
    """What the project declares besides, sorted."""
    dropped: tuple[str, ...]
    """Lines that cannot come from an index: URLs, paths, version control, unreadable ones."""
    groups: tuple[str, ...]
    """Which groups were chosen, e.g. `group:tests`."""


def declaring_paths(tree: Tree) -> tuple[str, ...]:
    """Return the files of a tree that may declare dependencies."""
    return tuple(sorted(path for path in tree if path in DECLARING_FILES or _is_requirements_file(path)))


def read_declared(tree: Tree) -> Declared:
    """Read every declaration of a tree, without executing any of it."""
    texts = {path: tree.read(path).decode("utf-8", "replace") for path in declaring_paths(tree)}
    doc = parse_toml(texts.get("pyproject.toml", ""))
    from_py, setup_py = read_setup_py(texts.get("setup.py", ""))
    from_cfg, setup_cfg = read_setup_cfg(texts.get("setup.cfg", ""))
    tox = doc.get("tool", {}).get("tox", {})
    tox_text = texts.get("tox.ini", "") or str(tox.get("legacy_tox_ini", "") if isinstance(tox, dict) else "")
    merged: Groups = {}
    for groups in (
        read_pyproject(doc), setup_cfg, setup_py, read_tox(tox_text), read_nox(texts.get("noxfile.py", "")),
        *(read_requirements(path, text) for path, text in texts.items() if path not in DECLARING_FILES),
    ):  # fmt: skip
        for key, lines in groups.items():
            merged.setdefault(key, []).extend(lines)
    backend = str(doc.get("build-system", {}).get("build-backend", "setuptools.build_meta"))
    merged.setdefault("build", []).extend(_build_extras(backend, has_table="build-system" in doc))
    name = project_name(doc) or from_cfg or from_py
    return Declared(name, backend, {key: tuple(lines) for key, lines in merged.items()})


def choose(declared: Declared, extra: Iterable[str] = ()) -> Requirements:
    """Choose the narrowest sufficient groups; `extra` is what the operator asked for besides."""
    chosen: list[str] = []
    lines: list[str] = []
    for key in _preferred(declared.groups):
        flat = _flatten(declared, key)
        lines += [line for line in flat if _is_for_tests(key) or not _is_tool(line)]
        chosen.append(key)
        if any(_name(line) == "pytest" for line in flat):
            break
    wanted = [*_flatten(declared, "base"), *_flatten(declared, "build"), *lines, *extra]
    kept, dropped = _from_index(wanted, declared.project)
    if not any(_name(line) == "pytest" for line in kept):
        kept.add("pytest")
    pool, _ = _from_index((line for key in declared.groups for line in _flatten(declared, key)), declared.project)
    names = {_name(line) for line in kept}
    return Requirements(
        project=declared.project,
        wanted=tuple(sorted(kept)),
        pool=tuple(sorted(line for line in pool if _name(line) not in names)),
        dropped=tuple(sorted(dropped)),
        groups=tuple(chosen),
    )


def distribution_name(line: str) -> str:
    """Return the canonical distribution name of a requirement line, "" when it has none."""
    return _name(line)


def _preferred(groups: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the keys of groups that may hold test dependencies, narrowest first."""
    order = [f"{prefix}:{name}" for name in TEST_NAMES for prefix in ("group", "extra")]
    order += ["tests_require", *(f"hatch:{name}" for name in (*TEST_NAMES, "hatch-test")), "tox"]
    order += sorted(key for key in groups if key.startswith("file:") and "test" in PurePosixPath(key[5:]).as_posix())
    order += ["nox", *(f"{prefix}:{name}" for name in DEV_NAMES for prefix in ("group", "extra", "hatch"))]
    order += sorted(key for key in groups if key.startswith("file:") and "dev" in key)
    order += sorted(key for key in groups if key.startswith("file:") and "test" not in key and "dev" not in key)
    return [key for key in order if key in groups]


def _flatten(declared: Declared, key: str, seen: frozenset[str] = frozenset()) -> list[str]:
    """Return the lines of a group with references and extras of the project itself resolved."""
    if key in seen:
        return []
    lines: list[str] = []
    for line in declared.groups.get(key, ()):
        for part in _references(line, declared.project):
            if part.startswith("@"):
                lines += _flatten(declared, part[1:], seen | {key})
            else:
                lines.append(part)
    return lines


def _references(line: str, project: str) -> list[str]:
    """Return `@extra:x` for each extra of a requirement on the project itself, else the line."""
    here = _SELF.match(line.strip())
    if here:
        return [f"@extra:{canonicalize_name(name.strip())}" for name in (here[1] or "").split(",") if name.strip()]
    requirement = _parse(line)
    if requirement is not None and project and canonicalize_name(requirement.name) == project:
        return [f"@extra:{canonicalize_name(extra)}" for extra in sorted(requirement.extras)]
    return [line]


def _from_index(lines: Iterable[str], project: str) -> tuple[set[str], set[str]]:
    """Split lines into requirements that an index can serve and lines that are dropped."""
    kept: set[str] = set()
    dropped: set[str] = set()
    for line in lines:
        requirement = _parse(line)
        if requirement is None or requirement.url:
            dropped.add(line[:200])
        elif canonicalize_name(requirement.name) != project:
            requirement.name = str(canonicalize_name(requirement.name))
            kept.add(str(requirement))
    return kept, dropped


def _build_extras(backend: str, *, has_table: bool) -> tuple[str, ...]:
    """Return what backends ask for only while they run (PEP 517 `get_requires_for_*`)."""
    if backend.startswith("hatchling"):
        return ("editables",)
    return DEFAULT_BUILD if backend.startswith("setuptools") or not has_table else ()


def _is_for_tests(key: str) -> bool:
    return key.partition(":")[2] in TEST_NAMES


def _is_tool(line: str) -> bool:
    name = _name(line)
    return name in TOOLS or name.startswith(("sphinx", "flake8-", "mkdocs-"))


def _name(line: str) -> str:
    requirement = _parse(line)
    return "" if requirement is None else str(canonicalize_name(requirement.name))


def _parse(line: str) -> Requirement | None:
    try:
        return Requirement(line.strip())
    except InvalidRequirement:
        return None


def _is_requirements_file(path: str) -> bool:
    pure = PurePosixPath(path)
    folder = pure.parent.as_posix()
    if pure.suffix not in {".txt", ".in"} or "/" in folder:
        return False
    return "requirements" in pure.name or folder in {"requirements", "reqs"}

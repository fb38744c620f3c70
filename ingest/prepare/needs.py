"""Which commits need what: requirements, era, imports and build variables, grouped.

Commits that ask for the same requirements in the same era are one `Need` and will share one
environment. Declarations and test files are read from the commit's own tree and cached by blob id,
because neighbours in a history share almost all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from packaging.version import InvalidVersion, Version

from harness.git import GitRepo
from harness.manifest import Commit
from harness.tree import Tree
from ingest.prepare.clone import nearest_tag
from ingest.prepare.imports import FileImports, guarded_source_imports, suite_imports
from ingest.prepare.locks import Era, applicable, era
from ingest.prepare.requirements import Declared, choose, declaring_paths, distribution_name, read_declared

VERSION_VARIABLES: Mapping[str, str] = {
    "setuptools-scm": "SETUPTOOLS_SCM_PRETEND_VERSION",
    "hatch-vcs": "SETUPTOOLS_SCM_PRETEND_VERSION",
    "flit-scm": "SETUPTOOLS_SCM_PRETEND_VERSION",
    "vcs-versioning": "SETUPTOOLS_SCM_PRETEND_VERSION",
    "pdm-backend": "PDM_BUILD_SCM_VERSION",
    "pdm-pep517": "PDM_BUILD_SCM_VERSION",
    "pbr": "PBR_VERSION",
    "poetry-dynamic-versioning": "POETRY_DYNAMIC_VERSIONING_BYPASS",
}
"""Build requirement that asks git for the version, to the variable that answers in git's place."""
NO_VERSION = "0.0.0"


@dataclass(frozen=True)
class Need:
    """What one environment has to provide, and for whom."""

    wanted: tuple[str, ...]
    era: Era
    shas: tuple[str, ...]
    """The commits, newest first."""
    pool: tuple[str, ...]
    """Requirements that the project declares besides, newest declaration first."""
    conditional: tuple[str, ...]
    """Names that the project declares for other Pythons only; old tests import some of them anyway."""
    imports: Mapping[str, bool]
    """Modules that the tests import; True where optional."""
    guarded: tuple[str, ...]
    """Modules that the project's own code imports only if they are there."""
    env: Mapping[str, str]
    dropped: tuple[str, ...]


@dataclass
class _Gathering:
    """A need while its commits are still being collected."""

    era: Era
    env: dict[str, str]
    shas: list[str] = field(default_factory=list)
    pool: dict[str, str] = field(default_factory=dict)
    conditional: set[str] = field(default_factory=set)
    imports: dict[str, bool] = field(default_factory=dict)
    guarded: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)


def gather(
    repo: GitRepo, commits: Iterable[Commit], *, python: str, extra: tuple[str, ...], now: datetime,
    progress: Callable[[str], None],
) -> tuple[Need, ...]:  # fmt: skip
    """Read what every commit needs and group the answers; the newest commit of a group sets its era."""
    declared_by: dict[tuple[tuple[str, str], ...], Declared] = {}
    files: dict[str, FileImports] = {}
    found: dict[tuple[tuple[str, ...], str], _Gathering] = {}
    for count, commit in enumerate(sorted(commits, key=lambda one: one.committed_at, reverse=True), start=1):
        tree = repo.tree(commit.sha)
        declared = _declared(tree, declared_by)
        requirements = choose(declared, extra)
        wanted = applicable(requirements.wanted, python)
        when = era(commit.committed_at, python, now)
        key = (wanted, when.bucket)
        if key not in found:
            found[key] = _Gathering(when, version_variables(repo.path, commit.sha, declared))
        need = found[key]
        need.shas.append(commit.sha)
        need.dropped |= set(requirements.dropped)
        for line in applicable(requirements.pool, python):
            need.pool.setdefault(distribution_name(line), line)
        need.conditional |= {distribution_name(line) for line in (*requirements.wanted, *requirements.pool)}
        for module, optional in suite_imports(tree, files).items():
            need.imports[module] = optional and need.imports.get(module, True)
        need.guarded |= guarded_source_imports(tree, files)
        if count % 100 == 0:
            progress(f"read the requirements of {count} commits")
    return tuple(
        Need(wanted, need.era, tuple(need.shas), tuple(need.pool.values()), tuple(sorted(need.conditional)),
             dict(sorted(need.imports.items())), tuple(sorted(need.guarded)), need.env, tuple(sorted(need.dropped)))
        for (wanted, _), need in found.items()
    )  # fmt: skip


def version_variables(repo: Path, sha: str, declared: Declared) -> dict[str, str]:
    """Return the variables that tell a build its version when it would ask git, from the nearest tag."""
    names = {distribution_name(line) for line in declared.groups.get("build", ())}
    variables = {VERSION_VARIABLES[name] for name in names if name in VERSION_VARIABLES}
    if not variables:
        return {}
    version = _version_of(nearest_tag(repo, sha) or "")
    return dict.fromkeys(sorted(variables), version)


def _version_of(tag: str) -> str:
    number = re.search(r"\d+(?:[._]\d+)*(?:[._-]?(?:a|b|rc|post|dev)\d*)?", tag)
    try:
        return str(Version(number[0].replace("_", "."))) if number else NO_VERSION
    except InvalidVersion:
        return NO_VERSION


def _declared(tree: Tree, known: dict[tuple[tuple[str, str], ...], Declared]) -> Declared:
    key = tuple((path, tree.entries[path].blob) for path in declaring_paths(tree))
    if key not in known:
        known[key] = read_declared(tree)
    return known[key]

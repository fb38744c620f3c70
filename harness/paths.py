"""What a path of a repository is for: source, test, protected configuration, docs, CI.

One pure function decides, and everything else (commit filter, grading tree, edit checks) asks it.
A path has exactly one role. `PROTECTED` are the files whose content decides how tests run; the
grading tree always takes them, and the tests, from the gold commit (seed 004, 6.9; harness
reference, requirement 4).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePosixPath


class Role(StrEnum):
    """What a path is for."""

    SOURCE = "source"
    TEST = "test"
    PROTECTED = "protected"
    DOCS = "docs"
    CI = "ci"
    OTHER = "other"


TEST_DIRS = {"test", "tests", "testing"}
TEST_MODULE = "tests.py"
"""A whole test suite as one module; `test.py` is as often a part of the program."""
PROTECTED_NAMES = {
    "pyproject.toml", "setup.py", "setup.cfg", "tox.ini", "pytest.ini", ".pytest.ini", "pytest.toml",
    ".pytest.toml", "conftest.py", "sitecustomize.py", "usercustomize.py", "MANIFEST.in", "meson.build",
    "CMakeLists.txt", ".coveragerc", "hatch.toml", "uv.lock", "poetry.lock", "pdm.lock", "Pipfile", "Pipfile.lock",
    ".env", "pyvenv.cfg", "pip.conf",
}  # fmt: skip
PROTECTED_SUFFIXES = (".pth", ".egg-link", ".pyc", ".pyo", ".so", ".pyd", ".dylib", ".dll")
"""What an interpreter takes for code or for its path without being source."""
PROTECTED_AT_TOP = {"noxfile.py", "hatch_build.py", "pdm_build.py", "_custom_build.py", "build.py"}
"""Build scripts at the top of a project; deeper down they are modules like any other."""
DOC_DIRS = {"doc", "docs", "changelog", "changelog.d", "changes", "news", "newsfragments", "examples", "example"}
DOC_SUFFIXES = {".md", ".rst", ".adoc", ".ipynb"}
DOC_NAMES = {"LICENSE", "LICENCE", "COPYING", "AUTHORS", "CHANGELOG", "CHANGES", "NOTICE", "CITATION.cff"}
CI_NAMES = {
    ".gitignore", ".gitattributes", ".pre-commit-config.yaml", ".readthedocs.yaml", ".readthedocs.yml",
    ".editorconfig", ".travis.yml", "appveyor.yml", "azure-pipelines.yml", "codecov.yml", ".git-blame-ignore-revs",
    "Makefile", "Justfile", "justfile", "Dockerfile", ".dockerignore", "zizmor.yml",
}  # fmt: skip


def role(path: str) -> Role:
    """Return what `path` (relative, POSIX) is for."""
    pure = PurePosixPath(path)
    folders = set(pure.parts[:-1])
    name = pure.name
    if _is_protected(path, name):
        return Role.PROTECTED
    if any(part.startswith(".") for part in pure.parts[:-1]) or name in CI_NAMES:
        return Role.CI
    if folders & TEST_DIRS or _is_test_module(name) or name == TEST_MODULE:
        return Role.TEST
    if folders & DOC_DIRS or pure.suffix in DOC_SUFFIXES or pure.stem in DOC_NAMES or name in DOC_NAMES:
        return Role.DOCS
    if pure.suffix in {".py", ".pyi"}:
        return Role.SOURCE
    return Role.OTHER


def is_from_gold(path: str) -> bool:
    """Return whether the grading tree takes `path` from the gold commit, whatever a model says."""
    return role(path) in {Role.TEST, Role.PROTECTED}


def is_test_module(path: str) -> bool:
    """Return whether pytest would collect tests from this file by its default naming rules."""
    pure = PurePosixPath(path)
    return role(path) is Role.TEST and pure.suffix == ".py" and _is_test_module(pure.name)


def _is_test_module(name: str) -> bool:
    return name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py"))


def _is_protected(path: str, name: str) -> bool:
    is_requirements = "requirements" in name and name.endswith((".txt", ".in"))
    return name in PROTECTED_NAMES or path in PROTECTED_AT_TOP or name.endswith(PROTECTED_SUFFIXES) or is_requirements

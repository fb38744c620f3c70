"""Tests of reading dependency declarations from trees."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from harness.tree import Tree
from ingest.prepare.pyproject import poetry_version
from ingest.prepare.requirements import Requirements, choose, read_declared


def tree(**files: str) -> Tree:
    """Return a tree of text files; `__` in a name stands for a dot, `___` for a slash."""
    named = {name.replace("___", "/").replace("__", "."): text.encode() for name, text in files.items()}
    return Tree(MappingProxyType({}), lambda blob: blob.encode()).replace(named)


def read(**files: str) -> Requirements:
    """Choose the requirements of a tree of text files."""
    return choose(read_declared(tree(**files)))


def test_dependency_groups_with_includes() -> None:
    """The tests group wins over dev, includes are followed, the rest goes to the pool."""
    found = read(
        pyproject__toml="""
[build-system]
requires = ["hatchling", "hatch-vcs"]
build-backend = "hatchling.build"
[project]
name = "My.House"
dependencies = ["attrs>=23"]
[project.optional-dependencies]
fast = ["orjson>=3"]
[dependency-groups]
base-tests = ["pytest>=7"]
tests = [{include-group = "base-tests"}, "hypothesis"]
dev = [{include-group = "tests"}, "mypy"]
"""
    )
    assert found.project == "my-house"
    assert found.groups == ("group:tests",)
    assert found.wanted == ("attrs>=23", "editables", "hatch-vcs", "hatchling", "hypothesis", "pytest>=7")
    assert found.pool == ("mypy", "orjson>=3")


def test_extras_of_the_project_itself_are_resolved() -> None:
    """`pkg[tests]` inside an extra pulls in that extra, never the project from an index."""
    found = read(
        pyproject__toml="""
[project]
name = "house"
[project.optional-dependencies]
tests = ["pytest", "house[fast]"]
fast = ["ujson"]
dev = ["house[tests]", "house"]
"""
    )
    assert found.wanted == ("pytest", "setuptools", "ujson", "wheel")
    assert found.dropped == ()


def test_a_group_without_pytest_is_not_sufficient() -> None:
    """A test group that only names helpers is joined by the next group that brings pytest."""
    found = read(
        pyproject__toml='[project]\nname = "h"\n[project.optional-dependencies]\ntest = ["pretend"]\n'
        'dev = ["pytest<8", "black", "sphinx"]\n'
    )
    assert found.groups == ("extra:test", "extra:dev")
    assert found.wanted == ("pretend", "pytest<8", "setuptools", "wheel")


def test_pytest_is_always_there() -> None:
    """A tree that declares nothing still gets pytest and the default build backend."""
    assert read(README__md="hello").wanted == ("pytest", "setuptools", "wheel")


def test_lines_that_no_index_serves_are_dropped() -> None:
    """URLs, version control and paths are reported, not asked for."""
    found = read(
        requirements__txt="-r more/../tests.txt\nalpha==1 --hash=sha256:00\n-e git+https://example.org/x.git#egg=x\n"
        "./local\nbeta @ https://example.org/beta.whl  # why\n--index-url https://example.org\n"
    )
    assert found.wanted == ("alpha==1", "pytest", "setuptools", "wheel")
    assert found.dropped == (
        "./local", "beta @ https://example.org/beta.whl", "git+https://example.org/x.git#egg=x",
    )  # fmt: skip


def test_setup_py_is_read_without_running_it() -> None:
    """Names, sums and subscript updates are followed; what is computed is left out."""
    found = read(
        setup__py="""
import os
raise SystemExit("must not run")
EXTRAS = {"tests": ["pytest", "pretend"]}
EXTRAS["dev"] = EXTRAS["tests"] + ["pre-commit"]
setup(name="house", install_requires=["six", os.environ["X"]], extras_require=EXTRAS, tests_require=read("t.txt"))
"""
    )
    assert found.project == "house"
    assert found.wanted == ("pretend", "pytest", "setuptools", "six", "wheel")
    assert found.pool == ("pre-commit",)


def test_setup_cfg_and_old_conditional_extras() -> None:
    """setup.cfg options are read, `:marker` extras become markers of base requirements."""
    found = read(
        setup__cfg="[metadata]\nname = house\n[options]\ninstall_requires =\n  six>=1  # old\n"
        "[options.extras_require]\n:python_version<'3' = enum34\ntesting =\n  pytest\n  docopt\n",
    )
    assert found.groups == ("extra:testing",)
    assert found.wanted == ("docopt", 'enum34; python_version < "3"', "pytest", "setuptools", "six>=1", "wheel")


def test_tox_default_environment() -> None:
    """Default deps, references to other sections and extras count; factors of other environments do not."""
    found = read(
        pyproject__toml='[project]\nname = "h"\n[project.optional-dependencies]\nspeed = ["ujson"]\n',
        tox__ini="[base]\ndeps =\n  pytest\n[testenv]\ndeps =\n  {[base]deps}\n  docs: sphinx\n  tests: pretend\n"
        "  {env:X:six}\nextras = speed\n[testenv:lint]\ndeps = flake8\n",
    )
    assert found.wanted == ("pretend", "pytest", "setuptools", "six", "ujson", "wheel")


def test_nox_sessions_for_tests() -> None:
    """String literals of session.install in test sessions count, with extras of the project."""
    found = read(
        pyproject__toml='[project]\nname = "h"\n[project.optional-dependencies]\nrun = ["pytest"]\n',
        noxfile__py="def tests(session):\n    session.install('-e', '.[run]', 'pretend', '-r', 'more.txt', X)\n"
        "def lint(session):\n    session.install('flake8')\n",
    )
    assert found.groups == ("nox",)
    assert found.wanted == ("pretend", "pytest", "setuptools", "wheel")


def test_requirements_files_in_their_folder() -> None:
    """Files of a requirements/ folder are found, `-r` is relative to the file, test before dev."""
    found = read(
        requirements___test__txt="-r base.in\npytest\n",
        requirements___base__in="alpha\n",
        requirements___dev__txt="ipdb\nzeta\n",
    )
    assert found.wanted == ("alpha", "pytest", "setuptools", "wheel")
    assert found.pool == ("ipdb", "zeta")


def test_poetry_groups_and_tables() -> None:
    """Poetry's dependencies, groups and inline tables become PEP 508 lines."""
    found = read(
        pyproject__toml="""
[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"
[tool.poetry]
name = "house"
[tool.poetry.dependencies]
python = "^3.8"
attrs = ">=20"
yaml = { version = "^6.0", optional = true }
typing_extensions = { version = "*", python = "<3.8" }
tool = { git = "https://example.org/tool.git" }
[tool.poetry.extras]
yaml = ["yaml"]
[tool.poetry.group.test.dependencies]
pytest = "^7.1.3"
"""
    )
    assert found.wanted == (
        "attrs>=20", "poetry-core", "pytest<8,>=7.1.3", 'typing-extensions; python_version < "3.8"',
    )  # fmt: skip
    assert found.pool == ("yaml<7,>=6.0",)
    assert found.dropped == ("tool @ https://example.org/tool.git",)


@pytest.mark.parametrize(
    ("poetry", "pep440"),
    [("^1.2.3", ">=1.2.3,<2"), ("^0.2.3", ">=0.2.3,<0.3"), ("~1.2", ">=1.2,<1.3"), ("*", ""), ("1.2.*", "==1.2.*"),
     (">=1,<2", ">=1,<2"), ("^2 || ^3", ""), ("~=1.4", "~=1.4"), (">= 3.7", ">=3.7")],
)  # fmt: skip
def test_poetry_versions(poetry: str, pep440: str) -> None:
    """Carets, tildes and wildcards mean what Poetry's documentation says."""
    assert poetry_version(poetry) == pep440


def test_broken_files_declare_nothing() -> None:
    """Files that do not parse are no reason to fail."""
    found = read(pyproject__toml="[project", setup__py="def (", setup__cfg="x = [", tox__ini="]][", noxfile__py="(")
    assert found.wanted == ("pytest", "setuptools", "wheel")


def test_operator_requirements_are_added() -> None:
    """--requirement reaches the environment."""
    assert "extra-thing>1" in choose(read_declared(tree(a__py="")), ["extra-thing>1"]).wanted

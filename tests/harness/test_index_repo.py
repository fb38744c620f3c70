"""The index of a tree: module names, name resolution, edges between files, affected tests."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.git import GitRepo, git_environment
from harness.index.facts import FactsCache
from harness.index.repo import RepoIndex
from harness.tree import SYMLINK_MODE, Entry, Tree

FILES = {
    "src/pkg/__init__.py": (
        "from . import deep\nfrom ._core import make, Thing as Renamed\nfrom .deep import *\nVERSION = 1\n"
    ),
    "src/pkg/_core.py": (
        "import pkg.deep.leaf as lf\nfrom .errors import Oops\n\n"
        "def make(): return Thing().run()\n\n"
        "class Thing:\n    def run(self):\n        self.check()\n        return lf.leaf_value\n"
        "    def check(self): raise Oops\n"
    ),
    "src/pkg/errors.py": "class Oops(Exception):\n    pass\n",
    "src/pkg/lazy.py": "def __getattr__(name): return name\n",
    "src/pkg/deep/__init__.py": "from .leaf import leaf_value\nfrom .ring import spin\n",
    "src/pkg/deep/leaf.py": "leaf_value = 3\n",
    "src/pkg/deep/ring.py": "from pkg.deep.ring2 import spin\n",
    "src/pkg/deep/ring2.py": "from pkg.deep.ring import spin\n",
    "src/pkg/types.pyi": "x: int\n",
    "setup.py": "import pkg\n",
    "docs/conf.py": "import pkg\n",
    "tests/conftest.py": "import pytest\n",
    "tests/__init__.py": "",
    "tests/shared.py": "from pkg.errors import Oops\n\ndef raises(): return Oops\n",
    "tests/test_attr.py": "import pkg\n\ndef test_it(): assert pkg.make()\n",
    "tests/test_module.py": "import pkg.deep.leaf\n",
    "tests/test_name.py": "from pkg import Renamed as R\n\ndef test_it(): assert R\n",
    "tests/test_star.py": "from pkg import *\n\ndef test_it(): assert leaf_value\n",
    "tests/test_shared.py": "from .shared import raises\n",
    "tests/test_nothing.py": "import json\n",
    "tests/unit/conftest.py": "from pkg.lazy import anything\n",
    "tests/unit/test_below.py": "def test_it(anything): pass\n",
}


def tree_of(files: Mapping[str, str]) -> Tree:
    """Return a tree with these texts."""

    def nothing(blob: str) -> bytes:
        raise KeyError(blob)

    return Tree({}, nothing).replace({path: text.encode() for path, text in files.items()})


@pytest.fixture
def index() -> RepoIndex:
    """Return the index of FILES."""
    return RepoIndex.build(tree_of(FILES), FactsCache())


def test_only_sources_tests_and_conftests_are_indexed(index: RepoIndex) -> None:
    """Stubs, build scripts and documentation are not part of the index."""
    assert set(index.modules) == set(FILES) - {"src/pkg/types.pyi", "setup.py", "docs/conf.py"}
    assert list(index.modules) == sorted(index.modules)


def test_symlinks_are_not_indexed() -> None:
    """The content of a link is a path, not Python."""
    tree = tree_of({"a.py": "x = 1\n"})
    entries = {**tree.entries, "b.py": Entry(SYMLINK_MODE, tree.entries["a.py"].blob)}
    assert set(RepoIndex.build(Tree(entries, tree.read_blob), FactsCache()).modules) == {"a.py"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("src/pkg/__init__.py", "pkg"),
        ("src/pkg/deep/leaf.py", "pkg.deep.leaf"),
        ("tests/shared.py", "tests.shared"),
        ("tests/unit/test_below.py", "tests.unit.test_below"),
    ],
)
def test_module_names_count_from_import_roots(index: RepoIndex, path: str, name: str) -> None:
    """`src/` and the folder above the outermost package are roots."""
    assert index.module_name(path) == name
    assert index.path_of(name) == path


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("six.py", "six"),
        ("parso/python/tree.py", "parso.python.tree"),
        ("src/space/part/__init__.py", "space.part"),
        ("libs/one/src/one/mod.py", "one.mod"),
        ("test/helper.py", "helper"),
    ],
)
def test_module_names_of_other_layouts(path: str, name: str) -> None:
    """Flat modules, flat packages, namespace packages, monorepos and test folders without packages."""
    others = ["parso/__init__.py", "libs/one/src/one/__init__.py"]
    index = RepoIndex.build(tree_of(dict.fromkeys([path, *others], "")), FactsCache())
    assert index.module_name(path) == name
    assert index.path_of(name) == path


@pytest.mark.parametrize(
    ("path", "dotted", "target"),
    [
        ("tests/test_attr.py", "pkg.make", ("src/pkg/_core.py", "make")),
        ("tests/test_attr.py", "pkg.Renamed.run", ("src/pkg/_core.py", "Thing.run")),
        ("tests/test_attr.py", "pkg.Renamed.run.__doc__", ("src/pkg/_core.py", "Thing.run")),
        ("tests/test_attr.py", "pkg.deep.leaf", ("src/pkg/deep/leaf.py", "")),
        ("tests/test_attr.py", "pkg.VERSION", ("src/pkg/__init__.py", "VERSION")),
        ("tests/test_name.py", "R", ("src/pkg/_core.py", "Thing")),
        ("tests/test_star.py", "leaf_value", ("src/pkg/deep/leaf.py", "leaf_value")),
        ("src/pkg/_core.py", "lf.leaf_value", ("src/pkg/deep/leaf.py", "leaf_value")),
        ("src/pkg/_core.py", "Thing.check", ("src/pkg/_core.py", "Thing.check")),
        ("src/pkg/__init__.py", "deep.leaf_value", ("src/pkg/deep/leaf.py", "leaf_value")),
        ("tests/test_nothing.py", "json.dumps", None),
        ("tests/test_attr.py", "unknown", None),
        ("src/pkg/deep/__init__.py", "spin", None),
    ],
)
def test_names_resolve_to_where_they_are_defined(
    index: RepoIndex, path: str, dotted: str, target: tuple[str, str] | None
) -> None:
    """Aliases, attributes of packages, stars, relative imports and re-exports; circles end in None."""
    assert index.resolve(path, dotted) == target


def test_optional_import_resolves_to_the_import() -> None:
    """`try: from .fast import f; except ImportError: f = None` means the function."""
    files = {
        "p/__init__.py": "",
        "p/a.py": "try:\n    from .fast import f\nexcept ImportError:\n    f = None\n",
        "p/fast.py": "def f(): ...\n",
    }
    assert RepoIndex.build(tree_of(files), FactsCache()).resolve("p/a.py", "f") == ("p/fast.py", "f")


def test_neighbour_wins_over_a_module_of_the_same_name_elsewhere() -> None:
    """Test folders without packages import their own neighbours."""
    files = {"tests/a/tools.py": "x = 1\n", "tests/b/tools.py": "x = 2\n", "tests/b/test_b.py": "from tools import x\n"}
    assert RepoIndex.build(tree_of(files), FactsCache()).resolve("tests/b/test_b.py", "x") == ("tests/b/tools.py", "x")


def test_imports_and_importers_mirror_each_other(index: RepoIndex) -> None:
    """A file uses the modules it names, where its names are defined, and what re-exports them."""
    assert index.imports("tests/test_attr.py") == {"src/pkg/__init__.py", "src/pkg/_core.py"}
    assert index.imports("src/pkg/_core.py") == {"src/pkg/deep/leaf.py", "src/pkg/errors.py"}
    assert "src/pkg/deep/__init__.py" in index.imports("tests/test_star.py")
    for path in index.modules:
        assert all(path in index.importers(used) for used in index.imports(path))


def test_symbol_edges_follow_names_and_self(index: RepoIndex) -> None:
    """A method that calls `self.check()` uses that method."""
    core = "src/pkg/_core.py"
    assert index.uses(core, "Thing.run") == {(core, "Thing.check"), ("src/pkg/deep/leaf.py", "leaf_value")}
    assert (core, "Thing") in index.uses(core, "make") & index.uses("tests/test_name.py", "test_it")
    assert ("src/pkg/errors.py", "Oops") in index.uses(core, "Thing.check")
    assert index.uses(core, "absent") == frozenset()


@pytest.mark.parametrize(
    ("changed", "affected"),
    [
        (["src/pkg/_core.py"], {"test_attr", "test_name"}),
        (["src/pkg/deep/leaf.py"], {"test_module", "test_star"}),
        (["src/pkg/errors.py"], {"test_shared"}),
        (["src/pkg/lazy.py"], {"test_below"}),
        (["src/pkg/__init__.py"], {"test_attr", "test_name", "test_star"}),
        (["tests/shared.py"], {"test_shared"}),
        (["tests/unit/conftest.py"], {"test_below"}),
        (["tests/test_nothing.py", "docs/conf.py", "gone.py"], {"test_nothing"}),
        ([], set()),
    ],
)
def test_affected_tests(index: RepoIndex, changed: list[str], affected: set[str]) -> None:
    """Changed tests, users of changed files one level deep, and what stands below a changed conftest.py."""
    tests = index.affected_tests(changed)
    assert {Path(test).stem for test in tests} == affected
    assert tests == tuple(sorted(tests))


def test_root_conftest_affects_every_test(index: RepoIndex) -> None:
    """A conftest.py reaches all test modules at and below its folder."""
    assert len(index.affected_tests(["tests/conftest.py"])) == 7


def test_second_commit_costs_only_its_changed_blobs(tmp_path: Path) -> None:
    """Indexing the next commit of a real repository analyses one file, not all of them."""

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=tmp_path, env=git_environment(), check=True, capture_output=True)

    def commit() -> None:
        git("add", "-A")
        git("-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-qm", "change")

    git("init", "-q")
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    commit()
    (tmp_path / "src/pkg/_core.py").write_text("from .lazy import make\n")
    commit()
    cache = FactsCache()
    with GitRepo(tmp_path / ".git") as repo:
        before = RepoIndex.build(repo.tree("HEAD~1"), cache)
        misses = cache.misses
        after = RepoIndex.build(repo.tree("HEAD"), cache)
    assert cache.misses == misses + 1
    assert before.symbol("src/pkg/_core.py", "Thing.run") is not None
    assert after.modules["src/pkg/_core.py"].symbols == ()

"""Tests of refusing modules that would stand before what the tests rely on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.envs.layer import Layer
from harness.shadow import forged_layer, import_roots, shadowing, taken_names
from harness.workbench import Places, open_workbench
from tests.trees import tree_of

TAKEN = frozenset({"pytest", "_pytest", "json", "sitecustomize", "attr"})
OWN = ("src/shop/__init__.py", "src/shop/cart.py", "src/attr/__init__.py", "tests/test_cart.py")


@pytest.mark.parametrize(
    "path",
    ["src/pytest.py", "src/_pytest/__init__.py", "json.py", "src/sitecustomize.py", "sitecustomize/__init__.py"],
)
def test_a_new_module_with_a_taken_name_is_found(path: str) -> None:
    """On any import root, as a module or a package, somebody else's name is not to be had."""
    assert shadowing([*OWN, path], OWN, ("src", "."), TAKEN) == path


@pytest.mark.parametrize(
    "path", ["src/shop/json.py", "src/shop/pytest.py", "src/attr/_make.py", "src/shop/__main__.py", "pytest.txt"]
)
def test_modules_inside_the_project_are_its_own(path: str) -> None:
    """A submodule may be called anything, and a package that the project has already may grow."""
    assert shadowing([*OWN, path], OWN, ("src", "."), TAKEN) is None


def test_existing_modules_may_be_edited_whatever_their_name() -> None:
    """Only what the candidate adds is looked at."""
    assert shadowing(["json.py"], ["json.py"], (".",), TAKEN) is None


def test_import_roots_are_everything_that_may_come_on_the_path() -> None:
    """The layer's roots, the tree, the folders of the tests up to the top, and what the configuration adds."""
    ini = "[pytest]\naddopts = -q\npythonpath = lib\n    more/lib\n[other]\n"
    toml = '[tool.pytest.ini_options]\npythonpath = ["plugins", "./tools"]\n'
    tree = tree_of({"pytest.ini": ini, "pyproject.toml": toml})
    roots = import_roots(tree, ("src",), ["pkg/tests/deep/test_a.py"])
    assert set(roots) == {"src", ".", "pkg/tests/deep", "pkg/tests", "pkg", "lib", "more/lib", "plugins", "tools"}


GOLD_LAYER = Layer({"pkg-1.dist-info/METADATA": b"", "pkg-1.dist-info/entry_points.txt": b"[pytest11]\nown = pkg.plugin\n"},
                   {"src/pkg/_version.py": b"", "src/pkg/conftest.py": b""}, ("src", "lib"), "editable")  # fmt: skip


def test_the_layer_of_an_honest_build_is_no_forgery() -> None:
    """Other metadata and other content of what both builds make are fine."""
    assert forged_layer(GOLD_LAYER, GOLD_LAYER) is None
    other = replace(
        GOLD_LAYER, files={"pkg-2.dist-info/METADATA": b"x"}, generated={"src/pkg/_version.py": b"2"}, roots=("src",)
    )
    assert forged_layer(other, GOLD_LAYER) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"files": {"pytest.py": b""}}, "pytest.py"),
        ({"files": {"pkg-1.dist-info/entry_points.txt": b"[pytest11]\nmine = pkg.mine\n"}}, "the plugin mine"),
        ({"generated": {"tests/test_a.py": b""}}, "tests/test_a.py"),
        ({"generated": {"conftest.py": b""}}, "conftest.py"),
        ({"generated": {"src/pkg/notes.txt": b""}}, "src/pkg/notes.txt"),
        ({"generated": {"src/colorsys.py": b""}}, "src/colorsys.py"),
        ({"generated": {"src/sitecustomize.py": b""}}, "src/sitecustomize.py"),
        ({"roots": ("src", "data")}, "the import root data"),
    ],
)
def test_a_build_that_decides_how_tests_run_is_found(change: dict[str, object], words: str) -> None:
    """A build runs the candidate's code, so what it brings beyond the true solution's build is looked at."""
    found = forged_layer(replace(GOLD_LAYER, **change), GOLD_LAYER)  # type: ignore[arg-type]
    assert found is not None
    assert words in found


def test_a_generated_source_holds_nothing_that_an_edit_may_not() -> None:
    """What both builds make is looked at like an edit, measured against what the true solution's build makes."""
    path = "src/pkg/_version.py"
    forged = replace(GOLD_LAYER, generated={path: b"import os\nos._exit(0)\n"})
    assert forged_layer(forged, GOLD_LAYER) == f"os._exit in {path}, which its build brings,"
    assert forged_layer(forged, forged) is None
    unread = replace(GOLD_LAYER, generated={path: b"V = (\n"})
    assert "does not parse" in str(forged_layer(unread, GOLD_LAYER))


SETUP = """from setuptools import setup
about = {}
with open("src/shop/version.py") as stream:
    exec(stream.read(), about)
setup(name="shop", version=about["VERSION"], package_dir={"": "src"}, packages=["shop"])
"""
VERSION = "src/shop/version.py"


@pytest.mark.parametrize(
    ("made", "found"), [("src/colorsys.py", "src/colorsys.py"), ("src/shop/notes.txt", "notes.txt")]
)
def test_what_a_build_writes_is_looked_at_like_an_edit(
    make_places: Callable[..., Places], made: str, found: str
) -> None:
    """A module of a taken name, or data, that code of the candidate writes while the build imports it."""
    files = {"setup.py": SETUP, "src/shop/__init__.py": "", VERSION: "VERSION = '1'\n", "tests/test_a.py": "x = 1\n"}
    places = make_places([("Begin", files), ("Go on", {"tests/test_a.py": "x = 2\n"})])
    bench = open_workbench(places)
    case = bench.case(bench.manifest.commits[0])
    honest = case.parent.replace({VERSION: b"VERSION = '1.1'\n"})
    forged = case.parent.replace({VERSION: f"VERSION = '1'\nopen({made!r}, 'w').close()\n".encode()})
    requests = [bench.request(case, case.graded(tree), ("tests/test_a.py",), 10.0) for tree in (honest, forged)]
    assert bench.shadow(case, honest, requests[0]) is None
    words = bench.shadow(case, forged, requests[1])
    assert words is not None
    assert words.partition(",")[0].endswith(found)
    assert (words == made) is made.endswith(".py")


def test_taken_are_the_standard_library_site_hooks_and_what_is_installed(tmp_path: Path) -> None:
    """Packages, single modules and extension modules all count by their import name."""
    (tmp_path / "pluggy").mkdir()
    (tmp_path / "py.py").touch()
    (tmp_path / "fast.cpython-311-x86_64-linux-gnu.so").touch()
    assert {"pluggy", "py", "fast", "json", "usercustomize"} <= taken_names([tmp_path])

"""Tests of refusing modules that would stand before what the tests rely on."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.shadow import shadowing, taken_names

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


def test_taken_are_the_standard_library_site_hooks_and_what_is_installed(tmp_path: Path) -> None:
    """Packages, single modules and extension modules all count by their import name."""
    (tmp_path / "pluggy").mkdir()
    (tmp_path / "py.py").touch()
    (tmp_path / "fast.cpython-311-x86_64-linux-gnu.so").touch()
    assert {"pluggy", "py", "fast", "json", "usercustomize"} <= taken_names([tmp_path])

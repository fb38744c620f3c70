"""Tests of finding what test modules import and which wheel provides it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import MappingProxyType

import pytest

from harness.tree import Tree
from ingest.errors import DownloadFailed
from ingest.prepare.imports import describe, file_imports, missing, provided_modules, suite_imports
from ingest.prepare.legacy import read_setup_py
from ingest.prepare.symbols import compare


def tree(files: dict[str, str]) -> Tree:
    """Return a tree of text files."""
    return Tree(MappingProxyType({}), lambda blob: blob.encode()).replace({k: v.encode() for k, v in files.items()})


def test_guards_make_imports_optional() -> None:
    """try/except ImportError, version checks and importorskip allow absence; type checking is no import."""
    text = """
import plain.sub
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import never
try:
    import guarded
except (ImportError, KeyError):
    guarded = None
try:
    import needed
except ValueError:
    pass
if sys.version_info >= (3, 12):
    import versioned
def test():
    import inner
    pytest.importorskip("skipped.sub")
from . import sibling
"""
    assert file_imports(text).modules == {
        "plain": False, "typing": False, "guarded": True, "needed": False, "versioned": True, "inner": False,
        "skipped": True,
    }  # fmt: skip


@pytest.mark.parametrize("joined", ["+", "-"])
def test_a_file_nested_beyond_following_tells_nothing(joined: str) -> None:
    """A chain of a thousand terms and more, as generators write them, does not stop the preparation."""
    chain = f" {joined} ".join(["1"] * 1_200)
    text = f"import plain\nvalue = {chain}\n"
    assert file_imports(text).modules in ({}, {"plain": False})
    assert compare("a.py", text, text.replace("1", "2", 1)).path == "a.py"
    assert read_setup_py(f"from setuptools import setup\nX = {chain}\nsetup(install_requires={chain})\n")[0] == ""


def test_suite_leaves_out_what_the_checkout_and_python_provide() -> None:
    """The project, local helpers and the standard library are not requirements; required beats optional."""
    found = suite_imports(
        tree({
            "src/house/__init__.py": "", "src/house/orjson.py": "", "tests/helper.py": "import from_helper\n",
            "tests/data_issue.py": "import nonsense\n", "conftest.py": "import plugin\n",
            "tests/test_a.py": "import os, house, helper, orjson\ntry:\n    import both\nexcept ImportError: pass\n",
            "tests/test_b.py": "import both\nfrom tests.helper import x\n", "tests/test_py2.py": "print 'x'\n",
        })
    )  # fmt: skip
    assert found == {"from_helper": False, "plugin": False, "orjson": False, "both": False}


def test_a_parsed_file_is_not_parsed_again() -> None:
    """The cache is keyed by content, so equal files of two commits are read once."""
    cache: dict[str, object] = {}
    suite_imports(tree({"tests/test_a.py": "import x\n"}), cache)  # type: ignore[arg-type]
    suite_imports(tree({"tests/test_b.py": "import x\n"}), cache)  # type: ignore[arg-type]
    assert len(cache) == 1


def test_modules_are_read_from_the_wheel(tmp_path: Path) -> None:
    """Packages, modules, extension modules and purelib data count; metadata and scripts do not."""
    wheel = tmp_path / "PyYAML-6-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("yaml/__init__.py", "single.py", "_yaml.cpython-311-x86_64-linux-gnu.so", "notes.txt",
                     "PyYAML-6.dist-info/METADATA", "PyYAML-6.data/purelib/extra/x.py",
                     "PyYAML-6.data/scripts/run.py"):  # fmt: skip
            archive.writestr(name, "")
    provided = provided_modules(wheel)
    assert provided == {"yaml", "single", "_yaml", "extra"}
    assert describe(missing({"yaml": False, "toml": True, "abc_x": False}, provided)) == ("abc_x", "toml (optional)")


def test_a_broken_wheel_is_named(tmp_path: Path) -> None:
    """A file that is no archive is a failed download, not a crash."""
    wheel = tmp_path / "broken-1-py3-none-any.whl"
    wheel.write_bytes(b"<html>")
    with pytest.raises(DownloadFailed, match="broken-1"):
        provided_modules(wheel)

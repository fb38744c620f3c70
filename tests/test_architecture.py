"""Rules about the code as a whole that no single module can hold: size, errors, who imports whom."""

from __future__ import annotations

import ast
import importlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import Failure

ROOT = Path(__file__).parent.parent
ROOMS = ("appliance", "evals", "harness", "ingest")
BELOW = {
    "appliance": {"evals", "ingest", "harness"},
    "evals": {"harness"},
    "ingest": {"harness"},
    "harness": set[str](),
}
MAX_LINES = 400
MAX_FUNCTION_LINES = 60
EXIT_CODES = {1, 2, 3, 10, 11, 12, 13, 14, 20, 21, 130}
VAGUE_NAMES = {"utils", "helpers", "manager", "common", "misc"}
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
INSIDE = ROOT / "harness" / "inside"


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _failures() -> list[type[Failure]]:
    for path in MODULES:
        if not path.is_relative_to(INSIDE) and "Failure" in _exported(path):
            importlib.import_module(_name(path))
    return sorted(set(_below(Failure)), key=lambda kind: kind.__qualname__)


def _exported(path: Path) -> str:
    """Return "Failure" for modules that define an exception class; importing those finds every failure."""
    classes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
    return "Failure" if any(node.bases for node in classes) else ""


def _below(kind: type[Failure]) -> Iterator[type[Failure]]:
    for child in kind.__subclasses__():
        if child.__module__.partition(".")[0] in ROOMS:
            yield child
            yield from _below(child)


FAILURES = _failures()


@pytest.mark.parametrize("path", MODULES, ids=_id)
def test_modules_stay_small(path: Path) -> None:
    """One concept per module: at most 400 lines, and no function longer than a screen or two."""
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {
        f.name: (f.end_lineno or 0) - f.lineno for f in functions if (f.end_lineno or 0) - f.lineno > MAX_FUNCTION_LINES
    }
    assert long == {}


@pytest.mark.parametrize("path", MODULES, ids=_id)
def test_modules_say_why_they_exist(path: Path) -> None:
    """Each module has a docstring and a name of its own field."""
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)) or not text.strip()
    assert path.stem not in VAGUE_NAMES


@pytest.mark.parametrize("path", [path for path in MODULES if not path.is_relative_to(INSIDE)], ids=_id)
def test_arrows_point_down(path: Path) -> None:
    """A module imports its own room and those below it, late imports included."""
    room = path.relative_to(ROOT).parts[0]
    imported = {name.partition(".")[0] for name in _imports(path)} & set(ROOMS)
    assert imported <= BELOW[room] | {room}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_failures_are_found() -> None:
    """The list that the other tests walk is not empty, and has failures of every room that has any."""
    assert {kind.__module__.partition(".")[0] for kind in FAILURES} >= {"appliance", "harness", "ingest"}


def test_codes_are_unique() -> None:
    """A code names one failure: scripts and operators rely on it."""
    codes = Counter(kind.code for kind in FAILURES)
    assert {code: number for code, number in codes.items() if number > 1} == {}
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*", code) for code in codes)


@pytest.mark.parametrize("kind", FAILURES, ids=lambda kind: kind.__name__)
def test_every_failure_can_be_acted_on(kind: type[Failure]) -> None:
    """Each failure has a code of its own, an exit code of the fixed list, a hint and a docstring."""
    assert "code" in vars(kind)
    assert kind.exit_code in EXIT_CODES
    assert kind.hint.strip()
    assert (vars(kind).get("__doc__") or "").strip()


@pytest.mark.parametrize("kind", FAILURES, ids=lambda kind: kind.__name__)
def test_every_failure_survives_the_way_from_a_worker(kind: type[Failure]) -> None:
    """Message, code and hint are the same after pickling."""
    import pickle

    copy = pickle.loads(pickle.dumps(kind("what happened", hint="do this")))
    assert (type(copy), str(copy), copy.hint, copy.code) == (kind, "what happened", "do this", kind.code)


def test_packages_are_all_shipped() -> None:
    """Every Python package of the four rooms is listed for installation."""
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    assert listed == {_name(path.parent / "__init__.py") for path in MODULES if path.name == "__init__.py"}

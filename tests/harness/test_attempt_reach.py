"""Attempts whose edits reach further than the commit, or stand before what the tests rely on."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from harness.attempt import AttemptJob, run_attempt
from harness.grade import Required, Verdict
from harness.record import AttemptRecord
from harness.stages import Stage
from harness.workbench import Places, open_workbench
from tests.models import ScriptedAnswerers, edit

CALC = "def add(a, b):\n    return a + b\n"
OTHER = "def half(a):\n    return a / 2\n"
TEST = "import calc\n\n\ndef test_add():\n    assert calc.add(1, 2) == 3\n"
TEST_TWICE = "\n\ndef test_twice():\n    assert calc.twice(2) == 4\n"
TEST_OTHER = "import other\n\n\ndef test_half():\n    assert other.half(4) == 2\n"
HISTORY = [
    ("Begin", {"calc.py": CALC, "other.py": OTHER, "tests/test_calc.py": TEST, "tests/test_other.py": TEST_OTHER}),
    ("Add the function twice to calc",
     {"calc.py": CALC + "\n\ndef twice(a):\n    return 2 * a\n", "tests/test_calc.py": TEST + TEST_TWICE}),
]  # fmt: skip
MakePlaces = Callable[..., Places]
REQUIRED = Required(frozenset({"tests/test_calc.py::test_twice"}), frozenset({"tests/test_calc.py::test_add"}))
SOLVE = edit("    return a + b", "    return a + b\n\n\ndef twice(a):\n    return a + a")
FORGE = """import json, os, sys
for fd in range(3, 1024):
    try:
        for name in ("twice", "add"):
            for when in ("setup", "call", "teardown"):
                record = {"t": "phase", "id": "tests/test_calc.py::test_" + name, "when": when, "outcome": "passed", "s": 0.0}
                os.write(fd, json.dumps(record).encode() + b"\\n")
        os.write(fd, b'{"t": "end", "exit": 0, "collected": 2}\\n')
    except OSError:
        pass
os._exit(0)
"""


def attempt(places: Places, *steps: tuple[str, str, str]) -> AttemptRecord:
    """Make an attempt whose plan is these (file, action, code) steps."""
    plan = json.dumps(
        {"steps": [{"id": f"s{n}", "file": file, "symbol": "", "action": action, "description": "Do it.", "depends_on": []}
                   for n, (file, action, _) in enumerate(steps, 1)]}
    )  # fmt: skip
    answerers = ScriptedAnswerers({Stage.STEP_PLAN: (plan,), Stage.EXECUTE_CODE: tuple(code for _, _, code in steps)})
    return run_attempt(
        AttemptJob(
            places=places, commit=open_workbench(places).manifest.commits[0], required=REQUIRED,
            test_files=("tests/test_calc.py",), limit_s=20.0, answerers=answerers, routes={}, answers_sha256="",
            attempt=1, seed=0, temperature=0.0,
        )
    )  # fmt: skip


def test_breaking_something_else_on_the_way_does_not_resolve(make_places: MakePlaces) -> None:
    """Tests of a module that only the candidate edits have to go on passing."""
    broken = edit("    return a / 2", "    return None")
    record = attempt(make_places(HISTORY), ("calc.py", "modify", SOLVE), ("other.py", "modify", broken))
    assert record.grade.verdict is Verdict.NOT_RESOLVED
    assert record.grade.failing == ("tests/test_other.py::test_half",)
    assert record.required.p2p == REQUIRED.p2p | {"tests/test_other.py::test_half"}


def test_a_harmless_edit_elsewhere_resolves(make_places: MakePlaces) -> None:
    """Reaching further is no fault as long as what passed there passes."""
    harmless = edit("    return a / 2", "    return a * 0.5")
    record = attempt(make_places(HISTORY), ("calc.py", "modify", SOLVE), ("other.py", "modify", harmless))
    assert record.grade.verdict is Verdict.RESOLVED


@pytest.mark.parametrize("file", ["pytest.py", "_pytest/__init__.py", "pluggy.py", "json.py", "sitecustomize.py"])
def test_a_module_that_stands_before_the_tests_own_is_tampering(make_places: MakePlaces, file: str) -> None:
    """A candidate cannot bring a pytest of its own, nor anything else that is imported before its tests."""
    record = attempt(make_places(HISTORY), (file, "create", edit("", FORGE)))
    assert record.grade.verdict is Verdict.TAMPERED
    assert record.runs == ()


@pytest.mark.parametrize("file", ["results_plugin.py", "sandbox_stream.py"])
def test_a_module_named_like_our_plugin_takes_no_part(make_places: MakePlaces, file: str) -> None:
    """Our own modules are loaded by path, so a namesake in the project is not even imported."""
    record = attempt(make_places(HISTORY), (file, "create", edit("", "raise RuntimeError('imported')")))
    assert record.grade.verdict is Verdict.NOT_RESOLVED
    assert record.runs[0].passed == {"tests/test_calc.py::test_add"}


@pytest.mark.parametrize("test_file", ["tests/test_calc.py", "tests/__init__.py"])
def test_the_tree_itself_counts_as_an_import_root(make_places: MakePlaces, test_file: str) -> None:
    """Wherever the project's own roots are, pytest may put the top of the tree on the path."""
    begin = HISTORY[0][1] | {"src/calc2.py": "", test_file: TEST}
    record = attempt(make_places([(HISTORY[0][0], begin), HISTORY[1]]), ("pluggy.py", "create", edit("", "x = 1")))
    assert record.grade.verdict is Verdict.TAMPERED
    assert "pluggy.py would stand before" in record.grade.reason

"""The gold gate on real repositories: one small history per verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.gate import Rejection
from harness.goldgate import MAX_SOURCE_BYTES, REPEATS, GateJob, GateReport, run_gate
from harness.manifest import Commit, Environment, Lock
from harness.oracle.recording import load
from harness.workbench import Places, open_workbench

History = list[tuple[str, dict[str, str | None]]]
MakePlaces = Callable[..., Places]

ADD = "def add(a, b):\n    return a + b\n"
TWICE = "\n\ndef twice(a):\n    return 2 * a\n"
TEST_ADD = "import calc\n\n\ndef test_add():\n    assert calc.add(1, 2) == 3\n"
TEST_TWICE = "\n\ndef test_twice():\n    assert calc.twice(2) == 4\n"
BEFORE: dict[str, str | None] = {"calc.py": ADD, "tests/test_calc.py": TEST_ADD}
AFTER: dict[str, str | None] = {"calc.py": ADD + TWICE, "tests/test_calc.py": TEST_ADD + TEST_TWICE}


def gate(places: Places, *, budget_s: float = 60.0, commit: Commit | None = None) -> GateReport:
    """Take the first listed commit, or another one, through the gate."""
    return run_gate(GateJob(places, commit or open_workbench(places).manifest.commits[0], budget_s))


def history(
    after: dict[str, str | None], *, before: dict[str, str | None] | None = None, message: str = "Change"
) -> History:
    """Return a history of two commits."""
    return [("Begin", before or BEFORE), (message, after)]


def test_a_fair_commit_is_validated(make_places: MakePlaces) -> None:
    """Three runs on either side, the control, and an oracle: one recording, two replays on gold, one on the parent."""
    report = gate(make_places(history(AFTER, message="Add the function twice")))
    verdict = report.verdict
    assert (verdict.rejection, verdict.validated) == (None, True)
    assert verdict.required.f2p == {"tests/test_calc.py::test_twice"}
    assert verdict.required.p2p == {"tests/test_calc.py::test_add"}
    assert (report.runs, report.test_files) == (2 * REPEATS + 5, ("tests/test_calc.py",))
    assert 0 < verdict.gold_median_s <= report.run_seconds <= report.seconds
    assert report.layer.startswith("static")
    assert (report.control, report.oracle.calls, report.oracle.discriminating) == ("failed", 1, 1)


def test_the_oracle_is_stored_with_the_package(make_places: MakePlaces) -> None:
    """The digest in the report leads to the recording, and the recording to what the test calls."""
    places = make_places(history(AFTER))
    report = gate(places)
    recording = load(places.package, report.commit.sha, report.oracle.sha256)
    assert [(call.do["name"], call.do["args"]) for call in recording.checked] == [("calc:twice", [2])]
    assert recording.checked[0].expected == {"value": 4, "changed": []}


def test_a_commit_that_a_constant_solves_is_no_task(make_places: MakePlaces) -> None:
    """A test that only looks whether the function is there passes on a hollow one."""
    weak = TEST_ADD + "\n\ndef test_twice():\n    calc.twice(2)\n"
    report = gate(make_places(history({**AFTER, "tests/test_calc.py": weak})))
    assert report.verdict.rejection is Rejection.CONSTANT_PASSES
    assert (report.control, report.runs) == ("passed", 2 * REPEATS + 1)
    assert report.oracle.sha256 == ""


def test_old_tests_may_be_what_a_constant_fails(make_places: MakePlaces) -> None:
    """A commit that silences a function stays: an empty function is silent, too, but fails the tests before it."""
    before = {**BEFORE, "calc.py": ADD.replace("    return", "    print(a)\n    return")}
    silent = TEST_ADD + "\n\ndef test_silent(capsys):\n    calc.add(1, 2)\n    assert not capsys.readouterr().out\n"
    report = gate(make_places(history({"calc.py": ADD, "tests/test_calc.py": silent}, before=before)))
    assert (report.verdict.validated, report.control) == (True, "failed_p2p")


def test_a_commit_without_functions_has_no_control_and_says_so(make_places: MakePlaces) -> None:
    """A constant cannot be hollowed out, and no call shows it."""
    before = {**BEFORE, "calc.py": "LIMIT = 1\n" + ADD}
    after = {
        "calc.py": "LIMIT = 2\n" + ADD,
        "tests/test_calc.py": TEST_ADD + "\n\ndef test_limit():\n    assert calc.LIMIT == 2\n",
    }
    report = gate(make_places(history(after, before=before)))
    assert (report.verdict.validated, report.control, report.oracle.why) == (True, "no_function", "untouched")


def test_only_tests_that_the_change_can_reach_are_run(make_places: MakePlaces) -> None:
    """A test module that does not import what changed is left out."""
    before = {**BEFORE, "other.py": "", "tests/test_other.py": "import other\ndef test_o(): pass\n"}
    report = gate(make_places(history(AFTER, before=before)))
    assert report.verdict.validated
    assert report.test_files == ("tests/test_calc.py",)


def test_a_refactoring_has_no_deciding_test(make_places: MakePlaces) -> None:
    """Two runs are enough to see it."""
    report = gate(make_places(history({"calc.py": ADD.replace("a + b", "b + a")})))
    assert report.verdict.rejection is Rejection.NO_F2P
    assert report.runs == 2


def test_a_solution_that_fails_its_own_tests_is_found_in_one_run(make_places: MakePlaces) -> None:
    """Nothing passes on gold: the detail holds the last line of the reason."""
    broken: dict[str, str | None] = {"calc.py": ADD + "import not_there\n", "tests/test_calc.py": TEST_ADD + "\n"}
    report = gate(make_places(history(broken)))
    assert report.verdict.rejection is Rejection.GOLD_FAILS
    assert "not_there" in report.verdict.detail
    assert report.runs == 1


def test_a_parent_that_hangs_is_a_timeout_within_the_budget(make_places: MakePlaces) -> None:
    """The parent's endless loop costs the budget, not the machine."""
    before = {**BEFORE, "calc.py": ADD + "\n\ndef twice(a):\n    while True: pass\n"}
    report = gate(make_places(history(AFTER, before=before)), budget_s=5.0)
    assert report.verdict.rejection is Rejection.TIMEOUT
    assert "budget of 5 s" in report.verdict.detail
    assert report.runs == 2
    assert report.run_seconds < 7.0


def test_a_solution_that_hangs_is_a_timeout(make_places: MakePlaces) -> None:
    """A gold run that does not end leaves no commit to pose."""
    after = {**AFTER, "calc.py": ADD + "\n\ndef twice(a):\n    while True: pass\n"}
    report = gate(make_places(history(after)), budget_s=2.5)
    assert report.verdict.rejection is Rejection.TIMEOUT
    assert report.runs == 1


def test_a_test_that_fails_now_and_then_decides_nothing(make_places: MakePlaces) -> None:
    """A test that depends on chance is in neither set, and the commit stays fair."""
    chance = (
        "\n\ndef test_chance():\n    import os\n    assert int.from_bytes(os.urandom(8), 'big') % 2\n" +
        "".join(f"\n\ndef test_chance_{n}():\n    test_chance()\n" for n in range(7))
    )  # fmt: skip
    before = {**BEFORE, "tests/test_calc.py": TEST_ADD + chance}
    after = {**AFTER, "tests/test_calc.py": TEST_ADD + TEST_TWICE + chance}
    verdict = gate(make_places(history(after, before=before))).verdict
    assert verdict.validated
    stable = {node for node in verdict.required.f2p | verdict.required.p2p if "chance" not in node}
    assert stable == {"tests/test_calc.py::test_twice", "tests/test_calc.py::test_add"}
    assert any("chance" in node for node in verdict.flaky)


def test_tests_that_depend_on_their_order_are_set_aside(make_places: MakePlaces) -> None:
    """A chain that passes in file order alone is seen by the shuffled run."""
    chain = "\n\nSTATE = []\n" + "".join(
        f"\n\ndef test_chain_{n}():\n    assert len(STATE) == {n}\n    STATE.append({n})\n" for n in range(8)
    )
    before = {**BEFORE, "tests/test_calc.py": TEST_ADD + chain}
    after = {**AFTER, "tests/test_calc.py": TEST_ADD + TEST_TWICE + chain}
    verdict = gate(make_places(history(after, before=before))).verdict
    assert verdict.validated
    assert "tests/test_calc.py::test_chain_7" in verdict.flaky
    assert "tests/test_calc.py::test_add" in verdict.required.p2p


def test_a_commit_whose_deciding_test_is_unstable_is_flaky(make_places: MakePlaces) -> None:
    """A fail-to-pass test that depends on the hash seed fails in the shuffled run, and no other is left."""
    seed = (
        "\n\ndef test_twice():\n    import os\n    assert calc.twice(2) == 4 and os.environ['PYTHONHASHSEED'] == '0'\n"
    )
    report = gate(make_places(history({**AFTER, "tests/test_calc.py": TEST_ADD + seed})))
    assert report.verdict.rejection is Rejection.FLAKY
    assert "test_twice" in report.verdict.detail
    assert report.runs == 2 * REPEATS


def test_a_task_that_quotes_the_solution_leaks(make_places: MakePlaces) -> None:
    """A long line of the solution in the task text is found before any test has run."""
    line = "    return sum(value for value in (a, a) if value is not None)"
    after = {**AFTER, "calc.py": ADD + f"\n\ndef twice(a):\n{line}\n"}
    report = gate(make_places(history(after, message=f"Add twice as\n\n{line}\n")))
    assert report.verdict.rejection is Rejection.LEAKS_FUTURE
    assert report.runs == 0


def test_an_oversized_change_is_not_posed(make_places: MakePlaces) -> None:
    """Source files beyond the limit are refused unread by any model."""
    after = {**AFTER, "calc.py": ADD + TWICE + "#" * MAX_SOURCE_BYTES + "\n"}
    report = gate(make_places(history(after)))
    assert report.verdict.rejection is Rejection.OVERSIZED
    assert report.runs == 0


@pytest.mark.parametrize("field", ["sha", "parent"])
def test_a_commit_that_is_not_in_the_repository_is_missing(make_places: MakePlaces, field: str) -> None:
    """The commit and its parent must both be there."""
    places = make_places(history(AFTER))
    commit = replace(open_workbench(places).manifest.commits[0], **{field: "0123456789" * 4})
    assert gate(places, commit=commit).verdict.rejection is Rejection.COMMIT_MISSING


def test_a_python_that_this_machine_lacks_is_said(make_places: MakePlaces) -> None:
    """The detail names the version."""
    elsewhere = Environment("env-none", "3.99", (), {}, Lock("none", None))
    verdict = gate(make_places(history(AFTER), environments=(elsewhere,))).verdict
    assert verdict.rejection is Rejection.PYTHON_MISSING
    assert "3.99" in verdict.detail


def test_an_environment_whose_wheel_is_gone_is_unresolvable(make_places: MakePlaces, this_python: str) -> None:
    """The detail names the wheel."""
    broken = Environment("env-gone", this_python, ("gone-1.0-py3-none-any.whl",), {}, Lock("none", None))
    verdict = gate(make_places(history(AFTER), environments=(broken,))).verdict
    assert verdict.rejection is Rejection.ENV_UNRESOLVABLE
    assert "gone" in verdict.detail


def test_an_environment_without_pytest_fails_on_gold(make_places: MakePlaces, this_python: str) -> None:
    """A package that forgot pytest is told so."""
    bare = Environment("env-bare", this_python, (), {}, Lock("none", None))
    verdict = gate(make_places(history(AFTER), environments=(bare,))).verdict
    assert verdict.rejection is Rejection.GOLD_FAILS
    assert "No module named 'pytest'" in verdict.detail


def test_a_spent_budget_is_a_timeout(make_places: MakePlaces) -> None:
    """No time, no runs, and the detail says what was spent."""
    report = gate(make_places(history(AFTER)), budget_s=0.0)
    assert report.verdict.rejection is Rejection.TIMEOUT
    assert "0 of 6 runs" in report.verdict.detail

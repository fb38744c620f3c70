"""Verdicts from test results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from harness.grade import SHOWN_FAILURES, Required, Verdict, grade, needs_rerun
from harness.results import Outcome, RunResult, TestResult, read_records
from tests.records import KEY, sealed

REQUIRED = Required(f2p=frozenset({"new"}), p2p=frozenset({"old", "older"}))
GOOD = {"new": Outcome.PASSED, "old": Outcome.PASSED, "older": Outcome.PASSED}


def run(
    outcomes: Mapping[str, Outcome], *, completed: bool = True, timed_out: bool = False, code: int = 0
) -> RunResult:
    """Return a run with these outcomes."""
    tests = {node: TestResult(node, outcome, 0.1) for node, outcome in outcomes.items()}
    return RunResult(tests, {}, completed, 0 if completed else None, code, timed_out, 2.0)


def test_resolved_when_every_required_test_passes() -> None:
    """All of F2P and P2P pass; what else the run holds does not matter."""
    result = grade([run({**GOOD, "unrelated": Outcome.FAILED})], REQUIRED)
    assert (result.verdict, result.f2p_passed, result.p2p_passed, result.failing) == (Verdict.RESOLVED, 1, 2, ())


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.PASSED])
def test_any_other_outcome_of_a_required_test_is_not_a_pass(outcome: Outcome) -> None:
    """Skipped, unfinished, xfailed and xpassed are as good as failed."""
    result = grade([run({**GOOD, "new": outcome})], REQUIRED)
    assert (result.verdict, result.f2p_passed, result.failing) == (Verdict.NOT_RESOLVED, 0, ("new",))


def test_an_absent_required_test_is_not_a_pass() -> None:
    """A test that the run does not mention counts as failed."""
    outcomes = {node: outcome for node, outcome in GOOD.items() if node != "new"}
    result = grade([run(outcomes)], REQUIRED)
    assert (result.verdict, result.failing) == (Verdict.NOT_RESOLVED, ("new",))
    assert "1 of 1 fail-to-pass" in result.reason


def test_timeout() -> None:
    """A run that was stopped is a timeout even if every required test had passed."""
    assert grade([run(GOOD, completed=False, timed_out=True, code=-9)], REQUIRED).verdict is Verdict.TIMEOUT


def test_tampered_when_pytest_ended_without_its_record() -> None:
    """An exit before the completion record is the code's doing."""
    result = grade([run(GOOD, completed=False, code=0)], REQUIRED)
    assert (result.verdict, result.f2p_passed) == (Verdict.TAMPERED, 1)


@pytest.mark.parametrize("signal", [4, 6, 7, 8, 11])
def test_a_crash_is_the_codes_doing(signal: int) -> None:
    """Code that brings a crash signal upon itself has not passed its tests, and the environment is not to blame."""
    result = grade([run(GOOD, completed=False, code=-signal)], REQUIRED)
    assert (result.verdict, f"signal {signal}" in result.reason) == (Verdict.NOT_RESOLVED, True)


def test_env_broken_when_a_signal_ended_the_run() -> None:
    """A signal without a timeout is the machine's doing, and the reason names it."""
    result = grade([run(GOOD, completed=False, code=-9)], REQUIRED)
    assert result.verdict is Verdict.ENV_BROKEN
    assert "signal 9" in result.reason


def test_two_end_records_are_tampered() -> None:
    """A forged completion record beside the real one resolves nothing."""
    lines = [{"t": "phase", "id": "new", "when": when, "outcome": "passed"} for when in ("setup", "call", "teardown")]
    raw = sealed(*lines, {"t": "end", "exit": 0}, {"t": "end", "exit": 0})
    forged = read_records(raw, KEY, returncode=0, timed_out=False, seconds=1.0)
    assert grade([forged], Required(frozenset({"new"}), frozenset())).verdict is Verdict.TAMPERED


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("timed_out", [False, True])
def test_a_run_that_was_interfered_with_is_tampered_whatever_else_it_says(which: int, timed_out: bool) -> None:
    """The reason is what the run shows, be it a later one or one that was stopped."""
    runs = [run({**GOOD, "old": Outcome.FAILED}), run(GOOD)]
    runs[which] = replace(runs[which], completed=False, timed_out=timed_out, tampering="a canary was not run")
    assert grade(runs, REQUIRED).verdict is Verdict.TAMPERED
    assert grade(runs, REQUIRED).reason == "a canary was not run"


def test_flaky_when_only_p2p_failed_and_a_rerun_disagrees() -> None:
    """One disagreeing re-run is enough, and the reason names the test."""
    first, same, other = run({**GOOD, "old": Outcome.FAILED}), run({**GOOD, "old": Outcome.FAILED}), run(GOOD)
    result = grade([first, same, other], REQUIRED)
    assert result.verdict is Verdict.FLAKY
    assert "old" in result.reason


def test_not_resolved_when_reruns_agree() -> None:
    """The same P2P failure three times is a broken test, not a flaky one."""
    broken = run({**GOOD, "old": Outcome.FAILED})
    assert grade([broken, broken, broken], REQUIRED).verdict is Verdict.NOT_RESOLVED


def test_a_rerun_never_saves_a_failing_f2p() -> None:
    """The first run decides: a fail-to-pass test that passes only later stays failed."""
    assert grade([run({**GOOD, "new": Outcome.FAILED}), run(GOOD)], REQUIRED).verdict is Verdict.NOT_RESOLVED


def test_reruns_never_unmake_a_resolved_first_run() -> None:
    """A first run with everything passing is resolved whatever follows."""
    assert grade([run(GOOD), run({**GOOD, "old": Outcome.FAILED})], REQUIRED).verdict is Verdict.RESOLVED


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (run(GOOD), False),
        (run({**GOOD, "old": Outcome.FAILED}), True),
        (run({**GOOD, "new": Outcome.FAILED}), False),
        (run({**GOOD, "new": Outcome.FAILED, "old": Outcome.FAILED}), False),
        (run({**GOOD, "old": Outcome.FAILED}, completed=False), False),
    ],
    ids=["all-pass", "p2p", "f2p", "both", "incomplete"],
)
def test_only_a_p2p_failure_is_worth_reruns(first: RunResult, expected: bool) -> None:
    """Runs are repeated exactly when flakiness could be the explanation."""
    assert needs_rerun(first, REQUIRED) is expected


def test_failing_ids_are_sorted_and_bounded() -> None:
    """The evidence names the first failures in a fixed order, not all of thousands."""
    required = Required(frozenset({"new"}), frozenset(f"old{number:04}" for number in range(500)))
    result = grade([run({"new": Outcome.PASSED})], required)
    assert result.failing == tuple(f"old{number:04}" for number in range(SHOWN_FAILURES))

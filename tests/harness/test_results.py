"""Reading the result pipe: bytes that pytest sent, and bytes that somebody else sent."""

from __future__ import annotations

import pytest

from harness.results import Outcome, RunResult, read_records
from tests.records import KEY, sealed


def read(*records: object, timed_out: bool = False) -> RunResult:
    """Read records that our sender wrote."""
    return read_records(sealed(*records), KEY, returncode=0, timed_out=timed_out, seconds=1.0)


def phase(when: str, outcome: str = "passed", **more: object) -> dict[str, object]:
    """Return one phase of the test `t`."""
    return {"t": "phase", "id": "t", "when": when, "outcome": outcome, "s": 0.5, **more}


START = {"t": "start", "id": "t"}
END = {"t": "end", "exit": 0, "collected": 1}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([phase("setup"), phase("call"), phase("teardown")], Outcome.PASSED),
        ([phase("setup"), phase("call", "failed"), phase("teardown")], Outcome.FAILED),
        ([phase("setup", "failed"), phase("teardown")], Outcome.ERROR),
        ([phase("setup"), phase("call"), phase("teardown", "failed")], Outcome.ERROR),
        ([phase("setup", "skipped"), phase("teardown")], Outcome.SKIPPED),
        ([phase("setup"), phase("call", "skipped", xfail=True), phase("teardown")], Outcome.XFAILED),
        ([phase("setup"), phase("call", xfail=True), phase("teardown")], Outcome.XPASSED),
        ([phase("setup"), phase("call")], Outcome.UNFINISHED),
        ([phase("setup")], Outcome.UNFINISHED),
        ([], Outcome.UNFINISHED),
        ([phase("setup"), phase("teardown")], Outcome.UNFINISHED),
        ([phase("setup"), phase("call", "failed"), phase("call"), phase("teardown")], Outcome.FAILED),
    ],
)  # fmt: skip
def test_outcome_is_the_worst_of_the_phases(rows: list[object], expected: Outcome) -> None:
    """Each combination of phases has its outcome; a phase that failed once, as subtests do, has failed."""
    assert read(START, *rows, END).outcome("t") is expected


def test_a_failed_test_keeps_its_message_and_its_time() -> None:
    """Message and the summed seconds of all phases are kept."""
    test = read(START, phase("setup"), phase("call", "failed", message="boom"), phase("teardown"), END).tests["t"]
    assert (test.message, test.seconds) == ("boom", 1.5)


def test_a_test_that_nobody_mentions_has_no_outcome() -> None:
    """Absence is None, not a pass."""
    run = read(END)
    assert run.outcome("t") is None
    assert run.passed == frozenset()


@pytest.mark.parametrize("ends", [[], [END, END]], ids=["none", "two"])
def test_a_run_is_complete_with_exactly_one_end(ends: list[object]) -> None:
    """No completion record, or a second one beside the plugin's, means not completed."""
    run = read(START, phase("setup"), phase("call"), phase("teardown"), *ends)
    assert not run.completed
    assert run.pytest_exit is None


def test_a_timeout_is_never_complete() -> None:
    """Even with its completion record a run that was stopped did not complete."""
    assert not read(END, timed_out=True).completed


def test_uncollectable_modules_are_kept_with_the_reason() -> None:
    """A collector that failed is listed apart from the tests."""
    run = read({"t": "uncollectable", "id": "tests/test_a.py", "message": "ImportError: no x"}, END)
    assert run.uncollectable == {"tests/test_a.py": "ImportError: no x"}
    assert run.tests == {}


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b"\xff\xfe", b"null", b"[]", b'"end"', b"{}", b'{"t": ["end"]}', b'{"t": "end", "exit": 0}',
        b"[" * 100_000, b"1" * 5000, b"1 " + b"0" * 32 + b' {"t": "end", "exit": 0}',
    ],
)  # fmt: skip
def test_a_line_that_is_not_ours_makes_the_run_a_tampered_one(line: bytes) -> None:
    """Whatever the code under test writes to the pipe, the run is not complete and says why."""
    raw = sealed(START, phase("setup"), phase("call"), phase("teardown"), END)
    run = read_records(raw + line + b"\n", KEY, returncode=0, timed_out=False, seconds=1.0)
    assert run.tampering.startswith("somebody else wrote to the record pipe")
    assert not run.completed
    assert run.passed == {"t"}


@pytest.mark.parametrize("ended", ["AssertionError: assert 1 == 2", "not called"])
def test_a_pass_that_its_own_function_contradicts_is_tampering(ended: str) -> None:
    """A report of success does not stand where the function raised or was never called."""
    run = read(START, phase("setup"), phase("call", ended=ended), phase("teardown"), END)
    assert run.tampering.startswith("t is said to have passed, but its function")
    assert not run.completed


def test_what_a_function_raised_is_no_contradiction_to_a_failure() -> None:
    """Failing, skipping and returning agree with their reports."""
    for outcome, ended in (("failed", "ValueError: x"), ("skipped", "Skipped: later"), ("passed", "")):
        run = read(START, phase("setup"), phase("call", outcome, ended=ended), phase("teardown"), END)
        assert (run.completed, run.tampering) == (True, "")


def test_a_forged_pass_beside_the_real_failure_is_a_failure() -> None:
    """The same id reported twice with contradicting phases has failed, whichever came first."""
    passed, failed = phase("call"), phase("call", "failed")
    for first, second in ((passed, failed), (failed, passed)):
        rows = [START, phase("setup"), first, phase("teardown"), phase("setup"), second, phase("teardown"), END]
        assert read(*rows).outcome("t") is Outcome.FAILED


@pytest.mark.parametrize("exit_value", ["zero", None, [], {}, 1e300])
def test_a_forged_end_record_does_not_stop_the_reader(exit_value: object) -> None:
    """An exit status that is no number is no status."""
    assert read({"t": "end", "exit": exit_value}).pytest_exit is None
    assert read({"t": "end"}).pytest_exit is None


@pytest.mark.parametrize("seconds", ["long", None, [], float("nan"), float("inf"), True, 10**400])
def test_forged_durations_count_as_nothing(seconds: object) -> None:
    """A duration that is no finite number adds no time."""
    run = read(START, phase("setup"), phase("call", s=seconds), phase("teardown"), END)
    assert run.tests["t"].seconds == 1.0

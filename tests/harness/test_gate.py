"""The gate's decision, from hand-made runs."""

from __future__ import annotations

import pytest

from harness.gate import (
    LIMIT_FACTOR,
    MIN_LIMIT_S,
    Control,
    Rejection,
    attempt_limit_s,
    judge,
    judge_control,
    judge_gold,
    judge_pair,
    leaked_line,
    reject_constant,
)
from harness.grade import Required
from harness.results import Outcome, RunResult, TestResult


def test_a_parent_that_ends_early_is_no_fair_task() -> None:
    """What passes on a parent whose run broke off is unknown, so nothing counts as fail-to-pass."""
    verdict = judge_pair(run("a", completed=False, returncode=1), run("a b"))
    assert verdict is not None
    assert verdict.rejection is Rejection.PARENT_FAILS


def test_a_repeated_run_that_ends_early_is_flaky() -> None:
    """A run that broke off once decides nothing."""
    verdict = judge([run("a")] * 3, [run("a b"), run("a b", completed=False), run("a b")])
    assert verdict.rejection is Rejection.FLAKY


def run(passed: str = "", failed: str = "", *, seconds: float = 1.0, **more: object) -> RunResult:
    """Return a run; tests are named by single words."""
    outcomes = dict.fromkeys(passed.split(), Outcome.PASSED) | dict.fromkeys(failed.split(), Outcome.FAILED)
    tests = {node: TestResult(node, outcome, 0.1, "" if outcome is Outcome.PASSED else f"E {node} broke")
             for node, outcome in outcomes.items()}  # fmt: skip
    values = {"tests": tests, "uncollectable": {}, "completed": True, "pytest_exit": 0, "returncode": 0,
              "timed_out": False, "seconds": seconds} | more  # fmt: skip
    return RunResult(**values)  # type: ignore[arg-type]


REQUIRED = Required(frozenset({"new"}), frozenset({"old"}))


@pytest.mark.parametrize(("control", "how"), [
    (("old", "new"), Control.FAILED), (("new", "old"), Control.FAILED_P2P), (("old new", ""), Control.PASSED),
])  # fmt: skip
def test_a_control_has_to_fail(control: tuple[str, str], how: Control) -> None:
    """A run of hollow functions must not pass every required test; which ones fail is said."""
    assert judge_control(run(*control), REQUIRED) is how
    assert judge_control(run(*control, completed=False), REQUIRED) is Control.FAILED


def test_the_rejection_says_how_many_tests_saw_nothing() -> None:
    """The detail is for whoever reads the yield."""
    verdict = reject_constant(judge(three(run("old")), three(run("old new"))))
    assert verdict.rejection is Rejection.CONSTANT_PASSES
    assert "all 2 required tests" in verdict.detail


def three(*same: RunResult) -> list[RunResult]:
    """Return a run repeated three times."""
    return list(same) * 3


def test_f2p_and_p2p_are_what_every_run_agrees_on() -> None:
    """A clean commit is validated with both sets, and nothing is flaky."""
    verdict = judge(three(run("old", "new")), three(run("old new", "always_bad")))
    assert verdict.validated
    assert (verdict.required.f2p, verdict.required.p2p) == ({"new"}, {"old"})
    assert verdict.flaky == frozenset()


def test_a_test_that_cannot_be_collected_on_the_parent_is_f2p() -> None:
    """Absence on the parent counts as failing."""
    assert judge(three(run("old")), three(run("old new"))).required.f2p == {"new"}


def test_an_unstable_old_test_is_set_aside_and_the_commit_stays() -> None:
    """A test that failed once on gold is flaky, in neither set."""
    golds = [run("old wobbly new"), run("old wobbly new"), run("old new", "wobbly")]
    verdict = judge(three(run("old wobbly")), golds)
    assert verdict.validated
    assert verdict.required.p2p == {"old"}
    assert verdict.flaky == {"wobbly"}


def test_a_test_that_passes_once_on_the_parent_is_not_f2p() -> None:
    """One pass on the parent is enough to be no fail-to-pass test."""
    parents = [run("old lucky"), run("old", "lucky"), run("old", "lucky")]
    verdict = judge(parents, three(run("old lucky new")))
    assert verdict.required.f2p == {"new"}
    assert "lucky" in verdict.flaky
    assert "lucky" not in verdict.required.p2p


def test_flaky_when_the_deciding_tests_are_unstable() -> None:
    """Without one stable fail-to-pass test, instability is the reason, with names."""
    verdict = judge(three(run("old")), [run("old new"), run("old new"), run("old", "new")])
    assert verdict.rejection is Rejection.FLAKY
    assert "new" in verdict.detail


def test_no_f2p_when_the_solution_changes_no_test() -> None:
    """A refactoring leaves all tests as they were."""
    verdict = judge(three(run("a b")), three(run("a b")))
    assert verdict.rejection is Rejection.NO_F2P
    assert "all 2 tests" in verdict.detail


@pytest.mark.parametrize("side", ["parent", "gold"])
def test_a_timeout_in_a_repeat_rejects(side: str) -> None:
    """Any repeated run over its limit ends the matter, on either side."""
    slow = run(timed_out=True, completed=False, seconds=60.0)
    parents, golds = three(run("old")), three(run("old new"))
    (parents if side == "parent" else golds)[2] = slow
    assert judge(parents, golds).rejection is Rejection.TIMEOUT


def test_the_limit_of_attempts_follows_the_median_of_gold() -> None:
    """Five times the median, but never below a minute."""
    verdict = judge(three(run("a")), [run("a b", seconds=s) for s in (10.0, 40.0, 20.0)])
    assert verdict.gold_median_s == 20.0
    assert verdict.limit_s == LIMIT_FACTOR * 20.0 == attempt_limit_s(20.0)
    assert attempt_limit_s(0.5) == MIN_LIMIT_S


@pytest.mark.parametrize(
    ("gold", "rejection", "words"),
    [
        (run(timed_out=True, completed=False, seconds=300.0), Rejection.TIMEOUT, "300 s"),
        (run("a", completed=False, returncode=3, output="Fatal: x"), Rejection.GOLD_FAILS, "status 3: Fatal: x"),
        (run("", "a"), Rejection.GOLD_FAILS, "a: E a broke"),
        (
            run(uncollectable={"t.py": "Traceback\nImportError: y"}),
            Rejection.GOLD_FAILS,
            "t.py cannot be collected: Im",
        ),
        (run(output="usage: pytest\nerror: -n"), Rejection.GOLD_FAILS, "error: -n"),
        (run(uncollectable={"t.py": ""}), Rejection.GOLD_FAILS, "no message"),
        (run(), Rejection.GOLD_FAILS, "no output"),
    ],
)
def test_gold_that_rules_the_commit_out_at_once(gold: RunResult, rejection: Rejection, words: str) -> None:
    """Each way in which gold itself is unusable has its reason, and the detail says what was seen."""
    verdict = judge_gold(gold)
    assert verdict is not None
    assert verdict.rejection is rejection
    assert words in verdict.detail
    assert not verdict.required.f2p


def test_gold_with_some_failures_goes_on() -> None:
    """One passing test is enough to look further."""
    assert judge_gold(run("a", "b")) is None


def test_a_pair_with_a_hanging_parent_names_the_test() -> None:
    """A parent that hangs is a timeout, and the detail says where it hung."""
    hung = TestResult("t::hang", Outcome.UNFINISHED, 0.0)
    verdict = judge_pair(run(tests={"t::hang": hung}, timed_out=True, completed=False), run("t::hang"))
    assert verdict is not None
    assert verdict.rejection is Rejection.TIMEOUT
    assert "t::hang" in verdict.detail


def test_a_pair_without_difference_is_no_f2p_and_one_with_goes_on() -> None:
    """Two runs are enough to see that a commit changes no test."""
    same = judge_pair(run("a"), run("a"))
    assert same is not None
    assert same.rejection is Rejection.NO_F2P
    assert judge_pair(run("a", "b"), run("a b")) is None


def test_a_long_solution_line_in_the_task_is_a_leak() -> None:
    """Only lines of some length count; the spaces around them do not."""
    long = "return sorted(values, key=lambda value: value.rank)"
    task = f"Please write `{long}` in ranks.py"
    assert leaked_line(task, ["    x = 1", f"    {long}  "]) == long
    assert leaked_line(task, ["ranks.py", "return sorted(values)"]) is None

"""The gold gate's decision: whether a commit is a fair task, and which tests decide about it.

Pure: runs in, verdict out. A test counts only if it agreed with itself in every run, one of them
shuffled; what did not is set aside by name (seed 004, 6.9; harness reference, requirement 2).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.grade import Required
from harness.results import RunResult

LEAK_CHARS = 40
MIN_LIMIT_S = 60.0
LIMIT_FACTOR = 5.0
SHOWN = 3


class Rejection(StrEnum):
    """Why a commit is not posed as a task."""

    NO_F2P = "no_f2p"
    GOLD_FAILS = "gold_fails"
    FLAKY = "flaky"
    TIMEOUT = "timeout"
    ENV_UNRESOLVABLE = "env_unresolvable"
    PYTHON_MISSING = "python_missing"
    COMMIT_MISSING = "commit_missing"
    LEAKS_FUTURE = "leaks_future"
    OVERSIZED = "oversized"
    PARENT_FAILS = "parent_fails"
    """The tests end early on the parent, so that what passes there is unknown."""
    INEXPRESSIBLE = "inexpressible"
    """The solution cannot be written as edits of text files."""
    CONSTANT_PASSES = "constant_passes"
    """Every required test passes on functions that compute nothing."""


@dataclass(frozen=True)
class GateVerdict:
    """What the gate says about one commit."""

    rejection: Rejection | None
    detail: str
    required: Required
    flaky: frozenset[str]
    gold_median_s: float

    @property
    def validated(self) -> bool:
        """Whether the commit may be posed as a task."""
        return self.rejection is None

    @property
    def limit_s(self) -> float:
        """Wall-clock limit for attempts at this commit."""
        return attempt_limit_s(self.gold_median_s)


def attempt_limit_s(gold_median_s: float) -> float:
    """Return the time limit of a run, from what the true solution needed."""
    return max(MIN_LIMIT_S, LIMIT_FACTOR * gold_median_s)


def reject(rejection: Rejection, detail: str, *, gold_median_s: float = 0.0) -> GateVerdict:
    """Return a verdict that keeps no tests."""
    return GateVerdict(rejection, detail, Required(frozenset(), frozenset()), frozenset(), gold_median_s)


def judge_gold(run: RunResult) -> GateVerdict | None:
    """Return why one run on the gold tree already rules the commit out, or None."""
    if run.timed_out:
        return reject(Rejection.TIMEOUT, f"gold did not end within {run.seconds:.0f} s", gold_median_s=run.seconds)
    if not run.completed:
        return reject(Rejection.GOLD_FAILS, f"gold {_how_it_broke(run)}")
    if not run.passed:
        return reject(Rejection.GOLD_FAILS, f"no test passes on gold: {_why_nothing_passed(run)}")
    return None


def judge_pair(parent: RunResult, gold: RunResult) -> GateVerdict | None:
    """Return why the first pair of runs already rules the commit out, or None when it is worth more runs."""
    if parent.timed_out:
        hung = next((node for node, test in parent.tests.items() if test.outcome == "unfinished"), "collection")
        detail = f"the tests hang on the parent, at {hung}, after {parent.seconds:.0f} s"
        return reject(Rejection.TIMEOUT, detail, gold_median_s=gold.seconds)
    if not parent.completed:
        detail = f"on the parent, the tests {_how_it_broke(parent)}"
        return reject(Rejection.PARENT_FAILS, detail, gold_median_s=gold.seconds)
    if not gold.passed - parent.passed:
        return reject(Rejection.NO_F2P, _no_f2p(gold), gold_median_s=gold.seconds)
    return None


def judge(parents: Sequence[RunResult], golds: Sequence[RunResult]) -> GateVerdict:
    """Judge all runs of a commit: F2P and P2P are what every run agrees on."""
    median_s = statistics.median(run.seconds for run in golds)
    for run in (*golds, *parents):
        if run.timed_out:
            return reject(Rejection.TIMEOUT, f"a repeated run did not end within {run.seconds:.0f} s")
        if not run.completed:
            return reject(Rejection.FLAKY, f"a repeated run {_how_it_broke(run)}")
    always_gold = frozenset.intersection(*(run.passed for run in golds))
    ever_gold = frozenset.union(*(run.passed for run in golds))
    always_parent = frozenset.intersection(*(run.passed for run in parents))
    ever_parent = frozenset.union(*(run.passed for run in parents))
    flaky = (ever_gold - always_gold) | (ever_parent - always_parent)
    required = Required(f2p=always_gold - ever_parent, p2p=(always_gold & always_parent) - flaky)
    if required.f2p:
        return GateVerdict(None, f"{len(required.f2p)} fail-to-pass tests", required, flaky, median_s)
    if ever_gold - always_parent:
        names = ", ".join(sorted(flaky)[:SHOWN])
        return GateVerdict(Rejection.FLAKY, f"its deciding tests are unstable: {names}", required, flaky, median_s)
    return GateVerdict(Rejection.NO_F2P, _no_f2p(golds[0]), required, flaky, median_s)


class Control(StrEnum):
    """How the gold tree with hollow functions fared."""

    NO_FUNCTION = "no_function"
    """The commit changes no function that computes something, so there was no such run."""
    FAILED = "failed"
    """A fail-to-pass test fails, as it must."""
    FAILED_P2P = "failed_p2p"
    """Pass-to-pass tests fail, and no other: a constant is no solution, but it is the old tests that say so."""
    PASSED = "passed"


def judge_control(run: RunResult, required: Required) -> Control:
    """Return how a control run ended; a solution that computes nothing must not come out as RESOLVED."""
    if not run.completed or not required.f2p <= run.passed:
        return Control.FAILED
    return Control.PASSED if required.p2p <= run.passed else Control.FAILED_P2P


def reject_constant(verdict: GateVerdict) -> GateVerdict:
    """Return the rejection of a commit whose control passed."""
    tests = len(verdict.required.f2p) + len(verdict.required.p2p)
    detail = f"all {tests} required tests pass with changed functions that only return None"
    return reject(Rejection.CONSTANT_PASSES, detail, gold_median_s=verdict.gold_median_s)


def leaked_line(task: str, added_lines: Sequence[str]) -> str | None:
    """Return a long line of the solution that the task text quotes, or None."""
    for line in added_lines:
        text = line.strip()
        if len(text) >= LEAK_CHARS and text in task:
            return text
    return None


def _no_f2p(gold: RunResult) -> str:
    return f"all {len(gold.passed)} tests that pass on gold pass on the parent, too"


def _why_nothing_passed(run: RunResult) -> str:
    if run.uncollectable:
        node, message = next(iter(run.uncollectable.items()))
        return f"{node} cannot be collected: {(message.strip().splitlines() or ['no message'])[-1][:300]}"
    failed = next((test for test in run.tests.values() if test.message), None)
    if failed is not None:
        return f"{failed.node_id}: {failed.message.strip().splitlines()[-1][:300]}"
    return _tail(run)


def _how_it_broke(run: RunResult) -> str:
    if run.tampering:
        return f"cannot be believed: {run.tampering}"
    if run.out_of_memory:
        return "needed more memory than a run may have"
    return f"ended early with status {run.returncode}: {_tail(run)}"


def _tail(run: RunResult) -> str:
    return " | ".join(line.strip() for line in run.output.strip().splitlines()[-SHOWN:])[-300:] or "no output"

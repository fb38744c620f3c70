"""The verdict on an attempt: a pure function from test results to a closed set of outcomes.

Invariants: a required test that is absent, skipped or unfinished has not passed; a run that did
not complete never resolves anything; stdout is never read. What this cannot see is a process that
forges its own report: the sandbox, the protected paths and later checks stand in front of it.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from harness.results import RunResult

SHOWN_FAILURES = 20
CRASH_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS})
"""Signals that code brings upon itself; any other was sent by the machine."""


class Verdict(StrEnum):
    """How an attempt ended (design/contracts.md, "Verdicts")."""

    RESOLVED = "RESOLVED"
    NOT_RESOLVED = "NOT_RESOLVED"
    EDIT_FAILED = "EDIT_FAILED"
    TAMPERED = "TAMPERED"
    TIMEOUT = "TIMEOUT"
    FLAKY = "FLAKY"
    ENV_BROKEN = "ENV_BROKEN"
    CONTEXT_OVERFLOW = "CONTEXT_OVERFLOW"


@dataclass(frozen=True)
class Required:
    """What a commit demands: tests that must go from fail to pass, and tests that must stay passing."""

    f2p: frozenset[str]
    p2p: frozenset[str]


@dataclass(frozen=True)
class Grade:
    """A verdict with what it rests on."""

    verdict: Verdict
    reason: str
    f2p_passed: int
    p2p_passed: int
    failing: tuple[str, ...] = ()
    """The first required node ids that did not pass."""


def needs_rerun(run: RunResult, required: Required) -> bool:
    """Return whether only must-stay-passing tests failed, so that a re-run decides about flakiness."""
    return run.completed and required.f2p <= run.passed and not required.p2p <= run.passed


def grade(runs: Sequence[RunResult], required: Required, *, problem: str = "") -> Grade:
    """Judge the runs of one candidate: the first one decides, the others only expose flakiness.

    `problem` is why the pass that made the candidate stopped at an unusable answer, or "": such a
    candidate is unfinished, so it is never RESOLVED, whatever its tests say.
    """
    judged = _grade(runs, required)
    if not problem:
        return judged
    if judged.verdict in {Verdict.RESOLVED, Verdict.NOT_RESOLVED}:
        return replace(judged, verdict=Verdict.NOT_RESOLVED, reason=problem)
    return replace(judged, reason=f"{problem}; {judged.reason}")


def _grade(runs: Sequence[RunResult], required: Required) -> Grade:
    first = runs[0]
    f2p_passed, p2p_passed = required.f2p & first.passed, required.p2p & first.passed
    failing = tuple(sorted((required.f2p - f2p_passed) | (required.p2p - p2p_passed)))[:SHOWN_FAILURES]

    def verdict(kind: Verdict, reason: str) -> Grade:
        return Grade(kind, reason, len(f2p_passed), len(p2p_passed), failing)

    tampering = next((run.tampering for run in runs if run.tampering), "")
    if tampering:
        return verdict(Verdict.TAMPERED, tampering)
    if first.timed_out:
        return verdict(Verdict.TIMEOUT, f"the tests did not end within {first.seconds:.0f} s")
    if not first.completed:
        return _incomplete(first, verdict(Verdict.TAMPERED, "pytest ended without its completion record"))
    if not failing:
        return verdict(Verdict.RESOLVED, "every required test passed")
    if needs_rerun(first, required) and any(required.p2p & run.passed != p2p_passed for run in runs[1:]):
        return verdict(Verdict.FLAKY, f"a re-run disagrees about {failing[0]}")
    missed = f"{len(required.f2p) - len(f2p_passed)} of {len(required.f2p)} fail-to-pass"
    broken = f"{len(required.p2p) - len(p2p_passed)} of {len(required.p2p)} pass-to-pass"
    return verdict(Verdict.NOT_RESOLVED, f"{missed} and {broken} tests did not pass")


def _incomplete(run: RunResult, tampered: Grade) -> Grade:
    """Nothing came back from pytest itself: a crash or an exit is the code's doing, being killed is not."""
    if run.out_of_memory:
        return replace(tampered, verdict=Verdict.NOT_RESOLVED, reason="the tests needed more memory than they may have")
    if run.returncode >= 0:
        return tampered
    crashed = -run.returncode in CRASH_SIGNALS
    return replace(
        tampered,
        verdict=Verdict.NOT_RESOLVED if crashed else Verdict.ENV_BROKEN,
        reason=f"signal {-run.returncode} ended the tests",
    )

"""What a test run said, read from the result pipe: one outcome per node id.

Pure: bytes in, values out, whatever the bytes are: the code under test can write to the pipe, too.
A test's outcome is the worst of its phases. What is not reported is not there, and whoever grades
treats an absent test as failed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """How one test ended."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    """Setup or teardown failed."""
    SKIPPED = "skipped"
    XFAILED = "xfailed"
    XPASSED = "xpassed"
    UNFINISHED = "unfinished"
    """The run ended while this test was running."""


@dataclass(frozen=True)
class TestResult:
    """One test of a run."""

    __test__ = False

    node_id: str
    outcome: Outcome
    seconds: float
    message: str = ""


@dataclass(frozen=True)
class RunResult:
    """One run of the tests in a fresh sandbox."""

    tests: Mapping[str, TestResult]
    uncollectable: Mapping[str, str]
    """Node id of a collector (usually a file) to why it could not be collected."""
    completed: bool
    """pytest returned by itself and said so."""
    pytest_exit: int | None
    returncode: int
    timed_out: bool
    seconds: float
    output: str = ""
    """The end of stdout and stderr, for people; never read for a verdict."""

    @property
    def passed(self) -> frozenset[str]:
        """Node ids that passed."""
        return frozenset(node for node, test in self.tests.items() if test.outcome is Outcome.PASSED)

    def outcome(self, node_id: str) -> Outcome | None:
        """Return how a test ended, or None when the run does not mention it."""
        test = self.tests.get(node_id)
        return test.outcome if test else None


def read_records(
    raw: bytes, *, returncode: int, timed_out: bool, seconds: float, output: str = ""
) -> RunResult:  # fmt: skip
    """Turn the bytes of the result pipe into a RunResult; malformed lines are ignored."""
    phases: dict[str, list[Mapping[str, Any]]] = {}
    uncollectable: dict[str, str] = {}
    ends: list[Mapping[str, Any]] = []
    for record in _records(raw):
        kind = record.get("t")
        if kind in ("start", "phase"):
            phases.setdefault(str(record.get("id")), []).append(record)
        elif kind == "uncollectable":
            uncollectable[str(record.get("id"))] = str(record.get("message", ""))
        elif kind == "end":
            ends.append(record)
    completed = len(ends) == 1 and not timed_out
    return RunResult(
        tests={node: _result(node, rows) for node, rows in phases.items()},
        uncollectable=uncollectable,
        completed=completed,
        pytest_exit=_whole(ends[0].get("exit")) if completed else None,
        returncode=returncode,
        timed_out=timed_out,
        seconds=seconds,
        output=output,
    )


def _records(raw: bytes) -> Iterator[Mapping[str, Any]]:
    for line in raw.splitlines():
        try:
            record = json.loads(line)
            json.dumps(record, ensure_ascii=False).encode()  # half a surrogate pair cannot be stored
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _seconds(value: object) -> float:
    return value if isinstance(value, float) and math.isfinite(value) else 0.0


def _result(node_id: str, rows: list[Mapping[str, Any]]) -> TestResult:
    phases = [row for row in rows if row.get("t") == "phase"]
    done = {str(row.get("when")): row for row in phases}
    seconds = sum(_seconds(row.get("s")) for row in done.values())
    failed = next((row for row in phases if row.get("outcome") == "failed"), None)  # subtests repeat a phase
    if failed is not None:
        outcome = Outcome.FAILED if failed.get("when") == "call" else Outcome.ERROR
        return TestResult(node_id, outcome, seconds, str(failed.get("message", "")))
    if "teardown" not in done:
        return TestResult(node_id, Outcome.UNFINISHED, seconds)
    skipped = next((row for row in done.values() if row.get("outcome") == "skipped"), None)
    if skipped is not None:
        return TestResult(node_id, Outcome.XFAILED if skipped.get("xfail") else Outcome.SKIPPED, seconds)
    call = done.get("call")
    if call is None:
        return TestResult(node_id, Outcome.UNFINISHED, seconds)
    return TestResult(node_id, Outcome.XPASSED if call.get("xfail") else Outcome.PASSED, seconds)

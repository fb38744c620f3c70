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

MOST_NODES = 200_000
MOST_ENDS = 2
MESSAGE_CHARS = 8_000
PHASES = ("setup", "call", "teardown")


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
    raw: bytes | bytearray, *, returncode: int, timed_out: bool, seconds: float, output: str = ""
) -> RunResult:  # fmt: skip
    """Turn the bytes of the result pipe into a RunResult; malformed lines are ignored.

    A pipe that names more than MOST_NODES tests gives a run that did not complete: what arrives here
    is written by code under test and must not fill the memory.
    """
    nodes: dict[str, _Node] = {}
    uncollectable: dict[str, str] = {}
    ends: list[Mapping[str, Any]] = []
    flooded = False
    for record in _records(raw):
        kind = record.get("t")
        node_id = str(record.get("id"))
        if kind in ("start", "phase"):
            if len(nodes) < MOST_NODES or node_id in nodes:
                nodes.setdefault(node_id, _Node()).add(record)
            else:
                flooded = True
        elif kind == "uncollectable" and len(uncollectable) < MOST_NODES:
            uncollectable[node_id] = str(record.get("message", ""))[:MESSAGE_CHARS]
        elif kind == "end" and len(ends) < MOST_ENDS:
            ends.append(record)
    completed = len(ends) == 1 and not timed_out and not flooded
    return RunResult(
        tests={node_id: node.result(node_id) for node_id, node in nodes.items()},
        uncollectable=uncollectable,
        completed=completed,
        pytest_exit=_whole(ends[0].get("exit")) if completed else None,
        returncode=returncode,
        timed_out=timed_out,
        seconds=seconds,
        output=output,
    )


def _records(raw: bytes | bytearray) -> Iterator[Mapping[str, Any]]:
    start = 0
    while start < len(raw):
        end = raw.find(b"\n", start)
        end = len(raw) if end < 0 else end
        try:
            record = json.loads(raw[start:end])
            json.dumps(record, ensure_ascii=False).encode()  # half a surrogate pair cannot be stored
        except (ValueError, RecursionError):
            record = None
        start = end + 1
        if isinstance(record, dict):
            yield record


class _Node:
    """What was reported about one test so far."""

    __slots__ = ("failed", "message", "phases", "seconds", "skipped", "xfail")

    def __init__(self) -> None:
        self.phases: set[str] = set()
        self.failed = ""
        """Phase of the first failure; subtests repeat a phase."""
        self.message = ""
        self.skipped = False
        self.xfail = False
        self.seconds = 0.0

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in one record of this test."""
        if record.get("t") != "phase":
            return
        when, outcome = str(record.get("when")), record.get("outcome")
        if when not in PHASES:
            return
        self.phases.add(when)
        self.seconds += _seconds(record.get("s"))
        self.xfail = self.xfail or bool(record.get("xfail"))
        self.skipped = self.skipped or outcome == "skipped"
        if outcome == "failed" and not self.failed:
            self.failed = when
            self.message = str(record.get("message", ""))[:MESSAGE_CHARS]

    def result(self, node_id: str) -> TestResult:
        """Return the worst of the phases."""
        if self.failed:
            outcome = Outcome.FAILED if self.failed == "call" else Outcome.ERROR
        elif "teardown" not in self.phases:
            outcome = Outcome.UNFINISHED
        elif self.skipped:
            outcome = Outcome.XFAILED if self.xfail else Outcome.SKIPPED
        elif "call" not in self.phases:
            outcome = Outcome.UNFINISHED
        else:
            outcome = Outcome.XPASSED if self.xfail else Outcome.PASSED
        return TestResult(node_id, outcome, self.seconds, self.message)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _seconds(value: object) -> float:
    return value if isinstance(value, float) and math.isfinite(value) else 0.0

"""What a test run said, read from the result pipe: one outcome per node id.

Pure: bytes in, values out, whatever the bytes are: the code under test can write to the pipe, too.
A test's outcome is the worst of its phases. What is not reported is not there, and whoever grades
treats an absent test as failed. What contradicts itself (a record that is not ours, a canary that
did not behave, a test that raised and is said to have passed) makes the run a tampered one, which
never counts as complete.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.canaries import Canary, CanaryResult, Seen, is_canary, judge
from harness.keyedpipe import open_records

MOST_NODES = 200_000
MOST_ENDS = 2
MESSAGE_CHARS = 8_000
PHASES = ("setup", "call", "teardown")
NOT_CALLED = "not called"
"""How a test function ended that pytest never came to call."""


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
    tampering: str = ""
    """The first thing that shows that the run was interfered with, or ""; such a run is never completed."""
    canaries: tuple[CanaryResult, ...] = ()
    """What became of our own tests, which are not among `tests`."""
    out_of_memory: bool = False
    """The kernel ended processes of the run because it needed more memory than it may have."""

    @property
    def passed(self) -> frozenset[str]:
        """Node ids that passed."""
        return frozenset(node for node, test in self.tests.items() if test.outcome is Outcome.PASSED)

    def outcome(self, node_id: str) -> Outcome | None:
        """Return how a test ended, or None when the run does not mention it."""
        test = self.tests.get(node_id)
        return test.outcome if test else None


def read_records(
    raw: bytes | bytearray, key: bytes, *, returncode: int, timed_out: bool, seconds: float, output: str = "",
    canaries: Sequence[Canary] = (), every_folder: bool = True, out_of_memory: bool = False,
) -> RunResult:  # fmt: skip
    """Turn the bytes of the result pipe of a run with this key into a RunResult.

    A pipe that names more than MOST_NODES tests gives a run that did not complete: what arrives here
    is written beside code under test and must not fill the memory.
    """
    opened = open_records(raw, key, cut=timed_out or out_of_memory or returncode < 0)
    said = _Said()
    for record in opened.records:
        said.add(record)
    ended = len(said.ends) == 1 and not timed_out and not said.flooded
    ours = {node_id: node for node_id, node in said.nodes.items() if is_canary(node_id, canaries)}
    theirs = {node_id: node for node_id, node in said.nodes.items() if node_id not in ours}
    tests = {node_id: node.result(node_id) for node_id, node in theirs.items()}
    seen = [Seen(node_id, node.result(node_id).outcome.value, node.words) for node_id, node in ours.items()]
    files = frozenset(node.partition("::")[0] for node, test in tests.items() if test.outcome is Outcome.PASSED)
    misbehaved, results = judge(canaries, seen, said.placed, files, every_folder=every_folder)
    contradicted = next((f"{node_id} {node.lie}" for node_id, node in theirs.items() if node.lie), "")
    tampering = opened.tampering or contradicted or (misbehaved if ended else "")
    completed = ended and not tampering
    return RunResult(
        tests=tests,
        uncollectable={node: text for node, text in said.uncollectable.items() if not is_canary(node, canaries)},
        completed=completed,
        pytest_exit=_whole(said.ends[0].get("exit")) if completed else None,
        returncode=returncode,
        timed_out=timed_out,
        seconds=seconds,
        output=output,
        tampering=tampering,
        canaries=results,
        out_of_memory=out_of_memory,
    )


class _Said:
    """What the records of a run say so far."""

    def __init__(self) -> None:
        self.nodes: dict[str, _Node] = {}
        self.uncollectable: dict[str, str] = {}
        self.ends: list[Mapping[str, Any]] = []
        self.placed: Mapping[str, Any] = {}
        self.flooded = False

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in one record."""
        kind = record.get("t")
        node_id = str(record.get("id"))
        if kind in ("start", "phase"):
            if len(self.nodes) < MOST_NODES or node_id in self.nodes:
                self.nodes.setdefault(node_id, _Node()).add(record)
            else:
                self.flooded = True
        elif kind == "uncollectable" and len(self.uncollectable) < MOST_NODES:
            self.uncollectable[node_id] = str(record.get("message", ""))[:MESSAGE_CHARS]
        elif kind == "placed":
            self.placed = self.placed or record
        elif kind == "end" and len(self.ends) < MOST_ENDS:
            self.ends.append(record)


class _Node:
    """What was reported about one test so far."""

    __slots__ = ("ended", "failed", "lie", "message", "phases", "seconds", "skipped", "xfail")

    def __init__(self) -> None:
        self.phases: set[str] = set()
        self.failed = ""
        """Phase of the first failure; subtests repeat a phase."""
        self.message = ""
        self.ended = ""
        """How the test function ended where pytest calls it, "" when it returned."""
        self.lie = ""
        """What contradicts a report of success, or ""."""
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
        self.ended = str(record.get("ended") or self.ended)
        if when == "call" and outcome == "passed" and record.get("ended"):
            how = "was never called" if record["ended"] == NOT_CALLED else f"raised {self.ended[:MESSAGE_CHARS]}"
            self.lie = f"is said to have passed, but its function {how}"
        if outcome == "failed" and not self.failed:
            self.failed = when
            self.message = str(record.get("message", ""))[:MESSAGE_CHARS]

    @property
    def words(self) -> str:
        """Return how the test ended, in its own words."""
        return " ".join(filter(None, (self.ended, self.message)))

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

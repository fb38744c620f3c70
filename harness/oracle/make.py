"""Make the oracle of a commit on its gold tree: record, keep what can be made again, ask hollow functions.

A recorded call counts only if replays of exactly the stored recording come out as recorded, twice in a
row in fresh sandboxes with different hash seeds and without the tests: what depends on time, chance,
a test's patches or its temporary files drops out by itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from harness.control import hollow
from harness.grade import Required
from harness.oracle.contract import Contract, contract_of
from harness.oracle.functions import changed_functions
from harness.oracle.judge import agrees, common
from harness.oracle.process import REPLAY_S, record_run, replay
from harness.oracle.recording import Call, Recording, Replies
from harness.oracle.select import Seen, chosen, read_seen, shapes_of, without
from harness.oracle.spoken import spoken
from harness.testrun import TestRequest

CLEAN_REPLAYS = 2
MOST_REPLAYS = 6
_TICK_S = 1.1
"""How long after the recording began the replays begin, at the earliest."""


class WhyNone(StrEnum):
    """Why a commit has no oracle."""

    UNTOUCHED = "untouched"
    """It changes no function, and no constant that a function of the same file uses."""
    UNSEEN = "unseen"
    """The tests make no call of changed code whose arguments and outcome can be written down."""
    UNSTABLE = "unstable"
    """No recorded call comes out the same away from the tests."""
    CRASHED = "crashed"
    """The recording run did not end by itself."""
    BUDGET = "budget"
    """The time for the commit was spent."""


@dataclass(frozen=True)
class Made:
    """What came of making an oracle."""

    recording: Recording | None
    why: str
    """A word of `WhyNone`, or ""."""
    spent: tuple[float, ...]
    """Seconds of each sandbox."""


def make_recording(
    gold: TestRequest, parent: TestRequest, commit: str, required: Required, *, limit_s: float, budget_s: float
) -> Made:
    """Record the tests of a commit on its gold tree; both requests hold the graded trees and the same files."""
    making = _Making(gold, parent, required, limit_s=limit_s, budget_s=budget_s)
    try:
        recording, why = making.recording(commit)
    except _SpentError:
        recording, why = None, WhyNone.BUDGET
    return Made(recording, str(why), tuple(making.spent))


class _SpentError(Exception):
    """There is no time for another sandbox."""


class _Making:
    def __init__(
        self, gold: TestRequest, parent: TestRequest, required: Required, *, limit_s: float, budget_s: float
    ) -> None:
        self.gold, self.parent, self.required = gold, parent, required
        self.limit_s, self.budget_s = limit_s, budget_s
        self.spent: list[float] = []
        self.started = time.monotonic()

    def recording(self, commit: str) -> tuple[Recording | None, str]:
        changed = changed_functions(self.parent.tree, self.gold.tree)
        if not changed.touched:
            return None, WhyNone.UNTOUCHED
        words = spoken(self.gold.tree, self.gold.files)
        recorded = record_run(self.gold.within(self.allowed_s(self.limit_s)), changed.touched, words)
        self.spent.append(recorded.seconds)
        if not recorded.completed:
            return None, WhyNone.BUDGET if sum(self.spent) >= self.budget_s else WhyNone.CRASHED
        contract = contract_of(self.parent.tree, self.gold.tree, words)
        seen = [_bared(item, contract) for item in read_seen(recorded.records, self.required)]
        calls = chosen(seen, self.required)
        if not calls:
            return None, WhyNone.UNSEEN
        calls = self.stable(calls, contract)
        if not calls:
            return None, WhyNone.UNSTABLE
        recording = Recording(commit, calls, shapes_of(calls))
        differing = self.differing(recording)
        return replace(recording, discriminating=differing), ""

    def differing(self, recording: Recording) -> int:
        """Return how many calls come out otherwise where the functions compute nothing.

        The parent would say too much: whatever is new is missing there, and every call of it differs.
        """
        tree = hollow(self.parent.tree, self.gold.tree)
        request = self.parent if tree is None else replace(self.gold, tree=tree)
        replies = self.replayed(request, recording.calls, seed=0)
        return sum(not agrees(call, replies.outcomes.get(call.id, {})) for call in recording.checked)

    def stable(self, calls: tuple[Call, ...], contract: Contract) -> tuple[Call, ...]:
        """Return the calls that come out as recorded every time; () when there are none."""
        clean = 0
        for seed in range(1, MOST_REPLAYS + 1):
            time.sleep(max(0.0, _TICK_S - (time.monotonic() - self.started)))  # whole seconds are times, too
            replies = self.replayed(self.gold, calls, seed=seed)
            calls = tuple(_with_exception(call, replies, contract) for call in calls)
            calls, before = tuple(common(call, replies.outcomes.get(call.id, {})) for call in calls), calls
            bad = [
                call.id for call in calls
                if call.expected is not None and not agrees(call, replies.outcomes.get(call.id, {}))
            ]  # fmt: skip
            left = without(calls, bad)
            clean = clean + 1 if len(left) == len(calls) and not bad and calls == before else 0
            calls = left
            if clean == CLEAN_REPLAYS or not calls:
                return calls
        return ()

    def replayed(self, request: TestRequest, calls: Sequence[Call], *, seed: int) -> Replies:
        limit_s = self.allowed_s(REPLAY_S)
        replies = replay(request, request.tree, calls, shapes_of(calls), limit_s=limit_s, hash_seed=seed)
        self.spent.append(replies.seconds)
        return replies

    def allowed_s(self, limit_s: float) -> float:
        left_s = self.budget_s - sum(self.spent)
        if left_s <= 0:
            raise _SpentError
        return min(limit_s, left_s)


def _bared(seen: Seen, contract: Contract) -> Seen:
    """Return a call without what no test can rely on; one that then says nothing is not worth comparing."""
    outcome = seen.call.expected or {}
    if outcome.get("raised", "") is None:
        return seen  # the replay tells which exception it was
    bared = contract.outcome(outcome)
    says_nothing = bared.get("value") == {"t": "opaque", "c": ""} and not (bared.get("changed") or bared.get("self"))
    return replace(seen, call=replace(seen.call, expected=bared), touched=seen.touched and not says_nothing)


def _with_exception(call: Call, replies: Replies, contract: Contract) -> Call:
    """Fill in which exception a call raises, the first time it is seen."""
    if call.expected is None or call.expected.get("raised", "") is not None:
        return call
    raised = replies.outcomes.get(call.id, {}).get("raised")
    return replace(call, expected=contract.outcome({"raised": raised})) if raised else replace(call, expected=None)

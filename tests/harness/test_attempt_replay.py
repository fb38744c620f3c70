"""Attempts that are recorded and answered from the recording."""

from __future__ import annotations

from dataclasses import dataclass

from harness.answerers.gold import GoldAnswerer
from harness.answerers.replay import ReplayAnswerer, ReplayRow
from harness.case import Case
from harness.grade import Verdict
from harness.ports import Model
from harness.stages import Answer, Stage, StageCall
from tests.harness.test_attempt import Attempt, attempt
from tests.models import Scripted, plan

__all__ = ["attempt"]  # the fixture


@dataclass(frozen=True)
class RecordedAnswerers:
    """Implements `ports.Answerers` with recorded answers."""

    rows: tuple[ReplayRow, ...]

    def model(self, case: Case) -> Model:
        """Return the model."""
        return ReplayAnswerer(case.commit.sha, self.rows)


@dataclass(frozen=True)
class GoldCodes:
    """Implements `ports.Answerers`: somebody plans, gold codes, as an oracle arm does."""

    steps: tuple[str, ...]

    def model(self, case: Case) -> Model:
        """Return the model."""
        gold, planner = GoldAnswerer(case.parent, case.gold), Scripted({Stage.STEP_PLAN: (plan(*self.steps),)})
        return Either(gold, planner)


@dataclass(frozen=True)
class Either:
    """Gold for the code, the other one for the rest."""

    gold: Model
    other: Model

    def answer(self, call: StageCall) -> Answer:
        """Return the answer of whoever the stage belongs to."""
        return (self.gold if call.stage is Stage.EXECUTE_CODE else self.other).answer(call)


def test_a_recording_replays_to_the_same_attempt(attempt: Attempt) -> None:
    """A step with nothing left to change is in the recorded answers, so replaying them is the same attempt."""
    recorded = attempt(GoldCodes(("calc.py", "calc.py")))
    assert recorded.grade.verdict is Verdict.RESOLVED
    assert [step.problem for step in recorded.steps] == ["", "nothing left to change"]
    rows = tuple(
        ReplayRow(recorded.commit, Stage(call.stage), call.ordinal, call.prompt_sha256, call.answer)
        for call in recorded.calls
    )
    replayed = attempt(RecordedAnswerers(rows))
    assert replayed.grade == recorded.grade
    assert (replayed.steps, replayed.plans, replayed.decisions) == (recorded.steps, recorded.plans, recorded.decisions)
    assert (replayed.patch, replayed.tree_sha256) == (recorded.patch, recorded.tree_sha256)
    told = [[(call.stage, call.prompt, call.answer, call.problem) for call in record.calls]
            for record in (recorded, replayed)]  # fmt: skip
    assert told[0] == told[1]

"""Models for tests: they implement `ports.Model` and answer as they are told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness import answers
from harness.answerers.gold import GoldAnswerer
from harness.case import Case
from harness.edits import Block, render_blocks
from harness.errors import AnswerInvalid, Failure
from harness.ports import Model
from harness.stages import Answer, PrecisionFacts, ScopeFacts, Stage, StageCall


def edit(search: str, replace: str) -> str:
    """Return an answer of one block."""
    return render_blocks([Block(tuple(search.splitlines()), tuple(replace.splitlines()))])


def plan(*files: str, action: str = "modify") -> str:
    """Return a plan with one step for each file."""
    return json.dumps(
        {"steps": [{"id": f"s{number}", "file": file, "symbol": "", "action": action, "description": "Change it.",
                    "depends_on": []} for number, file in enumerate(files, 1)]}
    )  # fmt: skip


def agreeable(call: StageCall) -> str:
    """Return an answer that finds everything relevant and plans nothing."""
    match call.facts:
        case ScopeFacts(candidates=candidates):
            return json.dumps({"files": [{"path": c.path, "relevance": "relevant"} for c in candidates]})
        case PrecisionFacts(symbols=cards):
            rows = [{"file": c.path, "symbol": c.symbol, "tier": "primary"} for c in cards]
            return json.dumps({"symbols": rows})
    if call.stage is Stage.TASK_ANALYSIS:
        return '{"intent": "fix", "keywords": ["calc"], "files": []}'
    if call.stage is Stage.META_PLAN:
        return '{"parts": [{"id": "p1", "description": "All.", "files": ["calc.py"], "depends_on": []}]}'
    return '{"steps": []}'


class Scripted:
    """Finds everything relevant, and gives the prepared answers of a stage, the last one again and again."""

    def __init__(self, answers: Mapping[Stage, tuple[str | Failure, ...]]) -> None:
        self.answers = answers
        self.calls: list[StageCall] = []

    def answer(self, call: StageCall) -> Answer:
        """Return the prepared answer, or an agreeable one."""
        self.calls.append(call)
        prepared = self.answers.get(call.stage)
        text = prepared[min(call.ordinal, len(prepared) - 1)] if prepared else agreeable(call)
        if isinstance(text, Failure):
            raise text
        return Answer(text, "scripted", "harness")


def problem_of(call: StageCall, text: str) -> str | None:
    """Return why an answer is not usable, read the way the pipeline reads it, or None."""
    readers: Mapping[Stage, Callable[[StageCall, str], object]] = {
        Stage.TASK_ANALYSIS: answers.task_analysis, Stage.SCOPE: answers.scope, Stage.PRECISION: answers.precision,
        Stage.META_PLAN: answers.meta_plan, Stage.STEP_PLAN: answers.part_plan, Stage.TEST_PLAN: answers.part_plan,
    }  # fmt: skip
    try:
        readers[call.stage](call, text)
    except AnswerInvalid as err:
        return str(err)
    return None


@dataclass(frozen=True)
class ScriptedAnswerers:
    """Implements `ports.Answerers` with a scripted model for every case."""

    answers: Mapping[Stage, tuple[str | Failure, ...]] = field(default_factory=dict)

    def model(self, case: Case) -> Model:  # noqa: ARG002 - part of the protocol
        """Return the model."""
        return Scripted(self.answers)


@dataclass(frozen=True)
class GoldAnswerers:
    """Implements `ports.Answerers` with the true solution."""

    def model(self, case: Case) -> Model:
        """Return the model."""
        return GoldAnswerer(case.parent, case.gold)

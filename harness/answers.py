"""From the text of an answer to a checked value: JSON, schema, then meaning.

An answer that fails any of the three is not an answer; nothing is repaired or guessed.
"""

from __future__ import annotations

import json
from typing import Any

from harness.errors import AnswerInvalid
from harness.plan import (
    MetaPlan,
    PartPlan,
    TaskAnalysis,
    parse_meta_plan,
    parse_part_plan,
    parse_precision,
    parse_scope,
    parse_task_analysis,
)
from harness.schemas import check
from harness.stages import PrecisionFacts, ScopeFacts, StageCall

NOTHING = "NOTHING"
"""The execute-code answer for a step whose file needs no change; part of the answer, so a recording has it."""


def document(call: StageCall, text: str) -> dict[str, Any]:
    """Return the JSON document of an answer; AnswerInvalid when it does not follow its schema."""
    try:
        doc = json.loads(text)
        json.dumps(doc, ensure_ascii=False).encode()  # half a surrogate pair cannot go into a prompt or a table
    except (ValueError, RecursionError) as err:
        raise AnswerInvalid(f"{call.stage}: the answer is not JSON: {err}") from err
    problem = check(call.stage.value, doc)
    if problem:
        raise AnswerInvalid(f"{call.stage}: {problem}")
    checked: dict[str, Any] = doc
    return checked


def task_analysis(call: StageCall, text: str) -> TaskAnalysis:
    """Read a task-analysis answer."""
    return parse_task_analysis(document(call, text))


def scope(call: StageCall, text: str) -> dict[str, str]:
    """Read a scope answer: path to relevance, one for each candidate."""
    facts = call.facts
    if not isinstance(facts, ScopeFacts):
        raise TypeError(f"{call.stage} call carries {type(facts).__name__}")
    return parse_scope(document(call, text), [candidate.path for candidate in facts.candidates])


def precision(call: StageCall, text: str) -> dict[tuple[str, str], str]:
    """Read a precision answer: (file, symbol) to tier, one for each card."""
    facts = call.facts
    if not isinstance(facts, PrecisionFacts):
        raise TypeError(f"{call.stage} call carries {type(facts).__name__}")
    return parse_precision(document(call, text), [(card.path, card.symbol) for card in facts.symbols])


def meta_plan(call: StageCall, text: str) -> MetaPlan:
    """Read a meta-plan answer."""
    return parse_meta_plan(document(call, text))


def part_plan(call: StageCall, text: str) -> PartPlan:
    """Read a step-plan or test-plan answer."""
    return parse_part_plan(document(call, text))


def is_nothing(text: str) -> bool:
    """Return whether an execute-code answer says that its file needs no change for the step."""
    return text.strip() == NOTHING

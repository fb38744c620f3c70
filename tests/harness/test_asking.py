"""Putting calls to a model: what is sent, what is kept, what is refused."""

from __future__ import annotations

import pytest

from harness.asking import CHARS_PER_TOKEN, Interview, estimate_tokens
from harness.context import ContextPackage
from harness.errors import AnswerInvalid, ContextOverflow, ReplayMissing
from harness.plan import Part, Step
from harness.prompts import render
from harness.schemas import schema
from harness.stages import WINDOW_TOKENS, Answer, ExecuteFacts, MetaPlanFacts, Stage, StageCall, StepPlanFacts
from harness.stages import TaskAnalysisFacts as Analysis

FACTS = Analysis("Fix the parser", ("a.py",), "Python 3.11")
GOOD = '{"intent": "fix", "keywords": [], "files": []}'


class Scripted:
    """A model that gives prepared answers in order and keeps the calls."""

    def __init__(self, *texts: str | Exception | Answer) -> None:
        self.texts = list(texts)
        self.calls: list[StageCall] = []

    def answer(self, call: StageCall) -> Answer:
        """Return the next answer."""
        self.calls.append(call)
        text = self.texts.pop(0)
        if isinstance(text, Exception):
            raise text
        return text if isinstance(text, Answer) else Answer(text, "student", "harness", "v1", 7, 5)


def test_the_call_carries_everything_an_answerer_needs() -> None:
    """Prompt, facts, schema, window, seed and temperature are those of the stage and the attempt."""
    model = Scripted(GOOD)
    Interview(model, seed=11, temperature=0.5).task_analysis(FACTS)
    (call,) = model.calls
    assert call.prompt == render(Stage.TASK_ANALYSIS, FACTS)
    assert call.facts is FACTS
    assert call.schema == schema("task-analysis")
    assert (call.window_tokens, call.ordinal, call.seed, call.temperature) == (8192, 0, 11, 0.5)


def test_the_record_holds_what_was_sent_and_what_came_back() -> None:
    """The bytes of prompt and answer are kept as they were, with who answered."""
    interview = Interview(Scripted(GOOD), seed=0, temperature=0.0)
    interview.task_analysis(FACTS)
    (record,) = interview.calls
    assert (record.prompt, record.answer) == (render(Stage.TASK_ANALYSIS, FACTS), GOOD)
    assert (record.answerer, record.source, record.adapter, record.tokens_in) == ("student", "harness", "v1", 7)
    assert record.prompt_tokens == estimate_tokens(record.prompt)
    assert record.problem == ""


def test_calls_are_numbered_within_their_stage() -> None:
    """The ordinal counts calls of the same stage only."""
    part = StepPlanFacts("t", Part("p1", "d", ()), ContextPackage((), ()))
    model = Scripted('{"steps": []}', GOOD, '{"steps": []}')
    interview = Interview(model, seed=0, temperature=0.0)
    interview.part_plan(Stage.STEP_PLAN, part)
    interview.task_analysis(FACTS)
    interview.part_plan(Stage.STEP_PLAN, part)
    assert [(record.stage, record.ordinal) for record in interview.calls] == [
        ("step-plan", 0), ("task-analysis", 0), ("step-plan", 1),
    ]  # fmt: skip


def test_an_unusable_answer_is_kept_with_the_reason() -> None:
    """The failure goes to the caller, and the evidence stays."""
    interview = Interview(Scripted("no idea"), seed=0, temperature=0.0)
    with pytest.raises(AnswerInvalid):
        interview.meta_plan(MetaPlanFacts("t", ContextPackage((), ())))
    (record,) = interview.calls
    assert record.answer == "no idea"
    assert "not JSON" in record.problem


def test_a_prompt_beyond_its_window_is_never_sent() -> None:
    """The refusal names both numbers; nothing is cut to fit."""
    model = Scripted(GOOD)
    interview = Interview(model, seed=0, temperature=0.0)
    long = Analysis("word " * WINDOW_TOKENS[Stage.TASK_ANALYSIS], (), "")
    with pytest.raises(ContextOverflow, match=r"task-analysis prompt has .* its window 8192"):
        interview.task_analysis(long)
    assert model.calls == []
    (record,) = interview.calls
    assert (record.prompt, record.answer) == (render(Stage.TASK_ANALYSIS, long), "")
    assert (record.answerer, record.source, record.seconds) == ("none", "harness", 0.0)
    assert "its window 8192" in record.problem


def test_the_window_is_counted_by_the_counter_that_was_given() -> None:
    """Exactly as many tokens as the window fit; one more does not."""
    facts = ExecuteFacts("t", Step("s1", "a.py", "", "modify", "d"), "")
    window = WINDOW_TOKENS[Stage.EXECUTE_CODE]
    fits = Interview(Scripted("code"), seed=0, temperature=0.0, count=lambda _text: window)
    assert fits.code(facts) == "code"
    with pytest.raises(ContextOverflow):
        Interview(Scripted("code"), seed=0, temperature=0.0, count=lambda _text: window + 1).code(facts)


def test_a_call_that_has_no_valid_answer_is_kept() -> None:
    """An answerer may refuse by itself; the question and the reason stay."""
    interview = Interview(Scripted(AnswerInvalid("nothing to plan for")), seed=0, temperature=0.0)
    with pytest.raises(AnswerInvalid):
        interview.task_analysis(FACTS)
    (record,) = interview.calls
    assert (record.answer, record.answerer, record.problem) == ("", "none", "nothing to plan for")


def test_an_answerer_without_an_answer_fails_through() -> None:
    """A failure of the answerer is the caller's to judge."""
    with pytest.raises(ReplayMissing):
        Interview(Scripted(ReplayMissing("no answer recorded")), seed=0, temperature=0.0).task_analysis(FACTS)


def test_code_is_returned_as_it_is() -> None:
    """Edits are not parsed here, and have no schema."""
    facts = ExecuteFacts("t", Step("s1", "a.py", "", "modify", "d"), "x")
    model = Scripted("", "<<<<<<< SEARCH")
    interview = Interview(model, seed=0, temperature=0.0)
    assert [interview.code(facts), interview.code(facts)] == ["", "<<<<<<< SEARCH"]
    assert [call.schema for call in model.calls] == [None, None]


def test_the_estimate_grows_with_the_text() -> None:
    """Counted in characters, rounded up, never zero."""
    assert estimate_tokens("") == 1
    assert estimate_tokens("x" * 30 * CHARS_PER_TOKEN) == 31

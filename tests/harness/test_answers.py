"""From the text of an answer to a checked value."""

from __future__ import annotations

import json

import pytest

from harness import answers
from harness.context import ContextPackage
from harness.errors import AnswerInvalid
from harness.plan import Part, TaskAnalysis
from harness.schemas import schema
from harness.stages import (
    Candidate,
    Facts,
    MetaPlanFacts,
    PrecisionFacts,
    ScopeFacts,
    Stage,
    StageCall,
    StepPlanFacts,
    SymbolCard,
    TaskAnalysisFacts,
    TestPlanFacts,
)
from tests.models import problem_of

EMPTY = ContextPackage((), ())
PART = Part("p1", "d", ())
STEP = {"id": "s1", "file": "a.py", "symbol": "", "action": "modify", "description": "d", "depends_on": []}
PLAN = json.dumps({"steps": [STEP]})
FACTS: dict[Stage, Facts] = {
    Stage.TASK_ANALYSIS: TaskAnalysisFacts("t", ("a.py",), "e"),
    Stage.SCOPE: ScopeFacts("t", TaskAnalysis("i", (), ()), (Candidate("a.py", "s", 1.0),)),
    Stage.PRECISION: PrecisionFacts("t", (SymbolCard("a.py", "f", "function", "f()", 1.0),)),
    Stage.META_PLAN: MetaPlanFacts("t", EMPTY),
    Stage.STEP_PLAN: StepPlanFacts("t", PART, EMPTY),
    Stage.TEST_PLAN: TestPlanFacts("t", PART, "", EMPTY),
}
GOOD = {
    Stage.TASK_ANALYSIS: '{"intent": "fix", "keywords": ["a"], "files": []}',
    Stage.SCOPE: '{"files": [{"path": "a.py", "relevance": "relevant"}]}',
    Stage.PRECISION: '{"symbols": [{"file": "a.py", "symbol": "f", "tier": "primary"}]}',
    Stage.META_PLAN: '{"parts": [{"id": "p1", "description": "d", "files": ["a.py"], "depends_on": []}]}',
    Stage.STEP_PLAN: PLAN,
    Stage.TEST_PLAN: PLAN,
}
JSON_STAGES = [stage for stage in Stage if stage is not Stage.EXECUTE_CODE]


def call(stage: Stage) -> StageCall:
    """Return a call of a stage."""
    return StageCall(stage, "prompt", FACTS[stage], None, 1000, 0)


@pytest.mark.parametrize("stage", JSON_STAGES)
def test_good_answers_are_usable(stage: Stage) -> None:
    """One good answer of each stage has no problem."""
    assert problem_of(call(stage), GOOD[stage]) is None


@pytest.mark.parametrize("stage", JSON_STAGES)
@pytest.mark.parametrize(
    "text",
    [
        "", "Sure! Here is the plan:", "null", "[]", "{}", "[" * 100_000, "1" * 5_000, '"\\ud800"',
        "```json\n{}\n```", '{"steps": [], "files": [], "symbols": [], "parts": [], "intent": "x", "keywords": []}',
    ],
    ids=["nothing", "prose", "null", "list", "no keys", "deep", "huge number", "surrogate", "fenced", "extra keys"],
)  # fmt: skip
def test_other_texts_are_no_answers(stage: Stage, text: str) -> None:
    """Nothing is repaired: any text that does not follow the schema has a problem that names the stage."""
    problem = problem_of(call(stage), text)
    assert problem is not None
    assert problem.startswith(f"{stage}: ")


def test_half_a_surrogate_pair_is_no_answer() -> None:
    """Text that cannot be encoded would break prompts and tables later on, so it stops here."""
    broken = json.dumps({"steps": [{**STEP, "description": "\ud83d"}]})
    with pytest.raises(AnswerInvalid, match="surrogates"):
        answers.part_plan(call(Stage.STEP_PLAN), broken)


def test_an_id_with_a_newline_is_no_answer() -> None:
    """A pattern of the schema covers the whole text, not only its first line."""
    broken = json.dumps({"steps": [{**STEP, "id": "s1\n"}]})
    assert problem_of(call(Stage.STEP_PLAN), broken) is not None


def test_the_problem_says_where() -> None:
    """The place in the document is part of the reason."""
    broken = json.dumps({"steps": [STEP, {**STEP, "id": "s2", "action": "rename"}]})
    with pytest.raises(AnswerInvalid, match="step-plan: at steps/1/action: 'rename'"):
        answers.part_plan(call(Stage.STEP_PLAN), broken)


def test_meaning_is_checked_after_the_shape() -> None:
    """An answer that fits its schema but not the question is no answer."""
    other = '{"files": [{"path": "b.py", "relevance": "relevant"}]}'
    assert "one verdict for each of 1 files" in str(problem_of(call(Stage.SCOPE), other))
    circle = json.dumps({"steps": [{**STEP, "depends_on": ["s1"]}]})
    assert "circle" in str(problem_of(call(Stage.TEST_PLAN), circle))


def test_readers_return_values() -> None:
    """Each reader gives the value its stage promises."""
    assert answers.task_analysis(call(Stage.TASK_ANALYSIS), GOOD[Stage.TASK_ANALYSIS]).intent == "fix"
    assert answers.scope(call(Stage.SCOPE), GOOD[Stage.SCOPE]) == {"a.py": "relevant"}
    assert answers.precision(call(Stage.PRECISION), GOOD[Stage.PRECISION]) == {("a.py", "f"): "primary"}
    assert answers.meta_plan(call(Stage.META_PLAN), GOOD[Stage.META_PLAN]).parts[0].files == ("a.py",)
    assert answers.part_plan(call(Stage.STEP_PLAN), PLAN).steps[0].file == "a.py"


def test_facts_of_another_stage_are_a_programming_error() -> None:
    """A scope answer cannot be read against a call that offered no candidates."""
    wrong = StageCall(Stage.SCOPE, "p", FACTS[Stage.META_PLAN], None, 1000, 0)
    with pytest.raises(TypeError, match="MetaPlanFacts"):
        answers.scope(wrong, GOOD[Stage.SCOPE])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NOTHING", True),
        ("  NOTHING\n", True),
        ("", False),
        ("nothing", False),
        ("NOTHING to do", False),
        ("DELETE", False),
    ],
)
def test_nothing_is_one_word(text: str, expected: bool) -> None:
    """An empty answer is a broken one, not a way to say that nothing is to be done."""
    assert answers.is_nothing(text) is expected


@pytest.mark.parametrize("stage", JSON_STAGES)
def test_every_json_stage_has_a_closed_schema(stage: Stage) -> None:
    """The schema of each stage exists and allows no unknown keys at the top."""
    assert schema(stage.value)["additionalProperties"] is False

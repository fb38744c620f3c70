"""Prompts: each shows what its facts hold, the same bytes every time, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.context import ContextItem, ContextPackage
from harness.plan import Part, Step, TaskAnalysis
from harness.prompts import render
from harness.stages import (
    Candidate,
    ExecuteFacts,
    Facts,
    MetaPlanFacts,
    PrecisionFacts,
    ScopeFacts,
    Stage,
    StepPlanFacts,
    SymbolCard,
    TaskAnalysisFacts,
    TestPlanFacts,
)

TASK = "Add {braces} and 'quotes' to the parser"
CONTEXT = ContextPackage((ContextItem("src/a.py", "feed", "primary", 3, 4, "def feed():\n    ..."),), ())
PART = Part("p1", "The reading half.", ("src/a.py", "src/b.py"))
STEP = Step("s1", "src/a.py", "feed", "modify", "Read more.")
CASES: list[tuple[Stage, Facts, list[str]]] = [
    (Stage.TASK_ANALYSIS, TaskAnalysisFacts(TASK, ("src/a.py",), "Python 3.11"), ["src/a.py", "Python 3.11"]),
    (
        Stage.SCOPE,
        ScopeFacts(TASK, TaskAnalysis("fix", ("word",), ()), (Candidate("src/a.py", "Reads. feed", 1.0, ("bm25",)),)),
        ["- src/a.py: Reads. feed"],
    ),
    (
        Stage.PRECISION,
        PrecisionFacts(TASK, (SymbolCard("src/a.py", "feed", "function", "def feed()", 1.0),
                              SymbolCard("src/a.py", "", "module", "", 0.0))),
        ["src/a.py :: feed [function] def feed()", "src/a.py :: (module)"],
    ),
    (Stage.META_PLAN, MetaPlanFacts(TASK, CONTEXT), [CONTEXT.render()]),
    (Stage.STEP_PLAN, StepPlanFacts(TASK, PART, CONTEXT), [PART.description, "src/a.py, src/b.py", CONTEXT.render()]),
    (Stage.TEST_PLAN, TestPlanFacts(TASK, PART, "+the diff\n", CONTEXT), ["```diff\n+the diff\n```", CONTEXT.render()]),
    (Stage.EXECUTE_CODE, ExecuteFacts(TASK, STEP, "x = 1\n"), ["src/a.py :: feed", "```\nx = 1\n\n```", "Read more."]),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "facts", "shown"), CASES, ids=[case[0].value for case in CASES])
def test_a_prompt_shows_its_facts(stage: Stage, facts: Facts, shown: list[str]) -> None:
    """Stage, task and every fact stand in the prompt; rendering twice gives the same bytes."""
    prompt = render(stage, facts)
    assert prompt.startswith(f"[{stage.value}]\nTask: {TASK}\n")
    assert [text for text in shown if text not in prompt] == []
    assert render(stage, facts) == prompt


@pytest.mark.parametrize(("stage", "facts", "shown"), CASES[3:6], ids=[case[0].value for case in CASES[3:6]])
def test_other_facts_make_another_prompt(stage: Stage, facts: Facts, shown: list[str]) -> None:
    """A changed context is seen in the prompt."""
    changed = replace(facts, context=ContextPackage((), ()))  # type: ignore[call-arg]
    assert render(stage, changed) != render(stage, facts)


@pytest.mark.parametrize("facts", [case[1] for case in CASES[1:3]])
def test_scores_and_reasons_of_retrieval_are_not_shown(facts: Facts) -> None:
    """The model judges by the code; how retrieval ranked it does not enter the prompt."""
    assert "bm25" not in render(Stage.SCOPE, facts)


@pytest.mark.parametrize(
    ("action", "words"),
    [("modify", "SEARCH/REPLACE blocks"), ("create", "does not exist yet"), ("delete", "single word DELETE")],
)
def test_each_action_says_how_to_answer(action: str, words: str) -> None:
    """The answer format of a step depends on its action."""
    prompt = render(Stage.EXECUTE_CODE, ExecuteFacts(TASK, replace(STEP, action=action), ""))
    assert words in prompt
    assert prompt.endswith("Answer NOTHING if the file needs no change for this step.\n")


def test_a_part_without_files_may_touch_any() -> None:
    """The whole task as one part says so instead of naming no file."""
    assert "Files of the part: any" in render(Stage.STEP_PLAN, StepPlanFacts(TASK, Part("p1", "All.", ()), CONTEXT))

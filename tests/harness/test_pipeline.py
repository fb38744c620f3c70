"""One pass of the seven stages, with scripted answers: what is asked, applied, kept, and why it stops."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from harness.asking import Interview
from harness.errors import Failure, ReplayMissing
from harness.grade import Verdict
from harness.index.facts import FactsCache
from harness.index.repo import RepoIndex
from harness.pipeline import SCOPE_BATCH, Question, Trajectory, as_question, run_pipeline
from harness.stages import Stage, StepPlanFacts, TestPlanFacts
from tests.models import Scripted, edit, plan
from tests.trees import tree_of

FILES = {
    "calc.py": "def add(a, b):\n    return a - b\n",
    "other.py": "import calc\n\n\ndef twice(a):\n    return calc.add(a, a)\n",
    "tests/test_calc.py": "import calc\n",
    "pyproject.toml": "",
    "README.md": "Calc\n",
}
FIX = edit("    return a - b", "    return a + b")
Script = Mapping[Stage, tuple[str | Failure, ...]]


def go(
    script: Script, *, kinds: tuple[str, ...] = ("step-plan",), task: str = "Fix the function add in calc",
    files: Mapping[str, str] = FILES,
) -> tuple[Trajectory, Scripted]:  # fmt: skip
    """Run the pipeline over a small tree."""
    model = Scripted(script)
    tree = tree_of(files)
    question = as_question(task, kinds, tree, {"python": "3.11", "tests": "pytest"})
    interview = Interview(model, seed=0, temperature=0.0)
    return run_pipeline(question, RepoIndex.build(tree, FactsCache()), interview), model


def stages(model: Scripted) -> list[str]:
    """Return the stages in the order in which they were asked."""
    return [call.stage.value for call in model.calls]


def test_a_step_plan_task_asks_five_stages_and_applies_the_edit() -> None:
    """Analysis, scope, precision, plan, code; the candidate differs in the planned file alone."""
    out, model = go({Stage.STEP_PLAN: (plan("calc.py"),), Stage.EXECUTE_CODE: (FIX,)})
    assert stages(model) == ["task-analysis", "scope", "precision", "step-plan", "execute-code"]
    assert out.stopped is None
    assert {path: out.candidate.text(path) for path in FILES} == {
        **FILES,
        "calc.py": "def add(a, b):\n    return a + b\n",
    }
    assert [(record.step.file, record.applied) for record in out.steps] == [("calc.py", True)]


def test_a_big_task_is_cut_into_parts_that_are_planned_one_by_one() -> None:
    """Each part has its own step plan, coding and test plan; the test plan sees the diff so far."""
    parts = [{"id": f"p{n}", "description": "d", "files": [f], "depends_on": []}
             for n, f in enumerate(("calc.py", "other.py"), 1)]  # fmt: skip
    script: Script = {
        Stage.META_PLAN: (json.dumps({"parts": parts}),),
        Stage.STEP_PLAN: (plan("calc.py"), plan("other.py")),
        Stage.EXECUTE_CODE: (FIX, edit("    return calc.add(a, a)", "    return 2 * a")),
    }
    out, model = go(script, kinds=("meta-plan", "step-plan", "test-plan"))
    assert stages(model)[3:] == ["meta-plan", *["step-plan", "execute-code", "test-plan"] * 2]
    asked = [call.facts.part.id for call in model.calls if isinstance(call.facts, StepPlanFacts)]
    diffs = [call.facts.diff for call in model.calls if isinstance(call.facts, TestPlanFacts)]
    assert asked == ["p1", "p2"]
    assert "+    return a + b" in diffs[0]
    assert "other.py" not in diffs[0]
    assert "+    return 2 * a" in diffs[1]
    assert [(record.stage, record.part) for record in out.plans] == [
        ("meta-plan", ""), ("step-plan", "p1"), ("test-plan", "p1"), ("step-plan", "p2"), ("test-plan", "p2"),
    ]  # fmt: skip


def test_a_second_step_sees_the_first_one_applied() -> None:
    """The text in a step's question is the present one."""
    script: Script = {
        Stage.STEP_PLAN: (plan("calc.py", "calc.py"),),
        Stage.EXECUTE_CODE: (FIX, edit("    return a + b", "    return sum((a, b))")),
    }
    out, model = go(script)
    assert "return a + b" in model.calls[-1].prompt
    assert "sum((a, b))" in out.candidate.text("calc.py")


def test_prompts_show_nothing_that_is_not_in_the_parent() -> None:
    """Paths in the first question are the Python files of the parent."""
    _, model = go({})
    assert "calc.py\nother.py\ntests/test_calc.py" in model.calls[0].prompt
    assert "README" not in model.calls[0].prompt


def test_many_files_are_judged_in_batches() -> None:
    """Scope is asked in batches of a fixed size, and every candidate gets a decision."""
    files = {f"calc_{n}.py": f"def add_{n}(): pass\n" for n in range(SCOPE_BATCH + 3)}
    out, model = go({}, files=files, task="Fix the function add in calc")
    assert stages(model).count("scope") >= 1
    sizes = [len(call.facts.candidates) for call in model.calls if call.stage is Stage.SCOPE]  # type: ignore[union-attr]
    assert max(sizes) <= SCOPE_BATCH
    assert sum(sizes) == len([d for d in out.decisions if d.stage == "scope"])


def test_every_decision_of_retrieval_is_kept() -> None:
    """Scope, precision and context each leave their decisions with verdicts."""
    out, _ = go({})
    assert {decision.stage for decision in out.decisions} == {"scope", "precision", "context"}
    assert all(decision.verdict for decision in out.decisions)


@pytest.mark.parametrize(
    ("script", "verdict", "words"),
    [
        ({Stage.STEP_PLAN: (plan("tests/test_calc.py"),), Stage.EXECUTE_CODE: (FIX,)}, Verdict.TAMPERED, "tests/test_calc.py"),
        ({Stage.STEP_PLAN: (plan("pyproject.toml"),), Stage.EXECUTE_CODE: (FIX,)}, Verdict.TAMPERED, "pyproject.toml"),
        ({Stage.STEP_PLAN: (plan("../x.py", action="create"),), Stage.EXECUTE_CODE: (FIX,)}, Verdict.EDIT_FAILED, "plain path"),
        ({Stage.STEP_PLAN: (plan("gone.py"),), Stage.EXECUTE_CODE: (FIX,)}, Verdict.EDIT_FAILED, "does not exist"),
        ({Stage.STEP_PLAN: (plan("other.py"),), Stage.EXECUTE_CODE: (FIX,)}, Verdict.EDIT_FAILED, "does not occur"),
        (
            {Stage.STEP_PLAN: (plan("calc.py"),), Stage.EXECUTE_CODE: (edit("    return a - b", "    return ("),)},
            Verdict.EDIT_FAILED, "syntax error",
        ),
        ({Stage.STEP_PLAN: (plan("calc.py"),), Stage.EXECUTE_CODE: ("I would rather not.",)}, Verdict.EDIT_FAILED, "outside"),
    ],
)  # fmt: skip
def test_an_edit_that_may_not_or_can_not_be_made_stops_the_pass(script: Script, verdict: Verdict, words: str) -> None:
    """The stop is a value with its reason, the step is kept with it, and the tree is the parent's."""
    out, _ = go(script)
    assert out.stopped is verdict
    assert words in out.reason
    assert [(record.applied, record.problem) for record in out.steps] == [(False, out.reason)]
    assert {path: out.candidate.text(path) for path in out.candidate} == FILES


def test_steps_after_a_failed_one_are_kept_as_not_done() -> None:
    """The evidence shows the whole plan."""
    script: Script = {Stage.STEP_PLAN: (plan("calc.py", "gone.py", "other.py"),), Stage.EXECUTE_CODE: (FIX,)}
    out, _ = go(script)
    assert [record.applied for record in out.steps] == [True, False, False]
    assert out.steps[2].problem == "an earlier step failed"
    assert [step.file for step in out.planned_steps()] == ["calc.py", "gone.py", "other.py"]


@pytest.mark.parametrize("stage", [Stage.TASK_ANALYSIS, Stage.SCOPE, Stage.PRECISION, Stage.STEP_PLAN])
def test_an_unusable_answer_ends_the_pass_without_a_verdict(stage: Stage) -> None:
    """The tests judge what there is; the reason and the call are kept."""
    out, model = go({stage: ("not JSON",)})
    assert out.stopped is None
    assert out.reason.startswith(f"{stage.value}: the answer is not JSON")
    assert stages(model)[-1] == stage.value
    assert out.calls[-1].problem == out.reason


def test_a_prompt_beyond_its_window_is_a_context_overflow() -> None:
    """A task that does not fit is refused before anybody is asked."""
    out, model = go({}, task="word " * 10_000)
    assert out.stopped is Verdict.CONTEXT_OVERFLOW
    assert "task-analysis" in out.reason
    assert model.calls == []


def test_failures_of_the_answerer_are_not_the_pipelines() -> None:
    """Somebody who cannot answer at all is no verdict about the code."""
    with pytest.raises(ReplayMissing):
        go({Stage.SCOPE: (ReplayMissing("nothing recorded"),)})


def test_time_is_booked_by_phase() -> None:
    """Retrieval, planning, coding and editing are told apart."""
    out, _ = go({Stage.STEP_PLAN: (plan("calc.py"),), Stage.EXECUTE_CODE: (FIX,)})
    assert set(out.seconds) == {"retrieve", "plan", "code", "edit"}
    assert all(value >= 0 for value in out.seconds.values())


def test_the_question_says_what_the_code_runs_on() -> None:
    """Interpreter and test command stand in the environment brief."""
    question = as_question("t", (), tree_of({}), {"python": "3.11", "tests": "pytest -q"})
    assert isinstance(question, Question)
    assert question.environment == "Python 3.11; tests: pytest -q"

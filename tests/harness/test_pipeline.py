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
from harness.pipeline import (
    CANDIDATE_FILES,
    NOT_OFFERED_ROWS,
    SCOPE_BATCH,
    Question,
    Trajectory,
    as_question,
    run_pipeline,
)
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
    files: Mapping[str, str | bytes] = FILES,
) -> tuple[Trajectory, Scripted]:  # fmt: skip
    """Run the pipeline over a small tree."""
    model = Scripted(script)
    tree = tree_of(files)
    question = as_question(task, kinds, tree, {"python": "3.11", "tests": "pytest"})
    out = Trajectory(candidate=tree)
    run_pipeline(question, RepoIndex.build(tree, FactsCache()), Interview(model, seed=0, temperature=0.0), out)
    return out, model


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
    assert out.steps[2].problem == "not reached"
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
    assert [(call.prompt.startswith("[task-analysis]"), call.answer, call.problem) for call in out.calls] == [
        (True, "", out.reason)
    ]


def test_a_step_beyond_its_window_leaves_the_whole_plan() -> None:
    """The prompt that did not fit is kept, and so are the steps that were planned before and after it."""
    files = {**FILES, "big.py": "x = 1\n" * 20_000}
    out, _ = go({Stage.STEP_PLAN: (plan("calc.py", "big.py", "other.py"),), Stage.EXECUTE_CODE: (FIX,)}, files=files)
    assert out.stopped is Verdict.CONTEXT_OVERFLOW
    assert [(record.step.file, record.applied) for record in out.steps] == [
        ("calc.py", True), ("big.py", False), ("other.py", False),
    ]  # fmt: skip
    assert [record.problem for record in out.steps] == ["", out.reason, "not reached"]
    last = out.calls[-1]
    assert (last.stage, last.answer, last.answerer, last.source) == ("execute-code", "", "none", "harness")
    assert last.problem == out.reason
    assert last.prompt_tokens > 32_768


def test_nothing_as_an_answer_leaves_the_file_and_goes_on() -> None:
    """The step is kept as not applied, and the next one is coded."""
    script: Script = {
        Stage.STEP_PLAN: (plan("other.py", "calc.py"),),
        Stage.EXECUTE_CODE: ("NOTHING\n", FIX),
    }
    out, _ = go(script)
    assert out.stopped is None
    assert [(record.applied, record.problem) for record in out.steps] == [(False, "nothing left to change"), (True, "")]


def test_an_empty_answer_is_a_broken_edit() -> None:
    """Only the word says that nothing is to be done."""
    out, _ = go({Stage.STEP_PLAN: (plan("calc.py"),), Stage.EXECUTE_CODE: ("",)})
    assert out.stopped is Verdict.EDIT_FAILED


def test_an_unusable_test_plan_ends_nothing() -> None:
    """The call keeps its problem, the remaining parts are planned and coded, and the pass has no reason to fail."""
    parts = [{"id": f"p{n}", "description": "d", "files": [f], "depends_on": []}
             for n, f in enumerate(("calc.py", "other.py"), 1)]  # fmt: skip
    script: Script = {
        Stage.META_PLAN: (json.dumps({"parts": parts}),),
        Stage.STEP_PLAN: (plan("calc.py"), plan("other.py")),
        Stage.EXECUTE_CODE: (FIX, edit("    return calc.add(a, a)", "    return 2 * a")),
        Stage.TEST_PLAN: ("garbage", '{"steps": []}'),
    }
    out, _ = go(script, kinds=("meta-plan", "step-plan", "test-plan"))
    assert (out.stopped, out.reason) == (None, "")
    assert [record.applied for record in out.steps] == [True, True]
    problems = [call.problem for call in out.calls if call.stage == "test-plan"]
    assert problems[0].startswith("test-plan: the answer is not JSON")
    assert problems[1:] == [""]
    assert [(record.stage, record.part) for record in out.plans if record.stage == "test-plan"] == [("test-plan", "p2")]


def test_files_below_the_limit_leave_a_decision_each() -> None:
    """What scope was never offered is evidence as well, with its rank."""
    files = {f"calc_{n}.py": f"def add_{n}(): pass\n" for n in range(CANDIDATE_FILES + 3)}
    out, _ = go({}, files=files)
    scope = [decision for decision in out.decisions if decision.stage == "scope"]
    assert len({decision.path for decision in scope}) == len(scope) == len(files)
    rest = [decision for decision in scope if decision.verdict == "not offered"]
    assert [decision.reason.partition(",")[0] for decision in rest] == [
        f"rank {rank}" for rank in range(CANDIDATE_FILES + 1, CANDIDATE_FILES + 4)
    ]
    assert "not listed" not in rest[-1].reason


def test_decisions_about_what_was_not_offered_are_bounded() -> None:
    """A tree of many files leaves a fixed number of rows, and the last one counts the others."""
    files = {f"calc_{n}.py": "" for n in range(CANDIDATE_FILES + NOT_OFFERED_ROWS + 7)}
    out, _ = go({}, files=files)
    rest = [decision for decision in out.decisions if decision.verdict == "not offered"]
    assert len(rest) == NOT_OFFERED_ROWS
    assert rest[-1].reason.endswith("; 7 files that rank lower are not listed")


def test_source_in_another_encoding_is_shown_and_cannot_be_edited() -> None:
    """A coding line is honoured for reading; an edit of such a file is a failed edit, not a crash."""
    latin = "# -*- coding: latin-1 -*-\ndef add(a, b):\n    return a - b  # größer\n".encode("latin-1")
    broken = b"def add_more(): return '\xff'\n"
    files = {**FILES, "calc.py": latin, "calc_more.py": broken}
    out, model = go({Stage.STEP_PLAN: (plan("calc.py"),), Stage.EXECUTE_CODE: (FIX,)}, files=files)
    asked = next(call for call in model.calls if call.stage is Stage.STEP_PLAN)
    assert "return a - b  # größer" in asked.prompt
    assert out.stopped is Verdict.EDIT_FAILED
    assert "calc.py is not UTF-8 text" in out.reason
    assert [(record.applied, record.problem) for record in out.steps] == [(False, out.reason)]
    omitted = [(d.path, d.reason) for d in out.decisions if d.verdict == "omitted"]
    assert [path for path, _ in omitted] == ["calc_more.py"]
    assert "not decodable" in omitted[0][1]


def test_names_that_are_not_utf8_are_never_shown() -> None:
    """No prompt and no answer can hold such a path, so neither the listing nor the index has it."""
    files = {**FILES, "calc_\udcff.py": "def add_calc(): pass\n"}
    out, model = go({}, files=files)
    assert all(call.prompt.encode() for call in model.calls)
    assert "calc_" not in "".join(call.prompt for call in model.calls)
    assert not any("\udcff" in decision.path for decision in out.decisions)


def test_failures_of_the_answerer_are_not_the_pipelines_and_lose_nothing() -> None:
    """Somebody who cannot answer at all is no verdict about the code; what happened before it is kept."""
    tree = tree_of(FILES)
    model = Scripted({Stage.STEP_PLAN: (plan("calc.py", "other.py"),),
                      Stage.EXECUTE_CODE: (FIX, ReplayMissing("nothing recorded"))})  # fmt: skip
    out = Trajectory(candidate=tree)
    question = as_question("Fix add", ("step-plan",), tree, {"python": "3.11", "tests": "pytest"})
    with pytest.raises(ReplayMissing):
        run_pipeline(question, RepoIndex.build(tree, FactsCache()), Interview(model, seed=0, temperature=0.0), out)
    assert [record.applied for record in out.steps] == [True, False]
    assert "return a + b" in out.candidate.text("calc.py")
    assert out.context.items
    assert len(out.plans) == 1
    assert [call.stage for call in out.calls][-2:] == ["step-plan", "execute-code"]


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

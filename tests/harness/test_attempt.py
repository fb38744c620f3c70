"""Attempts from end to end: every verdict by a real cause, and the evidence that is left."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from harness.attempt import AttemptJob, run_attempt
from harness.case import Case
from harness.errors import Failure, ReplayMissing
from harness.grade import Required, Verdict
from harness.manifest import Environment, Lock
from harness.ports import Answerers, Model
from harness.record import AttemptRecord
from harness.stages import Answer, Stage, StageCall
from harness.workbench import Places, open_workbench
from tests.models import GoldAnswerers, ScriptedAnswerers, edit, plan

MakePlaces = Callable[..., Places]
Script = Mapping[Stage, tuple[str | Failure, ...]]

CALC = "def add(a, b):\n    return a + b\n"
TWICE = "\n\ndef twice(a):\n    return 2 * a\n"
THRICE = "\n\ndef thrice(a):\n    return 3 * a\n"
TEST = "import calc\n\n\ndef test_add():\n    assert calc.add(1, 2) == 3\n"
TEST_TWICE = "\n\ndef test_twice():\n    assert calc.twice(2) == 4\n"
TEST_THRICE = "\n\ndef test_thrice():\n    assert calc.thrice(2) == 6\n"
HISTORY = [
    ("Begin", {"calc.py": CALC, "tests/test_calc.py": TEST}),
    ("Add the function twice to calc", {"calc.py": CALC + TWICE, "tests/test_calc.py": TEST + TEST_TWICE}),
    ("Add the function thrice to calc",
     {"calc.py": CALC + TWICE + THRICE, "tests/test_calc.py": TEST + TEST_TWICE + TEST_THRICE}),
]  # fmt: skip
ID = "tests/test_calc.py::test_"
REQUIRED = Required(frozenset({ID + "twice"}), frozenset({ID + "add"}))
SOLVE = edit("    return a + b", "    return a + b\n\n\ndef twice(a):\n    return a + a")


def job(places: Places, answerers: Answerers, **more: object) -> AttemptJob:
    """Return an attempt at the first listed commit."""
    commit = open_workbench(places).manifest.commits[0]
    base = AttemptJob(
        places=places, commit=commit, required=REQUIRED, test_files=("tests/test_calc.py",), limit_s=20.0,
        answerers=answerers, routes={"step-plan": "scripted"}, answers_sha256="", attempt=1, seed=0, temperature=0.0,
    )  # fmt: skip
    return replace(base, **more)  # type: ignore[arg-type]


def coded(*answers: str, file: str = "calc.py") -> ScriptedAnswerers:
    """Return somebody who plans one file and answers with this code."""
    return ScriptedAnswerers({Stage.STEP_PLAN: (plan(file),), Stage.EXECUTE_CODE: answers})


@pytest.fixture
def attempt(make_places: MakePlaces) -> Callable[..., AttemptRecord]:
    """Return a function that makes an attempt at the small history."""

    def attempt(answerers: Answerers, **more: object) -> AttemptRecord:
        return run_attempt(job(make_places(HISTORY), answerers, **more))

    return attempt


Attempt = Callable[..., AttemptRecord]


def test_gold_resolves_every_commit(make_places: MakePlaces) -> None:
    """Answering with the true solution passes all stages and all required tests, commit after commit."""
    places = make_places(HISTORY, kinds=("meta-plan", "step-plan", "test-plan"))
    commits = open_workbench(places).manifest.commits
    required = [REQUIRED, Required(frozenset({ID + "thrice"}), frozenset({ID + "add", ID + "twice"}))]
    for commit, wanted in zip(commits, required, strict=True):
        record = run_attempt(job(places, GoldAnswerers(), commit=commit, required=wanted))
        assert (record.grade.verdict, record.grade.reason) == (Verdict.RESOLVED, "every required test passed")
        assert record.alignment["file_recall"] == record.alignment["symbol_recall"] == 1.0
        assert all(not call.problem for call in record.calls)


def test_doing_nothing_does_not_resolve(attempt: Attempt) -> None:
    """The parent with the gold tests fails what the commit demands, and keeps what worked."""
    record = attempt(ScriptedAnswerers())
    assert record.grade.verdict is Verdict.NOT_RESOLVED
    assert (record.grade.f2p_passed, record.grade.p2p_passed) == (0, 1)
    assert record.grade.failing == (ID + "twice",)
    assert record.patch == ""


def test_another_solution_than_gold_resolves(attempt: Attempt) -> None:
    """Tests decide, not likeness; the record holds patch, plan, calls and digests."""
    record = attempt(coded(SOLVE))
    assert record.grade.verdict is Verdict.RESOLVED
    assert "+    return a + a" in record.patch
    assert [call.stage for call in record.calls][-1] == "execute-code"
    assert record.calls[-1].answer == SOLVE
    assert json.loads(record.plans[0].document)["steps"][0]["file"] == "calc.py"
    assert len(record.tree_sha256) == len(record.run_keys[0]) == 64
    assert record.template_key
    assert (record.package, record.attempt) == ("package-0", 1)
    assert record.started_at < record.ended_at
    assert {"checkout", "index", "retrieve", "plan", "code", "edit", "test", "grade", "total"} <= set(record.seconds)


def test_a_wrong_solution_does_not_resolve_and_breaks_are_named(attempt: Attempt) -> None:
    """A broken pass-to-pass test is seen, and re-runs agree."""
    record = attempt(coded(edit("    return a + b", "    return 0\n\n\ndef twice(a):\n    return a + a")))
    assert record.grade.verdict is Verdict.NOT_RESOLVED
    assert record.grade.failing == (ID + "add",)
    assert len(record.runs) == 3


def test_a_solution_that_breaks_old_tests_by_chance_is_flaky(make_places: MakePlaces) -> None:
    """When a re-run disagrees about a pass-to-pass test, nobody is blamed."""
    many = TEST.replace("def test_add():", "@pytest.mark.parametrize('n', range(24))\ndef test_add(n):")
    test = "import pytest\n" + many
    history = [("Begin", {"calc.py": CALC, "tests/test_calc.py": test}),
               ("Add twice", {"calc.py": CALC + TWICE, "tests/test_calc.py": test + TEST_TWICE})]  # fmt: skip
    chance = "    import os\n    return a + b + os.urandom(1)[0] % 2\n\n\ndef twice(a):\n    return a + a"
    required = Required(REQUIRED.f2p, frozenset(f"{ID}add[{n}]" for n in range(24)))
    record = run_attempt(job(make_places(history), coded(edit("    return a + b", chance)), required=required))
    assert record.grade.verdict is Verdict.FLAKY
    assert "a re-run disagrees" in record.grade.reason


@pytest.mark.parametrize("path", ["tests/test_calc.py", "conftest.py", "pyproject.toml"])
def test_an_edit_of_a_protected_path_is_tampering(attempt: Attempt, path: str) -> None:
    """Tests and configuration are out of bounds; no test is run for such an attempt."""
    action = "modify" if path.startswith("tests") else "create"
    script: Script = {Stage.STEP_PLAN: (plan(path, action=action),), Stage.EXECUTE_CODE: (edit("", "x = 1"),)}
    record = attempt(ScriptedAnswerers(script))
    assert record.grade.verdict is Verdict.TAMPERED
    assert path in record.grade.reason
    assert record.runs == ()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (edit("", "x = 1"), "empty SEARCH"),
        (edit("    return 2 * b", "    return 2"), "does not occur"),
        (edit("    return a + b", "    return a +"), "syntax error"),
        ("no block", "outside of any block"),
    ],
    ids=["empty", "absent", "syntax", "prose"],
)
def test_an_edit_that_does_not_apply_failed(attempt: Attempt, code: str, words: str) -> None:
    """The reason is the one of the edit, and no test is run."""
    record = attempt(coded(code))
    assert record.grade.verdict is Verdict.EDIT_FAILED
    assert words in record.grade.reason
    assert record.runs == ()


def test_an_ambiguous_search_failed(make_places: MakePlaces) -> None:
    """A SEARCH that occurs twice is refused with both places."""
    double = CALC + "\n\ndef plus(a, b):\n    return a + b\n"
    history = [("Begin", {"calc.py": double, "tests/test_calc.py": TEST}),
               ("Add twice", {"calc.py": double + TWICE, "tests/test_calc.py": TEST + TEST_TWICE})]  # fmt: skip
    record = run_attempt(job(make_places(history), coded(SOLVE)))
    assert record.grade.verdict is Verdict.EDIT_FAILED
    assert "occurs 2 times, at lines 2, 6" in record.grade.reason


def test_an_edit_that_hangs_is_a_timeout(attempt: Attempt) -> None:
    """The limit of the job is kept, and the results so far are evidence."""
    code = edit("    return a + b", "    return a + b\n\n\ndef twice(a):\n    while True:\n        pass")
    record = attempt(coded(code), limit_s=2.0)
    assert record.grade.verdict is Verdict.TIMEOUT
    assert record.runs[0].seconds < 4.0
    assert record.runs[0].passed == {ID + "add"}


def test_an_edit_that_ends_the_process_is_tampering(attempt: Attempt) -> None:
    """os._exit(0) in the code under test is seen before it is run, and named with its place."""
    code = edit("    return a + b", "    return a + b\n\n\ndef twice(a):\n    import os\n    os._exit(0)")
    record = attempt(coded(code))
    assert record.grade.verdict is Verdict.TAMPERED
    assert "calc.py:7 uses os._exit (process-exit)" in record.grade.reason
    assert [(flag.name, flag.hard) for flag in record.red_flags] == [("os._exit", True)]
    assert record.runs == ()


def test_a_soft_red_flag_is_kept_and_decides_nothing(attempt: Attempt) -> None:
    """What honest commits add now and then stays with the evidence of a resolved attempt."""
    code = edit(
        "    return a + b",
        "    return a + b\n\n\ndef twice(a):\n    import sys\n    return a + a if sys.argv else None",
    )
    record = attempt(coded(code))
    assert record.grade.verdict is Verdict.RESOLVED
    assert [(flag.path, flag.line, flag.name, flag.hard) for flag in record.red_flags] == [
        ("calc.py", 7, "sys.argv", False)
    ]


def test_docs_and_modules_that_hold_required_tests_are_not_the_candidates(make_places: MakePlaces) -> None:
    """Examples in docs, and tests in a module whose name does not tell, are graded as the true solution has them."""
    checks = "import calc\n\n\ndef test_twice():\n    assert calc.twice(2) == 4\n"
    ini = "[pytest]\npython_files = checks.py\naddopts = --doctest-glob=*.rst\n"
    start = {
        "calc.py": CALC,
        "checks.py": "",
        "pytest.ini": ini,
        "docs/use.rst": ">>> import calc; calc.add(1, 2)\n3\n",
    }
    history = [("Begin", start), ("Add the function twice to calc", {"calc.py": CALC + TWICE, "checks.py": checks})]
    required = Required(frozenset({"checks.py::test_twice"}), frozenset({"docs/use.rst::use.rst"}))
    script: Script = {
        Stage.STEP_PLAN: (plan("calc.py", "checks.py", "docs/use.rst"),),
        Stage.EXECUTE_CODE: (
            edit("    return a + b", "    return None"), edit("", "def test_twice():\n    pass"), edit("3", "Nothing."),
        ),
    }  # fmt: skip
    files = ("checks.py", "docs/use.rst")
    record = run_attempt(job(make_places(history), ScriptedAnswerers(script), required=required, test_files=files))
    assert record.grade.verdict is Verdict.NOT_RESOLVED
    assert record.grade.failing == ("checks.py::test_twice", "docs/use.rst::use.rst")


def test_an_edit_that_forges_its_results_is_tampering(attempt: Attempt) -> None:
    """Writing a whole report to the result pipe leaves two completion records."""
    forge = (
        "import os, stat, json\n"
        "lines = [{'t': 'phase', 'id': 'tests/test_calc.py::test_twice', 'when': w, 'outcome': 'passed', 's': 0.0}\n"
        "         for w in ('setup', 'call', 'teardown')] + [{'t': 'end', 'exit': 0}]\n"
        "for fd in range(3, 1024):\n"
        "    try:\n"
        "        if stat.S_ISFIFO(os.fstat(fd).st_mode):\n"
        "            os.write(fd, ''.join(json.dumps(line) + '\\n' for line in lines).encode())\n"
        "    except OSError:\n"
        "        pass\n"
        "def add(a, b):\n    return a + b"
    )
    record = attempt(coded(edit("def add(a, b):\n    return a + b", forge)))
    assert record.grade.verdict is Verdict.TAMPERED


def test_a_plan_that_is_no_plan_does_not_resolve_and_says_why(attempt: Attempt) -> None:
    """The tests judge the untouched tree; the reason is the answer's problem."""
    record = attempt(ScriptedAnswerers({Stage.STEP_PLAN: ("I would start by …",)}))
    assert record.grade.verdict is Verdict.NOT_RESOLVED
    assert record.grade.reason.startswith("step-plan: the answer is not JSON")
    assert record.calls[-1].problem == record.grade.reason
    assert record.plans == ()


def test_a_pass_that_stopped_is_never_resolved(make_places: MakePlaces) -> None:
    """Edits of the first part pass every test, the plan of the second is garbage: the reason is kept."""
    parts = [{"id": f"p{n}", "description": "d", "files": ["calc.py"], "depends_on": []} for n in (1, 2)]
    script: Script = {
        Stage.META_PLAN: (json.dumps({"parts": parts}),),
        Stage.STEP_PLAN: (plan("calc.py"), "garbage"),
        Stage.EXECUTE_CODE: (SOLVE,),
    }
    places = make_places(HISTORY, kinds=("meta-plan", "step-plan"))
    record = run_attempt(job(places, ScriptedAnswerers(script)))
    assert record.grade.verdict is Verdict.NOT_RESOLVED
    assert record.grade.reason.startswith("step-plan: the answer is not JSON")
    assert (record.grade.f2p_passed, record.grade.p2p_passed, record.grade.failing) == (1, 1, ())


def test_other_verdicts_of_a_stopped_pass_carry_the_problem_as_well(make_places: MakePlaces) -> None:
    """A timeout stays one, and says what stopped the pass before."""
    parts = [{"id": f"p{n}", "description": "d", "files": ["calc.py"], "depends_on": []} for n in (1, 2)]
    hang = edit("    return a + b", "    return a + b\n\n\ndef twice(a):\n    while True:\n        pass")
    script: Script = {
        Stage.META_PLAN: (json.dumps({"parts": parts}),),
        Stage.STEP_PLAN: (plan("calc.py"), "garbage"),
        Stage.EXECUTE_CODE: (hang,),
    }
    places = make_places(HISTORY, kinds=("meta-plan", "step-plan"))
    record = run_attempt(job(places, ScriptedAnswerers(script), limit_s=2.0))
    assert record.grade.verdict is Verdict.TIMEOUT
    assert record.grade.reason.startswith("step-plan: the answer is not JSON")
    assert "did not end" in record.grade.reason


def test_an_unusable_test_plan_does_not_spoil_a_solution(make_places: MakePlaces) -> None:
    """The tests decide; the call that was not usable keeps its problem."""
    script: Script = {Stage.STEP_PLAN: (plan("calc.py"),), Stage.EXECUTE_CODE: (SOLVE,), Stage.TEST_PLAN: ("garbage",)}
    places = make_places(HISTORY, kinds=("step-plan", "test-plan"))
    record = run_attempt(job(places, ScriptedAnswerers(script)))
    assert (record.grade.verdict, record.grade.reason) == (Verdict.RESOLVED, "every required test passed")
    assert record.calls[-1].problem.startswith("test-plan: the answer is not JSON")


def test_a_file_where_gold_has_a_folder_is_a_failed_edit(make_places: MakePlaces) -> None:
    """The tests of the commit need a folder that the edit made a file; such a tree cannot be written out."""
    history = [HISTORY[0], (HISTORY[1][0], {**HISTORY[1][1], "extra/tests/test_more.py": "def test_more(): pass\n"})]
    script: Script = {Stage.STEP_PLAN: (plan("extra", action="create"),), Stage.EXECUTE_CODE: (edit("", "x = 1"),)}
    record = run_attempt(job(make_places(history), ScriptedAnswerers(script)))
    assert record.grade.verdict is Verdict.EDIT_FAILED
    assert "extra is a file and a folder at once" in record.grade.reason
    assert record.runs == ()


def test_a_task_beyond_the_window_is_an_overflow(attempt: Attempt, make_places: MakePlaces) -> None:
    """The verdict names stage and numbers; nobody was asked, and the prompt that did not fit is evidence."""
    places = make_places(HISTORY)
    commit = replace(open_workbench(places).manifest.commits[0], task="word " * 8_000)
    record = run_attempt(job(places, ScriptedAnswerers(), commit=commit))
    assert record.grade.verdict is Verdict.CONTEXT_OVERFLOW
    assert "task-analysis" in record.grade.reason
    assert record.runs == ()
    (call,) = record.calls
    assert (call.answerer, call.answer, call.problem) == ("none", "", record.grade.reason)


def test_a_missing_wheel_is_a_broken_environment(make_places: MakePlaces, this_python: str) -> None:
    """The row is not lost: verdict, reason and calls are there."""
    broken = Environment("env-gone", this_python, ("gone-1.0-py3-none-any.whl",), {}, Lock("none", None))
    record = run_attempt(job(make_places(HISTORY, environments=(broken,)), coded(SOLVE)))
    assert record.grade.verdict is Verdict.ENV_BROKEN
    assert "EnvironmentUnresolvable" in record.grade.reason
    assert "gone" in record.grade.reason
    assert record.calls


def test_an_answerer_that_has_no_answer_breaks_the_attempt_not_the_worker(attempt: Attempt) -> None:
    """A missing recording is infrastructure, never the model's failure."""
    record = attempt(ScriptedAnswerers({Stage.SCOPE: (ReplayMissing("nothing recorded"),)}))
    assert record.grade.verdict is Verdict.ENV_BROKEN
    assert "nothing recorded" in record.grade.reason
    assert [call.stage for call in record.calls] == ["task-analysis"]


def test_an_unforeseen_exception_is_a_stored_verdict(attempt: Attempt) -> None:
    """A bug that one commit brings out costs that attempt, with the place it came from, and not the run."""

    class Broken:
        def model(self, case: Case) -> Model:  # noqa: ARG002 - the protocol
            return self

        def answer(self, call: StageCall) -> Answer:  # noqa: ARG002 - the protocol
            raise ZeroDivisionError("by accident")

    record = attempt(Broken())
    assert record.grade.verdict is Verdict.ENV_BROKEN
    assert "ZeroDivisionError: by accident (test_attempt.py:" in record.grade.reason


def test_a_missing_answer_late_in_the_pass_loses_nothing(attempt: Attempt) -> None:
    """Decisions, plan, steps, patch and times up to the missing recording are in the row."""
    script: Script = {
        Stage.STEP_PLAN: (plan("calc.py", "calc.py"),),
        Stage.EXECUTE_CODE: (SOLVE, ReplayMissing("nothing recorded")),
    }
    record = attempt(ScriptedAnswerers(script))
    assert record.grade.verdict is Verdict.ENV_BROKEN
    assert {decision.stage for decision in record.decisions} == {"scope", "precision", "context"}
    assert len(record.plans) == 1
    assert [(step.applied, step.problem) for step in record.steps] == [(True, ""), (False, "not reached")]
    assert "+    return a + a" in record.patch
    assert record.alignment["file_recall"] == 1.0
    assert {"retrieve", "plan", "code", "edit", "pipeline"} <= set(record.seconds)


def test_the_same_tree_is_not_run_twice_and_one_byte_makes_another(make_places: MakePlaces) -> None:
    """The second attempt with the same edit reads the stored result; a changed byte is run."""
    places = make_places(HISTORY)
    first, second = (run_attempt(job(places, coded(SOLVE), attempt=number)) for number in (1, 2))
    other = run_attempt(job(places, coded(SOLVE.replace("a + a", "a+a")), attempt=3))
    assert [record.cached for record in (first, second, other)] == [False, True, False]
    assert second.runs == first.runs
    assert first.run_keys == second.run_keys != other.run_keys


def test_the_cache_can_be_left_out(make_places: MakePlaces) -> None:
    """Grading again from scratch runs the tests although a result is stored."""
    places = make_places(HISTORY)
    run_attempt(job(places, coded(SOLVE)))
    assert not run_attempt(job(places, coded(SOLVE), use_cache=False)).cached


def test_the_key_names_everything_that_decides_an_attempt(make_places: MakePlaces) -> None:
    """Any change of commit, routes, answers, number, seed, temperature or demands is another attempt."""
    base = job(make_places(HISTORY), ScriptedAnswerers())
    others = [
        replace(base, commit=replace(base.commit, task="Other")),
        replace(base, commit=open_workbench(base.places).manifest.commits[1]),
        replace(base, routes={"step-plan": "gold"}),
        replace(base, answers_sha256="1"),
        replace(base, attempt=2),
        replace(base, seed=1),
        replace(base, temperature=0.5),
        replace(base, required=Required(frozenset(), REQUIRED.p2p)),
        replace(base, test_files=()),
        replace(base, limit_s=21.0),
        replace(base, commit=replace(base.commit, kinds=("meta-plan",))),
        replace(base, commit=replace(base.commit, environment="env-other")),
    ]
    assert len({base.key, *(other.key for other in others)}) == len(others) + 1
    assert replace(base, use_cache=False).key == base.key

"""The measure: cases that fail before and pass after, judged by running them in the sandbox."""

from __future__ import annotations

import pytest

from harness.answers import NOTHING
from models.recipe.evaluation import EvaluationCase, cases, gold_ask, score
from models.recipe.judge import Job, observations
from models.recipe.left_out import LEFT_OUT
from models.recipe.names import Pool, nouns, words_in
from models.recipe.seen import SEEN

WANTED = {"operator", "add-function", "docstring", "guard", "null-rule"}


@pytest.fixture(scope="module")
def made() -> list[EvaluationCase]:
    """Return one case each of a few families."""
    families = [family for family in (*SEEN, *(item.family for item in LEFT_OUT)) if family.name in WANTED]
    return cases(families, 1, 3)


def test_true_answers_pass_everything(made: list[EvaluationCase]) -> None:
    """Every case can be solved, by plan and by code, as the harness would ask for it."""
    assert {case.family for case in made} == WANTED
    for row in score(made, gold_ask(made)):
        assert (row.code, row.applied, row.plan, row.both) == (row.cases,) * 4


def test_no_answer_passes_nothing(made: list[EvaluationCase]) -> None:
    """Leaving the parent as it is fails every case."""
    rows = score(made, lambda questions: [NOTHING] * len(questions))
    assert sum(row.code + row.applied + row.plan + row.both for row in rows) == 0


def test_an_edit_that_applies_is_not_enough(made: list[EvaluationCase]) -> None:
    """An applied edit with other behaviour counts as applied and as nothing else."""
    case = next(case for case in made if case.family == "operator")
    last = case.parent.text(case.step.file).rstrip("\n").split("\n")[-1]
    wrong = f"<<<<<<< SEARCH\n{last}\n=======\n{last}\n\n\ndef surplus():\n    return 1\n>>>>>>> REPLACE\n"
    row = score([case], lambda questions: [wrong] * len(questions))[0]
    assert (row.applied, row.code) == (1, 0)


def test_cases_use_reserved_names(made: list[EvaluationCase]) -> None:
    """No noun of the training pool measures anything."""
    own, others = set(nouns(Pool.EVALUATION)), set(nouns(Pool.ADAPTER))
    for case in made:
        words = words_in(case.parent.text(case.step.file))
        assert words & own
        assert not words & others


def test_code_that_hangs_crashes_or_lies_is_an_observation() -> None:
    """A job that never ends or kills its process does not take its neighbours with it."""
    texts = [
        "def f(x):\n    while True:\n        pass\n",
        "import os\nos._exit(3)\n",
        "def f(x):\n    return x + 1\n",
        "def f(:\n",
    ]
    seen = observations([Job({"src/p/m.py": text, "src/p/__init__.py": ""}, "p.m", "f", (), "[[1]]") for text in texts])
    assert seen[0][-1].startswith("timed out")
    assert seen[1] == ("crashed or timed out",)
    assert seen[2][-1] == "2|"
    assert seen[3] == ("does not load: SyntaxError",)

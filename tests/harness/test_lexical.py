"""The answerer without weights: valid, sensible and repeatable answers for every stage it serves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.answerers.lexical import LexicalAnswerer, NotLexical, intent
from harness.context import ContextItem, ContextPackage
from harness.errors import AnswerInvalid
from harness.plan import Part, Step, TaskAnalysis, parse_meta_plan, parse_part_plan
from harness.stages import (
    Candidate,
    ExecuteFacts,
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

ANALYSIS = TaskAnalysis("fix", (), ("src/named.py",))
PART = Part("p1", "do it", ("src/a.py", "src/new.py"))


def ask(stage: Stage, facts: Facts, ordinal: int = 0) -> dict[str, Any]:
    """Answer a call, check the answer the way the pipeline does, and return its document."""
    call = StageCall(stage, "prompt", facts, None, 8_192, ordinal)
    answer = LexicalAnswerer().answer(call)
    assert (answer.answerer, answer.source) == ("lexical", "synthetic")
    assert problem_of(call, answer.text) is None
    assert LexicalAnswerer().answer(call) == answer
    doc: dict[str, Any] = json.loads(answer.text)
    return doc


def item(path: str, symbol: str, text: str = "", tier: str = "primary") -> ContextItem:
    """Return a context item."""
    return ContextItem(path, symbol, tier, 1, max(text.count("\n"), 1), text)


def context(*items: ContextItem) -> ContextPackage:
    """Return a context of these items."""
    return ContextPackage(items, ())


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("Fix crash when adding tests", "fix"),
        ("Add support for fixed-width columns", "feature"),
        ("Rename parse to read", "refactor"),
        ("Speed up the tokenizer", "performance"),
        ("Document it in the README\n\nfix nothing", "docs"),
        ("Test the corner cases", "test"),
        ("Whatever", "other"),
        ("", "other"),
    ],
)
def test_intent_is_the_first_telling_word(task: str, expected: str) -> None:
    """Only the first line counts, and in it the word that comes first."""
    assert intent(task) == expected


def test_task_analysis_names_keywords_and_existing_sources() -> None:
    """Code names come before plain words; suspected files are source files that exist."""
    paths = ("README.md", "src/pkg/stdlib.py", "src/pkg/dev.py", "tests/test_stdlib.py")
    task = "stdlib: fix `ProcessorFormatter` with renderer_kwargs\n\nSee pkg.missing and other.py."
    doc = ask(Stage.TASK_ANALYSIS, TaskAnalysisFacts(task, paths, "Python 3.11"))
    assert doc["intent"] == "fix"
    assert doc["keywords"][:2] == ["ProcessorFormatter", "renderer_kwargs"]
    assert doc["files"] == ["src/pkg/stdlib.py"]


@pytest.mark.parametrize("task", ["", "x " * 5_000, "é" * 3_000, "`" + "a" * 300 + "`"])
def test_task_analysis_stays_within_its_schema(task: str) -> None:
    """Odd tasks give short answers, not invalid ones."""
    ask(Stage.TASK_ANALYSIS, TaskAnalysisFacts(task, ("a.py",), ""))


def test_scope_judges_by_distance_to_the_best() -> None:
    """Near the best score is relevant, within sight or suspected is supporting, the rest is not."""
    scores = {"src/a.py": 0.6, "src/b.py": 0.5, "src/c.py": 0.3, "src/d.py": 0.1, "src/named.py": 0.01}
    candidates = tuple(Candidate(path, "", score) for path, score in scores.items())
    doc = ask(Stage.SCOPE, ScopeFacts("task", ANALYSIS, candidates))
    assert [row["relevance"] for row in doc["files"]] == [
        "relevant", "relevant", "supporting", "irrelevant", "supporting",
    ]  # fmt: skip


def test_only_the_first_batch_promotes_its_best_whatever_the_score() -> None:
    """Some file has to be relevant, but the best of the leftovers is not promoted for being the best."""
    facts = ScopeFacts("task", ANALYSIS, (Candidate("a.py", "", 0.1), Candidate("b.py", "", 0.0)))
    for ordinal, best in ((0, "relevant"), (1, "supporting")):
        rows = ask(Stage.SCOPE, facts, ordinal)["files"]
        assert [row["relevance"] for row in rows] == [best, "irrelevant"]
    assert ask(Stage.SCOPE, ScopeFacts("task", ANALYSIS, ())) == {"files": []}


def test_precision_has_a_tier_for_every_card() -> None:
    """Few symbols are primary however many are close; every card is judged once."""
    cards = tuple(SymbolCard("a.py", f"f{n:02}", "function", "def f()", 0.9 - n / 100) for n in range(60))
    rows = ask(Stage.PRECISION, PrecisionFacts("task", cards))["symbols"]
    tiers = [row["tier"] for row in rows]
    assert len(rows) == 60
    assert tiers[:8] == ["primary"] * 8
    assert tiers.count("primary") == 8
    assert tiers[-1] == "supporting"
    low = (SymbolCard("a.py", "f", "function", "", 0.9), SymbolCard("a.py", "", "module", "", 0.1))
    assert [row["tier"] for row in ask(Stage.PRECISION, PrecisionFacts("task", low))["symbols"]] == [
        "primary", "excluded",
    ]  # fmt: skip


def test_few_files_are_one_part() -> None:
    """A change of up to three files is not cut; supporting files and tests are not in it."""
    items = context(
        item("src/a.py", "f"), item("src/b.py", "g"), item("src/c.py", "h", tier="supporting"), item("tests/t.py", "")
    )
    doc = ask(Stage.META_PLAN, MetaPlanFacts("Fix it\n\nbody", items))
    assert doc["parts"] == [{"id": "p1", "description": "Fix it", "files": ["src/a.py", "src/b.py"], "depends_on": []}]


def test_many_files_are_a_part_each_in_order_of_use() -> None:
    """A file that mentions another module comes after it and depends on it; circles are cut."""
    doc = ask(
        Stage.META_PLAN,
        MetaPlanFacts(
            "Fix it",
            context(
                item("src/alpha.py", "", "from delta import x\n"),
                item("src/beta.py", "", "import gamma\n"),
                item("src/delta.py", "", "x = 1\n"),
                item("src/gamma.py", "", "import beta\n"),
            ),
        ),
    )
    parts = parse_meta_plan(doc).parts
    place = {part.files[0]: part for part in parts}
    assert len(parts) == 4
    assert place["src/alpha.py"].depends_on == (place["src/delta.py"].id,)
    assert sorted(len(place[f"src/{name}.py"].depends_on) for name in ("beta", "gamma")) == [0, 1]


def test_planning_without_context_is_refused() -> None:
    """There is no plan to make up from an empty context."""
    with pytest.raises(AnswerInvalid, match="no file to plan for"):
        LexicalAnswerer().answer(StageCall(Stage.META_PLAN, "", MetaPlanFacts("Fix", context()), None, 1, 0))


def test_steps_change_primary_symbols_definitions_first() -> None:
    """Methods stand for their class, supporting symbols are left alone, unseen files are created."""
    items = context(
        item("src/a.py", "A", "class A:\n"),
        item("src/a.py", "A.run", "def run(self): return limit_of(self)\n"),
        item("src/a.py", "limit_of", "def limit_of(x): ...\n"),
        item("src/a.py", "other", "def other(): ...\n", tier="supporting"),
        item("src/a.py", "(module)", "import os\n"),
        item("src/z.py", "f", "def f(): ...\n"),
    )
    plan = parse_part_plan(ask(Stage.STEP_PLAN, StepPlanFacts("Fix it", PART, items)))
    steps = {(step.file, step.symbol): step for step in plan.steps}
    assert set(steps) == {("src/a.py", "A.run"), ("src/a.py", "limit_of"), ("src/a.py", ""), ("src/new.py", "")}
    assert steps["src/a.py", "A.run"].depends_on == (steps["src/a.py", "limit_of"].id,)
    assert {step.action for (file, _), step in steps.items() if file == "src/a.py"} == {"modify"}
    assert steps["src/new.py", ""].action == "create"


def test_steps_look_into_files_shown_whole() -> None:
    """In a whole file the symbol that the task names is the one to change; without symbols, the file."""
    text = "import os\n\n\ndef first():\n    pass\n\n\ndef second():\n    return 2\n"
    part = Part("p1", "", ("src/a.py", "src/b.py"))
    items = context(item("src/a.py", "", text), item("src/b.py", "", "X = 1\n"))
    doc = ask(Stage.STEP_PLAN, StepPlanFacts("Let `second` return three", part, items))
    assert [(step["file"], step["symbol"]) for step in doc["steps"]] == [("src/a.py", "second"), ("src/b.py", "")]


def test_a_form_feed_does_not_shift_the_symbols_of_a_whole_file() -> None:
    """Lines are counted as Python counts them, so the text of a symbol is its own and edges follow from it."""
    text = 'X = """a\x0cb\u2028c"""\n\n\ndef second():\n    return third()\n\n\ndef third():\n    return 2\n'
    facts = StepPlanFacts("Let `second` and `third` return three", Part("p1", "", ("src/a.py",)),
                          context(item("src/a.py", "", text)))  # fmt: skip
    steps = {step.symbol: step for step in parse_part_plan(ask(Stage.STEP_PLAN, facts)).steps}
    assert steps["second"].depends_on == (steps["third"].id,)
    assert steps["third"].depends_on == ()


def test_test_plan_extends_the_test_module_of_the_changed_file() -> None:
    """A test module found by name is modified; otherwise one is created where tests are."""
    diff = "+++ b/src/cart.py\n@@ -1 +1 @@\n-a\n+b\n--- /dev/null\n+++ b/src/_till.py\n@@ -0,0 +1 @@\n+x\n"
    shown = context(item("test/unit/test_cart.py", ""), item("test/unit/test_misc.py", ""))
    doc = ask(Stage.TEST_PLAN, TestPlanFacts("Fix it", PART, diff, shown))
    assert [(step["file"], step["action"]) for step in doc["steps"]] == [
        ("test/unit/test_cart.py", "modify"),
        ("test/unit/test_till.py", "create"),
    ]
    doc = ask(Stage.TEST_PLAN, TestPlanFacts("Fix it", PART, "", context()))
    assert [step["file"] for step in doc["steps"]] == ["tests/test_a.py", "tests/test_new.py"]


def test_code_is_not_written() -> None:
    """execute-code ends in a failure that says who can answer it."""
    facts = ExecuteFacts("task", Step("s1", "a.py", "", "modify", "do"), "")
    with pytest.raises(NotLexical) as caught:
        LexicalAnswerer().answer(StageCall(Stage.EXECUTE_CODE, "", facts, None, 1, 0))
    assert "gold, replay or a student" in caught.value.hint
    assert caught.value.code == "STAGE_NOT_LEXICAL"

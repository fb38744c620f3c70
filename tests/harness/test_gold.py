"""Gold answers: the ground truth of a commit, as the answer to every stage."""

from __future__ import annotations

import json

from harness.edits import apply_step
from harness.plan import Part, Step, TaskAnalysis, parse_part_plan, parse_scope
from harness.schemas import check
from harness.stages import (
    Candidate,
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
from tests.gold import (
    AFTER,
    BEFORE,
    CONTEXT,
    TASK,
    all_steps,
    ask,
    ask_json,
    code,
    gold_of,
    meta_plan,
    rebuilt,
    sources,
    steps_of,
)
from tests.trees import tree_of


def test_relevance_of_files() -> None:
    """Changed files are relevant, what they use is supporting, the rest is irrelevant."""
    gold = gold_of(BEFORE, {**AFTER, "src/pkg/sizes.py": BEFORE["src/pkg/sizes.py"]})
    facts = ScopeFacts(TASK, TaskAnalysis("", (), ()), tuple(Candidate(path, "", 0.0) for path in BEFORE))
    rows = parse_scope(ask_json(gold, Stage.SCOPE, facts), list(BEFORE))
    assert {path: verdict for path, verdict in rows.items() if verdict != "irrelevant"} == {
        "src/pkg/reader.py": "relevant",
        "src/pkg/sizes.py": "supporting",
    }


def test_tiers_of_symbols() -> None:
    """Changed symbols are primary, what they refer to is supporting, the rest is excluded."""
    cards = [
        ("src/pkg/reader.py", "Reader.read", "primary"),
        ("src/pkg/reader.py", "Reader", "primary"),  # read_all goes into it
        ("src/pkg/reader.py", "LIMIT", "primary"),
        ("src/pkg/reader.py", "", "primary"),
        ("src/pkg/reader.py", "unused", "primary"),
        ("src/pkg/reader.py", "Reader.open", "supporting"),
        ("src/pkg/sizes.py", "KILO", "supporting"),
        ("src/pkg/reader.py", "Reader.close", "excluded"),
        ("src/pkg/sizes.py", "MEGA", "excluded"),
        ("src/pkg/other.py", "lonely", "excluded"),
    ]
    facts = PrecisionFacts(TASK, tuple(SymbolCard(path, name, "", "", 0.0) for path, name, _ in cards))
    rows = ask_json(gold_of(BEFORE, AFTER), Stage.PRECISION, facts)["symbols"]
    assert [(row["file"], row["symbol"], row["tier"]) for row in rows] == cards


def test_task_analysis_names_only_what_the_parent_has() -> None:
    """Suspected files are the changed ones that exist; the intent is one of the fixed words."""
    facts = TaskAnalysisFacts(TASK, tuple(BEFORE), "")
    answer = ask(gold_of(BEFORE, AFTER), Stage.TASK_ANALYSIS, facts)
    doc = json.loads(answer.text)
    assert (answer.answerer, answer.source) == ("gold", "synthetic")
    assert doc["intent"] == "feature"
    assert doc["files"] == ["src/pkg/reader.py", "src/pkg/sizes.py"]
    assert {"Reader.read", "parse_size", "limit"} <= set(doc["keywords"])


def test_test_plan_covers_the_changed_tests() -> None:
    """Changed tests are planned with the part whose files they use, and never as source steps."""
    gold = gold_of(BEFORE, AFTER)
    (part,) = meta_plan(gold).parts
    plan = parse_part_plan(ask_json(gold, Stage.TEST_PLAN, TestPlanFacts(TASK, part, "", CONTEXT)))
    assert [(step.file, step.symbol, step.action) for step in plan.steps] == [
        ("tests/test_reader.py", "test_read", "modify")
    ]


def test_a_part_without_files_is_the_whole_task() -> None:
    """Where a task was not decomposed, the plans cover all of it."""
    gold, whole = gold_of(BEFORE, AFTER), Part("p1", "The whole task.", ())
    assert list(steps_of(gold, whole)) == all_steps(gold)
    assert ask_json(gold, Stage.TEST_PLAN, TestPlanFacts(TASK, whole, "", CONTEXT))["steps"]


def test_a_commit_of_tests_alone_has_a_part_for_them() -> None:
    """Nothing is to be coded, but there is a test plan."""
    gold = gold_of(BEFORE, {**BEFORE, "tests/test_reader.py": AFTER["tests/test_reader.py"]})
    (part,) = meta_plan(gold).parts
    assert steps_of(gold, part) == ()
    assert len(ask_json(gold, Stage.TEST_PLAN, TestPlanFacts(TASK, part, "", CONTEXT))["steps"]) == 1


def test_answers_follow_the_schemas() -> None:
    """Every planning answer is what the schema of its stage asks for, a very large file included."""
    before = {"src/big.py": "".join(f"def f{n}():\n    return {n}\n\n\n" for n in range(60))}
    after = {"src/big.py": before["src/big.py"].replace("return ", "return 1 + ")}
    for gold in (gold_of(BEFORE, AFTER), gold_of(before, after)):
        part = meta_plan(gold).parts[0]
        calls: list[tuple[Stage, Facts]] = [
            (Stage.TASK_ANALYSIS, TaskAnalysisFacts("Tidy " + "x" * 200, tuple(BEFORE), "")),
            (Stage.META_PLAN, MetaPlanFacts(TASK, CONTEXT)),
            (Stage.STEP_PLAN, StepPlanFacts(TASK, part, CONTEXT)),
            (Stage.TEST_PLAN, TestPlanFacts(TASK, part, "", CONTEXT)),
        ]
        for stage, facts in calls:
            assert check(stage.value, ask_json(gold, stage, facts)) is None


def test_large_commits_are_cut_into_parts() -> None:
    """Four files with new symbols make parts by what uses what, each with its own self-contained plan."""
    before = {f"src/pkg/{name}.py": f"def {name}():\n    return 1\n" for name in "abcd"} | {"src/pkg/__init__.py": ""}
    after = before | {
        "src/pkg/a.py": "def a():\n    return 2\n\n\ndef new():\n    return 1\n",
        "src/pkg/b.py": "from pkg.a import new\n\n\ndef b():\n    return new()\n",
        "src/pkg/c.py": "def c():\n    return 3\n",
        "src/pkg/d.py": "from pkg.c import c\n\n\ndef d():\n    return c()\n",
    }
    gold = gold_of(before, after)
    parts = meta_plan(gold).parts
    assert [part.files for part in parts] == [("src/pkg/a.py", "src/pkg/b.py"), ("src/pkg/c.py", "src/pkg/d.py")]
    assert [step.id for step in steps_of(gold, parts[1])] == ["s1", "s2", "s3"]
    assert sources(rebuilt(gold, tree_of(before))) == after
    few = {path: text for path, text in after.items() if path != "src/pkg/d.py"} | {
        "src/pkg/d.py": before["src/pkg/d.py"]
    }
    assert len(meta_plan(gold_of(before, few)).parts) == 1


def test_gold_codes_for_a_plan_that_is_not_its_own() -> None:
    """An unknown symbol gets all that is left of its file; when nothing is left, the answer says so."""
    gold, tree = gold_of(BEFORE, AFTER), tree_of(BEFORE)
    read = Step("s1", "src/pkg/reader.py", "Reader.read", "modify", "")
    tree = apply_step(tree, read, code(gold, read, tree).text)
    assert "limit=LIMIT" in tree.text("src/pkg/reader.py")
    assert "read_all" not in tree.text("src/pkg/reader.py")
    invented = Step("s2", "src/pkg/reader.py", "Reader.invented", "modify", "")
    tree = apply_step(tree, invented, code(gold, invented, tree).text)
    assert tree.text("src/pkg/reader.py") == AFTER["src/pkg/reader.py"]
    done = code(gold, invented, tree)
    assert (done.text, done.meta) == ("NOTHING", {})
    untouched = Step("s3", "src/pkg/other.py", "lonely", "modify", "")
    assert code(gold, untouched, tree).text == "NOTHING"

"""Gold answers: the ground truth of a commit, and that its steps rebuild the commit byte for byte."""

from __future__ import annotations

import json
import random
import subprocess
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from harness.answerers.gold import GoldAnswerer
from harness.context import ContextPackage
from harness.edits import apply_blocks, apply_step, parse_blocks, render_blocks
from harness.git import GitRepo
from harness.gold.hunks import owned_hunks, patched
from harness.gold.rewrite import blocks_for
from harness.plan import MetaPlan, Part, Step, TaskAnalysis, parse_meta_plan, parse_part_plan, parse_scope
from harness.schemas import check
from harness.stages import (
    Answer,
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
from harness.tree import Entry, Tree, blob_id

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = ContextPackage((), ())
TASK = "Add a limit to Reader.read and use parse_size\n\nThe old one was unbounded."

BEFORE = {
    "src/pkg/__init__.py": "from pkg.reader import Reader\n",
    "src/pkg/reader.py": '''"""Reading."""
import os

from pkg.sizes import KILO

LIMIT = 10


class Reader:
    """Reads."""

    def open(self, path):
        return os.open(path, 0)

    def read(self, path):
        return self.open(path)

    def close(self, handle):
        os.close(handle)


def unused():
    return None
''',
    "src/pkg/sizes.py": "KILO = 1024\nMEGA = KILO * KILO\n",
    "src/pkg/other.py": "def lonely():\n    return 1\n",
    "tests/test_reader.py": "from pkg.reader import Reader\n\n\ndef test_read():\n    assert Reader\n",
    "docs/index.md": "Old.\n",
    "pyproject.toml": "[project]\nname = 'pkg'\n",
}
AFTER = BEFORE | {
    "src/pkg/reader.py": '''"""Reading."""
import os

from pkg.sizes import KILO, parse_size

LIMIT = 20


class Reader:
    """Reads."""

    def open(self, path):
        return os.open(path, 0)

    def read(self, path, limit=LIMIT):
        if parse_size(limit) > KILO:
            raise ValueError(limit)
        return self.open(path)

    def read_all(self, path):
        return self.read(path, LIMIT)

    def close(self, handle):
        os.close(handle)
''',
    "src/pkg/sizes.py": "KILO = 1024\nMEGA = KILO * KILO\n\n\ndef parse_size(text):\n    return int(text) * KILO\n",
    "src/pkg/fresh.py": '"""New."""\n\n\ndef fresh():\n    return 1\n',
    "tests/test_reader.py": "from pkg.reader import Reader\n\n\ndef test_read():\n    assert Reader().read\n",
    "docs/index.md": "New.\n",
    "pyproject.toml": "[project]\nname = 'pkg2'\n",
}


def tree_of(files: dict[str, str]) -> Tree:
    """Return a tree of these texts."""
    blobs = {blob_id(text.encode()): text.encode() for text in files.values()}
    return Tree(
        MappingProxyType({path: Entry("100644", blob_id(text.encode())) for path, text in files.items()}),
        blobs.__getitem__,
    )


def gold_of(before: dict[str, str], after: dict[str, str]) -> GoldAnswerer:
    """Return the answerer for the commit between these texts."""
    return GoldAnswerer(tree_of(before), tree_of(after))


def ask(gold: GoldAnswerer, stage: Stage, facts: Facts) -> Answer:
    """Return the answer to one stage call."""
    return gold.answer(StageCall(stage, "", facts, None, 0, 0))


def ask_json(gold: GoldAnswerer, stage: Stage, facts: Facts) -> dict[str, Any]:
    """Return the answer to one stage call, parsed."""
    doc: dict[str, Any] = json.loads(ask(gold, stage, facts).text)
    return doc


def meta_plan(gold: GoldAnswerer) -> MetaPlan:
    """Return the gold meta-plan."""
    return parse_meta_plan(ask_json(gold, Stage.META_PLAN, MetaPlanFacts(TASK, CONTEXT)))


def steps_of(gold: GoldAnswerer, part: Part) -> tuple[Step, ...]:
    """Return the gold steps of one part."""
    return parse_part_plan(ask_json(gold, Stage.STEP_PLAN, StepPlanFacts(TASK, part, CONTEXT))).steps


def all_steps(gold: GoldAnswerer) -> list[Step]:
    """Return the gold steps of all parts in order."""
    return [step for part in meta_plan(gold).parts for step in steps_of(gold, part)]


def code(gold: GoldAnswerer, step: Step, tree: Tree) -> Answer:
    """Return the answer to a step on the tree as it is."""
    text = tree.text(step.file) if step.file in tree else ""
    return ask(gold, Stage.EXECUTE_CODE, ExecuteFacts(TASK, step, text))


def rebuilt(gold: GoldAnswerer, parent: Tree) -> Tree:
    """Return the parent after all gold steps."""
    tree = parent
    for step in all_steps(gold):
        tree = apply_step(tree, step, code(gold, step, tree).text)
    return tree


def sources(tree: Tree) -> dict[str, str]:
    """Return the texts below src/."""
    return {path: tree.text(path) for path in tree if path.startswith("src/")}


def test_the_gold_steps_rebuild_the_sources() -> None:
    """Source files end up as in the commit; tests, docs and configuration are no step's business."""
    tree = rebuilt(gold_of(BEFORE, AFTER), tree_of(BEFORE))
    assert sources(tree) == {path: text for path, text in AFTER.items() if path.startswith("src/")}
    assert {path: tree.text(path) for path in tree if not path.startswith("src/")} == {
        path: text for path, text in BEFORE.items() if not path.startswith("src/")
    }


def test_there_is_one_step_per_changed_symbol() -> None:
    """Changed, new and removed symbols each have their step; unchanged ones and whole new files do not add any."""
    steps = {(step.file, step.symbol): step for step in all_steps(gold_of(BEFORE, AFTER))}
    assert set(steps) == {
        ("src/pkg/fresh.py", ""),
        ("src/pkg/sizes.py", "parse_size"),
        ("src/pkg/reader.py", ""),
        ("src/pkg/reader.py", "LIMIT"),
        ("src/pkg/reader.py", "Reader.read"),
        ("src/pkg/reader.py", "Reader.read_all"),
        ("src/pkg/reader.py", "unused"),
    }
    assert steps["src/pkg/fresh.py", ""].action == "create"
    assert steps["src/pkg/reader.py", "Reader.read"].description == (
        "Change `Reader.read`: new signature; use `KILO`, `LIMIT`, `parse_size`; add `if`, `raise`."
    )
    assert steps["src/pkg/reader.py", "unused"].description == "Remove function `unused`."


def test_definitions_come_before_their_users() -> None:
    """A step depends on the steps that change what it refers to, and stands after them."""
    steps = all_steps(gold_of(BEFORE, AFTER))
    by_id = {step.id: step for step in steps}
    needs = {step.symbol: {by_id[need].symbol for need in step.depends_on} for step in steps}
    assert {"parse_size", "LIMIT"} <= needs["Reader.read"]
    assert {"Reader.read", "LIMIT"} <= needs["Reader.read_all"]
    place = {step.id: at for at, step in enumerate(steps)}
    assert all(place[need] < place[step.id] for step in steps for need in step.depends_on)


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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("x = f(\n    1,\n)\n\n\ndef f(a):\n    return a\n",
                     "def f(a):\n    return a\n\n\nx = f(\n    1,\n    2,\n)\n", id="moved"),
        pytest.param("def old(a):\n    b = a\n    return b\n",
                     "def new(a):\n    b = a + 1\n    return b\n", id="renamed"),
        pytest.param("class A:\n    def f(self):\n        return 1\n",
                     "class B:\n    def f(self):\n        return 1\n\n    def g(self):\n        pass\n", id="class"),
        pytest.param("def f():\n    return 1\n\n\ndef g():\n    return 2\n",
                     "if True:\n    def f():\n        return 1\n\n    def g():\n        return 2\n", id="indented"),
        pytest.param("a = 1\r\nb = 2\r\n", "a = 1\r\nb = 3\r\nc = 4\r\n", id="crlf"),
        pytest.param("a = 1\r\nb = 2\r\n", "a = 1\nb = 2\n", id="crlf to lf"),
        pytest.param("a = 1\n\n\n\n\nb = 1\n", "a = 1\n\n\nb = 1\n", id="blank lines"),
        pytest.param("print 'old'\nx = 1\n", "print('old')\nx = 1\n", id="old syntax"),
        pytest.param("'''\n=======\n'''\nx = 1\n", "'''\n=======\n<<<<<<< SEARCH\n'''\nx = 2\n", id="markers"),
        pytest.param("", "x = 1\n", id="filled"),
        pytest.param("x = 1\n", "", id="emptied"),
        pytest.param("@d\ndef f():\n    return 1\n",
                     "@d\ndef e():\n    return 1\n\n\n@d\ndef f():\n    return 1\n", id="decorated"),
    ],
)  # fmt: skip
def test_awkward_changes_are_rebuilt(before: str, after: str) -> None:
    """Renames, moves, newline styles and markers in the text all come out byte for byte."""
    gold = gold_of({"src/m.py": before}, {"src/m.py": after})
    assert rebuilt(gold, tree_of({"src/m.py": before})).text("src/m.py") == after


def test_an_inserted_function_is_one_step() -> None:
    """Equal decorators and blank lines around an insertion do not make its neighbour a changed symbol."""
    before = "@d\ndef f():\n    return 1\n"
    after = "@d\ndef e():\n    return 1\n\n\n@d\ndef f():\n    return 1\n"
    assert [step.symbol for step in all_steps(gold_of({"m.py": before}, {"m.py": after}))] == ["e"]


def test_a_rename_is_called_one() -> None:
    """A function that keeps most lines under another name is renamed, not removed and added."""
    before, after = "def old(a):\n    b = a\n    return b\n", "def new(a):\n    b = a\n    return b + 1\n"
    (step,) = all_steps(gold_of({"m.py": before}, {"m.py": after}))
    assert (step.symbol, step.description) == ("new", "Rename `old` to `new`: new signature.")


def test_deleted_and_empty_files() -> None:
    """Deletions and empty new modules go through the same steps."""
    before = {"src/a.py": "def a():\n    return 1\n", "src/b.py": "from a import a\n\nx = a()\n"}
    after = {"src/b.py": "x = 1\n", "src/new/__init__.py": ""}
    gold = gold_of(before, after)
    assert sources(rebuilt(gold, tree_of(before))) == after
    assert all_steps(gold)[-1].action == "delete"


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
    assert (done.text, done.meta) == ("", {"nothing_to_do": True})
    untouched = Step("s3", "src/pkg/other.py", "lonely", "modify", "")
    assert code(gold, untouched, tree).text == ""


def test_what_steps_cannot_express_is_left_out() -> None:
    """Binary data and a final newline that comes or goes are no steps."""
    blobs = {blob_id(data): data for data in (b"\xff\x00", b"\xff\x01", b"x = 1\n", b"x = 1")}

    def tree(*files: tuple[str, bytes]) -> Tree:
        return Tree(MappingProxyType({p: Entry("100644", blob_id(data)) for p, data in files}), blobs.__getitem__)

    gold = GoldAnswerer(
        tree(("src/a.dat", b"\xff\x00"), ("src/b.py", b"x = 1\n")),
        tree(("src/a.dat", b"\xff\x01"), ("src/b.py", b"x = 1")),
    )
    assert gold.truth.steps == ()
    assert meta_plan(gold).parts == ()


def test_any_subset_of_hunks_becomes_blocks_that_apply() -> None:
    """On texts full of repeated lines, blocks do exactly what the hunks say, alone and together."""
    source = random.Random(7)
    for _ in range(400):
        old = [source.choice(["a", "b", "", "c = 1", "=======", "\td"]) for _ in range(source.randrange(14))]
        new = list(old)
        for _ in range(source.randrange(1, 6)):
            at = source.randrange(len(new) + 1)
            new[at : at + source.randrange(3)] = [source.choice(["a", "", "x"]) for _ in range(source.randrange(3))]
        before, after = ("".join(f"{line}\n" for line in lines) for lines in (old, new))
        hunks = owned_hunks(before, after)
        assert patched(before, hunks) == after
        some = [hunk for hunk in hunks if source.random() < 0.6]
        for chosen in (hunks, some):
            if chosen:
                blocks = parse_blocks(render_blocks(blocks_for(before, chosen)))
                assert apply_blocks(before, blocks) == patched(before, chosen)


def test_real_git_history_is_rebuilt(tmp_path: Path) -> None:
    """The same through a real repository, from commit to commit."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, env=env, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "--quiet")
    shas = []
    for files in (BEFORE, AFTER):
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        git("add", "--all")
        git("commit", "--quiet", "--message", "change")
        shas.append(git("rev-parse", "HEAD"))
    with GitRepo(tmp_path / ".git") as repo:
        parent, commit = (repo.tree(sha) for sha in shas)
        assert sources(rebuilt(GoldAnswerer(parent, commit), parent)) == sources(commit)

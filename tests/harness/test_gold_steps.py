"""Gold steps: one per changed symbol, in order, and together they rebuild the commit byte for byte."""

from __future__ import annotations

import random
import subprocess
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from harness.answerers.gold import GoldAnswerer
from harness.edits import apply_blocks, parse_blocks, render_blocks
from harness.git import GitRepo
from harness.gold.hunks import owned_hunks, patched
from harness.gold.rewrite import blocks_for
from harness.tree import Entry, Tree, blob_id
from tests.gold import AFTER, BEFORE, all_steps, gold_of, meta_plan, rebuilt, sources
from tests.trees import tree_of

if TYPE_CHECKING:
    from pathlib import Path


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

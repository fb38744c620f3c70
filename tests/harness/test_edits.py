"""SEARCH/REPLACE blocks: what applies, what is refused, and that a refusal changes nothing."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from harness.edits import (
    Block,
    ProtectedPath,
    apply_blocks,
    apply_step,
    first_syntax_error,
    parse_blocks,
    render_blocks,
)
from harness.errors import EditRejected
from harness.plan import Step
from harness.tree import SYMLINK_MODE, Entry, Tree, blob_id


def tree_of(files: dict[str, bytes], links: tuple[str, ...] = ()) -> Tree:
    """Return a tree of these files, some of them symbolic links."""
    blobs = {blob_id(data): data for data in files.values()}
    entries = {path: Entry(SYMLINK_MODE if path in links else "100644", blob_id(data)) for path, data in files.items()}
    return Tree(MappingProxyType(entries), blobs.__getitem__)


def step(file: str, action: str = "modify") -> Step:
    """Return a step on this file."""
    return Step("s1", file, "", action, "Do it.")


def edit(search: str, replace: str) -> str:
    """Return an answer of one block."""
    return f"<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n"


def test_blocks_survive_rendering_and_parsing() -> None:
    """Whatever lines a block holds, markers of any size included, it is read back as it was."""
    blocks = (
        Block(("a = 1",), ("a = 2", "")),
        Block(("=======",), ("Title", "========")),
        Block(("<<<<<<< SEARCH", "======== "), (">>>>>>>>> REPLACE\r", "")),
        Block((), ("new",)),
        Block(("",), ()),
    )
    assert parse_blocks(render_blocks(blocks)) == blocks


def test_fence_is_the_smallest_that_is_free() -> None:
    """Sizes that the lines themselves use are skipped, others are not."""
    text = render_blocks([Block(("=======", ">>>>>>>> REPLACE"), ())])
    assert text.splitlines()[0] == "<" * 9 + " SEARCH"
    assert render_blocks([Block(("========",), ())]).splitlines()[0] == "<" * 7 + " SEARCH"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "no SEARCH/REPLACE block"),
        ("  \n\n", "no SEARCH/REPLACE block"),
        ("Here you are:\n" + edit("a\n", "b\n"), "line 1 of the answer is outside"),
        (edit("a\n", "b\n") + "Done.\n", "line 6 of the answer is outside"),
        ("<<<<<<< SEARCH\na\n=======\nb\n", "no closing `>>>>>>> REPLACE`"),
        ("<<<<<<< SEARCH\na\n", "no closing `=======`"),
        ("<<<<<<< SEARCH\na\n>>>>>>> REPLACE\n", "stands where it may not"),
        ("<<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n", "no closing `========`"),
        ("<<<<<<< SEARCH\na\n=======\nb\n=======\nc\n>>>>>>> REPLACE\n", "stands where it may not"),
        ("<<<<<< SEARCH\na\n======\nb\n>>>>>> REPLACE\n", "outside of any block"),
    ],
)
def test_malformed_answers_are_refused(answer: str, reason: str) -> None:
    """Anything but whole blocks and blank lines is refused with the place where it went wrong."""
    with pytest.raises(EditRejected, match=reason):
        parse_blocks(answer)


def test_blocks_apply_one_after_the_other() -> None:
    """A later block sees what an earlier one wrote."""
    blocks = [Block(("a",), ("b", "c")), Block(("c",), ("d",))]
    assert apply_blocks("a\nz\n", blocks) == "b\nd\nz\n"


def test_search_matches_whole_lines_only() -> None:
    """A line that merely contains the SEARCH text does not count."""
    with pytest.raises(EditRejected, match="does not occur"):
        apply_blocks("value = 10\n", [Block(("value = 1",), ("value = 2",))])


def test_ambiguous_search_names_the_lines() -> None:
    """Two places are one too many, and the message says where they are."""
    with pytest.raises(EditRejected, match=r"occurs 2 times, at lines 1, 3"):
        apply_blocks("x\ny\nx\n", [Block(("x",), ("z",))])


def test_loose_ambiguity_is_refused_as_well() -> None:
    """The second comparison, without trailing whitespace, has to be unique too."""
    with pytest.raises(EditRejected, match="occurs 2 times"):
        apply_blocks("x \ny\nx\t\n", [Block(("x",), ("z",))])


def test_exact_match_wins_over_loose_ones() -> None:
    """A line with trailing whitespace does not make an exact match ambiguous."""
    assert apply_blocks("x \nx\n", [Block(("x",), ("z",))]) == "x \nz\n"


def test_stale_search_shows_the_nearest_span() -> None:
    """The message shows the lines that the SEARCH part was probably about."""
    text = "import os\n\n\ndef f(a):\n    b = a\n    return b\n"
    with pytest.raises(EditRejected, match=r"nearest span is lines 4-6:\ndef f\(a\):"):
        apply_blocks(text, [Block(("def f(x):", "    b = a", "    return b"), ("pass",))])
    with pytest.raises(EditRejected, match="no line of the file resembles it"):
        apply_blocks("alpha\n", [Block(("0123456789",), ("x",))])


def test_no_op_edits_are_refused() -> None:
    """A block that changes nothing is a mistake, also when it only matches loosely."""
    with pytest.raises(EditRejected, match="changes nothing"):
        apply_blocks("a\n", [Block(("a",), ("a",))])
    with pytest.raises(EditRejected, match="changes nothing"):
        apply_blocks("a\n", [Block(("a ",), ("a",))])


def test_empty_search_is_for_empty_files() -> None:
    """An empty SEARCH fills an empty file and nothing else."""
    assert apply_blocks("", [Block((), ("a", "b"))]) == "a\nb\n"
    with pytest.raises(EditRejected, match="empty SEARCH"):
        apply_blocks("a\n", [Block((), ("b",))])


@pytest.mark.parametrize(
    ("text", "block", "result"),
    [
        ("a\r\nb\r\n", Block(("a",), ("c", "d")), "c\r\nd\r\nb\r\n"),
        ("a\r\nb", Block(("b",), ("c", "d")), "a\r\nc\r\nd"),
        ("a\r\nb ", Block(("a", "b"), ("c", "d")), "c\r\nd"),
        ("a\nb\n", Block(("a\r", "b\r"), ("c\r", "b\r")), "c\nb\n"),
        ("a\r\nb\r\n", Block(("a\r", "b\r"), ("c", "d")), "c\nd\n"),
        ("a\nb", Block(("b",), ("c", "d")), "a\nc\nd"),
        ("a\fb\nc\n", Block(("a\fb",), ("d",)), "d\nc\n"),
        ("a\n", Block(("a",), ()), ""),
    ],
)
def test_newlines_stay_those_of_the_file(text: str, block: Block, result: str) -> None:
    """Carriage returns and a missing final newline are kept, unless SEARCH spells the returns out."""
    assert apply_blocks(text, [block]) == result


def test_modify_create_and_delete() -> None:
    """The three actions give a new tree and leave the old one as it was."""
    tree = tree_of({"a.py": b"x = 1\n", "b.py": b"y = 1\n"})
    before = tree.sha256
    tree2 = apply_step(tree, step("a.py"), edit("x = 1\n", "x = 2\n"))
    tree3 = apply_step(tree2, step("pkg/c.py", "create"), edit("", "z = 1\n"))
    tree4 = apply_step(tree3, step("b.py", "delete"), "DELETE\n")
    assert {path: tree4.text(path) for path in tree4} == {"a.py": "x = 2\n", "pkg/c.py": "z = 1\n"}
    assert tree.sha256 == before


def test_an_empty_module_can_be_created() -> None:
    """A block with two empty halves creates an empty file."""
    tree = apply_step(tree_of({}), step("pkg/__init__.py", "create"), edit("", ""))
    assert tree.read("pkg/__init__.py") == b""


def test_a_failing_block_leaves_the_tree_alone() -> None:
    """All blocks apply or none does."""
    tree = tree_of({"a.py": b"x = 1\ny = 1\n"})
    before = tree.sha256
    with pytest.raises(EditRejected, match="block 2 of 2"):
        apply_step(tree, step("a.py"), edit("x = 1\n", "x = 2\n") + edit("nowhere = 1\n", "y = 2\n"))
    assert tree.sha256 == before


@pytest.mark.parametrize(
    "path", ["tests/test_a.py", "src/pkg/test_b.py", "conftest.py", "pyproject.toml", "setup.cfg", "src/x.pth"]
)
@pytest.mark.parametrize("action", ["modify", "create", "delete"])
def test_protected_paths_are_refused(path: str, action: str) -> None:
    """Tests and what decides how they run are refused whatever the action and the answer."""
    with pytest.raises(ProtectedPath) as caught:
        apply_step(tree_of({"a.py": b""}), step(path, action), "DELETE")
    assert caught.value.code == "PROTECTED_PATH"


@pytest.mark.parametrize(
    ("path", "action", "reason"),
    [
        ("/etc/passwd", "create", "not a plain path"),
        ("../a.py", "create", "not a plain path"),
        ("a/../../b.py", "create", "not a plain path"),
        ("a//b.py", "create", "not a plain path"),
        (".git/config", "modify", "not a plain path"),
        ("", "create", "not a plain path"),
        ("a.py", "create", "exists already"),
        ("a.py/b.py", "create", "a.py is a file"),
        ("pkg", "create", "it is a folder"),
        ("link.py/b.py", "create", "link.py is a file"),
        ("link.py", "modify", "symbolic link"),
        ("none.py", "modify", "does not exist"),
        ("none.py", "delete", "does not exist"),
        ("latin.py", "modify", "not UTF-8"),
        ("a.py", "rewrite", "unknown action"),
    ],
)
def test_targets_that_do_not_fit_are_refused(path: str, action: str, reason: str) -> None:
    """A step has to name a plain path that suits its action."""
    files = {"a.py": b"x = 1\n", "pkg/m.py": b"", "link.py": b"a.py", "latin.py": "é = 1\n".encode("latin-1")}
    with pytest.raises(EditRejected, match=reason):
        apply_step(tree_of(files, links=("link.py",)), step(path, action), edit("x = 1\n", "x = 2\n"))


def test_delete_needs_its_own_word() -> None:
    """Blocks do not delete a file, and DELETE does not modify one."""
    tree = tree_of({"a.py": b"x = 1\n"})
    with pytest.raises(EditRejected, match="DELETE and nothing else"):
        apply_step(tree, step("a.py", "delete"), edit("x = 1\n", ""))
    with pytest.raises(EditRejected, match="outside of any block"):
        apply_step(tree, step("a.py"), "DELETE")


def test_new_syntax_errors_are_refused() -> None:
    """A module that compiled has to compile afterwards, a new one at once; other files are free."""
    tree = tree_of({"a.py": b"def f():\n    return 1\n", "notes.txt": b"def f():\n"})
    with pytest.raises(EditRejected, match="left a syntax error at line 1"):
        apply_step(tree, step("a.py"), edit("def f():\n", "def f(:\n"))
    with pytest.raises(EditRejected, match="left a syntax error at line 1: 'return' outside function"):
        apply_step(tree, step("a.py"), edit("def f():\n    return 1\n", "return 1\n"))
    with pytest.raises(EditRejected, match="left a syntax error"):
        apply_step(tree, step("b.py", "create"), edit("", "x = \n"))
    assert apply_step(tree, step("notes.txt"), edit("def f():\n", "def f(:\n")).text("notes.txt") == "def f(:\n"


def test_old_syntax_is_not_held_against_an_edit() -> None:
    """A module that did not compile before may stay so."""
    tree = apply_step(tree_of({"a.py": b"print 1\nx = 1\n"}), step("a.py"), edit("x = 1\n", "x = 2\n"))
    assert tree.text("a.py") == "print 1\nx = 2\n"


def test_another_syntax_check_can_be_used() -> None:
    """Code for another Python is judged by the check that the caller passes."""
    tree = tree_of({"a.py": b"x = 1\n"})
    answer = edit("x = 1\n", "match x with newer syntax\n")
    assert apply_step(tree, step("a.py"), answer, syntax_error=lambda _: None).text("a.py").startswith("match x")


def test_syntax_check_survives_odd_input() -> None:
    """Byte order marks pass, null bytes and old escapes neither crash nor warn."""
    assert first_syntax_error(b"\xef\xbb\xbfx = 1\n") is None
    assert first_syntax_error(b"x = '\\d'\n") is None
    assert first_syntax_error(b"x = 1\0\n") is not None

"""A commit as a task: what is graded, and what counts as the solution."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.case import Case, load_case, patch, path_conflict
from harness.errors import GitFailed
from harness.git import GitRepo
from harness.index.facts import FactsCache
from harness.manifest import Commit
from harness.tree import EXECUTABLE_MODE, SYMLINK_MODE, Entry, Tree, blob_id
from tests.conftest import commit_ids
from tests.trees import tree_of

PARENT = {
    "src/a.py": "x = 1\n",
    "src/data.txt": "old\n",
    "tests/test_a.py": "old test\n",
    "tests/test_gone.py": "gone\n",
    "pyproject.toml": "old\n",
    "README.md": "old\n",
    ".github/ci.yml": "old\n",
}
GOLD = {
    "src/a.py": "x = 1\ny = 2\n",
    "src/data.txt": "new\n",
    "src/new.py": "z = 3\n",
    "tests/test_a.py": "new test\n",
    "pyproject.toml": "new\n",
    "README.md": "new\n",
    ".github/ci.yml": "new\n",
}


def commit(sha: str = "b" * 40, parent: str = "a" * 40) -> Commit:
    """Return a commit entry."""
    return Commit(sha, parent, "Add y", ("step-plan",), "env", ("src/a.py",), (), 3, "2026-01-01T00:00:00Z")


def texts(tree: Tree) -> dict[str, str]:
    """Return a tree as a mapping."""
    return {path: tree.text(path) for path in tree}


@pytest.fixture
def case() -> Case:
    """Return a commit that touches every kind of file."""
    return Case(commit(), tree_of(PARENT), tree_of(GOLD))


def test_doing_nothing_is_graded_with_gold_tests_and_configuration(case: Case) -> None:
    """The parent's graded tree has old sources, new tests, and no removed test."""
    assert texts(case.parent_graded) == {
        "src/a.py": "x = 1\n", "src/data.txt": "old\n", "README.md": "old\n", ".github/ci.yml": "old\n",
        "tests/test_a.py": "new test\n", "pyproject.toml": "new\n",
    }  # fmt: skip


def test_the_solution_is_graded_with_old_docs(case: Case) -> None:
    """The gold tree that is graded differs from the commit in docs and CI only."""
    assert texts(case.gold_graded) == {**GOLD, "README.md": "old\n", ".github/ci.yml": "old\n"}


def test_a_candidate_cannot_bring_its_own_tests(case: Case) -> None:
    """Whatever a candidate did to tests and configuration is replaced; its sources stay."""
    cheat = case.parent.replace(
        {
            "src/a.py": b"y = 2\n",
            "tests/test_a.py": b"pass\n",
            "conftest.py": b"evil\n",
            "src/sitecustomize.py": b"evil\n",
        },
        remove=["pyproject.toml"],
    )
    graded = texts(case.graded(cheat))
    assert graded["src/a.py"] == "y = 2\n"
    assert graded["tests/test_a.py"] == "new test\n"
    assert graded["pyproject.toml"] == "new\n"
    assert not {"conftest.py", "src/sitecustomize.py"} & set(graded)


def test_changed_source_leaves_out_tests_docs_and_ci(case: Case) -> None:
    """Only what a solution has to write itself is counted, data files included."""
    assert case.changed_source == ("src/a.py", "src/data.txt", "src/new.py")
    assert "tests/test_gone.py" in case.changed


def test_added_source_lines_are_the_lines_only_gold_has(case: Case) -> None:
    """Unchanged lines, and lines of tests, are no part of the solution."""
    assert case.added_source_lines() == ["y = 2", "new", "z = 3"]


def test_a_binary_source_file_has_no_lines() -> None:
    """A changed file that is not text adds no lines and raises nothing."""
    case = Case(commit(), tree_of({"src/a.bin": b"\xff"}), tree_of({"src/a.bin": b"\xfe"}))
    assert case.changed_source == ("src/a.bin",)
    assert case.added_source_lines() == []


def test_patch_is_what_git_can_apply(tmp_path: Path) -> None:
    """A patch with changes, a new file and a removed file takes the old tree to the new one."""
    old = {"a.py": "one\ntwo\nthree\n", "gone.py": "bye\n", "end.py": "no newline"}
    new = {"a.py": "one\n2\nthree\n", "new.py": "hello\n", "end.py": "no newline, changed"}
    for path, text in old.items():
        (tmp_path / path).write_text(text)
    diff = patch(tree_of(old), tree_of(new))
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=diff.encode(), check=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == new


def test_patch_names_binary_files_and_is_empty_without_changes() -> None:
    """Bytes are not printed; no change is no text."""
    one, two = tree_of({"a.bin": b"\xff"}), tree_of({"a.bin": b"\xfe"})
    assert patch(one, two) == "Binary files a/a.bin and b/a.bin differ\n"
    assert patch(one, one) == ""


def test_patch_has_the_lines_of_git(tmp_path: Path) -> None:
    """Only a line feed ends a line: a form feed or a line separator inside one does not break the patch."""
    old, new = "one\n\x0c\ntwo\u2028half\nend\r\n", "one\n\x0c\n2\u2028half\nend\r\n"
    (tmp_path / "a.py").write_bytes(old.encode())
    diff = patch(tree_of({"a.py": old}), tree_of({"a.py": new}))
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=diff.encode(), check=True)
    assert (tmp_path / "a.py").read_bytes() == new.encode()


def test_an_ordinary_commit_can_be_expressed(case: Case) -> None:
    """Changed, new and removed text files are what answers are made of."""
    assert case.inexpressible == ()
    removed = Case(commit(), tree_of(PARENT), tree_of({"src/a.py": "x = 2\n"}))
    assert removed.inexpressible == ()


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (b"\xff\n", b"\xfe\n", True),
        (None, b"\xfe\n", True),
        (b"\xff\n", None, True),
        (b"old\n", b"new\n", False),
        (b"old\n", b"new", True),
        (None, b"new", True),
        (None, b"", False),
        (b"old", b"new", False),
        (b"old", b"new\n", True),
        (b"old\n", b"old", True),
    ],
)
def test_data_that_answers_cannot_bring_about_is_named(before: bytes | None, after: bytes | None, found: bool) -> None:
    """Binary content, and a final newline of a data file that comes or goes."""
    sides = [{"src/x.dat": data} if data is not None else {} for data in (before, after)]
    case = Case(commit(), *(tree_of({"src/a.py": "x = 1\n", **side}) for side in sides))
    assert case.inexpressible == (("src/x.dat",) if found else ())


def test_the_end_of_a_module_and_the_docs_do_not_count() -> None:
    """A final newline means nothing to Python, and docs are not graded."""
    before = {"src/a.py": "x = 1\n", "src/b.py": "y = 1\n", "docs/i.png": b"\xff"}
    after = {"src/a.py": "x = 2", "src/b.py": "y = 1", "src/c.py": "z = 1", "docs/i.png": b"\xfe"}
    assert Case(commit(), tree_of(before), tree_of(after)).inexpressible == ()
    latin = "# coding: latin-1\nx = 'ä'\n".encode("latin-1")
    assert Case(commit(), tree_of(before), tree_of({**before, "src/a.py": latin})).inexpressible == ("src/a.py",)


def test_modes_and_links_cannot_be_expressed() -> None:
    """An answer changes text; a file that becomes executable or a link is named."""
    parent = tree_of({"src/a.py": "x = 1\n", "src/run.py": "x = 1\n", "src/link.py": "x = 1\n"})
    entries = dict(parent.replace({"src/run.py": b"x = 2\n", "src/link.py": b"a.py"}).entries)
    entries["src/run.py"] = Entry(EXECUTABLE_MODE, entries["src/run.py"].blob)
    entries["src/link.py"] = Entry(SYMLINK_MODE, entries["src/link.py"].blob)
    texts = {blob_id(data): data for data in (b"x = 1\n", b"x = 2\n", b"a.py")}
    assert Case(commit(), parent, Tree(entries, texts.__getitem__)).inexpressible == ("src/link.py", "src/run.py")


def test_a_file_that_is_also_a_folder_is_found() -> None:
    """The path is named; an ordinary tree has none."""
    assert path_conflict(tree_of({"a/b/c.py": "", "a/b": "", "ab": ""})) == "a/b"
    assert path_conflict(tree_of({"a/b/c.py": "", "a/bc": "", "b": ""})) is None


def test_load_case_reads_both_trees(make_repo: Callable[..., Path]) -> None:
    """The trees are those of the two commits that the manifest names."""
    path = make_repo([("One", {"a.py": "1\n"}), ("Two", {"a.py": "2\n"})])
    parent, sha = commit_ids(path)
    with GitRepo(path) as repo:
        case = load_case(repo, commit(sha, parent), FactsCache())
        assert (case.parent.text("a.py"), case.gold.text("a.py")) == ("1\n", "2\n")


def test_load_case_fails_when_a_commit_is_missing(make_repo: Callable[..., Path]) -> None:
    """A commit that the repository lacks is a failure of git, not an empty tree."""
    path = make_repo([("One", {"a.py": "1\n"})])
    with GitRepo(path) as repo, pytest.raises(GitFailed):
        load_case(repo, commit("b" * 40, commit_ids(path)[0]), FactsCache())

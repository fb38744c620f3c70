"""A commit as a task: what is graded, and what counts as the solution."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.case import Case, load_case, patch
from harness.errors import GitFailed
from harness.git import GitRepo
from harness.index.facts import FactsCache
from harness.manifest import Commit
from harness.tree import Tree
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

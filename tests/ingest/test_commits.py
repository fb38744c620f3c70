"""Tests of the commit filter on real histories."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.git import git_environment
from ingest.prepare.commits import REASONS, CommitRules, Selection, kinds, select
from ingest.prepare.messages import bare_subject, is_descriptive, is_version_bump, regenerate, task_text
from ingest.prepare.symbols import compare

MODULE = "class Door:\n    def open(self):\n        return 1\n\n\ndef knock():\n    return 2\n"
WIDER = MODULE.replace("return 2", "return 3") + "\n\ndef ring():\n    return 4\n"


class History:
    """A git repository that grows commit by commit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.day = 0
        self.git("init", "-q", "-b", "main", str(path), where=path.parent)

    def git(self, *arguments: str, where: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """Run git in the repository."""
        people = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in
                  (("NAME", "Ada"), ("EMAIL", "ada@example.org"))}  # fmt: skip
        done = subprocess.run(
            ["git", *arguments], cwd=where or self.path, env=git_environment() | people | dict(env or {}), check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    def commit(self, message: str, files: Mapping[str, str | bytes | None], author: str = "Ada") -> str:
        """Write files (None removes), commit them a day after the last commit, return the id."""
        self.day += 1
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        stamp = f"2024-01-{self.day:02d}T12:00:00+02:00"
        self.git("add", "-A")
        env = {"GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp, "GIT_AUTHOR_NAME": author}
        self.git("commit", "-q", "-m", message, env=env)
        return self.git("rev-parse", "HEAD")

    def select(self, **rules: object) -> Selection:
        """Judge the history."""
        return select(self.path / ".git", self.git("rev-parse", "HEAD"), CommitRules(**rules))  # type: ignore[arg-type]


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Make a repository with one package and one test."""
    grown = History(tmp_path / "repo")
    grown.commit(
        "Start the project with doors",
        {"src/house/__init__.py": "", "src/house/door.py": MODULE, "tests/test_door.py": "def test(): pass\n"},
    )
    return grown


def reasons(selection: Selection) -> dict[str, str]:
    """Return subject to reason of the rejected commits."""
    return {one.subject: one.reason for one in selection.rejected}


@pytest.mark.parametrize(
    ("message", "files", "reason"),
    [
        ("Explain how doors open", {"docs/door.md": "Push.\n", "README.md": "Doors.\n"}, "docs_only"),
        ("Explain what knocking does", {"src/house/door.py": MODULE.replace("    return 2", '    """Knock."""\n    return 2')}, "docs_only"),
        ("Run checks on every push", {".github/workflows/ci.yml": "on: push\n"}, "ci_only"),
        ("Test that doors close", {"tests/test_door.py": "def test_close(): pass\n"}, "tests_only"),
        ("Pin the build backend exactly", {"pyproject.toml": "[build-system]\nrequires = []\n"}, "no_source"),
        ("Add the compiled door module", {"src/house/door.py": b"\x00\x01\xff"}, "not_text"),
        ("Add rooms to the house", {f"src/house/room{n}.py": f"x = {n}\n" for n in range(6)}, "too_many_files"),
        ("Add a long corridor module", {"src/house/hall.py": "x = 1\n" * 200}, "too_large"),
        ("Bump version to 1.2.0", {"src/house/__init__.py": "x = 1\n"}, "version_bump"),
        ("Announce the next big thing", {"src/house/__init__.py": '__version__ = "2.0"\n'}, "version_bump"),
        ("fix stuff", {"src/house/door.py": WIDER}, "vague_message"),
    ],
)  # fmt: skip
def test_unsuitable_commit_has_one_reason(
    history: History, message: str, files: dict[str, str | bytes | None], reason: str
) -> None:
    """A commit that makes no task is rejected with the code that says why."""
    history.commit(message, files)
    selection = history.select()
    assert reasons(selection) == {message: reason, "Start the project with doors": "root"}
    assert reason in REASONS
    assert selection.seen == 2


def test_symbolic_link_as_source_is_not_text(history: History) -> None:
    """A source path that is a link is not read through."""
    (history.path / "src/house/link.py").symlink_to("/etc/passwd")
    history.commit("Add a link to elsewhere", {})
    assert reasons(history.select())["Add a link to elsewhere"] == "not_text"


def test_merges_and_bots_are_rejected(history: History) -> None:
    """Merge commits and commits by bots are not tasks, whatever they say."""
    history.git("checkout", "-q", "-b", "side")
    history.commit("Open doors from the side", {"src/house/side.py": MODULE})
    history.git("checkout", "-q", "main")
    history.commit("Add a doorbell to doors", {"src/house/bell.py": MODULE}, author="dependabot[bot]")
    history.git("merge", "-q", "--no-ff", "-m", "Merge doors from side", "side")
    selection = history.select()
    assert reasons(selection)["Merge doors from side"] == "merge"
    assert reasons(selection)["Add a doorbell to doors"] == "bot"
    assert [commit.task for commit in selection.selected] == ["Open doors from the side"]


def test_selected_commit_carries_the_facts_of_its_diff(history: History) -> None:
    """Paths, parent, lines, date in UTC and kinds come from the commit."""
    parent = history.git("rev-parse", "HEAD")
    sha = history.commit(
        "dev: Trigger the bell on knocking (#12)\n\nVisitors wait.\n\nCo-authored-by: Bob <b@example.org>",
        {"src/house/door.py": WIDER, "tests/test_door.py": "def test_ring(): pass\n", "CHANGES.md": "x\n"},
    )
    (commit,) = history.select().selected
    assert (commit.sha, commit.parent) == (sha, parent)
    assert commit.task == "dev: Trigger the bell on knocking\n\nVisitors wait."
    assert commit.message == ""
    assert commit.source_paths == ("src/house/door.py",)
    assert commit.test_paths == ("tests/test_door.py",)
    assert commit.lines_changed == 6
    assert commit.committed_at == "2024-01-02T10:00:00Z"
    assert commit.kinds == ("step-plan", "test-plan")


def test_poor_message_with_tests_gets_a_text_from_the_diff(history: History) -> None:
    """A vague message beside source and tests is replaced by symbols and paths, the original is kept."""
    history.commit("more fixes", {"src/house/door.py": WIDER, "tests/test_door.py": "def test_ring(): pass\n"})
    (commit,) = history.select().selected
    assert commit.task == "Change `knock` in src/house/door.py and add `ring`."
    assert commit.message == "more fixes"
    assert "return 4" not in commit.task


def test_renamed_file_counts_once_and_names_both_paths(history: History) -> None:
    """A rename with an edit lists the old and the new path and only the changed lines."""
    history.commit(
        "Rename the door module to gate",
        {"src/house/door.py": None, "src/house/gate.py": MODULE.replace("return 2", "return 5")},
    )
    (commit,) = history.select().selected
    assert commit.source_paths == ("src/house/door.py", "src/house/gate.py")
    assert commit.lines_changed == 2


def test_package_data_belongs_to_the_source(history: History) -> None:
    """A text file inside an import package is a source path; the same file elsewhere is not."""
    files = {"src/house/door.py": WIDER, "src/house/grammar.txt": "a: b\n", "data/other.txt": "x\n"}
    history.commit("Teach doors a new grammar", files)
    (commit,) = history.select().selected
    assert commit.source_paths == ("src/house/door.py", "src/house/grammar.txt")


def test_mixed_commits_come_first_and_the_limit_names_the_rest(history: History) -> None:
    """Source + tests commits lead, newest first, and --limit cuts the tail with a reason."""
    old = history.commit("Count knocks on doors", {"src/house/a.py": MODULE, "tests/test_a.py": "def test(): pass\n"})
    new = history.commit("Count rings on doors", {"src/house/b.py": MODULE, "tests/test_b.py": "def test(): pass\n"})
    history.commit("Render doors in green", {"src/house/c.py": MODULE})
    selection = history.select(limit=2)
    assert [commit.sha for commit in selection.selected] == [new, old]
    assert reasons(selection)["Render doors in green"] == "limit"


def test_since_cuts_by_committer_date(history: History) -> None:
    """Commits before --since are not looked at further."""
    history.commit("Count knocks on doors", {"src/house/a.py": MODULE})
    kept = history.commit("Count rings on doors", {"src/house/b.py": MODULE})
    selection = history.select(since="2024-01-03")
    assert [commit.sha for commit in selection.selected] == [kept]
    assert set(reasons(selection).values()) == {"before_since"}


@pytest.mark.parametrize(
    ("source", "tests", "new", "expected"),
    [
        (1, 0, False, ("step-plan",)),
        (3, 0, True, ("step-plan",)),
        (4, 0, True, ("meta-plan",)),
        (4, 0, False, ("step-plan",)),
        (1, 1, True, ("step-plan", "test-plan")),
        (2, 2, True, ("step-plan", "test-plan")),
        (4, 1, False, ("step-plan", "test-plan")),
        (5, 1, True, ("meta-plan", "step-plan", "test-plan")),
    ],
)
def test_kinds_follow_the_shape_of_the_commit(source: int, tests: int, new: bool, expected: tuple[str, ...]) -> None:
    """The planning kinds depend on how many files of which sort a commit changes."""
    assert kinds(source, tests, new_symbols=new) == expected


@pytest.mark.parametrize(
    "message",
    [
        "Add name attribute to BytesLogger (#786)",
        "fix(parser): handle nested f-strings",
        "[3.11] Fixes a crash in the tokenizer (GH-12)",
        "Don't raise on empty input",
        "Correctly unpickle the WriteLogger class",
        "Diff parser: Remove error statements before nesting",
        "Introducing hook factories for enums",
        "Applied the converter before comparing defaults",
    ],
)
def test_descriptive_messages_pass(message: str) -> None:
    """A subject with verb and object is a task as it stands, prefixes and inflections aside."""
    assert is_descriptive(message)


@pytest.mark.parametrize(
    "message",
    ["wip", "Fix coverage", "Update some more tests", "Fix all the things", "Better error messages everywhere",
     "The parser handles it now", "misc cleanup and fixes", "", "fix: stuff again (#12)"],
)  # fmt: skip
def test_vague_messages_fail(message: str) -> None:
    """Short, generic or verbless subjects are not tasks."""
    assert not is_descriptive(message)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("v26.1.0", True), ("Prepare 26.1.0", True), ("Start new development cycle", True), ("Release 2.0b1", True),
        ("Bump version: 1.0 → 1.1", True), ("Bump the recursion limit", False), ("Release the lock on errors", False),
        ("Upgrade parser to new grammar", False),
    ],
)  # fmt: skip
def test_version_bumps_are_recognised(message: str, expected: bool) -> None:
    """Announcing a version is a bump; raising something else is not."""
    assert is_version_bump(message) is expected


def test_task_text_drops_trailers_and_squash_noise() -> None:
    """What GitHub adds to a squashed commit does not reach the task."""
    message = (
        "Escape newlines in output (#9)\n\n* Escape newlines in output\n\n* lint\n\n"
        "* Handle carriage returns too\n\nCloses #8\n\n---------\n\nCo-authored-by: x <y@z>"
    )
    assert task_text(message) == "Escape newlines in output\n\n* Handle carriage returns too"
    assert bare_subject(message) == "Escape newlines in output"


def test_short_subject_with_an_object_leads_the_regenerated_text() -> None:
    """`Add ring` is too short to stand alone but too good to throw away."""
    text = regenerate("Add DoorRing (#3)", [compare("a.py", MODULE, WIDER), compare("b.py", None, MODULE)])
    assert text == "Add DoorRing. Change `knock` in a.py and add `ring`. Create b.py with `Door` and `knock`."


def test_symbol_comparison_assigns_changes_to_the_innermost_owner() -> None:
    """A changed method is not a changed class; removed classes hide their members."""
    changed = compare("a.py", MODULE, MODULE.replace("return 1", "return 9"))
    assert (changed.added, changed.changed, changed.removed) == ((), ("Door.open",), ())
    gone = compare("a.py", MODULE, "def knock():\n    return 2\n")
    assert gone.removed == ("Door",)
    assert gone.is_behaviour


def test_layout_and_docstrings_are_no_behaviour() -> None:
    """Comments, docstrings and reformatting change no code; unreadable code counts as changed."""
    assert not compare("a.py", "x = [1,2]\n", "x = [\n    1,\n    2,\n]  # two\n").is_behaviour
    assert compare("a.py", "print 'old'\n", "print 'new'\n").is_behaviour


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("feat: PEP 695 type parameter syntax for Python 3.12+", True),
        ("fix(parser)!: wrong column of decorators", True),
        ("perf: tokenizer start-up", True),
        ("chore: linters and such", False),
        ("feat: misc", False),
    ],
)
def test_a_conventional_type_says_the_verb(message: str, expected: bool) -> None:
    """What stands before the colon counts as the action verb that the subject leaves out."""
    assert is_descriptive(message) is expected


def test_a_closing_reference_is_no_part_of_the_task() -> None:
    """Only the reference goes, not half of its bracket."""
    assert task_text("Fix unit tests in Python 3.10 (Closes: #192)") == "Fix unit tests in Python 3.10"

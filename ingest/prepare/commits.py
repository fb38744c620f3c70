"""Which commits of a repository can be posed as tasks, and why the others cannot.

Every commit reachable from the head gets exactly one answer: it is a candidate, or it has one
reason code (`REASONS`). Size rules count source files and changed source lines (added + deleted);
tests may be as long as they like, because the grading tree takes them from the commit anyway.
Metadata is judged first, so that a diff is only computed for commits that are still in the race.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from harness.git import GitRepo, git_environment, run_git
from harness.manifest import Commit
from harness.paths import Role, role
from harness.tree import EXECUTABLE_MODE, FILE_MODE
from ingest.prepare.messages import is_descriptive, is_version_bump, regenerate, subject, task_text
from ingest.prepare.symbols import SymbolChanges, compare

if TYPE_CHECKING:
    from pydriller import Commit as MinedCommit
    from pydriller import ModifiedFile

REASONS: Mapping[str, str] = {
    "before_since": "older than --since",
    "merge": "merge commit: several changes in one",
    "root": "no parent to start from",
    "bot": "made by a bot",
    "version_bump": "announces a version only",
    "docs_only": "changes documentation, comments or layout only",
    "ci_only": "changes CI and repository plumbing only",
    "tests_only": "changes tests, but no source",
    "no_source": "changes no source file's content",
    "not_text": "a changed source file is binary, not UTF-8, a link or a submodule",
    "too_many_files": "more source files than allowed",
    "too_large": "more changed source lines than allowed",
    "vague_message": "the message says too little, and without tests no text is made up for it",
    "limit": "qualifies, but --limit was reached",
    "env_unresolvable": "no set of wheels satisfies its requirements",
}
"""Reason code to its meaning; every commit that is not selected carries exactly one."""
KINDS = ("meta-plan", "step-plan", "test-plan")
META_PLAN_FILES = 4
_BOT = re.compile(
    r"\[bot\]|dependabot|renovate|pre-commit[- ]?ci|github-actions|greenkeeper|pyup|snyk|allcontributors|weblate|"
    r"imgbot|mergify|codecov|semantic-release|release-please|copybara|-bot\b|\bbot@",
    re.IGNORECASE,
)
_VERSION_LINE = re.compile(r"^\s*(?:__version__|__version_info__|version|VERSION|__date__|release)\s*[:=].{0,80}$")


@dataclass(frozen=True)
class CommitRules:
    """The limits of the selection."""

    max_source_files: int = 5
    max_lines: int = 200
    """Exclusive: a commit must change fewer source lines than this."""
    since: str | None = None
    """Earliest committer date, ISO 8601 (a plain date means midnight UTC)."""
    limit: int | None = None


@dataclass(frozen=True)
class Rejected:
    """A commit that is not posed as a task."""

    sha: str
    subject: str
    reason: str


@dataclass(frozen=True)
class Selection:
    """The answer for every commit that was seen."""

    selected: tuple[Commit, ...]
    """Mixed source + tests commits first, newest first within the groups; `environment` is still ""."""
    rejected: tuple[Rejected, ...]

    @property
    def seen(self) -> int:
        """Number of commits that were looked at."""
        return len(self.selected) + len(self.rejected)


@dataclass(frozen=True)
class _Change:
    """One changed file as far as the rules care."""

    paths: tuple[str, ...]
    """Old and new path; one entry unless the file was renamed."""
    lines: int
    file: ModifiedFile


@dataclass(frozen=True)
class _Sides:
    """The texts of one source file; None where it does not exist."""

    path: str
    """The path under which the parent knows the file, else the new one."""
    before: str | None
    after: str | None


def parse_since(text: str) -> datetime:
    """Read --since; ValueError when it is not an ISO 8601 date or time."""
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def select(repo: Path, head: str, rules: CommitRules) -> Selection:
    """Judge every commit reachable from `head` in the bare repository `repo`."""
    from pydriller import Git  # noqa: PLC0415 - pulls in GitPython and lizard

    since = parse_since(rules.since) if rules.since else None
    mine = Git(str(repo))
    mine.repo.git.update_environment(**git_environment())
    candidates: list[Commit] = []
    rejected: list[Rejected] = []
    try:
        with GitRepo(repo) as git:
            for mined in mine.get_list_commits(head, reverse=False):
                outcome = _by_metadata(mined, since) or _by_content(git, mined, rules)
                if isinstance(outcome, Commit):
                    candidates.append(outcome)
                else:
                    rejected.append(Rejected(mined.hash, subject(mined.msg)[:120], outcome))
    finally:
        mine.clear()
    candidates.sort(key=lambda commit: commit.committed_at, reverse=True)
    candidates.sort(key=lambda commit: not commit.test_paths)  # stable: newest first within each group
    limit = len(candidates) if rules.limit is None else rules.limit
    rejected += [Rejected(c.sha, c.task.partition("\n")[0][:120], "limit") for c in candidates[limit:]]
    return Selection(tuple(candidates[:limit]), tuple(rejected))


def _by_metadata(mined: MinedCommit, since: datetime | None) -> str | None:
    if since is not None and mined.committer_date < since:
        return "before_since"
    if len(mined.parents) > 1:
        return "merge"
    if not mined.parents:
        return "root"
    people = (mined.author.name, mined.author.email, mined.committer.name, mined.committer.email)
    if any(_BOT.search(text or "") for text in people):
        return "bot"
    return "version_bump" if is_version_bump(mined.msg) else None


def _by_content(git: GitRepo, mined: MinedCommit, rules: CommitRules) -> str | Commit:
    changes = [_change(file) for file in mined.modified_files]
    roles = {role(path) for change in changes for path in change.paths}
    data = _package_data(git.path, mined, changes) if Role.OTHER in roles and Role.SOURCE in roles else set()
    source = [c for c in changes if any(role(path) is Role.SOURCE or path in data for path in c.paths)]
    tests = sorted({path for c in changes for path in c.paths if role(path) is Role.TEST})
    reason = _without_source(roles, source) or _by_size(source, rules)
    if reason:
        return reason
    sides = _sides(git, mined, source)
    if isinstance(sides, str):
        return sides
    paths = sorted({path for c in source for path in c.paths if role(path) is Role.SOURCE or path in data})
    symbols = [compare(side.path, side.before, side.after) for side in sides]
    if not any(change.is_behaviour for change in symbols):
        return "docs_only"
    task, original = _task(mined.msg, symbols, has_tests=bool(tests))
    if not task:
        return "vague_message"
    return Commit(
        sha=mined.hash,
        parent=mined.parents[0],
        task=task,
        kinds=kinds(len(source), len(tests), new_symbols=any(change.added for change in symbols)),
        environment="",
        source_paths=tuple(paths),
        test_paths=tuple(tests),
        lines_changed=sum(change.lines for change in source),
        committed_at=mined.committer_date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        message=original,
    )


def kinds(source_files: int, test_files: int, *, new_symbols: bool) -> tuple[str, ...]:
    """Return the planning kinds that a commit exercises (seed 004, 6.9).

    Four source files with new symbols want a decomposition first; a mixed commit exercises all that
    fit. A wide commit without new symbols is a sequence of edits, so a step-plan.
    """
    mixed = test_files > 0
    meta = source_files >= META_PLAN_FILES and new_symbols
    step = mixed or not meta
    return tuple(kind for kind, fits in zip(KINDS, (meta, step, mixed), strict=True) if fits)


def _change(file: ModifiedFile) -> _Change:
    paths = tuple(dict.fromkeys(path for path in (file.old_path, file.new_path) if path))
    return _Change(tuple(PurePosixPath(path).as_posix() for path in paths), file.added_lines + file.deleted_lines, file)


def _without_source(roles: Iterable[Role], source: list[_Change]) -> str | None:
    found = set(roles)
    if source:
        return None
    if Role.TEST in found:
        return "tests_only"
    if found == {Role.DOCS}:
        return "docs_only"
    if Role.CI in found and found <= {Role.CI, Role.DOCS}:
        return "ci_only"
    return "no_source"


def _by_size(source: list[_Change], rules: CommitRules) -> str | None:
    lines = sum(change.lines for change in source)
    if len(source) > rules.max_source_files:
        return "too_many_files"
    if lines >= rules.max_lines:
        return "too_large"
    touched = [line for change in source for _, line in _changed_lines(change.file) if line.strip()]
    if touched and all(_VERSION_LINE.match(line) for line in touched):
        return "version_bump"
    return None


def _changed_lines(file: ModifiedFile) -> list[tuple[int, str]]:
    parsed: Mapping[str, Any] = file.diff_parsed
    return [*parsed["added"], *parsed["deleted"]]


def _sides(git: GitRepo, mined: MinedCommit, source: list[_Change]) -> list[_Sides] | str:
    """Return the texts of the source files before and after, or the reason why there are none."""
    raw = run_git(["--git-dir", str(git.path), "diff-tree", "-r", "-z", "--raw", mined.parents[0], mined.hash])
    fields = raw.decode("utf-8", "surrogateescape").split("\0")
    rows = {path: meta.lstrip(":").split() for meta, path in zip(fields[::2], fields[1::2], strict=False)}
    sides: list[_Sides] = []
    try:
        for change in source:
            old = _text(git, rows[change.file.old_path], before=True) if change.file.old_path else None
            new = _text(git, rows[change.file.new_path], before=False) if change.file.new_path else None
            sides.append(_Sides(change.paths[0], old, new))
    except (UnicodeDecodeError, KeyError):
        return "not_text"
    return sides if sum(change.lines for change in source) else "no_source"


def _text(git: GitRepo, row: list[str], *, before: bool) -> str:
    """Return one side of a row of `git diff-tree --raw`; KeyError for anything but a plain text file."""
    mode, blob = (row[0], row[2]) if before else (row[1], row[3])
    if mode not in {FILE_MODE, EXECUTABLE_MODE}:
        raise KeyError(blob)
    data = git.blob(blob)
    if b"\0" in data:
        raise KeyError(blob)
    return data.decode("utf-8")


def _package_data(repo: Path, mined: MinedCommit, changes: list[_Change]) -> set[str]:
    """Return the changed files of role OTHER that lie inside an import package."""
    names = run_git(["--git-dir", str(repo), "ls-tree", "-r", "-z", "--name-only", "--full-tree", mined.hash])
    packages = {
        name[: -len("/__init__.py")]
        for name in names.decode("utf-8", "surrogateescape").split("\0")
        if name.endswith("/__init__.py") and role(name) is Role.SOURCE
    }
    others = {path for change in changes for path in change.paths if role(path) is Role.OTHER}
    return {path for path in others if any(str(parent) in packages for parent in PurePosixPath(path).parents)}


def _task(message: str, symbols: list[SymbolChanges], *, has_tests: bool) -> tuple[str, str]:
    """Return the task text, and the original message where the text was regenerated."""
    if is_descriptive(message):
        return task_text(message), ""
    if not has_tests:
        return "", ""
    return regenerate(message, symbols)[:2000], message.strip()[:20_000] or "(empty)"

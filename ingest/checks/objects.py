"""The package's git objects: brought into a repository of our own, then looked at there."""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import GitFailed
from harness.git import GitRepo, run_git
from ingest.checks.candidate import AGAIN, SHOWN_WORDS, Candidate
from ingest.findings import Finding
from ingest.gitimport import import_objects

FSCK_TIMEOUT_S = 600


def check_objects(candidate: Candidate) -> Iterator[Finding]:
    """Bring the objects into a repository of our own; find what git refuses."""
    source, target = candidate.staged.directory / "repo", candidate.staged.directory / "imported"
    (source / "refs").mkdir(parents=True, exist_ok=True)  # git wants it, and empty folders do not travel
    try:
        import_objects(source, target)
    except GitFailed as err:
        yield Finding("GIT_OBJECTS", "repo/", "a complete git repository", str(err)[:SHOWN_WORDS], AGAIN)
        return
    candidate.repo = target


def check_commits(candidate: Candidate) -> Iterator[Finding]:
    """Find listed commits that are missing, unconnected or not the child of their parent."""
    if candidate.repo is None:
        return
    shallow = candidate.staged.files.get("repo/shallow")
    if shallow is not None and shallow.bytes:  # the fetch left its refs out, so our own repository does not show it
        yield Finding("GIT_SHALLOW", "repo/shallow", "the full history", "a shallow clone", AGAIN)
        return
    with GitRepo(candidate.repo) as repo:
        for commit in candidate.known.commits:
            if not repo.has_commit(commit.sha):
                yield Finding("COMMIT_MISSING", "repo/", f"commit {commit.sha}", "no such commit", AGAIN)
            elif repo.parents(commit.sha)[:1] != (commit.parent,):
                parents = ", ".join(repo.parents(commit.sha)) or "none"
                yield Finding("COMMIT_PARENT", "repo/", f"{commit.parent} as parent of {commit.sha}", parents, AGAIN)
    try:
        run_git(
            ["--git-dir", str(candidate.repo), "fsck", "--connectivity-only", "--no-dangling", "--no-progress"],
            timeout_s=FSCK_TIMEOUT_S,
        )
    except GitFailed as err:
        yield Finding("GIT_CONNECTIVITY", "repo/", "all objects of the history", str(err)[:SHOWN_WORDS], AGAIN)

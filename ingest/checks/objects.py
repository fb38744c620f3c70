"""The package's git objects: brought into a repository of our own, then looked at there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from harness.errors import GitFailed
from ingest.checks.candidate import AGAIN, SHOWN_WORDS, Candidate
from ingest.findings import Finding
from ingest.gitimport import MAX_BLOB_BYTES, RepositoryTooLarge, import_commits, import_objects
from ingest.gitlayout import MAX_OBJECTS, layout_problems, read_layout
from ingest.objectstream import object_sizes, read_objects

_PROPER_CLONE = "Clone the repository in full (git clone --mirror --no-local) and prepare the package again."
_SMALLER = "Take the large files out of the history, or package another repository."
_TRIES = 16
"""How often a fetch by id is tried again without a commit that git did not find."""


def check_objects(candidate: Candidate) -> Iterator[Finding]:
    """Bring the objects into a repository of our own; find what git refuses."""
    source = candidate.staged.directory / "repo"
    (source / "refs").mkdir(parents=True, exist_ok=True)  # git wants it, and empty folders do not travel
    (source / "objects").mkdir(exist_ok=True)
    problems = [Finding(*problem, _PROPER_CLONE) for problem in layout_problems(read_layout(source))]
    if problems:
        yield from problems
        return
    target = candidate.staged.directory.with_name(f"{candidate.staged.directory.name}-objects")  # not evidence
    try:
        import_objects(source, target)
    except GitFailed as err:
        shutil.rmtree(target, ignore_errors=True)
        too_large = isinstance(err, RepositoryTooLarge)
        code, next_step = (err.code, _SMALLER) if too_large else ("GIT_OBJECTS", AGAIN)
        yield Finding(code, "repo/", "a complete git repository", str(err)[:SHOWN_WORDS], next_step)
        return
    yield from _oversized(target)
    candidate.repo = target


def check_commits(candidate: Candidate) -> Iterator[Finding]:
    """Find listed commits that are missing, cut off or not the child of their parent."""
    if candidate.repo is None:
        return
    shallow = candidate.staged.files.get("repo/shallow")
    if shallow is not None and shallow.bytes:  # the fetch left its refs out, so our own repository does not show it
        yield Finding("GIT_SHALLOW", "repo/shallow", "the full history", "a shallow clone", _PROPER_CLONE)
        return
    manifest = candidate.known
    listed = dict.fromkeys(chain((manifest.head,), *((c.sha, c.parent) for c in manifest.commits)))
    commits = _commits(candidate.repo, listed)
    if len(commits) < len(listed):
        missing = [sha for sha in listed if sha not in commits]
        commits |= _fetch_listed(candidate.staged.directory / "repo", candidate.repo, missing)
    if (candidate.repo / "shallow").exists():
        yield Finding("GIT_SHALLOW", "repo/", "the full history", "a history that is cut off", _PROPER_CLONE)
    for sha in listed:
        if sha not in commits:
            yield Finding("COMMIT_MISSING", "repo/", f"commit {sha}", "no such commit", AGAIN)
    for commit in manifest.commits:
        parents = commits.get(commit.sha)
        if parents is not None and parents[:1] != (commit.parent,):
            found = ", ".join(parents) or "none"
            yield Finding("COMMIT_PARENT", "repo/", f"{commit.parent} as parent of {commit.sha}", found, AGAIN)


def _oversized(repo: Path) -> Iterator[Finding]:
    """Find objects that are larger than a source repository has, listed or not."""
    count = 0
    for oid, kind, size in object_sizes(repo):
        count += 1
        if size > MAX_BLOB_BYTES:
            yield Finding(
                "GIT_OVERSIZED", "repo/", f"objects of at most {MAX_BLOB_BYTES} bytes",
                f"{kind} {oid} of {size} bytes", _SMALLER,
            )  # fmt: skip
    if count > MAX_OBJECTS:
        yield Finding("GIT_OVERSIZED", "repo/", f"at most {MAX_OBJECTS} objects", f"{count} objects", _SMALLER)


def _commits(repo: Path, shas: Iterator[str] | dict[str, None]) -> dict[str, tuple[str, ...]]:
    """Return the parents of those commits that are there."""
    return {found.oid: _parents(found.data) for found in read_objects(repo, shas) if found.kind == "commit"}


def _fetch_listed(source: Path, repo: Path, missing: list[str]) -> dict[str, tuple[str, ...]]:
    """Fetch commits by id that no ref reaches; those that git does not find are left out, one by one."""
    wanted = list(missing)
    for _ in range(_TRIES):
        if not wanted:
            break
        try:
            import_commits(source, repo, wanted)
            break
        except RepositoryTooLarge:
            break
        except GitFailed as err:
            named = [sha for sha in wanted if sha in str(err)]
            wanted = [sha for sha in wanted if sha not in named] if named else []
    return _commits(repo, dict.fromkeys(missing))


def _parents(commit: bytes) -> tuple[str, ...]:
    """Return the parents of a commit: only the lines right after its tree count for git."""
    head = _HEAD.match(commit)
    return tuple(_PARENT.findall(head[1].decode())) if head else ()


_HEAD = re.compile(rb"tree [0-9a-f]{40}\n((?:parent [0-9a-f]{40}\n)*)")
_PARENT = re.compile(r"parent ([0-9a-f]{40})\n")

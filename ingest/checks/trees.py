"""What the trees of the listed commits and of their parents would put on a disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from harness.errors import GitFailed
from harness.manifest import Manifest
from ingest.checks.candidate import AGAIN, Candidate
from ingest.filetypes import kind_of_bytes
from ingest.findings import Finding
from ingest.objectstream import read_objects
from ingest.policy import Policy
from ingest.trees import MAX_PATH_BYTES, Trees, TreesTooLarge, link_problem, name_problem, read_trees

MAX_BLOB_BYTES_READ = 4 << 30
"""Distinct file contents of all listed trees together; the clock of the import would not end sooner."""
_SHOWN_BYTES = 200
_LEAVE_OUT = "Leave the commits that have it out of the package and prepare it again."


def check_trees(candidate: Candidate) -> Iterator[Finding]:
    """Find names, links and sizes that must not be unpacked, and programs, archives and pickles nobody allowed."""
    if candidate.repo is None:
        return
    repo = candidate.repo
    try:
        trees = read_trees(_roots(candidate.known), lambda ids: _tree_objects(repo, ids))
    except TreesTooLarge as err:
        yield Finding("TREE_SIZE", "repo/", "trees of a size that a project has", str(err), _LEAVE_OUT)
        return
    if trees.broken:
        yield Finding("GIT_OBJECTS", "repo/", "whole trees", f"tree {trees.broken} missing or broken", AGAIN)
        return
    yield from _names(trees)
    yield from _links(repo, trees)
    yield from _kinds(repo, trees, candidate.policy)


def _roots(manifest: Manifest) -> Iterator[str]:
    """Yield names of the trees of the listed commits and of their parents."""
    commits = chain.from_iterable((commit.sha, commit.parent) for commit in manifest.commits)
    return (f"{sha}^{{tree}}" for sha in dict.fromkeys(commits))


def _tree_objects(repo: Path, ids: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
    for found in read_objects(repo, ids):
        yield found.name, found.data if found.kind == "tree" else None


def _names(trees: Trees) -> Iterator[Finding]:
    for name, path in trees.names.items():
        problem = name_problem(name)
        if problem is not None:
            yield Finding("TREE_NAME", _shown(path), "names of printable UTF-8", problem, _LEAVE_OUT)
    if len(trees.longest) > MAX_PATH_BYTES:
        yield Finding(
            "TREE_NAME", _shown(trees.longest), f"paths of at most {MAX_PATH_BYTES} bytes",
            f"one of {len(trees.longest)} bytes or more", _LEAVE_OUT,
        )  # fmt: skip


def _links(repo: Path, trees: Trees) -> Iterator[Finding]:
    ids = dict.fromkeys(oid for _, oid in trees.links)
    targets = {found.name: found.data if found.kind == "blob" else b"" for found in read_objects(repo, ids)}
    at: dict[bytes, list[bytes]] = {}
    for path, oid in trees.links:
        at.setdefault(path, []).append(targets[oid])
    for path, oid in trees.links:
        problem = link_problem(path, targets[oid], at, trees.folders)
        if problem is not None:
            found = f"{problem}: {_shown(targets[oid])}"
            yield Finding("TREE_SYMLINK", _shown(path), "a symbolic link that stays in its tree", found, _LEAVE_OUT)


def _kinds(repo: Path, trees: Trees, policy: Policy) -> Iterator[Finding]:
    """Judge each distinct content once; neighbours in path order are deltas of each other and read fast."""
    read = 0
    for found in read_objects(repo, sorted(trees.blobs, key=trees.blobs.__getitem__)):
        if found.kind != "blob":
            raise GitFailed(f"{found.name} in {repo} is {found.kind}, a tree names it as a file")
        read += len(found.data)
        if read > MAX_BLOB_BYTES_READ:
            much = f"more than {MAX_BLOB_BYTES_READ} bytes in files"
            yield Finding("TREE_SIZE", "repo/", "trees of a size that a project has", much, _LEAVE_OUT)
            return
        kind = kind_of_bytes(found.data)
        if kind is None:
            continue
        sha256 = hashlib.sha256(found.data).hexdigest()
        if sha256 not in policy.allowed:
            yield Finding(
                "FILE_TYPE", _shown(trees.blobs[found.name]), "source, data, images or documents",
                f"{kind}, sha256 {sha256}, {len(found.data)} bytes",
                f'Look at it; if it may come in: appliance ingest allow {sha256} --reason "..."',
            )  # fmt: skip


def _shown(raw: bytes) -> str:
    text = raw.decode("utf-8", "surrogateescape")
    return text if len(raw) <= _SHOWN_BYTES else text[: _SHOWN_BYTES // 2] + "..." + text[-_SHOWN_BYTES // 4 :]

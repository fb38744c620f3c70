"""The first look at a package: its manifest and signature, before room is made for anything else.

Whether anybody vouches for a package is known from two small files. What nobody vouches for, and what
is no package at all, is refused on these: it is not copied, it waits for no room, and no more than
these two files of it lie in quarantine; nor is a package copied that is far larger than its manifest says,
which a sparse file makes of a small stick. Invariant: what passes here is checked again, from the start,
on the whole copy. Not protected against: a trusted signer who sends more than the disk holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from harness.errors import DiskFull
from harness.manifest import MANIFEST_NAME, SIGNATURE_NAME, FileEntry, Manifest
from harness.room import is_full
from ingest.checks.candidate import AGAIN
from ingest.errors import CopyFailed
from ingest.findings import Finding
from ingest.medium import NotRegular, directory_fd, read_bounded
from ingest.staging import Staged
from ingest.survey import Bounds, Survey, survey

SLACK_BYTES = 1 << 20
"""What may be there beyond the manifest and still be copied, to be refused file by file and kept."""
PAPERS = (MANIFEST_NAME, SIGNATURE_NAME)


def papers_bytes(seen: Survey) -> int:
    """Return what the manifest and the signature take."""
    return sum(seen.files.get(name, 0) for name in PAPERS)


def whole_bytes(source: Path) -> int:
    """Return what a copy of a package takes now; CopyFailed when the package is gone."""
    return survey(source).bytes


def copy_papers(source: Path, seen: Survey, target: Path) -> Staged:
    """Copy manifest and signature only, with what the survey of the whole package found.

    CopyFailed when the medium fails, DiskFull when this machine's disk is full.
    """
    target.mkdir(parents=True, exist_ok=True)
    names = [] if seen.too_much else [name for name in PAPERS if name in seen.files]
    try:
        return Staged(target, dict(_copied(source, names, target)), seen.findings)
    except (OSError, NotRegular) as err:
        if is_full(err):
            raise DiskFull(f"this machine's disk is full: {err}") from err
        raise CopyFailed(f"the manifest or its signature cannot be read: {err}") from err


def swollen(seen: Survey, manifest: Manifest) -> list[Finding]:
    """Return the files that make a package far larger than its manifest says; nothing when they are small."""
    listed = {path: entry.bytes for path, entry in manifest.files.items()}
    beyond = {path: size for path, size in seen.files.items() if path not in PAPERS and size > listed.get(path, 0)}
    if sum(size - listed.get(path, 0) for path, size in beyond.items()) <= SLACK_BYTES:
        return []
    return [
        Finding("FILE_CHANGED", path, f"{listed[path]} bytes", f"{size} bytes", AGAIN) if path in listed
        else Finding("FILE_UNLISTED", path, "no such file", f"{size} bytes", AGAIN)
        for path, size in beyond.items()
    ][:Bounds().findings]  # fmt: skip


def _copied(source: Path, names: Iterable[str], target: Path) -> Iterable[tuple[str, FileEntry]]:
    with directory_fd(source) as root:
        for name in names:
            data = read_bounded(root, name, Bounds().of(name))
            (target / name).write_bytes(data)
            yield name, FileEntry(hashlib.sha256(data).hexdigest(), len(data))

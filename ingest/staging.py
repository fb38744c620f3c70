"""Copy a package in once: regular files only, hashed while they are read.

Everything after this works on the copy, so a stick that changes or vanishes meanwhile changes
nothing. Files are opened without following links and without blocking; what is not a regular file
is reported, not opened. Not protected against: a file system driver that misbehaves.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.durable import sync_tree
from harness.errors import DiskFull
from harness.manifest import MANIFEST_NAME, SIGNATURE_NAME, FileEntry
from ingest.errors import CopyFailed
from ingest.findings import Finding

CHUNK = 1 << 20
MAX_FILES = 200_000
_TOP_FILES = {MANIFEST_NAME, SIGNATURE_NAME}
_TOP_DIRS = {"repo", "packages"}


@dataclass(frozen=True)
class Staged:
    """A package on our own disk, with what was seen while copying it."""

    directory: Path
    files: Mapping[str, FileEntry]
    """Relative path to digest and size of what was copied."""
    findings: tuple[Finding, ...]
    """What could not or must not be copied."""


def copy_in(source: Path, target: Path) -> Staged:
    """Copy a package directory; CopyFailed when the medium fails under the copy, DiskFull when the disk is full."""
    files: dict[str, FileEntry] = {}
    findings: list[Finding] = []
    target.mkdir(parents=True, exist_ok=True)  # also for a package that holds nothing
    for relative in _walk(source, findings):
        out = target / relative
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            files[relative] = _copy_file(source / relative, out)
        except OSError as err:
            if err.errno == errno.ENOSPC:
                raise DiskFull(f"this machine's disk is full while copying {relative}") from err
            raise CopyFailed(f"{relative} cannot be read: {err.strerror}") from err
    sync_tree(target)
    return Staged(target, files, tuple(findings))


def _walk(source: Path, findings: list[Finding]) -> list[str]:
    """Return the relative paths of regular files; everything else becomes a finding."""
    found: list[str] = []
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(source / folder), key=lambda entry: entry.name)
        except OSError as err:
            raise CopyFailed(f"{source / folder} cannot be listed: {err.strerror}") from err
        for entry in entries:
            relative = f"{folder}{entry.name}"
            mode = entry.stat(follow_symlinks=False).st_mode
            top = relative.split("/", 1)[0]
            if folder == "" and not (entry.name in _TOP_FILES or (top in _TOP_DIRS and stat.S_ISDIR(mode))):
                findings.append(_unexpected(relative, mode))
            elif stat.S_ISDIR(mode):
                folders.append(f"{relative}/")
            elif stat.S_ISREG(mode):
                found.append(relative)
            else:
                findings.append(_unexpected(relative, mode))
            if len(found) > MAX_FILES:
                raise CopyFailed(f"the package holds more than {MAX_FILES} files")
    return sorted(found)


def _unexpected(relative: str, mode: int) -> Finding:
    kind = {
        stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFDIR: "a directory",
    }.get(stat.S_IFMT(mode), "a file")  # fmt: skip
    return Finding(
        code="UNEXPECTED_FILE", file=relative, expected="manifest.json, manifest.json.sig, repo/ and packages/ only, "
        "regular files", found=kind, next_step="Prepare the package again; copy nothing else into its directory.",
    )  # fmt: skip


def _copy_file(source: Path, target: Path) -> FileEntry:
    hasher = hashlib.sha256()
    size = 0
    fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as read:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file any more")
        with target.open("xb") as write:
            while data := read.read(CHUNK):
                hasher.update(data)
                write.write(data)
                size += len(data)
            write.flush()
            os.fsync(write.fileno())
    return FileEntry(hasher.hexdigest(), size)

"""Copy a package in once: what the survey of the medium lists, hashed while it is read.

Everything after this works on the copy, so a stick that changes or vanishes meanwhile changes
nothing. Files are opened without following links and without blocking, and no more is read of one
than the survey saw; what the survey refuses is not opened. Modes, owners and times stay behind, so
that hooks arrive as bytes that nobody can execute.

All of it is flushed to the disk at once, at the end: with one `fsync` per file the disk would wait
for each in turn. Not protected against: a file system driver that misbehaves.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DiskFull
from harness.manifest import FileEntry
from ingest.errors import CopyFailed
from ingest.findings import Finding
from ingest.inspect import printable
from ingest.medium import NotRegular, directory_fd, open_regular
from ingest.survey import Bounds, survey

CHUNK = 1 << 20
_BLOCK_BYTES = 4096
_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Staged:
    """A package on our own disk, with what was seen while copying it."""

    directory: Path
    files: Mapping[str, FileEntry]
    """Relative path to digest and size of what was copied."""
    findings: tuple[Finding, ...]
    """What could not or must not be copied."""


def copy_in(source: Path, target: Path, bounds: Bounds | None = None) -> Staged:
    """Copy a package directory; what must not be copied is a finding, and past the bounds nothing is copied.

    CopyFailed when the medium fails or changes under the copy, DiskFull when this machine's disk is
    full or would be.
    """
    seen = survey(source, bounds)
    target.mkdir(parents=True, exist_ok=True)  # also for a package that holds nothing
    if seen.too_much:
        return Staged(target, {}, seen.findings)
    needed = sum(-(-size // _BLOCK_BYTES) * _BLOCK_BYTES for size in seen.files.values())
    free = shutil.disk_usage(target).free
    if needed > free:
        raise DiskFull(f"{needed} bytes are needed to copy the package, {free} are free")
    files: dict[str, FileEntry] = {}
    with directory_fd(source) as root:
        for relative, size in seen.files.items():
            files[relative] = _copy(root, relative, size, target / relative)
    flush(target)
    return Staged(target, files, seen.findings)


def flush(directory: Path) -> None:
    """Write everything to the disk that holds a directory: contents, names, and errors as OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(directory))
    finally:
        os.close(fd)


def _copy(root: int, relative: str, size: int, out: Path) -> FileEntry:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return _copy_file(root, relative, size, out)
    except NotRegular as err:
        raise CopyFailed(f"{printable(relative)} changed while it was copied: {err}") from err
    except OSError as err:
        if err.errno in _FULL:
            raise DiskFull(f"this machine's disk is full while copying {printable(relative)}") from err
        raise CopyFailed(f"{printable(relative)} cannot be read: {err.strerror}") from err


def _copy_file(root: int, relative: str, size: int, out: Path) -> FileEntry:
    """Copy exactly the bytes that the survey saw; a file that is shorter or longer by now is another one."""
    hasher = hashlib.sha256()
    left = size
    with os.fdopen(open_regular(root, relative), "rb", buffering=0) as read, out.open("xb") as write:
        while left and (data := read.read(min(CHUNK, left))):
            hasher.update(data)
            write.write(data)
            left -= len(data)
        if left or read.read(1):
            change = f"{size - left} of {size} bytes are left of it" if left else f"it grew beyond {size} bytes"
            raise CopyFailed(f"{printable(relative)} changed while it was copied: {change}")
    return FileEntry(hasher.hexdigest(), size)

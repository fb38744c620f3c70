"""Files that are there in whole or not at all, power cuts included.

The order is always the same: write beside, fsync, rename, fsync the directory (security reference,
3f: without the last step the newest file of 901 was lost, without the first all of them). Caches
take the cheaper way of `keep_cached`: nobody alive ever sees half a file, but a cut may leave one
torn, so what reads it has to check it. Not protected against: a disk that says "written" and lies.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

NEW_PREFIX = ".new-"
"""How files begin that are being written into a cache; one that a killed process left is litter."""


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that after a cut it has its old content or the new one; OSError leaves the old one.

    One writer at a time: the file beside has a fixed name, so that the next writer replaces what a
    killed one left.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        with beside.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def keep_cached(path: Path, data: bytes) -> None:
    """Write a cache file that other processes see in whole or not; a power cut may tear it. Any number of writers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=NEW_PREFIX, dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def move_whole(staged: Path, final: Path) -> None:
    """Give a finished directory its name, durably: under that name it is whole after any cut.

    Both have to be on one file system. OSError when `final` exists and holds something.
    """
    make_directory(final.parent)
    sync_files(staged)
    staged.rename(final)
    sync_directory(final.parent)
    sync_directory(staged.parent)


def make_directory(directory: Path) -> None:
    """Make a directory with its parents, and make their names durable where they are new."""
    if not directory.is_dir():
        make_directory(directory.parent)
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    _sync(directory, os.O_DIRECTORY)


def sync_files(directory: Path) -> None:
    """Make every regular file below a directory durable, content and name.

    Unlike sync(2) it reports a disk that failed, and it does not wait for what others write.
    """
    for folder, files in _walk(directory):
        for file in files:
            _sync(file, os.O_NOFOLLOW)
        sync_directory(folder)


def _walk(directory: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Return each directory with its regular files, the deepest first; links are neither."""
    files: list[Path] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                yield from _walk(directory / entry.name)
            elif stat.S_ISREG(mode):
                files.append(directory / entry.name)
    yield directory, files


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

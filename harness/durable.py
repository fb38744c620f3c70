"""Files that are there in whole or not at all, power cuts included.

The order is always the same: write beside, fsync, rename, fsync the directory (security reference,
3f: without the last step the newest file of 901 was lost, without the first all of them).
"""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that after a cut it has its old content or the new one; OSError leaves the old one."""
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


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_tree(directory: Path) -> None:
    """Make the names in a directory and in every directory below it durable."""
    for folder in (directory, *(path for path in directory.rglob("*") if path.is_dir() and not path.is_symlink())):
        sync_directory(folder)

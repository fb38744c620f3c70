"""Small real disks for tests: a tmpfs that can be filled up and emptied again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BALLAST = "ballast"


@contextmanager
def small_disk(place: Path, size_mib: int) -> Iterator[Path]:
    """Give a directory on a disk of its own, or skip the test."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk takes privileges")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def leave_free(disk: Path, free_bytes: int) -> None:
    """Fill a disk up until only so much is free."""
    empty(disk)
    with (disk / BALLAST).open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(shutil.disk_usage(disk).free - free_bytes, 1))


def empty(disk: Path) -> None:
    """Take out what `leave_free` put in."""
    (disk / BALLAST).unlink(missing_ok=True)

"""One at a time: a lock file whose lock dies with the process that holds it (no pid files)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import Failure


@contextmanager
def only_holder(lock: Path, busy: Failure) -> Iterator[None]:
    """Hold the lock for the block, or raise `busy` when another process holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(lock, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise busy from err
        yield
    finally:
        os.close(fd)

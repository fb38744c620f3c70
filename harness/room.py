"""Room on the disk: whether new work may start, and what a full disk looks like.

Work that starts on a disk that is about to fill up fails half-way and says nothing about what was
worked on. So whoever hands work out asks first, and waits. What is asked is a `Room`; the appliance
brings one that keeps a reserve free. Not protected against: another program that eats the reserve
while work is under way; that shows as a full disk (`is_full`), and the work is done again.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from harness.errors import DiskFull

R = TypeVar("R")


class Room(Protocol):
    """Whether there is room for more work."""

    @property
    def poll_s(self) -> float:
        """Seconds after which it is worth asking again."""

    @property
    def tries(self) -> int:
        """How often work that met a full disk is begun again."""

    def has(self, coming_bytes: int = 0) -> bool:
        """Return whether this many bytes more may be written; raises a Failure when they never can be."""


class AnyRoom:
    """Room without a limit: nothing waits, and a full disk is said at once."""

    poll_s = 1.0
    tries = 0

    def has(self, coming_bytes: int = 0) -> bool:  # noqa: ARG002 - the answer to any question
        """Return True."""
        return True


def wait_for(room: Room, coming_bytes: int | Callable[[], int] = 0) -> None:
    """Return once there is room; an interrupt passes, and so does what a room raises that does not wait.

    A function is asked anew each time, so that nobody waits for room for something that is gone: it raises.
    """
    while not room.has(coming_bytes if isinstance(coming_bytes, int) else coming_bytes()):
        time.sleep(room.poll_s)


def despite_full(room: Room, work: Callable[[], R]) -> R:
    """Do work at once; when it meets a full disk, wait for room and do it again, at most `room.tries` times."""
    for _ in range(room.tries):
        try:
            return work()
        except Exception as err:
            if not is_full(err):
                raise
        time.sleep(room.poll_s)
        wait_for(room)
    return work()


def is_full(err: BaseException) -> bool:
    """Return whether an error says that this machine's disk is full."""
    return isinstance(err, DiskFull) or (isinstance(err, OSError) and err.errno in {errno.ENOSPC, errno.EDQUOT})

"""Waiting for room, doing work again that met a full disk, and telling a full disk from other trouble."""

from __future__ import annotations

import errno

import pytest

from harness.errors import DiskFull, GitFailed
from harness.room import AnyRoom, despite_full, is_full, wait_for

FULL = [DiskFull("full"), OSError(errno.ENOSPC, "full"), OSError(errno.EDQUOT, "quota")]
OTHER = [OSError(errno.EIO, "broken"), GitFailed("no"), KeyboardInterrupt()]


class _Filling:
    """Room that is short for the next few questions."""

    poll_s = 0.001
    tries = 3

    def __init__(self, short_for: int = 0) -> None:
        self.short_for = short_for
        self.asked: list[int] = []

    def has(self, coming_bytes: int = 0) -> bool:
        """Return whether the shortage is over."""
        self.asked.append(coming_bytes)
        self.short_for -= 1
        return self.short_for < 0


@pytest.mark.parametrize(("err", "expected"), [*((err, True) for err in FULL), *((err, False) for err in OTHER)])
def test_only_a_full_disk_or_quota_is_one(err: BaseException, expected: bool) -> None:
    """Everything else has a cause of its own."""
    assert is_full(err) is expected


def test_waiting_ends_when_there_is_room() -> None:
    """It asks for what is coming until the answer is yes."""
    room = _Filling(2)
    wait_for(room, 7)
    assert room.asked == [7, 7, 7]
    wait_for(AnyRoom(), 1 << 60)


def test_who_waits_asks_anew_what_is_coming_and_gives_up_when_it_is_gone() -> None:
    """A function is called before each question; what it raises ends the waiting."""
    room, left = _Filling(99), [7, 8]
    with pytest.raises(IndexError):
        wait_for(room, lambda: left.pop(0))
    assert room.asked == [7, 8]


@pytest.mark.parametrize("full", FULL)
def test_work_that_met_a_full_disk_is_done_again_when_there_is_room(full: Exception) -> None:
    """It starts at once, without asking: what is finished may use the reserve."""
    room, tried = _Filling(2), list[int]()

    def work() -> str:
        tried.append(len(room.asked))
        if len(tried) < 3:
            raise full
        return "done"

    assert despite_full(room, work) == "done"
    assert tried == [0, 3, 4]


def test_work_that_goes_on_meeting_a_full_disk_fails_with_it() -> None:
    """After as many tries as the room allows, and at once where nobody looks after the room."""
    for room, times in ((_Filling(), 4), (AnyRoom(), 1)):
        tried = list[int]()

        def work(tried: list[int] = tried) -> None:
            tried.append(1)
            raise DiskFull("still full")

        with pytest.raises(DiskFull, match="still full"):
            despite_full(room, work)
        assert len(tried) == times


@pytest.mark.parametrize("other", OTHER)
def test_other_failures_pass(other: BaseException) -> None:
    """They are not tried again."""
    tried = list[int]()

    def work() -> None:
        tried.append(1)
        raise other

    with pytest.raises(type(other)):
        despite_full(_Filling(), work)
    assert tried == [1]

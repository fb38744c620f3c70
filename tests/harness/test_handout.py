"""Handing out jobs: order, room, full disks, workers that are stopped or never come back."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from harness.errors import DiskFull
from harness.handout import Rules, WorkerStuck, hand_out


class _Room:
    """Room that a test opens and closes."""

    poll_s = 0.01
    tries = 2

    def __init__(self, *, is_open: bool = True) -> None:
        self.is_open = is_open
        self.asked = threading.Event()

    def has(self, _coming_bytes: int = 0) -> bool:
        """Return what the test says."""
        if not self.is_open:
            self.asked.set()
        return self.is_open


@pytest.fixture
def threads() -> Iterator[Executor]:
    """Return two threads that do the work."""
    with ThreadPoolExecutor(2) as executor:
        yield executor


def test_every_job_comes_back_once_with_its_result(threads: Executor) -> None:
    """However many there are, and however few go out at a time."""
    ended = [one for batch in hand_out(threads, lambda n: n * n, range(50), Rules(3)) for one in batch]
    assert sorted((one.job, one.result, one.error) for one in ended) == [(n, n * n, None) for n in range(50)]


def test_no_more_than_the_agreed_number_is_out(threads: Executor) -> None:
    """The first jobs go first, and the queue of the executor stays short."""
    started: list[int] = []
    gate = threading.Event()

    def work(number: int) -> int:
        started.append(number)
        gate.wait(10)
        return number

    results = hand_out(threads, work, range(20), Rules(2, look_s=0.01))
    threading.Timer(0.2, gate.set).start()
    next(results)
    assert sorted(started) == [0, 1]
    assert sum(len(batch) for batch in results) >= 18


def test_an_error_is_handed_back_beside_what_finished(threads: Executor) -> None:
    """It costs its own job and no other."""

    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    ended = [one for batch in hand_out(threads, work, range(6), Rules(2)) for one in batch]
    assert [(one.job, str(one.error)) for one in ended if one.error] == [(3, "three")]
    assert sorted(one.job for one in ended if one.error is None) == [0, 1, 2, 4, 5]


def test_without_room_nothing_starts_and_what_is_under_way_finishes(threads: Executor) -> None:
    """Work goes on by itself once there is room."""
    room, started = _Room(), list[int]()

    def work(number: int) -> int:
        started.append(number)
        return number

    results = hand_out(threads, work, range(6), Rules(2, room, look_s=0.01))
    done = len(next(results))
    room.is_open = False
    threading.Timer(0.3, lambda: (room.asked.wait(5), setattr(room, "is_open", True))).start()
    while done < 2:
        done += len(next(results))
    assert sorted(started) == [0, 1]
    assert done + sum(len(batch) for batch in results) == 6
    assert sorted(started) == list(range(6))


@pytest.mark.parametrize("full", [DiskFull("full"), OSError(errno.ENOSPC, "full"), OSError(errno.EDQUOT, "quota")])
def test_a_job_that_met_a_full_disk_is_done_again_a_few_times(full: Exception, threads: Executor) -> None:
    """Twice it is handed out anew and nobody hears of it; the third time it has failed."""
    seen: list[str] = []

    def work(job: tuple[str, int]) -> str:
        name, failures = job
        seen.append(name)
        if seen.count(name) <= failures:
            raise full
        return name

    ended = [
        one for batch in hand_out(threads, work, [("a", 2), ("b", 0), ("c", 9)], Rules(2, _Room())) for one in batch
    ]
    assert {one.job[0]: one.error for one in ended} == {"a": None, "b": None, "c": full}
    assert (seen.count("a"), seen.count("b"), seen.count("c")) == (3, 1, 3)


def test_a_job_that_does_not_come_back_is_stuck(threads: Executor) -> None:
    """Its own limits should have ended it long ago."""
    gate = threading.Event()
    try:
        with pytest.raises(WorkerStuck) as caught:
            list(hand_out(threads, lambda _: gate.wait(30), [1], Rules(2, limit_s=0.2, look_s=0.05)))
    finally:
        gate.set()
    assert "Run the same command again" in caught.value.hint


def test_jobs_in_time_are_not_stuck_however_long_all_take_together(threads: Executor) -> None:
    """The clock of a job starts when it is handed out."""
    ended = hand_out(threads, lambda _: time.sleep(0.05), range(20), Rules(2, limit_s=0.4, look_s=0.01))
    assert sum(len(batch) for batch in ended) == 20


def test_a_stopped_worker_is_ended_and_everybody_hears_of_it(tmp_path: Path) -> None:
    """A SIGSTOP holds nobody up for longer than two looks; the pool is broken, as after a kill."""
    started = time.monotonic()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        [[ended]] = hand_out(pool, _stop_self, [str(tmp_path / "pid")], Rules(2, look_s=0.1))
    assert isinstance(ended.error, BrokenProcessPool)
    assert time.monotonic() - started < 10
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()


def _stop_self(note: str) -> None:
    Path(note).write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGSTOP)

"""Hand jobs to an executor, a few at a time, and take back what they come to.

Holds three rules in one place, for imports and for runs. A job is handed out only while there is
room on the disk; what is under way meanwhile finishes. A job that meets a full disk came to
nothing, so it is handed out again. A job that is out for much longer than it can take is stuck, and
so is every worker that was stopped. Not protected against: a job whose own limits are wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from math import inf
from typing import Generic, TypeVar

from harness.errors import HarnessError
from harness.room import AnyRoom, Room, is_full
from harness.stopped import StoppedWorkers

QUEUED_PER_WORKER = 2
LOOK_S = 5.0
"""How often to look after workers while nothing finishes."""

J = TypeVar("J")
R = TypeVar("R")


class WorkerStuck(HarnessError):
    """A worker did not come back with a job that has limits of its own."""

    code = "WORKER_STUCK"
    hint = "Run the same command again: what is stored is not made again. If it recurs, keep the output of --debug."


@dataclass(frozen=True)
class Ended(Generic[J, R]):
    """A job that is over: with its result, or with the error that it raised."""

    job: J
    result: R | None
    error: BaseException | None


@dataclass(frozen=True)
class Rules:
    """How jobs are handed out."""

    at_once: int
    """Jobs with the executor at the same time."""
    room: Room = field(default_factory=AnyRoom)
    limit_s: float = inf
    """Seconds after which a job is stuck, the time in the executor's queue included."""
    look_s: float = LOOK_S


@dataclass
class _Out(Generic[J]):
    """A job that is with the executor, or waits to be."""

    job: J
    tries: int = 0
    """How often it met a full disk."""
    due_at: float = inf
    """When it has to be back, by the monotonic clock."""


def hand_out(
    executor: Executor, work: Callable[[J], R], jobs: Iterable[J], rules: Rules
) -> Iterator[list[Ended[J, R]]]:  # fmt: skip
    """Yield jobs as they end, those that ended together in one list; WorkerStuck when one does not come back.

    Nothing is handed out while the caller works on a list, so a caller that stops there leaves no
    more behind than what is under way.
    """
    todo = [_Out(job) for job in jobs]
    todo.reverse()
    out: dict[Future[R], _Out[J]] = {}
    watch = _Watch(rules)
    resume_at = 0.0
    while todo or out:
        while todo and len(out) < rules.at_once and time.monotonic() >= resume_at and rules.room.has():
            item = todo.pop()
            item.due_at = time.monotonic() + rules.limit_s
            out[_submitted(executor, work, item.job)] = item
        if not out:
            time.sleep(rules.room.poll_s)
            continue
        done, _ = wait(out, timeout=min(rules.room.poll_s, rules.look_s), return_when=FIRST_COMPLETED)
        ended = []
        for future in done:
            item = out.pop(future)
            error = future.exception()
            if error is not None and is_full(error) and item.tries < rules.room.tries:
                item.tries += 1
                todo.append(item)
                resume_at = time.monotonic() + rules.room.poll_s
            else:
                ended.append(Ended(item.job, None if error else future.result(), error))
        if ended:
            yield ended
        watch.look(out.values())


def _submitted(executor: Executor, work: Callable[[J], R], job: J) -> Future[R]:
    """Hand a job out; a pool that is broken already is a failed job, so that finished ones come first."""
    try:
        return executor.submit(work, job)
    except BrokenProcessPool as err:
        refused: Future[R] = Future()
        refused.set_exception(err)
        return refused


class _Watch:
    """Looks after jobs and workers every `look_s`, however many results come in meanwhile."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.stopped = StoppedWorkers()
        self.next_at = time.monotonic() + rules.look_s

    def look(self, out: Iterable[_Out[J]]) -> None:
        now = time.monotonic()
        if now < self.next_at:
            return
        self.next_at = now + self.rules.look_s
        self.stopped.end()
        late = [item for item in out if item.due_at < now]
        if late:
            raise WorkerStuck(f"{len(late)} of the jobs under way did not come back within {self.rules.limit_s:.0f} s")

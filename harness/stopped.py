"""End worker processes that were stopped: they would never come back, and nothing else ends them.

A worker in state T (SIGSTOP, a terminal) holds its job for ever; the clock of its sandbox is in the
worker and stands still, too. Killing it makes it a dead worker, which everybody knows how to deal
with: the pool breaks, the run says so and can be started again. A worker counts as stopped when two
looks in a row find it so: `fg` after Ctrl-Z wakes this process and its workers at the same moment.
Not seen: workers on other machines, and workers that only pretend to work.
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path

_STOPPED = "T"


class StoppedWorkers:
    """Looks after the worker processes of this process."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def end(self) -> list[int]:
        """Kill the workers that were stopped at the last look already; return their process ids."""
        workers = {worker.pid: worker for worker in multiprocessing.active_children() if worker.pid is not None}
        now = {pid for pid in workers if state(pid) == _STOPPED}
        ended = sorted(now & self._seen)
        for pid in ended:
            workers[pid].kill()
        self._seen = now
        return ended


def state(pid: int) -> str:
    """Return the state letter of a process, "" when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]

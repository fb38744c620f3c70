"""Workers: fresh processes that die with whoever made them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from appliance.pool import worker_pool
from tests.appliance.conftest import ROOT, environ

GONE_WITHIN_S = 10
MAKER = """
import os, sys, time
from appliance.pool import worker_pool
if __name__ == "__main__":
    with worker_pool(2) as pool:
        pids = {pool.submit(os.getpid).result() for _ in range(2)}
        jobs = [pool.submit(time.sleep, 300) for _ in range(2)]
        print(*pids, *(process.pid for process in pool._processes.values()), flush=True)
        jobs[0].result()
"""


def test_work_is_done_in_other_processes() -> None:
    """A job runs in a worker, not in the process that submits it."""
    with worker_pool(1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
        assert pool.submit(sum, [1, 2]).result() == 3


def test_a_failure_in_a_worker_keeps_code_and_hint() -> None:
    """What a worker raises arrives as the same failure."""
    from harness.envs.interpreters import find_interpreter
    from harness.errors import PythonMissing

    with worker_pool(1) as pool, pytest.raises(PythonMissing) as caught:
        pool.submit(find_interpreter, "3.99").result()
    assert (caught.value.code, caught.value.exit_code) == ("PYTHON_MISSING", 14)
    assert "Install that Python" in caught.value.hint


def test_an_interrupt_ends_what_is_running() -> None:
    """When the block is left by an exception, workers are stopped instead of waited for."""
    started, pids = time.monotonic(), list[int]()
    with pytest.raises(KeyboardInterrupt), worker_pool(1) as pool:
        _interrupted(pool, pids)
    assert time.monotonic() - started < GONE_WITHIN_S
    assert pids
    _wait_until_gone(pids)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_workers_die_with_the_process_that_made_them(ending: signal.Signals, tmp_path: Path) -> None:
    """Killed without a chance to clean up, a process leaves no worker behind."""
    script = tmp_path / "maker.py"
    script.write_text(MAKER)
    maker = subprocess.Popen([sys.executable, str(script)], env=environ(), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    pids = {int(word) for word in maker.stdout.readline().split()}
    assert pids
    maker.send_signal(ending)
    maker.wait(GONE_WITHIN_S)
    maker.stdout.close()
    _wait_until_gone(list(pids))


def _interrupted(pool: Any, pids: list[int]) -> None:
    pool.submit(time.sleep, 300)
    pids += pool._processes
    raise KeyboardInterrupt


def _wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    while alive := [pid for pid in pids if _is_alive(pid)]:
        assert time.monotonic() < deadline, f"still alive: {alive}"
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False

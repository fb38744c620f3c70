"""The Executor that attempts and gate runs go through: worker processes on this machine.

Workers are spawned fresh (no inherited locks or connections) and die with the process that made
them, and their sandboxes with them. A cluster would hand in another `concurrent.futures.Executor`.
No worker is started before this process has proved that the sandbox holds on this machine.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

from harness.sandbox.orphans import reap_orphans
from harness.sandbox.selftest import accept_proof, require_isolation

_PR_SET_PDEATHSIG = 1


@contextmanager
def worker_pool(workers: int) -> Iterator[Executor]:
    """Return an executor with this many worker processes; on an interrupt nothing new is started.

    SandboxUnavailable, with the probe that went through, where untrusted code cannot be isolated.
    """
    reap_orphans()
    require_isolation()
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(os.getpid(),)
    )
    try:
        yield pool
    except BaseException:
        processes = list((pool._processes or {}).values())  # noqa: SLF001 - no public way before 3.14
        pool.shutdown(wait=False, cancel_futures=True)  # forgets its processes
        for process in processes:
            process.kill()  # a stopped worker does not hear anything milder
        raise
    pool.shutdown()


def _start_worker(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    accept_proof()

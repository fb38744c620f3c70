"""Run one untrusted command in bubblewrap and wait for it: no network, no host files, no survivors.

Invariant: when `run` returns, no process of the command is alive, and nothing but bytes from the
two pipes came out. The command sees the mounts it was given, a private /proc and /dev, and one
in-memory directory at /work that holds HOME and TMPDIR; what it writes there or to /dev/shm is
bounded, and it can write nowhere else. The first run of a process proves on this very machine that
the isolation holds, and no untrusted byte is executed where it does not. Not protected against:
bugs of the kernel.
"""

from __future__ import annotations

from typing import IO

from harness.sandbox.command import MARK, RECORD_FD_VARIABLE, WORK, Sandbox, bwrap_path
from harness.sandbox.process import Finished, execute
from harness.sandbox.selftest import require_isolation

__all__ = ["MARK", "RECORD_FD_VARIABLE", "WORK", "Finished", "Sandbox", "bwrap_path", "run"]


def run(sandbox: Sandbox, *, stdin: IO[bytes] | None = None) -> Finished:
    """Run a command in the sandbox; the clock starts when its process does.

    SandboxUnavailable when the isolation does not hold on this machine; then nothing was run.
    """
    require_isolation()
    return execute(sandbox, stdin=stdin)

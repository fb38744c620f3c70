"""Start an isolated command, attend to it, and leave nothing of it behind.

Invariant: when `execute` returns, no process of the command is alive, and nothing but bytes from the
two pipes came out; directories that it could write are ours again. Whether the isolation holds on
this machine is proved elsewhere (`selftest`); `bwrap.run` asks for that proof first.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from harness.errors import SandboxUnavailable
from harness.sandbox.cgroup import run_group
from harness.sandbox.command import SYSTEM_PATH, Channels, Sandbox, isolated
from harness.sandbox.identity import check_readable, hand_over, run_uid, take_back
from harness.sandbox.limits import Limits
from harness.sandbox.seccomp import network_filter

_KILL_WAIT_S = 10.0
_INFO_WAIT_MS = 1_000
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Finished:
    """How a sandboxed command ended."""

    returncode: int
    """Exit status; negative when a signal ended it."""
    timed_out: bool
    seconds: float
    output: bytes
    """The end of stdout and stderr, at most `Limits.output_bytes`."""
    output_bytes: int
    """How much was written in total."""
    records: bytes | bytearray
    """Everything from the result pipe."""
    overflowed: bool
    """The result pipe carried more than `Limits.record_bytes`; the run was stopped."""
    out_of_memory: bool = False
    """The kernel ended processes of the run because it reached `Limits.memory_bytes`."""


def execute(sandbox: Sandbox, *, stdin: IO[bytes] | None = None) -> Finished:
    """Run a command in the sandbox; the clock starts when its process does."""
    record_read, record_write = os.pipe()
    info_read, info_write = os.pipe()
    seccomp = _seccomp_memfd()
    ours, theirs = [record_read, info_read], [record_write, info_write, seccomp]
    uid = run_uid(os.geteuid(), own_uid_map(), os.fstat(record_read).st_ino)  # no two open pipes share a number
    try:
        with _entrusted(sandbox, uid), run_group(sandbox.limits) as group:
            channels = Channels(record_write, info_write, seccomp)
            command = isolated(sandbox, channels, uid=uid, groups=group.join if group else ())
            started = time.monotonic()
            process = subprocess.Popen(
                command, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                pass_fds=theirs, env={"PATH": SYSTEM_PATH}, start_new_session=True,
            )  # fmt: skip
            while theirs:
                os.close(theirs.pop())
            seen = _attend(process, record_read, info_read, sandbox.limits, started)
            return seen.finished(_returncode(process), out_of_memory=bool(group and group.out_of_memory()))
    finally:
        for fd in (*ours, *theirs):
            os.close(fd)


@contextmanager
def _entrusted(sandbox: Sandbox, uid: int | None) -> Iterator[None]:
    """Let the user of the run have what it may write, for the time of the run."""
    try:
        if uid is not None:
            check_readable(list(sandbox.read_only.values()))
            for path in sandbox.writable.values():
                hand_over(path, uid)
        yield
    finally:
        for path in sandbox.writable.values():
            take_back(path)


@cache
def own_uid_map() -> str:
    """Return the uids that the user namespace of this process knows."""
    return Path("/proc/self/uid_map").read_text()


def _seccomp_memfd() -> int:
    fd = os.memfd_create("seccomp")
    os.write(fd, _filter())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


@cache
def _filter() -> bytes:
    return network_filter()


@dataclass
class _Seen:
    """What came out of a run so far."""

    output: bytearray
    records: bytearray
    output_total: int = 0
    timed_out: bool = False
    overflowed: bool = False
    seconds: float = 0.0

    def finished(self, returncode: int, *, out_of_memory: bool) -> Finished:
        return Finished(
            returncode, self.timed_out, self.seconds, bytes(self.output), self.output_total, self.records,
            self.overflowed, out_of_memory,
        )  # fmt: skip


def _attend(
    process: subprocess.Popen[bytes], record_read: int, info_read: int, limits: Limits, started: float
) -> _Seen:
    """Read both pipes until the process ends or a limit is reached, then make sure nothing is left."""
    seen = _Seen(bytearray(), bytearray())
    stdout = process.stdout
    if stdout is None:
        raise SandboxUnavailable("no pipe from the sandbox")
    os.set_blocking(record_read, False)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(record_read, selectors.EVENT_READ)
            while selector.get_map():
                left = started + limits.wall_s - time.monotonic()
                if left <= 0 or seen.overflowed:
                    seen.timed_out = not seen.overflowed
                    break
                for key, _ in selector.select(left):
                    data = os.read(key.fd, _CHUNK)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fd == record_read:
                        seen.records += data
                        seen.overflowed = len(seen.records) > limits.record_bytes
                    else:
                        seen.output_total += len(data)
                        seen.output += data
                        del seen.output[: -limits.output_bytes]
            if not seen.timed_out and not seen.overflowed:
                seen.timed_out = not _ended(process, started + limits.wall_s - time.monotonic())
    finally:
        seen.seconds = time.monotonic() - started
        _kill(process, info_read)
        stdout.close()
    return seen


def _ended(process: subprocess.Popen[bytes], wait_s: float) -> bool:
    try:
        process.wait(max(wait_s, 0.01))
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(process: subprocess.Popen[bytes], info_read: int) -> None:
    """End the first process of the pid namespace; it is gone, and bwrap with it, only after all others are."""
    if process.poll() is not None:
        return
    info = select.poll()
    info.register(info_read, select.POLLIN)
    ready = info.poll(_INFO_WAIT_MS)  # bwrap may only just have started
    first = re.search(rb'"child-pid": (\d+)', os.read(info_read, _CHUNK) if ready else b"")
    with contextlib.suppress(ProcessLookupError):
        if first:
            os.kill(int(first[1]), signal.SIGKILL)
        else:
            os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(_KILL_WAIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(_KILL_WAIT_S)


def _returncode(process: subprocess.Popen[bytes]) -> int:
    """Undo the shell convention by which bwrap reports the signal that ended its child."""
    code = process.returncode
    return 128 - code if 128 < code < 128 + signal.NSIG else code  # noqa: PLR2004

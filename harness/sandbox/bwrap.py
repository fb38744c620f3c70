"""Run one untrusted command in bubblewrap and wait for it: no network, no host files, no survivors.

Invariant: when `run` returns, no process of the command is alive, and nothing but bytes from the
two pipes came out. The command sees the mounts it was given, a private /proc and /dev, and one
in-memory directory at /work that holds HOME and TMPDIR; what it writes there or to /dev/shm is
bounded, and it can write nowhere else. Not protected against: bugs of the kernel.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import IO

from harness.errors import SandboxUnavailable
from harness.sandbox.limits import Limits
from harness.sandbox.seccomp import network_filter

WORK = "/work"
MARK = ("--hostname", "sandboxed-tests")
"""Tells our sandboxes from other users of bubblewrap on the machine."""
RECORD_FD_VARIABLE = "HARNESS_RECORD_FD"
_KILL_WAIT_S = 10.0
_INFO_WAIT_MS = 1_000
_CHUNK = 1 << 16
_SHM_BYTES = 64 << 20
_SYSTEM_PATH = "/usr/bin:/bin"
_HOME = f"{WORK}/home"
_SCRATCH = f"{WORK}/tmp"  # noqa: S108 - inside the sandbox, like the next two
_TMP = "/tmp"  # noqa: S108
_SHM = "/dev/shm"  # noqa: S108


@dataclass(frozen=True)
class Sandbox:
    """What a command gets to see."""

    command: Sequence[str]
    read_only: Mapping[str, str] = field(default_factory=dict)
    """Path inside to path on the host."""
    writable: Mapping[str, str] = field(default_factory=dict)
    """Path inside to path on the host; for filling a template, never for tests."""
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


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


def run(sandbox: Sandbox, *, stdin: IO[bytes] | None = None) -> Finished:
    """Run a command in the sandbox; the clock starts when its process does."""
    record_read, record_write = os.pipe()
    info_read, info_write = os.pipe()
    seccomp = _seccomp_memfd()
    ours, theirs = [record_read, info_read], [record_write, info_write, seccomp]
    try:
        command = [
            *_prlimit(sandbox.limits),
            *_bwrap(sandbox, seccomp, info_write, {RECORD_FD_VARIABLE: str(record_write)}),
        ]
        started = time.monotonic()
        process = subprocess.Popen(
            command, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            pass_fds=theirs, env={"PATH": _SYSTEM_PATH}, start_new_session=True,
        )  # fmt: skip
        while theirs:
            os.close(theirs.pop())
        return _attend(process, record_read, info_read, sandbox.limits, started)
    finally:
        for fd in (*ours, *theirs):
            os.close(fd)


@cache
def bwrap_path() -> str:
    """Return the path of bubblewrap; SandboxUnavailable when this machine has none."""
    found = shutil.which("bwrap", path=os.environ.get("PATH", _SYSTEM_PATH) + ":" + _SYSTEM_PATH)
    if not found:
        raise SandboxUnavailable("bubblewrap (the command bwrap) is not installed")
    return found


def _prlimit(limits: Limits) -> list[str]:
    return [
        "prlimit", f"--cpu={limits.cpu_s}", f"--as={limits.address_space_bytes}", f"--fsize={limits.file_bytes}",
        f"--nproc={limits.processes}", f"--nofile={limits.open_files}", "--core=0", "--",
    ]  # fmt: skip


def _bwrap(sandbox: Sandbox, seccomp: int, info: int, extra_env: Mapping[str, str]) -> list[str]:
    command = [
        bwrap_path(), "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session",
        "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL", *MARK, "--clearenv",
        "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/bin", "/bin",
        "--symlink", "usr/sbin", "/sbin", "--proc", "/proc", "--dev", "/dev",
        "--size", str(_SHM_BYTES), "--tmpfs", _SHM,
        "--size", str(sandbox.limits.scratch_bytes), "--tmpfs", WORK,
        "--dir", _HOME, "--dir", _SCRATCH, "--symlink", _SCRATCH[1:], _TMP,
    ]  # fmt: skip
    for lib in ("lib64", "lib32"):
        if os.path.islink(f"/{lib}"):  # noqa: PTH114 - one stat, no object
            command += ["--symlink", f"usr/{lib}", f"/{lib}"]
    for inside, host in sandbox.read_only.items():
        command += ["--ro-bind", host, inside]
    for inside, host in sandbox.writable.items():
        command += ["--bind", host, inside]
    env = {
        "PATH": _SYSTEM_PATH, "HOME": _HOME, "TMPDIR": _SCRATCH, "USER": "nobody", "LOGNAME": "nobody",
        "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC", **sandbox.env, **extra_env,
    }  # fmt: skip
    for name, value in env.items():
        command += ["--setenv", name, value]
    # The root and /dev are memory, too, and not bounded: nothing may be written there.
    command += ["--remount-ro", "/dev", "--remount-ro", "/"]
    return [*command, "--info-fd", str(info), "--seccomp", str(seccomp), "--chdir", WORK, "--", *sandbox.command]


def _seccomp_memfd() -> int:
    fd = os.memfd_create("seccomp")
    os.write(fd, network_filter())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _attend(
    process: subprocess.Popen[bytes], record_read: int, info_read: int, limits: Limits, started: float
) -> Finished:
    """Read both pipes until the process ends or a limit is reached, then make sure nothing is left."""
    output, records = bytearray(), bytearray()
    output_total = 0
    timed_out = overflowed = False
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
                if left <= 0 or overflowed:
                    timed_out = not overflowed
                    break
                for key, _ in selector.select(left):
                    data = os.read(key.fd, _CHUNK)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fd == record_read:
                        records += data
                        overflowed = len(records) > limits.record_bytes
                    else:
                        output_total += len(data)
                        output += data
                        del output[: -limits.output_bytes]
            if not timed_out and not overflowed:
                timed_out = not _ended(process, started + limits.wall_s - time.monotonic())
    finally:
        seconds = time.monotonic() - started
        _kill(process, info_read)
        stdout.close()
    return Finished(_returncode(process), timed_out, seconds, bytes(output), output_total, records, overflowed)


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

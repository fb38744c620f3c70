"""Inside the sandbox: try to get out of it, and say on the record pipe what went through.

Executed by `selftest` as a program of its own, with any Python that runs the appliance and without
the rest of it in view. Each probe returns an empty text when it was refused, else what it managed
to do. What is refused here is refused now, on this kernel; it is no proof against other attacks.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

_CLONE_NEWUSER = 0x10000000
_FAMILIES = {"AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17, "AF_ALG": 38, "AF_VSOCK": 40}
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_HOST_FILES = ("/etc/shadow", "/etc/passwd", "/root/.bashrc", "/var/log", "/run", "/sys/kernel")
_NOT_WRITABLE = ("/", "/usr", "/usr/lib", "/dev", "/proc", "/bin")
_SYSCTLS = ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger")
_MOST_FORKS = 2_000


def filter_(_: Mapping[str, Any]) -> str:
    """Open a socket that leaves the machine: the system call filter alone must refuse it."""
    for name, number in _FAMILIES.items():
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
            try:
                socket.socket(number, kind).close()
            except OSError as err:
                if err.errno != errno.EPERM:
                    return f"a socket of {name} was not refused by the filter: {err.strerror}"
            else:
                return f"a socket of {name} was opened"
    return ""


def namespace(request: Mapping[str, Any]) -> str:
    """Reach a listener of the host by an address that only a network namespace keeps apart."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect("\0" + request["listener"])
        except OSError:
            pass
        else:
            return "a socket of the host was reached"
    lines = Path("/proc/net/dev").read_text("utf-8").splitlines()[2:]
    devices = {line.partition(":")[0].strip() for line in lines}
    return "" if devices <= {"lo"} else f"network devices in sight: {', '.join(sorted(devices))}"


def own_namespaces(request: Mapping[str, Any]) -> str:
    """Compare every namespace with the host's."""
    own = {kind: str(Path("/proc/self/ns", kind).readlink()) for kind in _NAMESPACES}
    shared = [kind for kind in _NAMESPACES if own[kind] == request["namespaces"].get(kind)]
    return f"shared with the host: {', '.join(shared)}" if shared else ""


def nested_namespaces(_: Mapping[str, Any]) -> str:
    """Make a user namespace, the first step of most escapes through the kernel."""
    libc = ctypes.CDLL(None, use_errno=True)
    return "a user namespace was made" if _in_child(lambda: libc.unshare(_CLONE_NEWUSER) == 0) else ""


def nobody(request: Mapping[str, Any]) -> str:
    """Be somebody: root, a member of groups, or the bearer of capabilities."""
    (Path(request["own"]) / "mine").write_text("", "utf-8")
    ids = {*os.getresuid(), *os.getresgid(), *os.getgroups()}
    if ids != {request["uid"]}:
        return f"ids inside are {sorted(ids)}"
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    status = dict(line.split(":\t") for line in lines if ":\t" in line)
    held = [name for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(status[name], 16)]
    if held or status["NoNewPrivs"] != "1":
        return f"capabilities {held}, NoNewPrivs {status['NoNewPrivs']}"
    return ""


def host_files(request: Mapping[str, Any]) -> str:
    """Read files of the host, and what only the appliance's own user may read."""
    private = [f"{request['template']}/private.py"] if request["is_root"] else []
    return next((f"{path} was read" for path in (request["secret"], *private, *_HOST_FILES) if _can_read(path)), "")


def writes(request: Mapping[str, Any]) -> str:
    """Change the environment under test, the system's directories, and the kernel's settings."""
    target = f"{request['template']}/module.py"
    attempts: list[tuple[str, Callable[[], object]]] = [
        ("written", lambda: os.close(os.open(target, os.O_WRONLY))),
        ("removed", lambda: Path(target).unlink()),
        ("given other rights", lambda: Path(target).chmod(0o777)),
        ("moved", lambda: Path(target).rename(target + "2")),
        ("linked", lambda: os.link(target, "/work/link")),
        ("given another time", lambda: os.utime(target, (0, 0))),
    ]
    for what, attempt in attempts:
        if _succeeds(attempt):
            return f"a file of the environment was {what}"
    for directory in (request["template"], *_NOT_WRITABLE):
        if _succeeds(Path(directory, "planted").mkdir):
            return f"{directory} was written to"
    for path in _SYSCTLS:
        if _succeeds(partial(os.open, path, os.O_WRONLY)):
            return f"{path} was opened for writing"
    return ""


def descriptors(request: Mapping[str, Any]) -> str:
    """Find an open file of the appliance."""
    known = {0, 1, 2, request["record"]}
    with os.scandir("/proc/self/fd") as entries:
        found = {int(entry.name): str(Path(entry.path).readlink()) for entry in entries}
    extra = {fd: path for fd, path in found.items() if fd not in known and not path.endswith("/fd")}
    return f"open descriptors: {extra}" if extra else ""


def disk(request: Mapping[str, Any]) -> str:
    """Write more than the scratch directory may hold."""
    written = 0
    with contextlib.suppress(OSError), Path("/work/fill").open("wb", buffering=0) as stream:
        while written <= request["scratch_bytes"]:
            written += stream.write(bytes(1 << 16))
    with contextlib.suppress(OSError):
        Path("/work/fill").unlink()
    return f"{written} bytes were written" if written > request["scratch_bytes"] else ""


def processes(request: Mapping[str, Any]) -> str:
    """Start more processes than the run may have."""
    children: list[int] = []
    try:
        for _ in range(min(2 * request["processes"], _MOST_FORKS)):
            pid = os.fork()
            if pid == 0:
                signal.pause()
                os._exit(0)
            children.append(pid)
    except OSError:
        pass
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return f"{len(children)} processes were started" if len(children) > request["processes"] else ""


def survivor(request: Mapping[str, Any]) -> str:
    """Leave a process behind that holds every pipe; whether it lives on is for the host to see."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.set_inheritable(request["record"], True)  # noqa: FBT003 - positional only
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.execv("/usr/bin/sleep", [request["marker"], "300"])  # noqa: S606 - there is no shell to want here
        os._exit(0)
    os.wait()
    return ""


PROBES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "user": nobody,
    "network, by filter": filter_,
    "network, by namespace": namespace,
    "namespaces": own_namespaces,
    "nested namespaces": nested_namespaces,
    "host files": host_files,
    "writes": writes,
    "descriptors": descriptors,
    "disk": disk,
    "number of processes": processes,
    "survivors": survivor,
}


def _in_child(attempt: Callable[[], bool]) -> bool:
    """Return what `attempt` says in a child, so that what it changes about its process is gone with it."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if attempt() else 1)
    return os.waitpid(pid, 0)[1] == 0


def _can_read(path: str) -> bool:
    place = Path(path)
    return _succeeds(lambda: list(place.iterdir()) if place.is_dir() else place.read_bytes())


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def main() -> None:
    """Run every probe and write one JSON object: name to what went through."""
    request = json.loads(sys.argv[1])
    request["record"] = int(os.environ["HARNESS_RECORD_FD"])
    found = {}
    for name, probe in PROBES.items():
        try:
            found[name] = probe(request)
        except Exception as err:  # noqa: BLE001 - a probe that breaks has not been refused
            found[name] = f"the probe ended with {type(err).__name__}: {err}"
    os.write(request["record"], json.dumps(found).encode())


if __name__ == "__main__":
    main()

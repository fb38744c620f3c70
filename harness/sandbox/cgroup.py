"""Control groups: memory and processes of a whole run, where this machine lets us have them.

rlimits hold per process; only a control group bounds a tree of processes together with the pages of
its in-memory file systems. Version 2 with the memory and pids controllers is used where our own
group, or one above it, lets us make groups; else version 1, where both hierarchies do. Where neither
is to be had, runs go on without, and `appliance doctor` says so.

A group is held by a lock on its directory, which dies with the process that made it; groups that
nobody holds are emptied and removed by the next process that looks. Not protected against: another
process of root's that moves processes out of their group.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from harness.sandbox.limits import Limits

_PREFIX = "untrusted-"
_CONTROLLERS = ("memory", "pids")
_OWN_PROCESSES = 16
"""What bubblewrap itself may need on top of the processes of the run."""
_EMPTY_WAIT_S = 5.0
_MAX_ANCESTORS = 4
_numbers = itertools.count()


@dataclass(frozen=True)
class Hierarchies:
    """Where groups are made."""

    version: int
    """2, 1, or 0 for nowhere."""
    parents: tuple[Path, ...] = ()
    """One directory for version 2; for version 1 one of memory and one of pids."""

    def __str__(self) -> str:
        if not self.version:
            return "none that this user may use"
        return f"version {self.version} below {' and '.join(map(str, self.parents))}"


@dataclass(frozen=True)
class Mounted:
    """One mounted hierarchy, as seen from our own group."""

    version: int
    controllers: frozenset[str]
    """For version 1; version 2 says it in files."""
    mount: PurePosixPath
    own: PurePosixPath


@dataclass(frozen=True)
class Group:
    """The groups of one run."""

    version: int
    directories: tuple[Path, ...]

    @property
    def join(self) -> list[str]:
        """The files that a process writes itself into."""
        return [str(directory / "cgroup.procs") for directory in self.directories]

    def out_of_memory(self) -> bool:
        """Return whether the kernel has ended something in the group for lack of memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"  # noqa: PLR2004
        return killed_for_memory((self.directories[0] / name).read_text())


def killed_for_memory(text: str) -> bool:
    """Return whether memory.events (version 2) or memory.oom_control (version 1) counts a kill."""
    counts = dict(line.split()[:2] for line in text.splitlines() if len(line.split()) >= 2)  # noqa: PLR2004
    return int(counts.get("oom_kill", "0")) > 0


@contextmanager
def run_group(limits: Limits) -> Iterator[Group | None]:
    """Make the groups of a run, and remove them with whatever is left in them; None where there are none."""
    places = hierarchies()
    if not places.version:
        yield None
        return
    name = f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
    held: list[tuple[Path, int]] = []
    try:
        for parent in places.parents:
            held.append(_make(parent, name))  # noqa: PERF401 - what is made is held, whatever fails next
        group = Group(places.version, tuple(directory for directory, _ in held))
        for file, value in _settings(group, limits):
            file.write_text(str(value))
        yield group
    finally:
        for directory, fd in held:
            _remove(directory)
            os.close(fd)


def _settings(group: Group, limits: Limits) -> list[tuple[Path, int]]:
    memory, pids = group.directories[0], group.directories[-1]
    processes = (pids / "pids.max", limits.processes + _OWN_PROCESSES)
    if group.version == 2:  # noqa: PLR2004
        wanted = [(memory / "memory.max", limits.memory_bytes), (memory / "memory.oom.group", 1)]
        optional = [(memory / "memory.swap.max", 0)]
    else:
        wanted = [(memory / "memory.limit_in_bytes", limits.memory_bytes)]
        optional = [(memory / "memory.memsw.limit_in_bytes", limits.memory_bytes)]
    return [*wanted, *[setting for setting in optional if setting[0].exists()], processes]


@cache
def hierarchies() -> Hierarchies:
    """Return where groups can be made, proved by making one and joining it; sweeps what dead processes left."""
    try:
        mounts = mounted(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    except OSError:
        return Hierarchies(0)
    for places in candidates(mounts):
        if _is_usable(places):
            for parent in places.parents:
                _sweep(parent)
            return places
    return Hierarchies(0)


def mounted(mountinfo: str, own_groups: str) -> list[Mounted]:
    """Return the mounted hierarchies that our own group can be seen in."""
    own: dict[str, str] = {}
    for line in own_groups.splitlines():
        _, names, path = line.split(":", 2)
        own |= dict.fromkeys(names.split(","), path)
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        root, mount = before.split()[3:5]
        kind, _, options = after.split(" ")[:3]
        controllers = frozenset(options.split(",")) & frozenset(own) if kind == "cgroup" else frozenset({""})
        group = own.get(min(controllers, default="-"))
        if kind not in {"cgroup", "cgroup2"} or group is None:
            continue
        with contextlib.suppress(ValueError):
            inside = PurePosixPath(group).relative_to(root)
            found.append(
                Mounted(2 if kind == "cgroup2" else 1, controllers, PurePosixPath(mount), PurePosixPath(mount) / inside)
            )
    return found


def candidates(mounts: Sequence[Mounted]) -> Iterator[Hierarchies]:
    """Return where groups could be made, the best first: version 2 from our own group upwards, then version 1."""
    for hierarchy in mounts:
        if hierarchy.version == 2:  # noqa: PLR2004
            upwards = [hierarchy.own, *hierarchy.own.parents]
            inside = [path for path in upwards if path.is_relative_to(hierarchy.mount)]
            for path in inside[: _MAX_ANCESTORS + 1]:
                yield Hierarchies(2, (Path(path),))
    by_name = {name: h for h in mounts if h.version == 1 for name in h.controllers}
    if all(name in by_name for name in _CONTROLLERS):
        yield Hierarchies(1, tuple(Path(by_name[name].own) for name in _CONTROLLERS))


def _is_usable(places: Hierarchies) -> bool:
    """Return whether a group can be made, limited and joined there."""
    held: list[tuple[Path, int]] = []
    try:
        if places.version == 2:  # noqa: PLR2004
            _enable(places.parents[0])
        for parent in places.parents:
            held.append(_make(parent, f"{_PREFIX}{os.getpid()}-trial"))  # noqa: PERF401 - as in run_group
        group = Group(places.version, tuple(directory for directory, _ in held))
        for file, value in _settings(group, Limits()):
            if not file.exists():
                return False
            file.write_text(str(value))
        group.out_of_memory()
        joins = "".join('echo 0 >"$1" || exit 1; shift; ' for _ in group.join)
        joined = subprocess.run(["/bin/sh", "-c", joins, "sh", *group.join], check=False, capture_output=True)
        return joined.returncode == 0  # noqa: TRY300 - reads better here than in an else
    except OSError:
        return False
    finally:
        for directory, fd in held:
            _remove(directory)
            os.close(fd)


def _enable(parent: Path) -> None:
    """Let groups below `parent` have both controllers, where that is not so already; OSError when it may not."""
    control = parent / "cgroup.subtree_control"
    missing = set(_CONTROLLERS) - set(control.read_text().split())
    if missing <= set((parent / "cgroup.controllers").read_text().split()):
        if missing:
            control.write_text(" ".join(f"+{name}" for name in sorted(missing)))
        return
    raise OSError(errno.ENOTSUP, "no such controllers", str(parent))


def _make(parent: Path, name: str) -> tuple[Path, int]:
    """Make a group and hold it; the lock on the parent keeps a sweeper from seeing it unheld."""
    with _locked(parent, fcntl.LOCK_SH):
        directory = parent / name
        directory.mkdir()
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(fd, fcntl.LOCK_EX)
        return directory, fd


def _sweep(parent: Path) -> None:
    """Remove the groups that no living process holds, with what runs in them."""
    with contextlib.suppress(OSError), _locked(parent, fcntl.LOCK_EX | fcntl.LOCK_NB):
        for directory in parent.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(directory)
                finally:
                    os.close(fd)


def _remove(directory: Path) -> None:
    """End what is left in a group and remove it; what cannot be removed now is swept later."""
    deadline, pause_s = time.monotonic() + _EMPTY_WAIT_S, 0.0002
    while True:
        try:
            directory.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                return
            _kill_all(directory)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.05)
        else:
            return


def _kill_all(directory: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in (directory / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                if int(pid) > 0:  # 0 is a process that cannot be seen from here, and would be us
                    os.kill(int(pid), signal.SIGKILL)


@contextmanager
def _locked(directory: Path, how: int) -> Iterator[None]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, how)
        yield
    finally:
        os.close(fd)

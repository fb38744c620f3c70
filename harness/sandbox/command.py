"""The command line that isolates a command: a function from what is to be run to an argv list.

From the outside in: a shell that joins the control groups; as root, a first bubblewrap in which
nothing of the host exists but /usr, /dev, /proc and what the run mounts, and where root gives itself
up for the uid of the run; prlimit; bubblewrap with every namespace unshared; the command. Root and
ordinary users thus go through the very same inner line, as nobody special.

The limits are set outside, so that they hold for the first process of the pid namespace, too, whose
memory untrusted code may write. Only the number of processes is set inside for an ordinary user: in
its user namespace the kernel (since 5.14) counts a run by itself, outside all that the user runs.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePosixPath

from harness.errors import SandboxUnavailable
from harness.sandbox.limits import Limits

WORK = "/work"
MARK = ("--hostname", "sandboxed-tests")
"""Tells our sandboxes from other users of bubblewrap on the machine."""
RECORD_FD_VARIABLE = "HARNESS_RECORD_FD"
SYSTEM_PATH = "/usr/bin:/bin"
INSIDE_UID = 65_534
_SHM_BYTES = 64 << 20
_HOME = f"{WORK}/home"
_SCRATCH = f"{WORK}/tmp"  # noqa: S108 - inside the sandbox, like the next two
_TMP = "/tmp"  # noqa: S108
_SHM = "/dev/shm"  # noqa: S108
_NOT_JOINED = 125
_PRLIMIT = "/usr/bin/prlimit"
"""By its full path: the PATH inside belongs to the environment under test."""
_PRESENT = ("/usr", "/dev", "/proc")
_CAPABILITIES = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
"""What root needs to give itself up."""


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

    @property
    def sources(self) -> list[str]:
        """The paths on the host that are mounted."""
        return [*self.read_only.values(), *self.writable.values()]


@dataclass(frozen=True)
class Channels:
    """Descriptors that bubblewrap inherits."""

    record: int
    info: int
    seccomp: int


def bwrap_path() -> str:
    """Return the path of bubblewrap; SandboxUnavailable when this machine has none."""
    found = _find("bwrap", os.environ.get("PATH", SYSTEM_PATH) + ":" + SYSTEM_PATH)
    if not found:
        raise SandboxUnavailable("bubblewrap (the command bwrap) is not installed")
    return found


@cache
def _find(name: str, path: str) -> str | None:
    found = shutil.which(name, path=path)
    return found and os.path.abspath(found)  # noqa: PTH100 - links stay what they are


def isolated(sandbox: Sandbox, channels: Channels, *, uid: int | None, groups: Sequence[str]) -> list[str]:
    """Return the whole command line; `groups` are the cgroup.procs files to join first."""
    bwrap = bwrap_path()
    processes = f"--nproc={sandbox.limits.processes}"
    limited = _limited(sandbox.limits)
    inner = _inner(bwrap, sandbox, channels)
    info = ["--info-fd", str(channels.info)]
    if uid is None:
        line = [*limited, "--", *inner, *info, "--", _PRLIMIT, processes, "--"]
    else:
        world = _small_world(bwrap, sandbox.sources, sandbox.writable.values())
        line = [*world, *info, "--", *_become(uid), *limited, processes, "--", *inner, "--"]
    return [*_joined(groups), *line, *sandbox.command]


def given_up(sources: Sequence[str], uid: int | None) -> list[str]:
    """Return what to put before a command that reads these paths, so that it is not run as root."""
    return [] if uid is None else [*_small_world(bwrap_path(), sources, ()), "--", *_become(uid)]


def _joined(groups: Sequence[str]) -> list[str]:
    if not groups:
        return []
    joins = [f"echo 0 >{shlex.quote(path)} || exit {_NOT_JOINED}" for path in groups]
    return ["/bin/sh", "-c", "\n".join([*joins, 'exec "$@"']), "sh"]


def _small_world(bwrap: str, mounted: Sequence[str], writable: Collection[str]) -> list[str]:
    """Return the first bubblewrap, run by root: mounts lie at their own paths, below directories all may pass.

    Its pid namespace ties the run to us: only its first process, root like its parent, gets the signal
    by which --die-with-parent works; with that process everything in it ends.
    """
    sources = sorted(dict.fromkeys([bwrap, *mounted]))  # a directory comes before what lies in it
    above = {str(parent) for source in sources for parent in PurePosixPath(source).parents}
    command = [
        bwrap, "--unshare-pid", "--die-with-parent", "--cap-drop", "ALL", *_needed(_CAPABILITIES), *_system(),
        "--dev-bind", "/dev", "/dev", "--dev-bind", "/proc", "/proc",
    ]  # fmt: skip
    for directory in sorted({_TMP, *above} - {"/"}):
        if not _is_below(directory, _PRESENT):
            command += ["--dir", directory]
    for source in sources:
        if not _is_below(source, ("/usr",)):
            command += ["--bind" if source in writable else "--ro-bind", source, source]
    return [*command, "--chdir", "/"]


def _needed(capabilities: Sequence[str]) -> list[str]:
    return [word for name in capabilities for word in ("--cap-add", name)]


def _is_below(path: str, directories: Sequence[str]) -> bool:
    return any(path == directory or path.startswith(f"{directory}/") for directory in directories)


def _become(uid: int) -> list[str]:
    return [
        "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
        "--no-new-privs", "--pdeathsig=KILL", "--",
    ]  # fmt: skip


def _inner(bwrap: str, sandbox: Sandbox, channels: Channels) -> list[str]:
    command = [
        bwrap, "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session",
        "--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID), "--cap-drop", "ALL", *MARK, "--clearenv",
        *_system(), "--symlink", "usr/sbin", "/sbin", "--proc", "/proc", "--dev", "/dev",
        "--size", str(_SHM_BYTES), "--tmpfs", _SHM,
        "--size", str(sandbox.limits.scratch_bytes), "--tmpfs", WORK,
        "--dir", _HOME, "--dir", _SCRATCH, "--symlink", _SCRATCH[1:], _TMP,
    ]  # fmt: skip
    for inside, host in sandbox.read_only.items():
        command += ["--ro-bind", host, inside]
    for inside, host in sandbox.writable.items():
        command += ["--bind", host, inside]
    env = {
        "PATH": SYSTEM_PATH, "HOME": _HOME, "TMPDIR": _SCRATCH, "USER": "nobody", "LOGNAME": "nobody",
        "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC", **sandbox.env, RECORD_FD_VARIABLE: str(channels.record),
    }  # fmt: skip
    for name, value in env.items():
        command += ["--setenv", name, value]
    # The root and /dev are memory, too, and not bounded: nothing may be written there.
    command += ["--remount-ro", "/dev", "--remount-ro", "/"]
    return [*command, "--seccomp", str(channels.seccomp), "--chdir", WORK]


def _system() -> list[str]:
    """Return the mounts of the system's programs and libraries."""
    mounts = ["--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/bin", "/bin"]
    for lib in ("lib64", "lib32"):
        if os.path.islink(f"/{lib}"):  # noqa: PTH114 - one stat, no object
            mounts += ["--symlink", f"usr/{lib}", f"/{lib}"]
    return mounts


def _limited(limits: Limits) -> list[str]:
    """Return prlimit; a core limit of 1 keeps the host's core_pattern program out as well, 0 would start it."""
    return [
        _PRLIMIT, f"--cpu={limits.cpu_s}", f"--as={limits.address_space_bytes}", f"--fsize={limits.file_bytes}",
        f"--nofile={limits.open_files}", "--core=1",
    ]  # fmt: skip

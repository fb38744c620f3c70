"""Prove on this machine, before anything untrusted runs, that the sandbox holds.

A sandbox can be there and not isolate: a kernel without a namespace, a wrapper in front of bwrap, a
filter that was not loaded. So the first run of a process, and `appliance doctor`, try real escapes
(`probes`) in a sandbox that is made like every other, and look from the host at what came of them.
Where one goes through, SandboxUnavailable names it with the remedy, and nothing untrusted is
executed. Nothing is remembered on disk: a proof is as old as its process, so a kernel update or
another bwrap is met by a new one. It costs two sandbox starts.

It tells what these probes met, not that no other way out exists, and trusts the Python that runs
the appliance.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.errors import SandboxUnavailable
from harness.sandbox.cgroup import hierarchies
from harness.sandbox.command import INSIDE_UID, Sandbox
from harness.sandbox.identity import is_root
from harness.sandbox.limits import Limits
from harness.sandbox.probes import PROBES
from harness.sandbox.process import Finished, execute, own_uid_map

_INSIDE = "/probe"
_OWN = "/own"
_LIMITS = Limits(wall_s=30.0, cpu_s=30, processes=24, scratch_bytes=1 << 20, memory_bytes=256 << 20)
_HOG_LIMITS = Limits(wall_s=30.0, cpu_s=30, scratch_bytes=256 << 20, memory_bytes=24 << 20)
_HOG = ["/usr/bin/dd", "if=/dev/zero", "of=/work/hog", "bs=1M", "count=200"]
_SYSCTLS = {
    "/proc/sys/kernel/unprivileged_userns_clone": ("0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
        "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (or give bwrap an AppArmor profile: `userns,`)",
    ),
    "/proc/sys/user/max_user_namespaces": ("0", "sysctl -w user.max_user_namespaces=10000"),
}  # fmt: skip
"""Settings that forbid user namespaces: the value that does, and how to allow them."""
_OTHERWISE = (
    "Put the distribution's own bubblewrap first on PATH (apt-get install --reinstall bubblewrap), and let the "
    "appliance's user make user namespaces (in a container: as the outer system allows)."
)


class State(StrEnum):
    """What became of a probe."""

    PASSED = "passed"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class Check:
    """One thing that was tried."""

    name: str
    state: State
    detail: str
    """What went through, or what the missing limit means."""


def require_isolation() -> None:
    """Raise SandboxUnavailable unless the sandbox holds; proved once per process."""
    with _proof.lock:
        if not _proof.given:
            require(prove())
            _proof.given = True


def accept_proof() -> None:
    """Take the word of the process that started this one, which has just proved it."""
    _proof.given = True


def require(checks: Sequence[Check]) -> None:
    """Raise SandboxUnavailable with the probes that went through, if any did."""
    failed = [check for check in checks if check.state is State.FAILED]
    if failed:
        words = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        raise SandboxUnavailable(
            f"the self-test of the sandbox failed, nothing untrusted is run: {words}",
            hint=remedy({path: _read(path) for path in _SYSCTLS}),
        )


def remedy(sysctls: Mapping[str, str]) -> str:
    """Return the next step for a sandbox that does not hold, from the kernel's settings."""
    steps = [how for path, (value, how) in _SYSCTLS.items() if sysctls.get(path) == value]
    said = [f"Run as root: {how}." for how in steps] or [_OTHERWISE]
    return " ".join([*said, "Then `appliance doctor` says whether it holds."])


def prove() -> list[Check]:
    """Try the escapes and return what became of each."""
    with tempfile.TemporaryDirectory(prefix="selftest-") as scratch:
        return [*_escapes(Path(scratch)), _memory()]


def _escapes(scratch: Path) -> list[Check]:
    marker = f"survivor-{secrets.token_hex(8)}"
    scratch.chmod(0o755)
    for name in ("template", "own"):
        (scratch / name).mkdir()
        (scratch / name).chmod(0o777)  # the mount alone has to keep it as it is
    for name, mode in {"secret": 0o644, "template/module.py": 0o666, "template/private.py": 0o600}.items():
        (scratch / name).write_text(marker)
        (scratch / name).chmod(mode)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{marker}")
        listener.listen()
        request = {
            "secret": str(scratch / "secret"), "template": "/template", "own": _OWN, "listener": marker,
            "marker": marker, "uid": INSIDE_UID, "is_root": is_root(os.geteuid(), own_uid_map()),
            "processes": _LIMITS.processes,
            "scratch_bytes": _LIMITS.scratch_bytes,
            "namespaces": {path.name: str(path.readlink()) for path in Path("/proc/self/ns").iterdir()},
        }  # fmt: skip
        done = execute(_probing(scratch, json.dumps(request)))
    return judge(done, host_problems(scratch, marker))


def _probing(scratch: Path, request: str) -> Sandbox:
    prefix = sys.base_prefix
    python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    mounts = {} if prefix == "/usr" else {prefix: prefix}
    mounts |= {_INSIDE: str(Path(__file__).parent / "probes.py"), "/template": str(scratch / "template")}
    return Sandbox(
        [str(python), "-I", "-S", "-B", _INSIDE, request], mounts, {_OWN: str(scratch / "own")}, limits=_LIMITS
    )


def host_problems(scratch: Path, marker: str) -> dict[str, str]:
    """Return what the escapes left on the host, by the name of the probe."""
    problems = {}
    if is_running(marker):
        problems["survivors"] = "a process outlived its run"
    found = {path.name: path.read_text() for path in (scratch / "template").iterdir() if path.is_file()}
    if found != {"module.py": marker, "private.py": marker}:
        problems["writes"] = "the environment was changed"
    return problems


def is_running(marker: str) -> bool:
    """Return whether a process on this machine has the marker in its command line."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if marker.encode() in (process / "cmdline").read_bytes():
                return True
    return False


def judge(done: Finished, on_host: Mapping[str, str]) -> list[Check]:
    """Return the checks from what the probes reported and what the host saw; silence is a failure."""
    try:
        reported = dict(json.loads(bytes(done.records)))
    except ValueError:
        words = done.output.decode(errors="replace").strip() or f"status {done.returncode}"
        return [Check("start", State.FAILED, f"no sandbox could be started: {words[-400:]}")]
    checks = [Check("start", State.PASSED, f"{done.seconds * 1000:.0f} ms with all probes")]
    for name in PROBES:
        problem = str(reported.get(name, "the probe said nothing")) or on_host.get(name, "")
        checks.append(Check(name, State.FAILED if problem else State.PASSED, problem))
    return checks


def _memory() -> Check:
    """Fill more memory than a run may have, where control groups can bound it."""
    name, places = "memory of the whole run", hierarchies()
    if not places.version:
        words = "no control groups: memory is bounded for each process, not for all of a run"
        return Check(name, State.UNAVAILABLE, words)
    done = execute(Sandbox(_HOG, limits=_HOG_LIMITS))
    if done.out_of_memory:
        return Check(name, State.PASSED, f"control groups {places}")
    return Check(name, State.UNAVAILABLE, f"control groups {places} did not stop a run at its limit")


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


@dataclass
class _Proof:
    """What this process knows."""

    given: bool
    lock: threading.Lock


_proof = _Proof(given=False, lock=threading.Lock())

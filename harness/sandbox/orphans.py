"""End sandboxes whose starter was killed while bubblewrap was still setting up.

bubblewrap ties its processes to their parent (`--die-with-parent`), but a SIGKILL in the few
milliseconds before that takes effect leaves its inner process waiting for ever. No untrusted code
runs in it yet; it is only litter, and it is recognised by our own arguments and by having lost its
parent.

Where the appliance is itself the first process, as the command of a container, every sandbox of a
worker that was started by it looks the same as an orphan, so nothing is ended there: what is left
over goes with the container. Not found: orphans that a sub-reaper (a systemd user session) adopted.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from harness.sandbox.command import MARK

_INIT = 1
_PROGRAM = b"appliance"


def reap_orphans() -> int:
    """Kill the sandboxes of this user that have lost their parent; return how many there were."""
    if _is_init_ours():
        return 0
    reaped = 0
    for pid in _orphans():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
            reaped += 1
    return reaped


def _is_init_ours() -> bool:
    """Return whether process 1 is this program, or was given it to run: then its children are no orphans."""
    if os.getpid() == _INIT:
        return True
    try:
        return _PROGRAM in Path(f"/proc/{_INIT}/cmdline").read_bytes()
    except OSError:
        return False


def _orphans() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
                if _is_ours(arguments) and _parent(entry) == _INIT:
                    yield int(entry.name)


def _is_ours(arguments: list[bytes]) -> bool:
    mark = [word.encode() for word in MARK]
    return arguments[0].endswith(b"bwrap") and any(
        arguments[at : at + len(mark)] == mark for at in range(len(arguments))
    )


def _parent(entry: Path) -> int:
    """Return the parent's pid from /proc/PID/stat, whose second field may hold anything in parentheses."""
    return int((entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1])

"""Tests of ending sandboxes that lost their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.sandbox.bwrap import MARK, bwrap_path
from harness.sandbox.orphans import reap_orphans

ROOT = Path(__file__).parent.parent.parent
_START_AND_DIE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(process.pid, flush=True)
os._exit(0)
"""


_IN_CONTAINER = """
import os, subprocess, sys, time
from harness.sandbox.bwrap import MARK
from harness.sandbox.orphans import reap_orphans
start = "import subprocess, sys; subprocess.Popen(['bwrap', '-c', 'sleep 60; :', *sys.argv[1:]], executable='/bin/sh')"
subprocess.run([sys.executable, "-c", start, *MARK], check=True)
time.sleep(0.2)  # a process that has only just called exec has no command line yet
print(reap_orphans())
"""


def _orphan(*arguments: str) -> int:
    """Start a bwrap without --die-with-parent below a process that dies at once; return its pid."""
    command = [bwrap_path(), "--ro-bind", "/", "/", *arguments, "--", "/usr/bin/sleep", "60"]
    done = subprocess.run([sys.executable, "-c", _START_AND_DIE, *command], capture_output=True, text=True, check=True)
    return int(done.stdout)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_sandbox_of_ours_without_a_parent_is_ended() -> None:
    """What a killed appliance left behind is gone after the next start."""
    pid = _orphan("--unshare-uts", *MARK)
    assert _is_alive(pid)
    assert reap_orphans() >= 1
    deadline = time.monotonic() + 5
    while _is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _is_alive(pid)


@pytest.mark.parametrize(
    ("name", "is_first", "reaped"), [("other", True, 0), ("appliance", False, 0), ("other", False, 1)],
    ids=["as process 1", "below process 1", "below another init"],
)  # fmt: skip
def test_in_a_container_that_runs_the_appliance_nothing_is_taken_for_an_orphan(
    name: str, is_first: bool, reaped: int
) -> None:
    """A sandbox whose parent is process 1 is alive and well when process 1 is the appliance itself."""
    script = (
        _IN_CONTAINER if is_first else "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[2]])"
    )
    command = [
        bwrap_path(), "--unshare-pid", "--as-pid-1", "--die-with-parent", "--bind", "/", "/", "--dev", "/dev",
        "--proc", "/proc", "--", sys.executable, "-c", script, name, _IN_CONTAINER,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=30)
    assert (done.stdout.split(), done.returncode) == ([str(reaped)], 0), done.stderr


def test_somebody_elses_bubblewrap_is_left_alone() -> None:
    """A bwrap without our mark is not ours to end."""
    pid = _orphan("--unshare-uts", "--hostname", "other")
    try:
        reap_orphans()
        assert _is_alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)

"""Control groups: where they are, that they bound a run, and that none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

import pytest

from harness.sandbox.bwrap import Sandbox, run
from harness.sandbox.cgroup import (
    Group,
    Hierarchies,
    candidates,
    hierarchies,
    killed_for_memory,
    mounted,
    run_group,
)
from harness.sandbox.limits import Limits

ROOT = Path(__file__).parent.parent.parent
needs_groups = pytest.mark.skipif(not hierarchies().version, reason="no control groups for this user")

UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
SERVICE = "0::/system.slice/appliance.service/main\n"
SPLIT = (
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n"
    "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
)
SPLIT_OWN = "9:name=systemd:/\n8:pids:/\n4:memory:/box/1\n2:cpu,cpuacct:/\n0::/\n"
CONTAINER = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


def test_version_two_is_looked_for_from_our_own_group_upwards() -> None:
    """A service's own group holds processes and can have no limited children; the one above it can."""
    found = [str(places.parents[0]) for places in candidates(mounted(UNIFIED, SERVICE))]
    assert found == [
        "/sys/fs/cgroup/system.slice/appliance.service/main", "/sys/fs/cgroup/system.slice/appliance.service",
        "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup",
    ]  # fmt: skip


def test_version_one_is_found_by_its_controllers() -> None:
    """Memory and pids lie in hierarchies of their own, each with a group of ours."""
    found = list(candidates(mounted(SPLIT, SPLIT_OWN)))
    assert found[-1] == Hierarchies(1, (Path("/sys/fs/cgroup/memory/box/1"), Path("/sys/fs/cgroup/pids")))
    assert [places.version for places in found] == [2, 1]


def test_in_a_container_a_group_is_seen_from_the_mount() -> None:
    """A mount that begins at our own group shows it as its root; a group out of sight is none."""
    [memory] = mounted(CONTAINER, "4:memory:/docker/abc/sub\n")
    assert memory.own == PurePosixPath("/sys/fs/cgroup/memory/sub")
    assert mounted(CONTAINER, "4:memory:/elsewhere\n") == []


@pytest.mark.parametrize("text", ["", UNIFIED.replace("cgroup2", "tmpfs"), CONTAINER])
def test_where_something_is_missing_there_is_no_version_one(text: str) -> None:
    """Without both controllers nothing is offered."""
    assert list(candidates(mounted(text, "4:memory:/docker/abc\n8:pids:/\n"))) == []


@pytest.mark.parametrize(
    ("text", "killed"),
    [
        ("low 0\nhigh 0\nmax 12\noom 1\noom_kill 0\n", False),
        ("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 1\n", True),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", True),
        ("oom_kill_disable 0\nunder_oom 1\n", False),
        ("", False),
    ],
)
def test_a_kill_for_memory_is_read_from_both_versions(text: str, killed: bool) -> None:
    """Reaching the limit is not yet a kill."""
    assert killed_for_memory(text) is killed


@needs_groups
def test_the_groups_of_a_run_bound_it_and_are_removed() -> None:
    """Inside the block they exist with their limits, afterwards they do not."""
    with run_group(Limits(memory_bytes=64 << 20, processes=10)) as group:
        assert group is not None
        memory = group.directories[0] / ("memory.max" if group.version == 2 else "memory.limit_in_bytes")
        assert int(memory.read_text()) == 64 << 20
        assert 10 < int((group.directories[-1] / "pids.max").read_text()) < 50
        assert all(Path(path).is_file() for path in group.join)
        assert not group.out_of_memory()
    assert not any(directory.exists() for directory in group.directories)


@needs_groups
def test_what_is_left_in_a_group_is_ended() -> None:
    """A process that is still in the group when the block ends is killed, so that the group can go."""
    with run_group(Limits()) as group:
        assert isinstance(group, Group)
        process = subprocess.Popen(["/bin/sleep", "60"])
        for path in group.join:
            Path(path).write_text(str(process.pid))
    assert process.wait(5) == -signal.SIGKILL
    assert not any(directory.exists() for directory in group.directories)


@needs_groups
def test_groups_of_the_dead_are_swept_and_those_of_the_living_left() -> None:
    """After kill -9 of a harness the next process ends what runs in its groups and removes them."""
    code = (
        "import subprocess, sys, time; from pathlib import Path\n"
        "from harness.sandbox.cgroup import *; from harness.sandbox.limits import Limits\n"
        "with run_group(Limits()) as group:\n"
        "    process = subprocess.Popen(['/bin/sleep', '60'], stdout=subprocess.DEVNULL)\n"
        "    for path in group.join: Path(path).write_text(str(process.pid))\n"
        "    print(process.pid, *group.directories, flush=True); time.sleep(60)\n"
    )
    dead = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert dead.stdout is not None
    pid, *directories = dead.stdout.readline().split()
    with run_group(Limits()) as living:
        assert living is not None
        dead.kill()
        dead.wait()
        dead.stdout.close()
        assert all(Path(directory).exists() for directory in directories)
        again = "from harness.sandbox.cgroup import hierarchies; print(hierarchies().version)"
        done = subprocess.run([sys.executable, "-c", again], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(hierarchies().version)
        assert not any(Path(directory).exists() for directory in directories)
        assert not _is_alive(int(pid))
        assert all(directory.exists() for directory in living.directories)


@needs_groups
def test_runs_leave_no_group_behind() -> None:
    """After runs that end by themselves, by the clock and for lack of memory there are as many groups as before."""
    before = _groups()
    hog = ["/usr/bin/dd", "if=/dev/zero", "of=/work/hog", "bs=1M", "count=100"]
    run(Sandbox(["/bin/true"]))
    run(Sandbox(["/bin/sleep", "60"], limits=Limits(wall_s=0.2)))
    assert run(Sandbox(hog, limits=Limits(wall_s=20, memory_bytes=24 << 20))).out_of_memory
    assert _groups() <= before


def test_without_groups_a_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user that may make no groups runs as ever; nothing claims to know about memory."""
    code = (
        "from harness.sandbox.cgroup import hierarchies; from harness.sandbox.bwrap import *\n"
        "done = run(Sandbox(['/bin/echo', 'ran'])); print(hierarchies().version, done.output, done.out_of_memory)"
    )
    become = ["setpriv", "--reuid=64000", "--regid=64000", "--clear-groups"] if os.geteuid() == 0 else []
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    python = "/usr/bin/python3" if become else sys.executable
    done = subprocess.run(
        [*become, python, "-B", "-c", code], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.split()[1:] == ["b'ran\\n'", "False"], done.stderr
    if become:
        assert done.stdout.split()[0] == "0"


def _groups() -> set[str]:
    mine = f"untrusted-{os.getpid()}-*"
    return {str(path) for parent in hierarchies().parents for path in parent.glob(mine)}


def _is_alive(pid: int) -> bool:
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except OSError:
            return False
        time.sleep(0.02)
    return True

"""The sandbox, attacked for real: every test runs a command in bubblewrap."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.envs.interpreters import find_interpreter
from harness.envs.template import interpreter_mount
from harness.sandbox.bwrap import Finished, Sandbox, bwrap_path, run
from harness.sandbox.limits import Limits


def shell(script: str, *, mounts: Mapping[str, str] | None = None, **limits: float) -> Finished:
    """Run a shell script in the sandbox."""
    bounds = Limits(**{"wall_s": 20.0, **limits})  # type: ignore[arg-type]
    return run(Sandbox(["/bin/bash", "-c", script], read_only=mounts or {}, limits=bounds))


def python(code: str, this_python: str, *, env: Mapping[str, str] | None = None, limits: Limits | None = None) -> str:
    """Run Python code in the sandbox and return what it prints."""
    interpreter = find_interpreter(this_python)
    done = run(
        Sandbox(
            [str(interpreter.executable), "-c", code], interpreter_mount(interpreter), env=env or {},
            limits=limits or Limits(wall_s=20.0),
        )
    )  # fmt: skip
    return done.output.decode().strip()


def words(done: Finished) -> str:
    """Return the output as text."""
    return done.output.decode(errors="replace").strip()


def processes(marker: str) -> list[str]:
    """Return the command lines on this machine that hold a marker."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if marker.encode() in line:
            found.append(line.decode(errors="replace"))
    return found


def test_the_network_is_refused_by_the_filter(this_python: str) -> None:
    """Sockets of the internet families fail with EPERM; AF_UNIX works."""
    code = (
        "import errno, socket\n"
        "for family in ('AF_INET', 'AF_INET6', 'AF_NETLINK', 'AF_UNIX'):\n"
        "    try: socket.socket(getattr(socket, family)); print(family, 'open')\n"
        "    except OSError as err: print(family, errno.errorcode[err.errno])"
    )
    assert python(code, this_python).split() == [
        "AF_INET", "EPERM", "AF_INET6", "EPERM", "AF_NETLINK", "EPERM", "AF_UNIX", "open",
    ]  # fmt: skip


def test_the_network_is_absent_by_namespace() -> None:
    """Behind the filter there is a network namespace of its own with nothing but loopback."""
    done = shell("readlink /proc/self/ns/net; grep -c : /proc/net/dev; grep -o '[a-z0-9]*:' /proc/net/dev; ls /sys")
    lines = words(done).splitlines()
    assert lines[0].startswith("net:")
    assert lines[0] != str(Path("/proc/self/ns/net").readlink())
    assert lines[1:3] == ["1", "lo:"]


def test_the_filter_holds_in_child_processes(this_python: str) -> None:
    """A program that is started anew is filtered, too."""
    code = (
        "import subprocess, sys\n"
        "child = [sys.executable, '-c', 'import socket; socket.socket()']\n"
        "print(subprocess.run(child, capture_output=True).returncode)"
    )
    assert python(code, this_python) == "1"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="system call numbers of x86_64")
def test_calls_that_escapes_start_from_fail(this_python: str) -> None:
    """New namespaces, mounts, tracing, keyrings, bpf and io_uring all fail."""
    code = (
        "import ctypes, os\n"
        "call = ctypes.CDLL(None, use_errno=True).syscall\n"
        "for name, args in {'unshare': (272, 0x10000000), 'mount': (165, 0, b'/work', b'tmpfs', 0, 0),\n"
        "                   'ptrace': (101, 16, 1, 0, 0), 'keyctl': (250, 0, -3, 1), 'bpf': (321, 0, 0, 0),\n"
        "                   'io_uring': (425, 8, 0), 'clone': (56, 0x10000011, 0, 0, 0, 0)}.items():\n"
        "    result = call(*args)\n"
        "    if name == 'clone' and result == 0: os._exit(0)\n"
        "    print(name, result)"
    )
    assert python(code, this_python).splitlines() == [
        f"{name} -1" for name in ("unshare", "mount", "ptrace", "keyctl", "bpf", "io_uring", "clone")
    ]


def test_the_command_is_nobody_without_capabilities() -> None:
    """Neither root nor able to become it."""
    done = shell("id -u; id -g; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'")
    assert words(done).splitlines() == [
        "65534", "65534", "CapEff:0000000000000000", "CapBnd:0000000000000000", "NoNewPrivs:1", "Seccomp:2",
    ]  # fmt: skip


def test_files_of_the_host_are_not_there(tmp_path: Path) -> None:
    """Home directories, /etc, /var, and a file beside the mounts cannot be read."""
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    done = shell(f"ls -A / | sort | tr '\\n' ' '; cat {secret} /etc/passwd /root/.bashrc; ls /var /home /root /sys")
    assert "the secret" not in words(done)
    first = words(done).splitlines()[0].split()
    assert {"bin", "dev", "lib", "proc", "sbin", "tmp", "usr", "work"} <= set(first)
    assert not {"etc", "home", "root", "var", "sys", "run", "mnt", "opt"} & set(first)


def test_environment_of_the_caller_does_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the variables that were given, and a few fixed ones, are set."""
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    done = run(Sandbox(["/usr/bin/env"], env={"GIVEN": "yes"}, limits=Limits(wall_s=20)))
    names = {line.partition("=")[0] for line in words(done).splitlines()}
    assert "GIVEN" in names
    assert "SECRET_TOKEN" not in names
    assert "HOME=/work/home" in words(done).splitlines()


def test_processes_of_the_host_are_not_visible() -> None:
    """The command sees its own pid namespace only."""
    done = shell("ls /proc | grep -c '^[0-9]'; kill -0 $PPID && echo parent; cat /proc/1/comm")
    assert int(words(done).splitlines()[0]) <= 6
    assert words(done).splitlines()[-1] == "bwrap"


def test_read_only_mounts_cannot_be_written(tmp_path: Path) -> None:
    """Writing, removing and changing the mode of mounted files fail, and the host is unchanged."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "f").write_text("original")
    (data / "f").chmod(0o666)
    data.chmod(0o777)
    done = shell(
        "cat /data/f; echo x > /data/f; rm -f /data/f; chmod 777 /data/f; touch /data/new",
        mounts={"/data": str(data)},
    )
    assert words(done).startswith("original")
    assert words(done).count("Read-only file system") == 4
    assert (data / "f").read_text() == "original"
    assert [path.name for path in data.iterdir()] == ["f"]


@pytest.mark.parametrize("place", ["/", "/usr", "/dev", "/proc", "/bin"])
def test_nothing_outside_the_work_directory_can_be_written(place: str) -> None:
    """The root, devices and system directories take no new files."""
    done = shell(f"echo x > {place}/planted || echo refused")
    assert words(done).splitlines()[-1] == "refused"


def test_scratch_space_is_bounded() -> None:
    """/work, HOME and TMPDIR share one bounded file system, and what was written is gone afterwards."""
    script = (
        "head -c 3000000 /dev/zero > /tmp/a; head -c 3000000 /dev/zero > $HOME/b; stat -c %s /work/tmp/a /work/home/b"
    )
    done = shell(script, scratch_bytes=4 << 20)
    sizes = [int(word) for word in words(done).split() if word.isdigit()]
    assert "No space left on device" in words(done)
    assert sum(sizes) <= 4 << 20
    assert "No such file" in words(shell("ls /work/tmp/a"))


def test_shared_memory_is_bounded_and_usable(this_python: str) -> None:
    """Locks of multiprocessing work; filling /dev/shm ends at its bound, not at the machine's memory."""
    assert python("import multiprocessing as m; l = m.Lock(); l.acquire(); print('locked')", this_python) == "locked"
    done = shell("head -c 200000000 /dev/zero > /dev/shm/a; stat -c %s /dev/shm/a")
    assert "No space left on device" in words(done)
    assert int(words(done).splitlines()[-1]) <= 64 << 20


def test_a_single_file_is_bounded() -> None:
    """A file over the limit ends its writer with a signal."""
    done = shell("head -c 5000000 /dev/zero > /work/a; echo status $?; stat -c %s /work/a", file_bytes=1 << 20)
    assert int(words(done).splitlines()[-1]) == 1 << 20
    assert "status 0" not in words(done)


def test_memory_is_bounded(this_python: str) -> None:
    """A process that asks for more than its address space gets MemoryError."""
    code = "try: bytearray(2 << 30); print('got it')\nexcept MemoryError: print('refused')"
    assert python(code, this_python, limits=Limits(wall_s=20, address_space_bytes=1 << 30)) == "refused"


def test_a_daemon_does_not_outlive_the_run() -> None:
    """A process in a session of its own, with all pipes closed, is dead when the run returns."""
    script = (
        "setsid bash -c 'exec -a daemon-marker-7731 sleep 300' >/dev/null 2>&1 </dev/null & sleep 0.2; echo started"
    )
    done = shell(script)
    assert words(done) == "started"
    assert not done.timed_out
    assert done.seconds < 10
    assert processes("daemon-marker-7731") == []


def test_a_daemon_that_keeps_the_pipes_does_not_delay_the_end() -> None:
    """The run ends with its command, whoever still holds stdout."""
    done = shell("setsid sleep 300 & exit 4", wall_s=15)
    assert (done.returncode, done.timed_out) == (4, False)
    assert done.seconds < 10


@pytest.mark.parametrize(
    "script",
    ["sleep 300", "trap '' TERM INT HUP; while :; do sleep 1; done", "exec >&- 2>&-; sleep 300", "while :; do :; done"],
    ids=["sleeps", "ignores signals", "closed its pipes", "spins"],
)
def test_a_command_over_its_limit_is_ended_in_time(script: str) -> None:
    """Whatever it does, it is gone within two seconds of its limit, and the result says so."""
    started = time.monotonic()
    done = shell(f": timeout-marker-4410; {script}", wall_s=1.0)
    assert done.timed_out
    assert 1.0 <= done.seconds <= time.monotonic() - started < 3.0
    assert processes("timeout-marker-4410") == []


def test_the_clock_runs_from_the_start_of_the_process() -> None:
    """The seconds cover the command, so a command that sleeps half a second takes at least that."""
    done = shell("sleep 0.5")
    assert 0.5 <= done.seconds < 3.0


def test_a_flood_of_output_is_counted_and_only_its_end_kept() -> None:
    """100 MB of output cost no memory and lose no time; the last words are there."""
    done = shell("head -c 100000000 /dev/zero | tr '\\0' x; echo; echo the end", output_bytes=1000)
    assert done.output_bytes == 100_000_000 + 1 + len("the end\n")
    assert len(done.output) == 1000
    assert done.output.endswith(b"x\nthe end\n")
    assert not done.timed_out


def test_records_come_back_apart_from_the_output() -> None:
    """What goes to the result pipe is not output, and the other way round."""
    done = shell("echo words; echo record >&$HARNESS_RECORD_FD; echo more >&2")
    assert done.records == b"record\n"
    assert done.output == b"words\nmore\n"


def test_too_many_records_stop_the_run() -> None:
    """A flood on the result pipe ends the run at its bound."""
    done = shell("while :; do head -c 65536 /dev/zero >&$HARNESS_RECORD_FD; done", record_bytes=1 << 20, wall_s=20.0)
    assert done.overflowed
    assert not done.timed_out
    assert 1 << 20 < len(done.records) <= (1 << 20) + (1 << 16)
    assert done.seconds < 10


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -KILL $$", -9),
        ("kill -SEGV $$", -11),
        ("kill -TERM $$", -15),
    ],
)
def test_exit_status_and_signals(script: str, code: int) -> None:
    """An exit status is positive, a signal negative."""
    done = shell(script)
    assert (done.returncode, done.timed_out) == (code, False)


def test_standard_input_is_what_was_given_and_otherwise_empty(tmp_path: Path) -> None:
    """The stream arrives whole; without one the command reads the end of file at once."""
    (tmp_path / "in").write_bytes(b"x" * 1_000_000)
    with (tmp_path / "in").open("rb") as stream:
        done = run(Sandbox(["/usr/bin/wc", "-c"], limits=Limits(wall_s=20)), stdin=stream)
    assert words(done) == "1000000"
    assert words(shell("wc -c")) == "0"


def test_no_descriptor_of_the_caller_is_inherited(tmp_path: Path, this_python: str) -> None:
    """Nothing is open but stdin, stdout, stderr and the result pipe: no file, info pipe, filter or socket of ours."""
    (tmp_path / "secret").write_text("the secret")
    code = (
        "import os\n"
        "record, opened = int(os.environ['HARNESS_RECORD_FD']), {}\n"
        "for fd in range(4096):\n"
        "    try: opened[fd] = os.readlink(f'/proc/self/fd/{fd}')\n"
        "    except OSError: pass\n"
        "print(sorted(set(opened) - {0, 1, 2, record}), opened[0], opened[1].split(':')[0], opened[record].split(':')[0])"
    )
    with (tmp_path / "secret").open() as stream:
        os.set_inheritable(stream.fileno(), True)
        assert python(code, this_python) == "[] /dev/null pipe pipe"


def test_a_failed_start_leaves_no_descriptor_open() -> None:
    """A command that does not exist is an exit status, and every pipe is closed again."""
    shell("exit 0")  # what a process opens once is open by now
    before = len(list(Path("/proc/self/fd").iterdir()))
    done = run(Sandbox(["/no/such/command"], limits=Limits(wall_s=20)))
    assert done.returncode in {1, 127}  # bubblewrap or prlimit says it, depending on who we are
    assert "No such file" in words(done)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_without_bubblewrap_nothing_is_run(tmp_path: Path, this_python: str) -> None:
    """A machine without bwrap (here: a sandbox that hides it) gets a failure with the next step, not a run."""
    (tmp_path / "bwrap").write_text("")
    interpreter = find_interpreter(this_python)
    code = (
        "from harness.errors import SandboxUnavailable\n"
        "from harness.sandbox.bwrap import *\n"
        "try: print(run(Sandbox(['/usr/bin/true'])))\n"
        "except SandboxUnavailable as err: print(err.code, err.exit_code, err.hint)"
    )
    hidden = {"/usr/bin/bwrap": str(tmp_path / "bwrap"), "/code": str(Path(__file__).parent.parent.parent)}
    done = run(
        Sandbox(
            [str(interpreter.executable), "-c", code], {**interpreter_mount(interpreter), **hidden},
            env={"PYTHONPATH": "/code"}, limits=Limits(wall_s=20),
        )
    )  # fmt: skip
    assert words(done).startswith("SANDBOX_UNAVAILABLE 14 Install bubblewrap")


def test_bubblewrap_is_found_on_a_path_without_system_directories(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The usual places are searched even when PATH does not name them."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Path(bwrap_path()).name == "bwrap"

"""Escapes from the sandbox, run in earnest: none gets out, none survives, the template stays as it was.

Each escape is a program that says `OUT:` with what it managed to do. It runs under a marker that every
process of it carries in its command line or its environment, by which the host looks for survivors.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.envs.template import Template
from harness.sandbox.bwrap import Finished, Sandbox, run
from harness.sandbox.cgroup import hierarchies
from harness.sandbox.limits import Limits

ROOT = Path(__file__).parent.parent.parent
GRACE_S = 2.0
PRELUDE = """
import ctypes, errno, os, signal, socket, stat, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def out(*words): print('OUT:', *words, flush=True)
def tries(what, attempt):
    try: result = attempt()
    except (OSError, MemoryError, RuntimeError, ValueError) as err: return err
    out(what, result)
"""

ESCAPES = {
    "sockets by system call": """
        for family in range(64):
            if family != socket.AF_UNIX:
                for kind in (1, 2, 3, 5):
                    if libc.syscall(41 if os.uname().machine == 'x86_64' else 198, family, kind, 0) >= 0: out('socket', family, kind)
        """,
    "io_uring": "if libc.syscall(425, 8, ctypes.create_string_buffer(256)) >= 0: out('a ring was set up')",
    "unshare": "for flag in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):\n"
    "    if libc.unshare(flag) == 0: out('unshare', hex(flag))",
    "clone into namespaces": """
        number = 56 if os.uname().machine == 'x86_64' else 220
        for flag in (0x10000000, 0x50000000, 0x10020000):
            pid = libc.syscall(number, flag | 17, 0, 0, 0, 0)
            if pid == 0: os._exit(0)
            if pid > 0: out('clone', hex(flag))
        args = (ctypes.c_uint64 * 8)(0x10000000, 0, 0, 0, 17)
        pid = libc.syscall(435, args, 64)
        if pid == 0: os._exit(0)
        if pid > 0: out('clone3')
        """,
    "a sandbox of its own": """
        for tool in (['bwrap', '--unshare-user', '--ro-bind', '/', '/', 'true'], ['unshare', '-Ur', 'true'], ['nsenter', '-t', '1', '-a', 'true']):
            if subprocess.run(tool, capture_output=True).returncode == 0: out(tool[0])
        """,
    "join namespaces": """
        for kind in ('net', 'mnt', 'user', 'pid'):
            for pid in ('self', '1'):
                tries('setns', lambda: libc.setns(os.open(f'/proc/{pid}/ns/{kind}', os.O_RDONLY), 0) == 0 or (_ for _ in ()).throw(OSError()))
        """,
    "mounts": """
        if libc.mount(b'tmpfs', b'/work', b'tmpfs', 0, 0) == 0: out('mount')
        if libc.mount(b'', b'/', b'', 32, 0) == 0: out('remount rw')
        if libc.umount2(b'/venv', 2) == 0: out('umount')
        for number in (428, 429, 430, 432, 442):
            if libc.syscall(number, -100, b'/', 1, 0, 0) >= 0: out('mount call', number)
        """,
    "setuid programs": """
        own = os.getresuid()
        for directory in ('/usr/bin', '/usr/sbin', '/usr/lib'):
            for entry in os.scandir(directory):
                if entry.is_file(follow_symlinks=False) and entry.stat().st_mode & (stat.S_ISUID | stat.S_ISGID):
                    child = subprocess.Popen([entry.path, '--help'], stdin=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                    try: ids = [line for line in open(f'/proc/{child.pid}/status') if line.startswith('Uid')][0].split()[1:]
                    except OSError: ids = []
                    if any(int(word) not in own for word in ids): out('setuid', entry.path, ids)
                    child.kill(); child.communicate()
        tries('setuid', lambda: os.setuid(0)); tries('setgid', lambda: os.setgid(0)); tries('setgroups', lambda: os.setgroups([0]))
        with open('/work/own', 'wb') as copy: copy.write(open('/usr/bin/id', 'rb').read())
        os.chmod('/work/own', 0o6755)
        if b'uid=65534' not in subprocess.run(['/work/own'], capture_output=True).stdout: out('a setuid file of its own')
        """,
    "files of the host": """
        for path in ('/etc/shadow', '/etc/passwd', '/etc/hostname', '/root/.bashrc', '/root/.ssh', '/home', '/var', '/run', '/sys',
                     '/proc/1/root/etc', '/proc/1/root/home', '/proc/self/root/etc', '/proc/1/cwd/../etc', '/proc/kcore', '/boot', SECRET):
            tries(path, lambda: os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(1))
        for parent in ('/', '/work', '/venv', '/usr'):
            tries('..', lambda: os.listdir(parent + '/../../../../etc'))
        """,
    "what the first process knows": """
        names = {entry.partition(b'=')[0] for entry in open('/proc/1/environ', 'rb').read().split(b'\\0')} - {b''}
        if not names <= {b'PATH', b'PWD', b'SHLVL', b'_', b'OLDPWD', b'LC_CTYPE'}: out(names)
        status = dict(line.split(':\\t') for line in open('/proc/1/status') if ':\\t' in line)
        if status['Seccomp'].strip() != '2' or status['NoNewPrivs'].strip() != '1' or int(status['CapEff'], 16): out('the first process is not confined')
        limits = open('/proc/1/limits').read()
        for name in ('Max address space', 'Max file size', 'Max open files', 'Max cpu time'):
            if f"{name:26}unlimited" in limits: out(name)
        for fd in os.listdir('/proc/1/fd'):
            target = os.readlink(f'/proc/1/fd/{fd}')
            if int(fd) > 2 and 'eventfd' not in target: out('descriptor', target)
        """,
    "other processes": """
        pids = {int(name) for name in os.listdir('/proc') if name.isdigit()}
        if len(pids) > 4: out('processes in sight', pids)
        child = os.fork()
        if child == 0: time.sleep(30); os._exit(0)
        if libc.ptrace(16, child, 0, 0) == 0: out('ptrace')
        if libc.syscall(310 if os.uname().machine == 'x86_64' else 270, child, 0, 0, 0, 0, 0) == 0: out('process_vm_readv')
        if libc.syscall(438, os.pidfd_open(child), 0, 0) >= 0: out('pidfd_getfd')
        os.kill(child, 9); os.waitpid(child, 0)
        for pid in range(2, 400):
            if pid not in pids | {child, os.getpid()}: tries('kill', lambda: os.kill(pid, 0))
        """,
    "devices": """
        known = {'core', 'fd', 'full', 'null', 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'tty', 'urandom', 'zero', 'console'}
        if not set(os.listdir('/dev')) <= known: out(sorted(set(os.listdir('/dev')) - known))
        for number in ((1, 1), (8, 0), (254, 0), (195, 0), (10, 232)):
            tries('mknod', lambda: os.mknod('/work/dev', 0o666 | stat.S_IFBLK, os.makedev(*number)))
            tries('mknod', lambda: os.mknod('/work/dev', 0o666 | stat.S_IFCHR, os.makedev(*number)))
        tries('tty', lambda: os.open('/dev/tty', os.O_RDWR))
        tries('kmsg', lambda: os.open('/dev/kmsg', os.O_RDWR))
        """,
    "unix sockets of the host": """
        for address in ('\\0' + LISTENER, SECRET + '.socket', '/run/dbus/system_bus_socket', '/var/run/docker.sock'):
            tries(address, lambda: socket.socket(socket.AF_UNIX).connect(address))
        with open('/proc/net/unix') as listing:
            if LISTENER in listing.read(): out('the listener is in sight')
        """,
    "keyrings": """
        for number in ((248, 249, 250) if os.uname().machine == 'x86_64' else (217, 218, 219)):
            if libc.syscall(number, b'user', b'name', b'x', 1, -3) >= 0: out('key call', number)
        """,
    "settings of the kernel": """
        # these belong to the namespaces of the run and go with it
        OWN = ('/proc/sys/net/', '/proc/sys/user/', '/proc/sys/fs/mqueue/', '/proc/sys/kernel/msg', '/proc/sys/kernel/shm',
               '/proc/sys/kernel/sem', '/proc/sys/kernel/auto_msgmni', '/proc/sys/kernel/ns_last_pid', '/proc/sys/kernel/pid_max')
        for top, _, names in os.walk('/proc/sys'):
            for name in names:
                path = os.path.join(top, name)
                try: fd = os.open(path, os.O_WRONLY)
                except OSError: continue
                os.close(fd)
                if not path.startswith(OWN): out(path)
        for path in ('/proc/sysrq-trigger', '/proc/irq', '/proc/acpi', '/proc/bus'):
            tries(path, lambda: os.mkdir(path + '/x') if os.path.isdir(path) else open(path, 'w').write('b'))
        tries('oom', lambda: open('/proc/self/oom_score_adj', 'w').write('-1000') and None or (_ for _ in ()).throw(OSError()))
        """,
    "writes to the template": """
        import pytest
        package = os.path.dirname(pytest.__file__)
        targets = [pytest.__file__, '/venv/pyvenv.cfg', '/venv/bin/python', *[os.path.join(package, n) for n in os.listdir(package)][:3]]
        for target in targets:
            for mode in ('a', 'r+', 'w'): tries(target, lambda: open(target, mode))
            tries('chmod', lambda: os.chmod(target, 0o777)); tries('unlink', lambda: os.unlink(target))
            tries('rename', lambda: os.rename(target, target + '~')); tries('link', lambda: os.link(target, '/work/l'))
            tries('utime', lambda: os.utime(target)); tries('xattr', lambda: os.setxattr(target, 'user.x', b'1'))
            tries('truncate', lambda: os.truncate(target, 0)); tries('reopen', lambda: os.open(f'/proc/self/fd/{os.open(target, os.O_RDONLY)}', os.O_RDWR))
        tries('pyc', lambda: os.mkdir(os.path.join(package, '__pycache__', 'x')))
        os.symlink(pytest.__file__, '/work/link'); tries('link', lambda: open('/work/link', 'a'))
        """,
    "writes beside the work directory": """
        for path in ('/', '/usr', '/usr/lib', '/bin', '/dev', '/proc', '/venv', '/harness', '/root', '/dev/pts'):
            tries(path, lambda: open(path + '/planted', 'w')); tries(path, lambda: os.mkdir(path + '/planted'))
        """,
    "cgroups from inside": """
        for path in ('/sys/fs/cgroup', '/proc/self/cgroup'):
            tries(path, lambda: os.listdir(path) if path.startswith('/sys') else open(path, 'w'))
        """,
    "higher limits": """
        import resource
        for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC):
            soft, hard = resource.getrlimit(kind)
            if hard == resource.RLIM_INFINITY: out('no limit', kind)
            tries('raise', lambda: resource.setrlimit(kind, (hard + 1, hard + 1)))
        tries('nice', lambda: os.setpriority(os.PRIO_PROCESS, 0, -5))
        """,
    "core dumps": """
        if os.fork() == 0: os.chdir('/work'); os.abort()
        os.wait()
        if any(name.startswith('core') for name in os.listdir('/work')): out('a core file')
        """,
    "a daemon that keeps every pipe": """
        for _ in range(5):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.set_inheritable(int(os.environ['HARNESS_RECORD_FD']), True)
                    for number in (1, 2, 3, 15): signal.signal(number, signal.SIG_IGN)
                    os.execv('/usr/bin/sleep', [MARKER, '300'])
                os._exit(0)
            os.wait()
        """,
    "stopped children": """
        for _ in range(5):
            pid = os.fork()
            if pid == 0:
                os.execv('/usr/bin/sleep', [MARKER, '300'])
            os.kill(pid, signal.SIGSTOP)
        """,
}
"""What is tried, and ends by itself."""

STUCK = {
    "endless loop": "while True: pass",
    "stops itself": "os.kill(os.getpid(), signal.SIGSTOP); time.sleep(300)",
    "ignores every signal": "[signal.signal(n, signal.SIG_IGN) for n in range(1, 32) if n not in (9, 17, 19)]\nwhile True: time.sleep(1)",
    "floods its output": "while True: os.write(1, b'x' * 65536)",
    "forks for ever": "while True:\n    try: os.fork()\n    except OSError: pass",
    "starts threads for ever": """
        started = []
        while True:
            try: thread = threading.Thread(target=time.sleep, args=(300,), daemon=True); thread.start(); started.append(thread)
            except (RuntimeError, MemoryError): time.sleep(0.01)
        """,
    "makes zombies": """
        while True:
            try:
                if os.fork() == 0: os._exit(0)
            except OSError: time.sleep(0.01)
        """,
    "hides in sessions": """
        while True:
            try:
                if os.fork() == 0: os.setsid(); signal.signal(15, signal.SIG_IGN)
            except OSError: time.sleep(0.05)
        """,
    "opens files for ever": """
        while True:
            try: os.open('/dev/null', os.O_RDONLY)
            except OSError: time.sleep(0.01)
        """,
    "fills every disk": """
        for number in range(10_000):
            for place in ('/work', '/dev/shm', '/work/tmp'):
                try: open(f'{place}/{number}', 'wb').write(bytes(4 << 20))
                except OSError: pass
        time.sleep(300)
        """,
}  # fmt: skip
"""What never ends by itself."""


def attack(template: Template, code: str, marker: str, *, limits: Limits, **names: str) -> Finished:
    """Run an escape in a template."""
    values = "".join(f"{name} = {value!r}\n" for name, value in {"MARKER": marker, **names}.items())
    lines = code.strip("\n").splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    program = PRELUDE + values + "\n".join(line[indent:] for line in lines) + "\nprint('done', flush=True)\n"
    return run(Sandbox([template.python, "-c", program], template.mounts(), env={"MARKER": marker}, limits=limits))


def survivors(marker: str) -> list[str]:
    """Return what runs on this machine under a marker, in its command line or its environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (process / "cmdline").read_bytes() + (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text("utf-8", "replace")[:200])
        except OSError:
            continue
    return found


def digest(directory: Path) -> str:
    """Return one digest of names, modes, owners, link targets and contents of a tree."""
    hasher = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        hasher.update(f"{path} {status.st_mode} {status.st_uid} {status.st_nlink}".encode())
        if path.is_symlink():
            hasher.update(str(path.readlink()).encode())
        elif path.is_file():
            hasher.update(path.read_bytes())
    return hasher.hexdigest()


@pytest.fixture(scope="module", autouse=True)
def unchanged(template: Template) -> None:
    """Compare the template before the first and after the last escape of the module."""
    before = digest(template.directory)
    yield  # type: ignore[misc]
    assert digest(template.directory) == before


@pytest.fixture
def marker() -> str:
    """Return a word that no process on this machine carries."""
    return f"escape-{secrets.token_hex(8)}"


@pytest.mark.parametrize("name", ESCAPES)
def test_nothing_gets_out(name: str, template: Template, marker: str, tmp_path: Path) -> None:
    """Every attempt is refused, and no process is left."""
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    tmp_path.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as abstract, socket.socket(socket.AF_UNIX) as named:
        abstract.bind(f"\0{marker}")
        abstract.listen()
        directory = os.open(tmp_path, os.O_RDONLY)
        named.bind(f"/proc/self/fd/{directory}/secret.socket")
        os.close(directory)
        named.listen()
        done = attack(template, ESCAPES[name], marker, limits=Limits(wall_s=30.0), SECRET=str(secret), LISTENER=marker)
    text = done.output.decode(errors="replace")
    assert text.splitlines()[-1:] == ["done"], text
    assert [line for line in text.splitlines() if line.startswith("OUT:")] == []
    assert not done.timed_out
    assert survivors(marker) == []


@pytest.mark.parametrize("name", STUCK)
def test_what_never_ends_is_ended(name: str, template: Template, marker: str) -> None:
    """Within two seconds of its limit the run is over, with nothing left of it."""
    limits = Limits(wall_s=0.5, processes=64, open_files=64, scratch_bytes=8 << 20, memory_bytes=512 << 20)
    started = time.monotonic()
    done = attack(template, STUCK[name], marker, limits=limits)
    assert done.timed_out
    assert time.monotonic() - started < limits.wall_s + GRACE_S
    assert survivors(marker) == []
    assert len(done.output) <= limits.output_bytes


def test_a_flood_of_records_is_ended(template: Template, marker: str) -> None:
    """The result pipe is no way to fill the appliance's memory."""
    code = "while True: os.write(int(os.environ['HARNESS_RECORD_FD']), b'x' * 65536)"
    done = attack(template, code, marker, limits=Limits(wall_s=20.0, record_bytes=1 << 20))
    assert done.overflowed
    assert done.seconds < 10
    assert survivors(marker) == []


@pytest.mark.parametrize(
    "kind", ["os.fork()", "threading.Thread(target=time.sleep, args=(30,), daemon=True).start() or 1"]
)
def test_the_number_of_processes_is_bounded(kind: str, template: Template, marker: str) -> None:
    """Processes and threads count against the limit, also where the appliance is root."""
    code = f"""
        started = 0
        try:
            while started < 500:
                if {kind} == 0: time.sleep(30); os._exit(0)
                started += 1
        except (OSError, RuntimeError): pass
        print(started)
        """
    done = attack(template, code, marker, limits=Limits(wall_s=20.0, processes=40))
    assert 5 < int(done.output.split()[0]) < 40
    assert survivors(marker) == []


needs_groups = pytest.mark.skipif(not hierarchies().version, reason="no control groups for this user")

HOGS = {
    "one process": "x = bytearray(300 << 20); [x.__setitem__(at, 1) for at in range(0, len(x), 4096)]",
    "many small ones": "for _ in range(12):\n    if os.fork() == 0: x = b'x' * (30 << 20); time.sleep(2); os._exit(0)\nwhile True:\n    try: os.wait()\n    except ChildProcessError: break",
    "files in memory": "for number in range(3): open(f'/work/{number}', 'wb').write(b'x' * (100 << 20))",
    "anonymous files": "for _ in range(12): fd = os.memfd_create('x'); os.write(fd, b'x' * (30 << 20))\ntime.sleep(20)",
    "shared memory and disk": """
        for place in ('/dev/shm', '/work'):
            for number in range(12):
                try: open(f'{place}/{number}', 'wb').write(b'x' * (10 << 20))
                except OSError: pass
        """,
}


@needs_groups
@pytest.mark.parametrize("name", HOGS)
def test_memory_is_bounded_for_the_whole_run(name: str, template: Template, marker: str) -> None:
    """However it is spread over processes and files, a run over its memory is ended and says why."""
    done = attack(template, HOGS[name], marker, limits=Limits(wall_s=20.0, memory_bytes=100 << 20))
    assert done.out_of_memory
    assert not done.timed_out
    assert survivors(marker) == []


@needs_groups
def test_a_run_within_its_memory_says_nothing_of_it(template: Template, marker: str) -> None:
    """Memory that is used and given back is no offence."""
    done = attack(template, "x = b'x' * (40 << 20); del x", marker, limits=Limits(wall_s=20.0, memory_bytes=100 << 20))
    assert (done.returncode, done.out_of_memory) == (0, False)


def test_runs_at_the_same_time_do_not_see_each_other(template: Template, marker: str) -> None:
    """Neither processes nor files nor signals reach from one run into another."""
    other = threading.Thread(
        target=attack, args=(template, "open('/work/mine', 'w').write('x')\ntime.sleep(1.5)", marker + "-other"),
        kwargs={"limits": Limits(wall_s=20.0)},
    )  # fmt: skip
    other.start()
    time.sleep(0.6)
    assert survivors(marker + "-other") != []  # it is running right now
    code = """
        for name in os.listdir('/proc'):
            if name.isdigit() and b'-oth' + b'er' in open(f'/proc/{name}/cmdline', 'rb').read(): out(name)
        if os.path.exists('/work/mine'): out('its file')
        """
    done = attack(template, code, marker, limits=Limits(wall_s=20.0))
    other.join()
    assert done.output == b"done\n"
    assert survivors(marker) == []


HARNESS = """
import sys
from harness.sandbox.process import execute
from harness.sandbox.command import Sandbox
from harness.sandbox.limits import Limits
print("started", flush=True)
execute(Sandbox(["/bin/bash", "-c", f": {sys.argv[1]}; trap '' TERM HUP; sleep 300 & setsid sleep 301 & wait"], env={"MARKER": sys.argv[1]}, limits=Limits(wall_s=300)))
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.7])
def test_a_killed_harness_takes_its_sandbox_along(delay_s: float, marker: str) -> None:
    """Kill -9 of the process that waits for a run ends everything in it, whoever we are."""
    process = subprocess.Popen([sys.executable, "-c", HARNESS, marker], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay_s)
    if delay_s > 0.5:
        assert len(survivors(marker)) > 2
    process.kill()
    process.wait()
    process.stdout.close()
    assert _gone(lambda: not survivors(marker)), survivors(marker)


def _gone(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True

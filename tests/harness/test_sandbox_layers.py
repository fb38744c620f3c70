"""Two layers keep the network away; each is taken away here, and the other still does it alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.sandbox.command import SYSTEM_PATH, Channels, Sandbox, isolated
from harness.sandbox.identity import run_uid
from harness.sandbox.process import own_uid_map
from harness.sandbox.seccomp import network_filter

REACH = """
import os, socket, sys
port, name = int(sys.argv[1]), sys.argv[2]
def tries(what, attempt):
    try: attempt(); print(what, 'REACHED')
    except OSError as err: print(what, err.errno)
def udp(family, host):
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(0.5); s.connect((host, port)); s.send(b'hello'); s.recv(10)
def netlink():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
        s.bind((0, 0))
        # RTM_GETLINK dump: the names of all interfaces in sight
        s.send((20).to_bytes(4, 'little') + b'\\x12\\0\\x01\\x03' + bytes(8) + bytes(4)); data = s.recv(1 << 16)
        if any(word in data for word in (b'eth', b'ens', b'enp', b'wlan', b'docker', b'veth')): return
        raise PermissionError(1, 'only loopback')
tries('tcp4', lambda: socket.create_connection(('127.0.0.1', port), 1).close())
tries('tcp6', lambda: socket.create_connection(('::1', port), 1).close())
tries('udp4', lambda: udp(socket.AF_INET, '127.0.0.1'))
tries('udp out', lambda: udp(socket.AF_INET, '192.0.2.1'))
tries('tcp out', lambda: socket.create_connection(('192.0.2.1', 80), 1).close())
tries('netlink', netlink)
tries('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close())
tries('packet', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close())
tries('abstract unix', lambda: socket.socket(socket.AF_UNIX).connect('\\0' + name))
if sys.argv[3] == 'filter':
    for what, family in {'vsock': 40, 'alg': 38, 'bluetooth': 31, 'can': 29, 'tipc': 30, 'xdp': 44, 'key': 15}.items():
        tries(what, lambda: socket.socket(family, socket.SOCK_DGRAM).close())
"""
EVERY_BUT_NET = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]


def without_filter(line: list[str]) -> list[str]:
    """Take the system call filter out of a command line."""
    at = line.index("--seccomp")
    return [*line[:at], *line[at + 2 :]]


def without_namespace(line: list[str]) -> list[str]:
    """Take the network namespace out of a command line."""
    at = line.index("--unshare-all")
    return [*line[:at], *EVERY_BUT_NET, *line[at + 1 :]]


def reach(change: Callable[[list[str]], list[str]], layer: str) -> dict[str, str]:
    """Try to reach listeners of the host from a sandbox with one layer; return what came of each way."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:
        name = f"layers-{os.getpid()}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        mounts = {} if sys.base_prefix == "/usr" else {sys.base_prefix: sys.base_prefix}
        sandbox = Sandbox([str(python), "-c", REACH, str(tcp.getsockname()[1]), name, layer], mounts)
        record, info = os.open(os.devnull, os.O_WRONLY), os.open(os.devnull, os.O_WRONLY)
        seccomp = os.memfd_create("filter")
        os.write(seccomp, network_filter())
        os.lseek(seccomp, 0, os.SEEK_SET)
        line = isolated(
            sandbox, Channels(record, info, seccomp), uid=run_uid(os.geteuid(), own_uid_map(), os.getpid()), groups=()
        )
        done = subprocess.run(
            change(line), pass_fds=(record, info, seccomp), env={"PATH": SYSTEM_PATH}, capture_output=True, text=True,
            check=False, timeout=30,
        )  # fmt: skip
        for fd in (record, info, seccomp):
            os.close(fd)
    assert done.returncode == 0, done.stderr
    return {words.rpartition(" ")[0]: words.rpartition(" ")[2] for words in done.stdout.splitlines()}


def test_the_namespace_alone_keeps_the_network_away() -> None:
    """Without the filter there is still nobody to talk to: TCP, UDP, netlink, raw, and abstract names."""
    seen = reach(without_filter, "namespace")
    assert len(seen) == 9
    assert "REACHED" not in seen.values()


def test_the_filter_alone_keeps_the_network_away() -> None:
    """In the host's own network namespace every family but AF_UNIX is refused with EPERM."""
    seen = reach(without_namespace, "filter")
    abstract = seen.pop("abstract unix")
    assert abstract == "REACHED"  # the namespace was really gone
    assert set(seen.values()) == {"1"}
    assert len(seen) == 15


@pytest.mark.parametrize("change", [lambda line: line])
def test_both_together_keep_it_away(change: Callable[[list[str]], list[str]]) -> None:
    """As it is run."""
    assert "REACHED" not in reach(change, "filter").values()

"""The seccomp filter, run by a small interpreter of its instructions; in earnest in test_sandbox.py."""

from __future__ import annotations

import errno
import platform
import re
import struct
from pathlib import Path

import pytest

from harness.errors import SandboxUnavailable
from harness.sandbox.seccomp import DENIED, network_filter

ALLOW, KILL, EPERM, ENOSYS = "allow", "kill", "eperm", "enosys"
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
I386 = 0x40000003
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK = 1, 2, 10, 16, 17, 40
ACTIONS = {0x7FFF0000: ALLOW, 0x80000000: KILL, 0x00050000 | errno.EPERM: EPERM, 0x00050000 | errno.ENOSYS: ENOSYS}


def decide(program: bytes, arch: int, number: int, first_argument: int = 0, second_argument: int = 0) -> str:
    """Run the program on one system call."""
    data = struct.pack("<IIQQQ", number, arch, 0, first_argument, second_argument) + bytes(32)
    code = [struct.unpack_from("HBBI", program, at) for at in range(0, len(program), 8)]
    word = at = 0
    while True:
        kind, jump_true, jump_false, value = code[at]
        at += 1
        if kind == 0x20:
            (word,) = struct.unpack_from("<I", data, value)
        elif kind == 0x15:
            at += jump_true if word == value else jump_false
        elif kind == 0x35:
            at += jump_true if word >= value else jump_false
        elif kind == 0x45:
            at += jump_true if word & value else jump_false
        else:
            assert kind == 0x06
            return ACTIONS[value]


@pytest.mark.parametrize(("machine", "socket"), [("x86_64", 41), ("aarch64", 198)])
@pytest.mark.parametrize("family", [0, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK])
def test_sockets_that_leave_the_machine_are_refused(machine: str, socket: int, family: int) -> None:
    """Every address family but AF_UNIX gets EPERM."""
    program = network_filter(machine)
    assert decide(program, ARCH[machine], socket, family) == EPERM
    assert decide(program, ARCH[machine], socket, AF_UNIX) == ALLOW


@pytest.mark.parametrize("machine", ARCH)
@pytest.mark.parametrize("group", DENIED)
def test_calls_that_escapes_start_from_are_refused(machine: str, group: str) -> None:
    """Each call of each class gets EPERM, whatever its arguments."""
    program = network_filter(machine)
    column = list(ARCH).index(machine)
    numbers = [both[column] for both in DENIED[group].values() if both[column]]
    assert [decide(program, ARCH[machine], number, AF_UNIX) for number in numbers] == [EPERM] * len(numbers)


@pytest.mark.skipif(platform.machine() not in ARCH, reason="a machine type without a table")
def test_the_numbers_are_those_of_this_machine() -> None:
    """Where the kernel's headers are installed, every number in the table has its name there."""
    for include in (Path("/usr/include"), *Path("/usr/include").glob("*-linux-gnu")):
        header = include / "asm" / ("unistd_64.h" if platform.machine() == "x86_64" else "unistd.h")
        if header.is_file():
            known = dict(re.findall(r"#define __NR_(\w+) (\d+)", header.read_text()))
            break
    else:
        pytest.skip("no kernel headers here")
    column = list(ARCH).index(platform.machine())
    listed = {name: both[column] for group in DENIED.values() for name, both in group.items() if both[column]}
    assert {name: number for name, number in listed.items() if int(known.get(name, number)) != number} == {}


@pytest.mark.parametrize(("machine", "pair"), [("x86_64", 53), ("aarch64", 199)])
def test_pairs_of_sockets_are_refused_like_sockets(machine: str, pair: int) -> None:
    """Only AF_UNIX has them allowed: other families (AF_TIPC) know pairs, too."""
    program = network_filter(machine)
    assert decide(program, ARCH[machine], pair, 30) == EPERM
    assert decide(program, ARCH[machine], pair, AF_UNIX) == ALLOW


@pytest.mark.parametrize(("machine", "clone"), [("x86_64", 56), ("aarch64", 220)])
@pytest.mark.parametrize(
    "flag", [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000],
    ids=["mnt", "cgroup", "uts", "ipc", "user", "pid", "net"],
)  # fmt: skip
def test_new_processes_get_no_new_namespaces(machine: str, clone: int, flag: int) -> None:
    """A clone with any namespace flag is refused, without one allowed, and clone3 does not exist."""
    program = network_filter(machine)
    assert decide(program, ARCH[machine], clone, flag | 17) == EPERM
    assert decide(program, ARCH[machine], clone, 0x3D0F00) == ALLOW  # what pthread_create asks for
    assert decide(program, ARCH[machine], 435, flag) == ENOSYS


@pytest.mark.parametrize(("machine", "ioctl"), [("x86_64", 16), ("aarch64", 29)])
def test_nothing_is_typed_into_a_terminal(machine: str, ioctl: int) -> None:
    """TIOCSTI, TIOCLINUX and TIOCSETD are refused, by the request and not by the descriptor; TCGETS is allowed."""
    program = network_filter(machine)
    assert [decide(program, ARCH[machine], ioctl, 0, request) for request in (0x5412, 0x541C, 0x5423)] == [EPERM] * 3
    assert decide(program, ARCH[machine], ioctl, 0x5412, 0x5401) == ALLOW


@pytest.mark.parametrize(
    ("machine", "numbers"),
    [
        # read openat clone execve connect futex exit_group
        ("x86_64", (0, 257, 56, 59, 42, 202, 231)),
        ("aarch64", (63, 56, 220, 221, 203, 98, 94)),
    ],
)
def test_ordinary_calls_are_allowed(machine: str, numbers: tuple[int, ...]) -> None:
    """What programs live on is not touched."""
    program = network_filter(machine)
    assert {decide(program, ARCH[machine], number, AF_INET) for number in numbers} == {ALLOW}


@pytest.mark.parametrize("machine", ARCH)
def test_system_calls_of_another_machine_type_kill(machine: str) -> None:
    """Numbers of a foreign table mean something else, so they are never looked up."""
    program = network_filter(machine)
    assert decide(program, I386, 102) == KILL
    assert decide(program, next(arch for name, arch in ARCH.items() if name != machine), 41) == KILL


def test_the_x32_table_kills() -> None:
    """The second table of x86_64 would be a way around the numbers."""
    assert decide(network_filter("x86_64"), ARCH["x86_64"], 0x40000000 + 41, AF_INET) == KILL


def test_an_unknown_machine_is_refused_with_the_known_ones() -> None:
    """Without a table there is no filter, and nothing is run."""
    with pytest.raises(SandboxUnavailable, match=r"riscv64.*aarch64, x86_64"):
        network_filter("riscv64")

"""The seccomp filter, run by a small interpreter of its instructions; in earnest in test_sandbox.py."""

from __future__ import annotations

import errno
import struct

import pytest

from harness.errors import SandboxUnavailable
from harness.sandbox.seccomp import network_filter

ALLOW, KILL, EPERM = "allow", "kill", "eperm"
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
I386 = 0x40000003
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK = 1, 2, 10, 16, 17, 40
ACTIONS = {0x7FFF0000: ALLOW, 0x80000000: KILL, 0x00050000 | errno.EPERM: EPERM}


def decide(program: bytes, arch: int, number: int, first_argument: int = 0) -> str:
    """Run the program on one system call."""
    data = struct.pack("<IIQQ", number, arch, 0, first_argument) + bytes(40)
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


@pytest.mark.parametrize(
    ("machine", "numbers"),
    [
        # ptrace mount unshare setns keyctl bpf process_vm_writev pivot_root io_uring_setup fsopen
        ("x86_64", (101, 165, 272, 308, 250, 321, 311, 155, 425, 430)),
        ("aarch64", (117, 40, 97, 268, 219, 280, 271, 41, 425, 430)),
    ],
)
def test_calls_that_escapes_start_from_are_refused(machine: str, numbers: tuple[int, ...]) -> None:
    """Each of them gets EPERM."""
    program = network_filter(machine)
    assert {decide(program, ARCH[machine], number) for number in numbers} == {EPERM}


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

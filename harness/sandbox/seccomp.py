"""A seccomp filter that denies the network and the calls that sandbox escapes start from.

It is the second, independent layer behind the network namespace (security reference, 3b): sockets
other than AF_UNIX fail with EPERM. What it denies beyond that no test suite needs: namespaces,
mounts, tracing, keyrings, io_uring (which would open sockets past this filter), kernel modules,
clocks. It does not restrict files, memory or time; bubblewrap, control groups and rlimits do.
System call numbers are fixed parts of the kernel's ABI per machine type.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Mapping, Sequence

from harness.errors import SandboxUnavailable

_LOAD_WORD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_REFUSE, _UNKNOWN = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
_OFFSET_NR, _OFFSET_ARCH, _OFFSET_ARG0, _OFFSET_ARG1 = 0, 4, 16, 24
_X32_BIT = 0x40000000
_AF_UNIX = 1
_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEW(NS|CGROUP|UTS|IPC|USER|PID|NET)."""
_TERMINAL_REQUESTS = (0x5412, 0x541C, 0x5423)
"""TIOCSTI and TIOCLINUX type into somebody's terminal; TIOCSETD loads a line discipline."""

_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CALLS = {
    "x86_64": {"socket": 41, "socketpair": 53, "clone": 56, "ioctl": 16},
    "aarch64": {"socket": 198, "socketpair": 199, "clone": 220, "ioctl": 29},
}
"""Calls that are judged by an argument."""
_CLONE3 = 435
"""Its flags lie in memory, out of a filter's sight; told that it does not exist, libc falls back to clone."""

DENIED: Mapping[str, Mapping[str, Sequence[int]]] = {
    # name, then the number for x86_64 and for aarch64 (0: the machine type has no such call)
    "namespaces": {"unshare": (272, 97), "setns": (308, 268)},
    "mounts": {
        "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
        "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
        "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "statmount": (457, 457),
        "listmount": (458, 458), "open_tree_attr": (467, 467),
    },
    "other processes": {
        "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
        "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "migrate_pages": (256, 238),
        "move_pages": (279, 239),
    },
    "keyrings": {"add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219)},
    "programs in the kernel": {
        "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
        "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "memfd_secret": (447, 447),
    },
    "modules": {
        "init_module": (175, 105), "delete_module": (176, 106), "finit_module": (313, 273), "create_module": (174, 0),
        "get_kernel_syms": (177, 0), "query_module": (178, 0), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    },
    "file handles": {"name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262)},
    "the machine": {
        "acct": (163, 89), "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142), "syslog": (103, 116),
        "quotactl": (179, 60), "quotactl_fd": (443, 443), "nfsservctl": (180, 42), "sethostname": (170, 161),
        "setdomainname": (171, 162), "settimeofday": (164, 170), "clock_settime": (227, 112), "vhangup": (153, 58),
        "lookup_dcookie": (212, 18),
    },
    "old interfaces": {
        "iopl": (172, 0), "ioperm": (173, 0), "modify_ldt": (154, 0), "uselib": (134, 0), "ustat": (136, 0),
        "sysfs": (139, 0), "_sysctl": (156, 0),
    },
}  # fmt: skip
"""Calls that always fail with EPERM, by what they would reach."""


def network_filter(machine: str = "") -> bytes:
    """Return the BPF program for `machine` (default: this one), as bwrap --seccomp reads it."""
    machine = machine or platform.machine()
    if machine not in _ARCH:
        raise SandboxUnavailable(
            f"no system call table for machine type {machine!r}; known are {', '.join(sorted(_ARCH))}",
            hint="Run the appliance on an x86_64 or aarch64 machine.",
        )
    calls = _CALLS[machine]
    program = [
        _op(_LOAD_WORD, 0, 0, _OFFSET_ARCH),
        _op(_JUMP_EQ, 1, 0, _ARCH[machine]),
        _op(_RETURN, 0, 0, _KILL),
        _op(_LOAD_WORD, 0, 0, _OFFSET_NR),
    ]
    if machine == "x86_64":
        program += [_op(_JUMP_GE, 0, 1, _X32_BIT), _op(_RETURN, 0, 0, _KILL)]
    for name in ("socket", "socketpair"):
        program += _judged(calls[name], _OFFSET_ARG0, [_op(_JUMP_EQ, 1, 0, _AF_UNIX), _op(_RETURN, 0, 0, _REFUSE)])
    program += _judged(
        calls["clone"], _OFFSET_ARG0, [_op(_JUMP_SET, 0, 1, _NEW_NAMESPACES), _op(_RETURN, 0, 0, _REFUSE)]
    )
    requests = [[_op(_JUMP_EQ, 0, 1, request), _op(_RETURN, 0, 0, _REFUSE)] for request in _TERMINAL_REQUESTS]
    program += _judged(calls["ioctl"], _OFFSET_ARG1, [op for pair in requests for op in pair])
    program += [_op(_JUMP_EQ, 0, 1, _CLONE3), _op(_RETURN, 0, 0, _UNKNOWN)]
    for number in denied_numbers(machine):
        program += [_op(_JUMP_EQ, 0, 1, number), _op(_RETURN, 0, 0, _REFUSE)]
    program.append(_op(_RETURN, 0, 0, _ALLOW))
    return b"".join(program)


def denied_numbers(machine: str) -> list[int]:
    """Return the system call numbers that always fail on a machine type."""
    column = list(_ARCH).index(machine)
    return [numbers[column] for group in DENIED.values() for numbers in group.values() if numbers[column]]


def _judged(number: int, offset: int, test: list[bytes]) -> list[bytes]:
    """Return the instructions for one call: load an argument, let `test` refuse it, else allow it."""
    body = [_op(_LOAD_WORD, 0, 0, offset), *test, _op(_RETURN, 0, 0, _ALLOW)]
    return [_op(_JUMP_EQ, 0, len(body), number), *body]


def _op(code: int, jump_true: int, jump_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, jump_true, jump_false, value)

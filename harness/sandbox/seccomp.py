"""A seccomp filter that denies the network and the calls that sandbox escapes start from.

It is the second, independent layer behind the network namespace (security reference, 3b): sockets
other than AF_UNIX fail with EPERM. It does not restrict files, memory or time; bubblewrap and
rlimits do. System call numbers are fixed parts of the kernel's ABI per machine type.
"""

from __future__ import annotations

import errno
import platform
import struct

from harness.errors import SandboxUnavailable

_LOAD_WORD, _JUMP_EQ, _JUMP_GE, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_OFFSET_NR, _OFFSET_ARCH, _OFFSET_ARG0 = 0, 4, 16
_X32_BIT = 0x40000000
_AF_UNIX = 1

_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_DENIED = {
    # ptrace mount umount2 unshare setns add_key request_key keyctl bpf perf_event_open userfaultfd
    # process_vm_readv/writev pivot_root chroot open_by_handle_at kexec_load (init|delete|finit)_module
    "x86_64": (101, 165, 166, 272, 308, 248, 249, 250, 321, 298, 323, 310, 311, 155, 161, 304, 246, 175, 176, 313),
    "aarch64": (117, 40, 39, 97, 268, 217, 218, 219, 280, 241, 282, 270, 271, 41, 51, 265, 104, 105, 106, 273),
}
# io_uring_(setup|enter|register) open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr:
# numbers that all machine types share
_DENIED_EVERYWHERE = (425, 426, 427, 428, 429, 430, 431, 432, 433, 442)


def network_filter(machine: str = "") -> bytes:
    """Return the BPF program for `machine` (default: this one), as bwrap --seccomp reads it."""
    machine = machine or platform.machine()
    if machine not in _ARCH:
        raise SandboxUnavailable(
            f"no system call table for machine type {machine!r}; known are {', '.join(sorted(_ARCH))}",
            hint="Run the appliance on an x86_64 or aarch64 machine.",
        )
    denied = _ERRNO | errno.EPERM
    program = [
        _op(_LOAD_WORD, 0, 0, _OFFSET_ARCH),
        _op(_JUMP_EQ, 1, 0, _ARCH[machine]),
        _op(_RETURN, 0, 0, _KILL),
        _op(_LOAD_WORD, 0, 0, _OFFSET_NR),
    ]
    if machine == "x86_64":
        program += [_op(_JUMP_GE, 0, 1, _X32_BIT), _op(_RETURN, 0, 0, _KILL)]
    program += [
        _op(_JUMP_EQ, 0, 4, _SOCKET[machine]),
        _op(_LOAD_WORD, 0, 0, _OFFSET_ARG0),
        _op(_JUMP_EQ, 1, 0, _AF_UNIX),
        _op(_RETURN, 0, 0, denied),
        _op(_RETURN, 0, 0, _ALLOW),
    ]
    for number in (*_DENIED[machine], *_DENIED_EVERYWHERE):
        program += [_op(_JUMP_EQ, 0, 1, number), _op(_RETURN, 0, 0, denied)]
    program.append(_op(_RETURN, 0, 0, _ALLOW))
    return b"".join(program)


def _op(code: int, jump_true: int, jump_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, jump_true, jump_false, value)

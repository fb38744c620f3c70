"""Who untrusted code is on the host: never root, and never the owner of what it could reach.

An appliance that runs as root would otherwise lend its uid to the sandbox: the kernel does not
limit the processes of root, and root owns every file that a mistake leaves in reach. So a run gets
a numeric user and group of its own, from a range that no account uses (systemd's range for dynamic
users), without supplementary groups. Two runs with the same number, one chance in some thousands,
would share the per-user counters of the kernel and nothing else: pid namespaces stand between them.

An appliance that runs as an ordinary user has no other uid to give away; its runs share its own.
Directories that a run may write (a template that is being filled) are handed over before it and
taken back after it, when no process of it is alive: ownership, modes without setuid bits.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from harness.errors import SandboxUnavailable

FIRST_UID = 61_184
UIDS = 4_096
_EXECUTABLE, _PLAIN = 0o755, 0o644


def run_uid(euid: int, uid_map: str, seed: int) -> int | None:
    """Return the uid for a run, or None where the appliance is an ordinary user already.

    `uid_map` is the text of /proc/self/uid_map: root of a user namespace is nobody special outside.
    """
    return FIRST_UID + seed % UIDS if is_root(euid, uid_map) else None


def is_root(euid: int, uid_map: str) -> bool:
    """Return whether a process is root not only of its own user namespace."""
    ranges = [tuple(map(int, line.split())) for line in uid_map.splitlines()]
    return euid == 0 and any(inside == 0 and outside == 0 for inside, outside, _ in ranges)


def unreadable(path: str) -> str | None:
    """Return why another user cannot read what lies at `path`, or None; the directories above do not matter."""
    try:
        mode = Path(path).stat().st_mode
    except OSError as err:
        return str(err)
    needed = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
    return None if mode & needed == needed else f"{path} has mode {stat.filemode(mode)}"


def check_readable(paths: list[str]) -> None:
    """Raise SandboxUnavailable unless another user can read what is mounted."""
    for path in paths:
        problem = unreadable(path)
        if problem is not None:
            raise SandboxUnavailable(
                f"the user that runs untrusted code cannot read a mount: {problem}",
                hint=f"Run: chmod -R go+rX {path}",
            )


def hand_over(root: str, uid: int) -> None:
    """Give a directory and everything in it to the user of a run."""
    os.chown(root, uid, uid)
    for _, folders, files, directory in os.fwalk(root, follow_symlinks=False):
        for name in (*folders, *files):
            os.chown(name, uid, uid, dir_fd=directory, follow_symlinks=False)


def take_back(root: str) -> None:
    """Make a directory ours again: our uid, readable for everybody, writable for nobody else, no setuid bits.

    Only for trees that no other process can change any more. Links and special files keep what they are.
    """
    owner, group = os.geteuid(), os.getegid()
    Path(root).chmod(_EXECUTABLE)
    if owner == 0:
        os.chown(root, owner, group)
    for _, folders, files, directory in os.fwalk(root, follow_symlinks=False):
        for name in (*folders, *files):
            if owner == 0:
                os.chown(name, owner, group, dir_fd=directory, follow_symlinks=False)
            mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
                wanted = _EXECUTABLE if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else _PLAIN
                if stat.S_IMODE(mode) != wanted:
                    os.chmod(name, wanted, dir_fd=directory)

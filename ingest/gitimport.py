"""Bring the objects of a package's repository into a bare repository of our own.

No git process of this machine ever runs inside the package. `upload-pack` runs in bubblewrap, where
it sees the package's objects and refs and a configuration that we wrote: the package's own
configuration, hooks, attributes and alternates are not even there. `clone` makes a repository of
our own and has every object checked by fsck (security reference, 3a). Neither may take more
memory, disk or time than a real history of that size takes.

The exit code is not evidence: checks look at every listed commit afterwards. That the history is
whole needs no walk of its own: `clone` lets `index-pack` check, while it reads them, that all
objects hang together, which is half the time of a fetch that walks the history again. Not protected
against: bugs in git's own parsers; those of upload-pack are inside the sandbox, those of index-pack
are not.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.errors import DiskFull, GitFailed
from harness.git import git_environment
from harness.sandbox.command import bwrap_path, given_up
from harness.sandbox.identity import run_uid
from harness.sandbox.process import own_uid_map

MAX_BLOB_BYTES = 64 << 20
"""Files of source repositories are smaller by far; what is larger is data, a dump or a bomb."""
_ALLOCATION_BYTES = 128 << 20
"""No single object of git's may be larger in memory. It leaves room for the table of MAX_OBJECTS objects."""
_STREAM_FROM_BYTES = 4 << 30
"""Above this size git would not hold a blob in memory, and would inflate it however large it is."""
_TIMEOUT_S = 60.0
_TIMEOUT_S_PER_MIB = 3.0
"""About 35 times what a real history took on two busy cores; a bomb of deltas ends here."""
_SPARE_DISK_BYTES = 256 << 20
_DISK_FACTOR = 4
_ADDRESS = "file:///src"
_OWN_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
_ATTRIBUTES = "* -text -ident -filter -export-ignore -export-subst -working-tree-encoding\n"
_TOLERATED = (
    "zeroPaddedFilemode",  # flask, django-debug-toolbar
    "badTimezone",  # requests, watchdog
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",  # werkzeug
)
"""What healthy histories of well-known projects have: how a mode, a date or a person is written.

Nothing here reads dates or persons, and modes are read as numbers.
"""
_SOURCE_CONFIG = """[core]
\trepositoryformatversion = 0
\tbare = true
\tcommitGraph = false
\tmultiPackIndex = false
[pack]
\twindow = 0
\tuseBitmaps = false
[uploadpack]
\tallowAnySHA1InWant = true
"""
"""For upload-pack. Only objects, packs and their indexes are believed, and nothing is compressed again."""


class RepositoryTooLarge(GitFailed):
    """Git was stopped because an object or the whole needs more than any real history."""

    code = "GIT_OVERSIZED"


def import_objects(source: Path, target: Path) -> None:
    """Bring every branch and tag of the repository at `source` into a new bare one at `target`.

    GitFailed when git refuses an object or the repository cannot be read, RepositoryTooLarge when
    it was stopped at a limit, DiskFull when this machine has no room.
    """
    _transfer(source, target.parent, ["clone", "--quiet", "--bare", "--template="], [_ADDRESS, target.name])
    (target / "config").write_text(_OWN_CONFIG)
    info = target / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text(_ATTRIBUTES)


def import_commits(source: Path, target: Path, shas: Sequence[str]) -> None:
    """Fetch commits that no branch or tag of `source` reaches, each under a ref of its own.

    GitFailed when one of them, or what it needs, is not there.
    """
    fetch = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"]
    _transfer(source, target, fetch, [_ADDRESS, *(f"+{sha}:refs/listed/{sha}" for sha in shas)])


def _transfer(source: Path, cwd: Path, command: Sequence[str], what: Sequence[str]) -> None:
    """Run a clone or a fetch in `cwd`, from an upload-pack that sees nothing but objects and refs of `source`."""
    size = sum(path.stat().st_size for path in (source / "objects").rglob("*") if path.is_file())
    tolerated = [word for name in _TOLERATED for word in ("-c", f"fetch.fsck.{name}=ignore")]
    with tempfile.TemporaryDirectory(dir=source.absolute().parent.parent) as scratch:
        wrapper = _upload_pack_wrapper(Path(scratch), source.absolute())
        _run_limited(
            [
                "git", "-c", "protocol.allow=never", "-c", "protocol.file.allow=always",
                "-c", "fetch.fsckObjects=true", "-c", "transfer.fsckObjects=true", *tolerated,
                "-c", "fetch.unpackLimit=1", "-c", f"core.bigFileThreshold={_STREAM_FROM_BYTES}",
                "-c", "core.fsync=none",  # the importer makes the whole package durable before it counts
                "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0",
                "-c", "maintenance.auto=false", "-c", "submodule.recurse=false", "-c", "advice.detachedHead=false",
                *command, f"--upload-pack={shlex.quote(str(wrapper))}", *what,
            ],
            cwd=cwd, file_bytes=_DISK_FACTOR * size + _SPARE_DISK_BYTES,
            timeout_s=_TIMEOUT_S + _TIMEOUT_S_PER_MIB * (size >> 20),
        )  # fmt: skip


def _run_limited(command: Sequence[str], *, cwd: Path, file_bytes: int, timeout_s: float) -> None:
    """Run git with a limit on what it writes and allocates; at the end of its time all of it ends."""
    process = subprocess.Popen(
        ["prlimit", f"--fsize={file_bytes}", "--core=0", "--", *command],
        cwd=cwd, env=git_environment() | {"GIT_ALLOC_LIMIT": str(_ALLOCATION_BYTES)}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        words = process.communicate(timeout=timeout_s)[1].decode(errors="replace").strip()
    except subprocess.TimeoutExpired as err:
        raise RepositoryTooLarge(f"git did not end within {timeout_s:.0f} s") from err
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode == 0:
        return
    words = words[-_SHOWN_CHARACTERS:] or f"git fetch ended with {process.returncode}"
    if "No space left on device" in words:
        raise DiskFull(f"this machine's disk is full while objects come in: {words}")
    if process.returncode == -signal.SIGXFSZ or any(mark in words for mark in _TOO_LARGE):
        raise RepositoryTooLarge(words)
    raise GitFailed(words)


def _upload_pack_wrapper(scratch: Path, source: Path) -> Path:
    """Write the script that git calls instead of upload-pack: the same, seeing only objects and refs."""
    (scratch / "gitconfig").write_text("[safe]\n\tdirectory = *\n")
    (scratch / "config").write_text(_SOURCE_CONFIG)
    (scratch / "HEAD").write_text("ref: refs/heads/main\n")
    view = _view(scratch, source)
    sources = [str(scratch / "gitconfig"), *view.values()]
    uid = run_uid(os.geteuid(), own_uid_map(), os.getpid())
    command = [
        *given_up(sources, uid),
        bwrap_path(), "--unshare-all", "--die-with-parent", "--new-session", "--clearenv",
        "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "GIT_CONFIG_NOSYSTEM", "1",
        "--setenv", "GIT_CONFIG_GLOBAL", "/gitconfig", "--setenv", "GIT_NO_LAZY_FETCH", "1",
        "--setenv", "GIT_NO_REPLACE_OBJECTS", "1", "--setenv", "HOME", "/nonexistent",
        "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
        "--symlink", "usr/bin", "/bin", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",  # noqa: S108
        "--ro-bind", str(scratch / "gitconfig"), "/gitconfig", "--dir", "/src",
        *(word for inside, host in view.items() for word in ("--ro-bind", host, inside)),
        # alternates, commit-graphs: nothing that an import needs
        *(("--tmpfs", "/src/objects/info") if (source / "objects" / "info").is_dir() else ()),
        "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL", "--",
        "prlimit", "--cpu=600", "--as=8589934592", "git", "upload-pack", "--strict", "--timeout=120", "/src",
    ]  # fmt: skip
    script = scratch / "upload-pack"
    protocol = '--setenv GIT_PROTOCOL "${GIT_PROTOCOL:-}"'
    words = [shlex.quote(word) for word in command]
    words.insert(len(words) - 1 - words[::-1].index("--clearenv") + 1, protocol)
    script.write_text("#!/bin/sh\nexec " + " ".join(words) + "\n")
    script.chmod(0o700)
    return script


def _view(scratch: Path, source: Path) -> dict[str, str]:
    """Return the mounts, inside to host, that show a repository without anything that configures it."""
    parts = [source / name for name in ("objects", "refs", "packed-refs", "shallow")]
    shown = [scratch / "config", scratch / "HEAD", *(part for part in parts if part.exists())]
    return {f"/src/{path.name}": str(path) for path in shown}


_SHOWN_CHARACTERS = 600
_TOO_LARGE = ("over limit", "Out of memory", "died of signal 25", "File too large")
"""Git's words, in the C locale, for a refused allocation and for the limit on file size."""

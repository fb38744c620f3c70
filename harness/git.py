"""Read-only access to one of our own bare repositories.

Git runs with a fixed environment: no system or user configuration, no lazy fetching, no
replacement objects, no prompts. Never point this at a package that has not been imported: the
configuration of a foreign repository executes code (security reference, 3a).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from harness.errors import GitFailed
from harness.tree import Entry, Tree

GIT_TIMEOUT_S = 120
CACHE_BYTES = 32 << 20
READ_TRIES = 2


def git_environment() -> dict[str, str]:
    """Return the environment that every git process of ours runs in."""
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
    }


def run_git(
    arguments: Sequence[str], *, cwd: Path | None = None, extra_env: Mapping[str, str] | None = None,
    input_bytes: bytes | None = None, timeout_s: float = GIT_TIMEOUT_S,
) -> bytes:  # fmt: skip
    """Run git and return its standard output; GitFailed with git's own words otherwise."""
    command = ["git", *arguments]
    env = git_environment() | dict(extra_env or {})
    try:
        done = subprocess.run(
            command, cwd=cwd, env=env, input=input_bytes, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as err:
        raise GitFailed(f"`git {arguments[0]}` did not end within {timeout_s:.0f} s") from err
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()[-600:]
        raise GitFailed(f"`git {' '.join(arguments)[:200]}` ended with {done.returncode}: {words}")
    return done.stdout


class BlobMissing(GitFailed):
    """The repository does not have an object that one of its trees names."""

    code = "BLOB_MISSING"


class _EndedError(Exception):
    """The long-lived git process ended before its answer was whole."""


class GitRepo:
    """Blobs and trees of a bare repository, through one long-lived `git cat-file --batch`.

    Safe for use from several threads; one process per instance. Use as a context manager.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the git process."""
        with self._lock:
            self._drop()

    def has_commit(self, sha: str) -> bool:
        """Return whether `sha` is a commit of this repository."""
        try:
            return self._object(f"{sha}^{{commit}}")[0] == "commit"
        except BlobMissing:
            return False

    def commit_body(self, sha: str) -> str:
        """Return the message of a commit."""
        raw = self._object(f"{sha}^{{commit}}")[1].decode("utf-8", "replace")
        return raw.partition("\n\n")[2]

    def parents(self, sha: str) -> tuple[str, ...]:
        """Return the ids of the parents of a commit."""
        head = self._object(f"{sha}^{{commit}}")[1].decode("utf-8", "replace").partition("\n\n")[0]
        return tuple(line[7:] for line in head.splitlines() if line.startswith("parent "))

    def blob(self, sha: str) -> bytes:
        """Return the content of a blob; BlobMissing when the repository does not have it."""
        with self._lock:
            data = self._cache.get(sha)
            if data is not None:
                self._cache.move_to_end(sha)
                return data
        data = self._object(sha)[1]
        with self._lock:
            if sha not in self._cache and len(data) < CACHE_BYTES // 8:
                self._cache[sha] = data
                self._cached_bytes += len(data)
            while self._cached_bytes > CACHE_BYTES:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1])
        return data

    def tree(self, commitish: str) -> Tree:
        """Return the tree of a commit; submodules are left out."""
        listing = run_git(["--git-dir", str(self.path), "ls-tree", "-r", "-z", "--full-tree", commitish])
        entries: dict[str, Entry] = {}
        for row in listing.split(b"\0"):
            if row:
                meta, _, name = row.partition(b"\t")
                mode, kind, blob = meta.decode().split()
                if kind == "blob":
                    entries[name.decode("utf-8", "surrogateescape")] = Entry(mode, blob)
        return Tree(MappingProxyType(entries), self.blob)

    def _object(self, name: str) -> tuple[str, bytes]:
        """Return type and content of an object; a process that died is replaced once."""
        with self._lock:
            for _ in range(READ_TRIES):
                try:
                    return self._read(name)
                except BlobMissing:
                    raise
                except _EndedError:
                    self._drop()
                except BaseException:  # an interrupted read leaves the rest of its answer in the pipe
                    self._drop()
                    raise
        raise GitFailed(f"git cat-file ended early while reading {name} in {self.path}, {READ_TRIES} times")

    def _read(self, name: str) -> tuple[str, bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                ["git", "--git-dir", str(self.path), "cat-file", "--batch"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=git_environment(),
            )  # fmt: skip
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise GitFailed(f"no pipe to git cat-file in {self.path}")
        try:
            stdin.write(name.encode() + b"\n")
            stdin.flush()
        except BrokenPipeError as err:
            raise _EndedError from err
        line = stdout.readline()
        header = line.split()
        if line.endswith(b"\n") and header[-1:] in ([b"missing"], [b"ambiguous"]):
            raise BlobMissing(f"{name} is not in {self.path}")
        if not line.endswith(b"\n") or len(header) != len(("id", "type", "size")):
            raise _EndedError
        size = int(header[2])
        data = stdout.read(size)
        if len(data) != size or stdout.read(1) != b"\n":
            raise _EndedError
        return header[1].decode(), data

    def _drop(self) -> None:
        """End the process, if there is one; the next read starts another."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # git died with a request on its way
                process.stdin.close()
        if process.stdout is not None:
            process.stdout.close()  # a git that is still writing ends here
        process.wait()

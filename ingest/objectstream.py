"""Many objects of one of our own bare repositories, as one stream.

A check looks at thousands of trees and blobs. One `git cat-file` that is given all names at once
runs beside the reader, and nothing waits for a round trip. Only for repositories of ours: what is
still a package is never read this way.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import GitFailed
from harness.git import git_environment

MISSING = "missing"
_PIPE_BYTES = 256 << 10
"""Larger than the default, so that git and the reader do not wait for each other at every object."""


@dataclass(frozen=True)
class GitObject:
    """One object, in the order in which it was asked for."""

    name: str
    """As it was asked for."""
    kind: str
    """commit, tree, blob, tag, or `missing`."""
    oid: str
    data: bytes


def read_objects(repo: Path, names: Iterable[str]) -> Iterator[GitObject]:
    """Yield the objects with these names (ids, or ids with a suffix such as `^{tree}`), each as it is read."""
    asked = list(names)
    with tempfile.TemporaryFile() as requests:
        requests.write("".join(f"{name}\n" for name in asked).encode())
        requests.seek(0)
        process = subprocess.Popen(
            ["git", "--git-dir", ".", "cat-file", "--batch", "--buffer"], cwd=repo, env=git_environment(),
            stdin=requests, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=_PIPE_BYTES,
            pipesize=_PIPE_BYTES,
        )  # fmt: skip
    try:
        if process.stdout is None:
            raise GitFailed(f"no pipe to git cat-file in {repo}")
        for name in asked:
            header = process.stdout.readline().split()
            if header[-1:] == [b"missing"]:
                yield GitObject(name, MISSING, "", b"")
                continue
            if len(header) != len(("id", "type", "size")):
                raise GitFailed(f"git cat-file ended early while reading {name} in {repo}")
            data = process.stdout.read(int(header[2]))
            if len(data) != int(header[2]) or process.stdout.read(1) != b"\n":
                raise GitFailed(f"git cat-file ended early while reading {name} in {repo}")
            yield GitObject(name, header[1].decode(), header[0].decode(), data)
    finally:
        process.kill()
        if process.stdout is not None:
            process.stdout.close()
        process.wait()


def object_sizes(repo: Path) -> Iterator[tuple[str, str, int]]:
    """Yield id, kind and size in bytes of every object of a repository, reachable or not."""
    process = subprocess.run(
        ["git", "--git-dir", ".", "cat-file", "--batch-all-objects", "--unordered", "--buffer",
         "--batch-check=%(objectname) %(objecttype) %(objectsize)"],
        capture_output=True, env=git_environment(), cwd=repo, check=False, timeout=_SIZES_TIMEOUT_S,
    )  # fmt: skip
    if process.returncode != 0:
        raise GitFailed(f"the objects of {repo} cannot be listed: {process.stderr.decode(errors='replace')[-400:]}")
    for row in process.stdout.decode().splitlines():
        oid, kind, size = row.split()
        yield oid, kind, int(size)


_SIZES_TIMEOUT_S = 300

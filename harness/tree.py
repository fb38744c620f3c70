"""A source tree as a value: path to (mode, content).

Trees come from git (content named by blob id, read on demand) and are edited by replacing whole
files. Nothing is checked out: the sandbox gets the tree as one tar stream, so the model's working
copy and the tree that is graded can never be the same directory.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO

FILE_MODE = "100644"
EXECUTABLE_MODE = "100755"
SYMLINK_MODE = "120000"


@dataclass(frozen=True)
class Entry:
    """One file of a tree."""

    mode: str
    """Git mode: 100644, 100755 or 120000."""
    blob: str
    """Git blob id (40 hex digits) of the content."""


@dataclass(frozen=True)
class Tree:
    """An immutable mapping of POSIX paths to entries, with a reader for the contents."""

    entries: Mapping[str, Entry]
    read_blob: Callable[[str], bytes]

    def __contains__(self, path: str) -> bool:
        return path in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def read(self, path: str) -> bytes:
        """Return the content of `path`; KeyError when it is not in the tree."""
        return self.read_blob(self.entries[path].blob)

    def text(self, path: str) -> str:
        """Return the content of `path` as text; UnicodeDecodeError when it is not UTF-8."""
        return self.read(path).decode("utf-8")

    def replace(self, files: Mapping[str, bytes], *, remove: Iterable[str] = ()) -> Tree:
        """Return a tree in which `files` have the given contents and `remove` are gone.

        An existing file keeps its mode; a new one is a plain file.
        """
        entries = {path: entry for path, entry in self.entries.items() if path not in set(remove)}
        fresh: dict[str, bytes] = {}
        for path, data in files.items():
            blob = blob_id(data)
            old = self.entries.get(path)
            entries[path] = Entry(old.mode if old and old.mode != SYMLINK_MODE else FILE_MODE, blob)
            fresh[blob] = data
        return Tree(MappingProxyType(entries), _layered(fresh, self.read_blob))

    def overlay(self, other: Tree, wanted: Callable[[str], bool]) -> Tree:
        """Return this tree with every path that `wanted` names taken from `other`, absence included."""
        entries = {path: entry for path, entry in self.entries.items() if not wanted(path)}
        entries.update({path: entry for path, entry in other.entries.items() if wanted(path)})
        mine, theirs = self.read_blob, other.read_blob
        blobs = {entry.blob for path, entry in other.entries.items() if wanted(path)}
        return Tree(MappingProxyType(entries), lambda blob: theirs(blob) if blob in blobs else mine(blob))

    @property
    def sha256(self) -> str:
        """Digest of paths, modes and contents."""
        hasher = hashlib.sha256()
        for path in sorted(self.entries):
            entry = self.entries[path]
            hasher.update(f"{entry.mode} {entry.blob} {path}\0".encode("utf-8", "surrogateescape"))
        return hasher.hexdigest()


def changed_paths(old: Tree, new: Tree) -> tuple[str, ...]:
    """Return the paths whose content, mode or presence differs, sorted."""
    both = set(old.entries) | set(new.entries)
    return tuple(sorted(path for path in both if old.entries.get(path) != new.entries.get(path)))


def write_tar(tree: Tree, out: IO[bytes], *, prefix: str, extra: Mapping[str, bytes] | None = None) -> None:
    """Write the tree below `prefix` as an uncompressed tar stream, sorted, without times or owners.

    `extra` adds plain files under names of their own (relative to the root of the stream).
    """
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(tree.entries):
            entry = tree.entries[path]
            data = tree.read_blob(entry.blob)
            info = tarfile.TarInfo(f"{prefix}/{path}")
            if entry.mode == SYMLINK_MODE:
                info.type = tarfile.SYMTYPE
                info.linkname = data.decode("utf-8", "surrogateescape")
                tar.addfile(info)
            else:
                info.mode = 0o755 if entry.mode == EXECUTABLE_MODE else 0o644
                _add(tar, info, data)
        for name, data in sorted((extra or {}).items()):
            _add(tar, tarfile.TarInfo(name), data)


def _add(tar: tarfile.TarFile, info: tarfile.TarInfo, data: bytes) -> None:
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def blob_id(data: bytes) -> str:
    """Return the id that git gives this content (SHA-1 object format)."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _layered(fresh: Mapping[str, bytes], below: Callable[[str], bytes]) -> Callable[[str], bytes]:
    def read(blob: str) -> bytes:
        data = fresh.get(blob)
        return below(blob) if data is None else data

    return read

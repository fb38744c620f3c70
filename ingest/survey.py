"""What lies on a medium, judged by names and lstat alone, before anything of it is opened for reading.

The walk opens directories only, each by itself and without following links, and stays on the file
system that it started on. Regular files that the format has a place for are listed with their size;
everything else becomes a finding with a code of its own, all of them in one go.

Invariant: no file is opened, and the walk ends after `Bounds.entries` names whatever the medium
holds. Not protected against: a file system driver that misbehaves.

Hard links are refused although they can come about honestly (`cp -al`, a local `git clone`): such a
file changes when another name of it is written to, somewhere else. `package prepare` makes none.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from harness.manifest import MANIFEST_NAME, SIGNATURE_NAME
from ingest.errors import CopyFailed
from ingest.findings import Finding
from ingest.inspect import MANIFEST_LIMIT_BYTES, printable

REPOSITORY, WHEELS = "repo", "packages"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_UNPRINTABLE = {"Cc", "Cf", "Zl", "Zp"}
"""Control characters, and those that make a terminal show another name than the one that is there."""
_FORMAT = "manifest.json, manifest.json.sig, repo/ and packages/*.whl only, regular files"
_NEXT = "Prepare the package again; copy nothing else into its directory."
_COPY = "Copy the package anew, with `cp -r --no-preserve=links`, to a medium of its own."
_KINDS = {
    stat.S_IFLNK: ("FILE_SYMLINK", "a symbolic link"), stat.S_IFIFO: ("FILE_FIFO", "a FIFO"),
    stat.S_IFSOCK: ("FILE_SOCKET", "a socket"), stat.S_IFCHR: ("FILE_DEVICE", "a device"),
    stat.S_IFBLK: ("FILE_DEVICE", "a device"),
}  # fmt: skip


@dataclass(frozen=True)
class Bounds:
    """How much a package may hold; far above any that `package prepare` writes."""

    entries: int = 200_000
    file_bytes: int = 8 << 30
    package_bytes: int = 64 << 30
    manifest_bytes: int = MANIFEST_LIMIT_BYTES
    signature_bytes: int = 1 << 20
    name_bytes: int = 255
    """NAME_MAX of the disk that it is copied to."""
    path_bytes: int = 1024
    depth: int = 32
    findings: int = 1_000
    """After as many the rest is not looked at."""

    def of(self, path: str) -> int:
        """Return how large the file at this path may be."""
        return {MANIFEST_NAME: self.manifest_bytes, SIGNATURE_NAME: self.signature_bytes}.get(path, self.file_bytes)


@dataclass(frozen=True)
class Survey:
    """What may be copied, and what speaks against the package."""

    files: Mapping[str, int]
    """Relative path to size in bytes of each regular file that the format has a place for, sorted."""
    findings: tuple[Finding, ...]
    too_much: bool
    """A limit of the whole was passed: nothing of it should be copied."""

    @property
    def bytes(self) -> int:
        """Return what a copy takes."""
        return sum(self.files.values())


def survey(source: Path, bounds: Bounds | None = None) -> Survey:
    """Walk a package directory; CopyFailed when the medium fails under the walk."""
    walk = _Walk(bounds or Bounds())
    try:
        root = os.open(source, _DIRECTORY & ~os.O_NOFOLLOW)  # a person named it: a link there is theirs
    except OSError as err:
        raise CopyFailed(f"{printable(str(source))} cannot be listed: {err.strerror}") from err
    try:
        walk.everything(root)
    finally:
        os.close(root)
    return Survey(dict(sorted(walk.files.items())), tuple(walk.findings), walk.too_much)


def judge(path: str, facts: os.stat_result, bounds: Bounds) -> Finding | None:
    """Return what speaks against one entry that is no directory where one belongs, or None."""
    kind = _KINDS.get(stat.S_IFMT(facts.st_mode))
    if kind is not None:
        return Finding(kind[0], path, "a regular file", kind[1], _NEXT)
    if stat.S_ISDIR(facts.st_mode):
        return Finding("UNEXPECTED_FILE", path, _FORMAT, "a directory", _NEXT)
    if facts.st_nlink > 1:
        return Finding("FILE_HARDLINK", path, "a file with one name", f"{facts.st_nlink} names for one file", _COPY)
    if facts.st_size > bounds.of(path):
        code = "MANIFEST_SIZE" if path == MANIFEST_NAME else "FILE_SIZE"
        return Finding(code, path, f"at most {bounds.of(path)} bytes", f"{facts.st_size} bytes", _NEXT)
    return None


def judge_name(path: str, bounds: Bounds) -> Finding | None:
    """Return what speaks against the name at the end of a path, or None."""
    name = path.rpartition("/")[2]
    try:
        raw = os.fsencode(path)
        name.encode()
    except UnicodeEncodeError:
        return Finding("NAME_NOT_UTF8", path, "names in UTF-8", "other bytes", _NEXT)
    if not name.isprintable() and any(unicodedata.category(char) in _UNPRINTABLE for char in name):
        return Finding("NAME_CONTROL", path, "names that can be printed", "control characters", _NEXT)
    if len(os.fsencode(name)) > bounds.name_bytes:
        return Finding("NAME_LENGTH", path, f"names of at most {bounds.name_bytes} bytes", "a longer one", _NEXT)
    if len(raw) > bounds.path_bytes or path.count("/") > bounds.depth:
        limit = f"paths of at most {bounds.path_bytes} bytes and {bounds.depth} folders"
        return Finding("PATH_LENGTH", path, limit, "a longer one", _NEXT)
    return None


def collisions(paths: Iterable[str]) -> Iterator[Finding]:
    """Yield a finding for each path that another one equals on a file system that folds case or Unicode forms."""
    seen: dict[str, str] = {}
    for path in paths:
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
        other = seen.setdefault(folded, path)
        if other != path:
            one = "names that stay apart where case or Unicode form do not count"
            yield Finding("NAME_COLLISION", path, one, f"{printable(other)} beside it", _NEXT)


@dataclass
class _Walk:
    """The state of one walk over a package."""

    bounds: Bounds
    files: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    too_much: bool = False
    seen: int = 0

    def everything(self, root: int) -> None:
        device = os.fstat(root).st_dev
        pending: list[tuple[str, frozenset[int]]] = [("", frozenset({os.fstat(root).st_ino}))]
        while pending and not self.too_much:
            folder, above = pending.pop()
            entries = self.listing(root, folder)
            room = self.bounds.findings - len(self.findings)
            self.findings += islice(collisions(f"{folder}{name}" for name, _ in entries), room)
            self.too_much = len(self.findings) >= self.bounds.findings
            for name, facts in entries:
                if self.too_much:
                    break
                path = f"{folder}{name}"
                if not self.takes(path, facts):
                    continue
                if facts.st_dev != device or facts.st_ino in above:
                    found = "another file system, or a folder that holds itself"
                    self.findings.append(Finding("MOUNT_POINT", path, "one directory tree", found, _COPY))
                elif stat.S_ISDIR(facts.st_mode):
                    pending.append((f"{path}/", above | {facts.st_ino}))
                else:
                    self.files[path] = facts.st_size
        self.limits()

    def takes(self, path: str, facts: os.stat_result) -> bool:
        """Return whether an entry has a place in the format; a finding says why not."""
        is_folder = stat.S_ISDIR(facts.st_mode)
        if "/" not in path and path not in ({REPOSITORY, WHEELS} if is_folder else {MANIFEST_NAME, SIGNATURE_NAME}):
            problem = judge(path, facts, self.bounds)
            if problem is None or problem.code not in _SPECIAL:
                found = "a directory" if is_folder else "a file"
                problem = Finding("UNEXPECTED_FILE", path, _FORMAT, found, _NEXT)
        else:
            is_place = is_folder and not path.startswith(f"{WHEELS}/")
            problem = judge_name(path, self.bounds) or (None if is_place else judge(path, facts, self.bounds))
        if problem is not None:
            self.findings.append(problem)
            self.too_much = len(self.findings) >= self.bounds.findings
        return problem is None

    def listing(self, root: int, folder: str) -> list[tuple[str, os.stat_result]]:
        """Return names and lstat of one folder, sorted; never more than the walk may still look at."""
        found = []
        try:
            fd = _open_folder(root, folder)
            try:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        self.seen += 1
                        if self.seen > self.bounds.entries:
                            break
                        found.append((entry.name, entry.stat(follow_symlinks=False)))
            finally:
                os.close(fd)
        except OSError as err:
            raise CopyFailed(f"{printable(folder) or 'the package'} cannot be listed: {err.strerror}") from err
        return sorted(found)

    def limits(self) -> None:
        """Add what is wrong with the package as a whole."""
        total = sum(self.files.values())
        if self.seen > self.bounds.entries:
            self.too_much = True
            entries = f"at most {self.bounds.entries} files and folders"
            self.findings.append(Finding("FILE_COUNT", "", entries, "more", _NEXT))
        if total > self.bounds.package_bytes:
            self.too_much = True
            whole = f"at most {self.bounds.package_bytes} bytes"
            self.findings.append(Finding("PACKAGE_SIZE", "", whole, f"{total} bytes", _NEXT))


def _open_folder(root: int, folder: str) -> int:
    """Open a folder below a directory one component at a time, so that a link in the way is not followed."""
    fd = os.dup(root)
    for part in folder.split("/")[:-1]:
        try:
            below = os.open(part, _DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


_SPECIAL = {code for code, _ in _KINDS.values()}

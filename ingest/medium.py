"""Files on a medium that somebody else wrote: regular ones only, below one directory, no link followed.

Every component of a path is opened by itself with O_NOFOLLOW, so that a link planted on a stick leads
neither a read nor a write out of it, also when the stick changes meanwhile. O_NONBLOCK keeps a FIFO from
hanging anybody. Not protected against: a file system driver that misbehaves.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count, islice
from pathlib import Path

from ingest.errors import IngestError, PackageMissing
from ingest.inspect import printable

MAX_DEPTH = 64
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
"""To look at where a directory is: folders above it need not be readable."""
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BATCH = 10_000
"""Names held in memory at a time while things are removed: a folder may have any number."""


class NotRegular(IngestError):
    """Something on the medium is not the regular file or directory that was expected there."""

    code = "NOT_REGULAR"
    exit_code = 12
    hint = "Look at the medium with `ls -la`: links, devices and FIFOs do not belong into a package."


@contextmanager
def directory_fd(path: Path) -> Iterator[int]:
    """Give a directory that a person named (here links are theirs); PackageMissing when it is none."""
    try:
        fd = os.open(path, _DIRECTORY & ~os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError) as err:
        raise PackageMissing(f"{printable(str(path))} is not a directory") from err
    try:
        yield fd
    finally:
        os.close(fd)


def open_regular(root: int, relative: str) -> int:
    """Open a regular file below a directory for reading; NotRegular for anything else, OSError when it is gone."""
    *folders, name = relative.split("/")
    with _descent(root, folders, make=False) as parent:
        return _checked(parent, name, os.O_RDONLY, relative)


def create_regular(root: int, relative: str) -> int:
    """Open a regular file below a directory for writing, empty; missing folders are made."""
    *folders, name = relative.split("/")
    with _descent(root, folders, make=True) as parent:
        with suppress(FileNotFoundError):  # never written through: what was planted there is not ours
            os.unlink(name, dir_fd=parent)
        return _checked(parent, name, os.O_RDWR | os.O_CREAT | os.O_EXCL, relative)


def read_bounded(root: int, relative: str, limit_bytes: int) -> bytes:
    """Read a regular file below a directory; NotRegular when it has more bytes than the limit."""
    with os.fdopen(open_regular(root, relative), "rb") as stream:
        data = stream.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise NotRegular(f"{printable(relative)} has more than {limit_bytes} bytes")
    return data


def walk_entries(root: int, limit: int) -> Iterator[tuple[str, os.stat_result]]:
    """Yield every entry below a directory that is no directory, with its lstat; NotRegular beyond the limits."""
    folders, seen = [""], 0
    while folders:
        folder = folders.pop()
        with _descent(root, folder.split("/")[:-1], make=False) as fd, os.scandir(fd) as entries:
            for entry in sorted(islice(entries, limit + 1), key=lambda entry: entry.name):
                seen += 1
                if seen > limit or folder.count("/") > MAX_DEPTH:
                    raise NotRegular(f"more than {limit} entries, or more than {MAX_DEPTH} folders deep")
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    folders.append(f"{folder}{entry.name}/")
                else:
                    yield f"{folder}{entry.name}", facts


def folders_of(files: Iterable[str]) -> set[str]:
    """Return every folder above files, "" for the topmost."""
    return {"/".join(parts[:depth]) for parts in (file.split("/") for file in files) for depth in range(len(parts))}


def sync_folders(root: int, files: Iterable[str]) -> None:
    """Make the names of files below a directory durable, and those of the folders that hold them."""
    for folder in sorted(folders_of(files), reverse=True):
        with _descent(root, folder.split("/") if folder else [], make=False) as fd:
            os.fsync(fd)


def remove_entry(root: int, relative: str) -> None:
    """Remove one entry that is no directory."""
    *folders, name = relative.split("/")
    with _descent(root, folders, make=False) as parent:
        os.unlink(name, dir_fd=parent)


def prune(root: int, files: Collection[str]) -> None:
    """Remove all below a directory but regular files of these paths and the folders that hold them."""
    folders, pending = folders_of(files), [""]
    while pending:
        folder = pending.pop()
        above = f"{folder}/" if folder else ""
        with _descent(root, folder.split("/") if folder else [], make=False) as fd:
            while batch := list(islice(_unlisted(fd, above, files, folders), _BATCH)):
                for entry in batch:
                    remove_whole(fd, entry.name)
            with os.scandir(fd) as entries:
                pending += [f"{above}{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False)]


def remove_whole(parent: int, name: str) -> None:
    """Remove one entry of a directory, a folder with all that it holds, however deep it goes."""
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    except OSError as err:
        if err.errno not in {errno.ELOOP, errno.ENOTDIR}:
            raise
        os.unlink(name, dir_fd=parent)
        return
    try:
        lifted = 0
        while batch := _some_of(fd):
            for entry in batch:
                if entry.is_dir(follow_symlinks=False):
                    lifted = _lift(fd, entry.name, lifted)
                else:
                    os.unlink(entry.name, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)


def is_within(inner: int, outer: int) -> bool:
    """Return whether a directory is another one or lies below it, by identity and not by name."""
    wanted = identity(outer)
    fd = os.open(".", _PLACE, dir_fd=inner)
    try:
        while (here := identity(fd)) != wanted:
            above = os.open("..", _PLACE, dir_fd=fd)
            os.close(fd)
            fd = above
            if identity(fd) == here:  # the root is above itself
                return False
        return True
    finally:
        os.close(fd)


def identity(fd: int) -> tuple[int, int]:
    """Return what is the same for two descriptors of one file or directory only."""
    facts = os.fstat(fd)
    return facts.st_dev, facts.st_ino


def _unlisted(fd: int, above: str, files: Collection[str], folders: Collection[str]) -> Iterator[os.DirEntry[str]]:
    with os.scandir(fd) as entries:
        for entry in entries:
            path = f"{above}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                is_listed = path in folders
            else:
                is_listed = path in files and entry.is_file(follow_symlinks=False)
            if not is_listed:
                yield entry


def _some_of(fd: int) -> list[os.DirEntry[str]]:
    with os.scandir(fd) as entries:
        return list(islice(entries, _BATCH))


def _lift(top: int, name: str, lifted: int) -> int:
    """Remove a folder of `top`, its own folders moved up beside it: so depth costs neither descriptors nor stack."""
    fd = os.open(name, _DIRECTORY, dir_fd=top)
    try:
        while batch := _some_of(fd):
            for entry in batch:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=fd)
                    continue
                lifted = _free_name(top, lifted)
                os.rename(entry.name, str(lifted), src_dir_fd=fd, dst_dir_fd=top)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=top)
    return lifted


def _free_name(fd: int, after: int) -> int:
    for number in count(after + 1):
        try:
            os.stat(str(number), dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return number
    raise AssertionError  # numbers do not end


@contextmanager
def _descent(root: int, folders: list[str], *, make: bool) -> Iterator[int]:
    """Go down from a directory one component at a time."""
    fd = os.dup(root)
    try:
        for at, folder in enumerate(folders):
            if make:
                with suppress(FileExistsError):
                    os.mkdir(folder, 0o755, dir_fd=fd)
            try:
                below = os.open(folder, _DIRECTORY, dir_fd=fd)
            except OSError as err:
                raise _odd("/".join(folders[: at + 1]), err) from err
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _checked(parent: int, name: str, flags: int, relative: str) -> int:
    try:
        fd = os.open(name, flags | _FILE, 0o644, dir_fd=parent)
    except OSError as err:
        raise _odd(relative, err) from err
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotRegular(f"{printable(relative)} is not a regular file")
    return fd


def _odd(where: str, err: OSError) -> Exception:
    """Return NotRegular for what is there and should not be, and the error itself for everything else."""
    if err.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EISDIR}:
        return NotRegular(f"{printable(where)} is not a regular file or directory")
    return err

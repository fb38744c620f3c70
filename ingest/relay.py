"""The diode laptop: stream a package from one stick to another, checked on both, keeping nothing.

What is read is hashed against the manifest; what was written is read back, past the page cache where the
file system allows it. The package grows in DST/.NAME.partial and gets its name when all of it is durable,
so a stick that is pulled out leaves nothing that looks like a package; the next run copies only what is
not whole yet. Manifest and signature are written from the bytes that were checked. Not protected against:
firmware of a stick that shows this machine something else than the next one.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import DiskFull
from harness.manifest import MANIFEST_NAME, SIGNATURE_NAME, FileEntry, parse_manifest
from ingest.errors import CopyFailed, IngestError, PackageExists, PackageMissing
from ingest.inspect import MANIFEST_LIMIT_BYTES, printable
from ingest.medium import (
    NotRegular,
    create_regular,
    directory_fd,
    identity,
    is_within,
    open_regular,
    prune,
    read_bounded,
    remove_entry,
    remove_whole,
    sync_folders,
)
from ingest.seal import NotAsListed, read_signature
from ingest.signing import Signer, Trust, Unsigned, verify
from ingest.survey import Survey, survey

CHUNK_BYTES = 1 << 20
_SECTOR = 512
_GO_ON = "Plug it in again and run the same command: what is whole already is not copied again."


class MediumFailed(IngestError):
    """The destination cannot be written, or does not hold what was written to it."""

    code = "RELAY_MEDIUM"
    exit_code = 12
    hint = "Run the same command again; if it happens twice, use another stick."


class DestinationInSource(IngestError):
    """The destination is the package that is to be copied, or a folder of it."""

    code = "RELAY_PLACE"
    exit_code = 2
    hint = "Name the directory that receives the package, on another stick: appliance ingest relay SRC DST"


@dataclass(frozen=True)
class Relayed:
    """What a relay did."""

    package: str
    state: str
    """relayed, or present: it was there already, and every file of it was read and found right."""
    signer: Signer | None
    """Who signed it; None when no signers were named to check against."""
    files: int
    copied: int
    copied_bytes: int
    read_back: int
    """Files that were read back past the page cache."""
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome for JSON."""
        return asdict(self) | {"seconds": round(self.seconds, 3)}


def relay(source: Path, destination: Path, *, trust: Trust | None, progress: Callable[[str], None]) -> Relayed:
    """Stream the package in `source` into the directory `destination`.

    With `trust` a package without a signature that counts is refused before anything is written.
    """
    started = time.monotonic()
    with directory_fd(source) as src, directory_fd(destination) as dst:
        with _reading(source):
            document = _manifest_of(src, source)
            manifest = parse_manifest(document)
            small = {MANIFEST_NAME: document} | _signature_of(source)
            signer = _signer(document, small.get(SIGNATURE_NAME), trust)
            _refuse_unlisted(src, manifest.files, source)
        with _writing():
            if is_within(dst, src):
                raise DestinationInSource(f"{printable(str(destination))} is in the package that is to be copied")
        entries = dict(manifest.files) | {path: entry_of(data) for path, data in small.items()}
        name = manifest.package_id
        present = _state(dst, name)
        job = _Relay(src, entries, small, progress)
        if present:
            job.expect(dst, name, document)
        else:
            job.copy_into(dst, name)
    return Relayed(
        name, "present" if present else "relayed", signer, len(entries), job.copied, job.copied_bytes, job.direct,
        time.monotonic() - started,
    )  # fmt: skip


def entry_of(data: bytes) -> FileEntry:
    """Return digest and size of bytes."""
    return FileEntry(hashlib.sha256(data).hexdigest(), len(data))


def digest_of_medium(fd: int) -> tuple[FileEntry, bool]:
    """Return digest and size of an open file as its medium has it, and whether the page cache was left out."""
    with suppress(OSError):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        direct = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        try:
            return _digest(direct), True
        finally:
            os.close(direct)
    except OSError as err:
        if err.errno not in {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOENT, errno.EACCES}:
            raise
    return _digest(fd), False


def _digest(fd: int) -> FileEntry:
    hasher, size = hashlib.sha256(), 0
    with mmap.mmap(-1, CHUNK_BYTES) as buffer:  # aligned, as reading past the cache wants it
        while count := os.preadv(fd, [buffer], size):
            hasher.update(buffer[:count])
            size += count
            if count % _SECTOR:  # the end: another read from here would not be aligned
                break
    return FileEntry(hasher.hexdigest(), size)


class _Relay:
    """One package on its way."""

    def __init__(
        self, src: int, entries: Mapping[str, FileEntry], small: Mapping[str, bytes], progress: Callable[[str], None]
    ) -> None:
        self.src, self.entries, self.small, self.progress = src, entries, small, progress
        self.copied = self.copied_bytes = self.direct = 0

    def expect(self, dst: int, name: str, document: bytes) -> None:
        """Read a package that is there already; PackageExists when it is another one, MediumFailed when damaged.

        What the appliance would refuse is damage, too, so nothing may lie there that is not listed.
        """
        hint = f"Remove {name} from the destination and run the same command again."
        with _writing(), _folder(dst, name) as there:
            self.refuse_source(there, name)
            if not self.is_whole(there, MANIFEST_NAME, entry_of(document)):
                raise PackageExists(f"another {name} is on the destination", hint="Take it away first; it is kept.")
            for path, what in _strays(_surveyed(there), self.entries):
                raise MediumFailed(f"{name} on the destination holds more: {path} is {what}", hint=hint)
            wrong = [path for path, entry in self.entries.items() if not self.is_whole(there, path, entry)]
        if wrong:
            raise MediumFailed(f"{name} on the destination is damaged, {printable(wrong[0])} for one", hint=hint)

    def copy_into(self, dst: int, name: str) -> None:
        """Bring every file that is not whole yet, then give the package its name.

        What else is in the partial package is removed first: it was not checked, and would be carried along.
        """
        partial = f".{name}.partial"
        with _writing():
            _make_folder(dst, partial)
            with _folder(dst, partial) as there:
                self.refuse_source(there, partial)
                prune(there, self.entries)
                missing = [path for path, entry in self.entries.items() if not self.is_whole(there, path, entry)]
                self.check_room(dst, missing)
                for path in missing:
                    self.copy(there, path, self.entries[path])
                sync_folders(there, self.entries)
            os.rename(partial, name, src_dir_fd=dst, dst_dir_fd=dst)
            os.fsync(dst)

    def refuse_source(self, there: int, name: str) -> None:
        if identity(there) == identity(self.src):
            raise DestinationInSource(f"{name} on the destination is the package that is to be copied")

    def is_whole(self, there: int, path: str, entry: FileEntry) -> bool:
        try:
            fd = open_regular(there, path)
        except (FileNotFoundError, NotRegular):
            return False
        try:
            if os.fstat(fd).st_size != entry.bytes:
                return False
            self.progress(f"reading {printable(path)} on the destination")
            found, _ = digest_of_medium(fd)
            return found == entry
        finally:
            os.close(fd)

    def check_room(self, dst: int, missing: list[str]) -> None:
        facts = os.fstatvfs(dst)
        needed, free = sum(self.entries[path].bytes for path in missing), facts.f_bavail * facts.f_frsize
        if needed > free:
            hint = "Make room on the destination, or take a larger stick, and run the same command again."
            raise DiskFull(f"{needed} bytes are to be copied, {free} are free on the destination", hint=hint)

    def copy(self, there: int, path: str, entry: FileEntry) -> None:
        """Copy one file, compare what was read with the manifest, and what was written with what was read."""
        self.progress(f"copying {printable(path)} ({entry.bytes} bytes)")
        fd = create_regular(there, path)
        try:
            seen = self.stream(fd, path, entry)
            if seen == entry:
                os.fsync(fd)
                back, is_direct = digest_of_medium(fd)
                self.direct += is_direct
        finally:
            os.close(fd)
        if seen != entry:
            remove_entry(there, path)
            raise NotAsListed(f"{printable(path)} is not the file that the manifest lists", hint=NotAsListed.hint)
        if back != entry:
            remove_entry(there, path)
            raise MediumFailed(f"{printable(path)} reads back differently from what was written")
        self.copied += 1
        self.copied_bytes += entry.bytes

    def stream(self, fd: int, path: str, entry: FileEntry) -> FileEntry:
        """Write one file and return what was read; stops when there is more than the manifest lists."""
        hasher, size = hashlib.sha256(), 0
        for chunk in [self.small[path]] if path in self.small else _chunks(self.src, path):
            size += len(chunk)
            if size > entry.bytes:
                break
            hasher.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(fd, view) :]
        return FileEntry(hasher.hexdigest(), size)


def _chunks(src: int, path: str) -> Iterator[bytes]:
    with _reading(Path(path)):
        fd = open_regular(src, path)
        with os.fdopen(fd, "rb", buffering=0) as stream:
            with suppress(OSError):
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk


def _manifest_of(src: int, source: Path) -> bytes:
    try:
        return read_bounded(src, MANIFEST_NAME, MANIFEST_LIMIT_BYTES)
    except FileNotFoundError as err:
        raise PackageMissing(f"{printable(str(source))} holds no {MANIFEST_NAME}") from err


def _signature_of(source: Path) -> dict[str, bytes]:
    try:
        return {SIGNATURE_NAME: read_signature(source)}
    except Unsigned:
        return {}


def _signer(document: bytes, signature: bytes | None, trust: Trust | None) -> Signer | None:
    if trust is None:
        return None
    if signature is None:
        raise Unsigned("the package carries no signature, and signers were named to check it against")
    return verify(document, signature, trust)


def _refuse_unlisted(src: int, listed: Mapping[str, FileEntry], source: Path) -> None:
    known = {*listed, MANIFEST_NAME, SIGNATURE_NAME}
    found = _surveyed(src)
    copied = [one for one in found.findings if one.code == "FILE_HARDLINK" and one.file in known]  # each by itself
    left = replace(found, findings=tuple(one for one in found.findings if one not in copied))
    for path, what in _strays(left, known):
        raise NotAsListed(f"{path} in {printable(str(source))} is {what}", hint=NotAsListed.hint)


def _surveyed(package: int) -> Survey:
    """Look at a package as the appliance will before it copies anything."""
    return survey(Path(f"/proc/self/fd/{package}"))


def _strays(found: Survey, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield what does not belong into a package with these files, and what it is, to be printed."""
    for one in found.findings:
        yield printable(one.file) or "the package", printable(f"{one.found} ({one.code}), expected: {one.expected}")
    for path in found.files.keys() - known:
        yield printable(path), "not listed in the manifest"


def _state(dst: int, name: str) -> bool:
    """Return whether something of the package's name is on the destination."""
    with _writing():
        try:
            os.stat(name, dir_fd=dst, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True


def _make_folder(dst: int, name: str) -> None:
    """Make a folder on the destination; whatever else is in its place is removed, never followed."""
    try:
        os.mkdir(name, 0o755, dir_fd=dst)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=dst, follow_symlinks=False).st_mode):
            remove_whole(dst, name)
            os.mkdir(name, 0o755, dir_fd=dst)


@contextmanager
def _folder(dst: int, name: str) -> Iterator[int]:
    """Give a folder of the destination, never through a link."""
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dst)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _reading(what: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise CopyFailed(f"{printable(str(what))} cannot be read from the source: {err.strerror}", hint=_GO_ON) from err


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as err:
        if err.errno in {errno.ENOSPC, errno.EDQUOT}:
            hint = "Make room on the destination and run the same command again; what is whole is not copied again."
            raise DiskFull(f"the destination is full: {err}", hint=hint) from err
        hint = "For a file above 4 GiB format the stick as exfat." if err.errno == errno.EFBIG else _GO_ON
        where = printable(str(err.filename)) if err.filename else "the destination"
        raise MediumFailed(f"{where}: {err.strerror}", hint=hint) from err

"""What a package directory holds, without trusting any of it.

Reads the manifest and the bytes of regular files, nothing else: no git, no archive is opened, no
link is followed, nothing is written. A digest that matches says that the files are those the
manifest lists, not that the manifest is authentic; that takes `package verify`.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.manifest import MANIFEST_NAME, SIGNATURE_NAME, Manifest, parse_manifest
from ingest.errors import PackageMissing

CHUNK_BYTES = 1 << 20
MANIFEST_LIMIT_BYTES = 64 << 20
STATES = ("ok", "changed", "missing", "unlisted", "not_regular")


@dataclass(frozen=True)
class InspectedFile:
    """One path of a package."""

    path: str
    """Relative to the package, POSIX; undecodable bytes as surrogates."""
    state: str
    """ok; changed: other content than listed; missing: listed, not there; unlisted: there, not
    listed; not_regular: a link, device or the like, not read."""
    bytes: int | None
    sha256: str | None


@dataclass(frozen=True)
class Inventory:
    """What a package directory holds."""

    directory: Path
    manifest: Manifest
    manifest_sha256: str
    is_signed: bool
    """Whether a signature file lies beside the manifest; it is not checked here."""
    files: tuple[InspectedFile, ...]
    """Every path that is there or listed, sorted, without the manifest and its signature."""

    @property
    def matches(self) -> bool:
        """Return whether exactly the listed files are there, with the listed content."""
        return all(file.state == "ok" for file in self.files)

    def as_dict(self) -> dict[str, Any]:
        """Return the inventory as JSON-ready values."""
        manifest = self.manifest
        states = Counter(file.state for file in self.files)
        return {
            "directory": printable(str(self.directory)),
            "package_id": manifest.package_id,
            "upstream": manifest.upstream,
            "license": manifest.license,
            "organisation": manifest.organisation,
            "domain": manifest.domain,
            "head": manifest.head,
            "test_command": list(manifest.test_command),
            "test_scope": manifest.test_scope,
            "manifest_sha256": self.manifest_sha256,
            "signed": self.is_signed,
            "matches": self.matches,
            "states": {state: states.get(state, 0) for state in STATES},
            "bytes": sum(file.bytes or 0 for file in self.files),
            "environments": [
                {**asdict(env), "commits": sum(commit.environment == env.id for commit in manifest.commits)}
                for env in manifest.environments
            ],
            "commits": [asdict(commit) for commit in manifest.commits],
            "files": [{**asdict(file), "path": printable(file.path)} for file in self.files],
        }


def inspect_package(directory: Path) -> Inventory:
    """Read a package directory; BadManifest or PackageMissing when there is nothing to read."""
    path = directory / MANIFEST_NAME
    if not _is_regular(path):
        raise PackageMissing(f"{printable(str(directory))} holds no {MANIFEST_NAME}")
    if path.lstat().st_size > MANIFEST_LIMIT_BYTES:
        raise PackageMissing(
            f"{printable(str(path))} is larger than {MANIFEST_LIMIT_BYTES >> 20} MiB, which no manifest is"
        )
    document = _read(path)
    manifest = parse_manifest(document)
    return Inventory(
        directory=directory,
        manifest=manifest,
        manifest_sha256=hashlib.sha256(document).hexdigest(),
        is_signed=_is_regular(directory / SIGNATURE_NAME),
        files=tuple(sorted(_compare(directory, manifest), key=lambda file: file.path)),
    )


def printable(text: str) -> str:
    """Return a text with what no terminal should get as escapes: bytes that are no UTF-8, and what is not printed.

    Not control characters alone: others reverse or hide what stands beside them (U+202E, U+200B), so that
    a person reads another name than the one that is there. A line feed is escaped, too.
    """
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # from an escape in a JSON document, not from a file name
        raw = text.encode("utf-8", "backslashreplace")
    whole = raw.decode("utf-8", "backslashreplace")
    if whole.isprintable():
        return whole
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in whole)


def _compare(directory: Path, manifest: Manifest) -> Iterator[InspectedFile]:
    seen: set[str] = set()
    for path in _walk(directory):
        name = path.relative_to(directory).as_posix()
        if name in {MANIFEST_NAME, SIGNATURE_NAME}:
            continue
        seen.add(name)
        if not _is_regular(path):
            yield InspectedFile(name, "not_regular", None, None)
            continue
        size, digest = _measure(path)
        listed = manifest.files.get(name)
        same = listed is not None and (listed.sha256, listed.bytes) == (digest, size)
        state = "unlisted" if listed is None else "ok" if same else "changed"
        yield InspectedFile(name, state, size, digest)
    for name in manifest.files.keys() - seen:
        yield InspectedFile(name, "missing", None, None)


def _walk(directory: Path) -> Iterator[Path]:
    """Yield everything below a directory that is not itself a directory, following no link."""
    pending = [directory]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                else:
                    yield Path(entry.path)


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _read(path: Path) -> bytes:
    with os.fdopen(_open(path), "rb") as stream:
        return stream.read()


def _measure(path: Path) -> tuple[int, str]:
    hasher, size = hashlib.sha256(), 0
    with os.fdopen(_open(path), "rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            hasher.update(chunk)
            size += len(chunk)
    return size, hasher.hexdigest()

"""Putting a package on disk: all of it or nothing.

A package grows in a hidden directory beside its destination and is renamed at the end, so that a
half-written one can never be taken for a package. Existing packages are never touched.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from harness.durable import sync_directory, sync_files
from harness.manifest import MANIFEST_NAME, FileEntry, Manifest, manifest_bytes, parse_manifest
from ingest.errors import PackageExists

CHUNK_BYTES = 1 << 20
UNFINISHED = ".unfinished"
LEFTOVER_S = 86_400
"""Age after which an unfinished package is nobody's work any more."""


def next_sequence(out: Path, name: str) -> int:
    """Return one more than the highest existing sequence number of a package name."""
    pattern = re.compile(rf"{re.escape(name)}-(\d+)")
    taken = [int(found[1]) for child in _children(out) if (found := pattern.fullmatch(child.name))]
    return max(taken, default=0) + 1


@contextmanager
def unfinished(out: Path, package_id: str) -> Iterator[Path]:
    """Give a scratch directory on the same file system as the package; it is removed afterwards."""
    if (out / package_id).exists():
        raise PackageExists(f"{out / package_id} is already there")
    out.mkdir(parents=True, exist_ok=True)
    for leftover in out.glob(f".*{UNFINISHED}"):  # of a preparation that was killed
        if time.time() - leftover.lstat().st_mtime > LEFTOVER_S:
            shutil.rmtree(leftover, ignore_errors=True)
    scratch = Path(mkdtemp(prefix=f".{package_id}.", suffix=UNFINISHED, dir=out))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def put_wheels(directory: Path, wheels: Iterable[Path]) -> None:
    """Make `packages/` hold exactly these wheels."""
    folder = directory / "packages"
    folder.mkdir(exist_ok=True)
    wanted = {wheel.name: wheel for wheel in wheels}
    for present in folder.iterdir():
        if present.name not in wanted:
            present.unlink()
    for name, wheel in wanted.items():
        if not (folder / name).exists():
            shutil.copyfile(wheel, folder / name)


def file_entries(directory: Path) -> dict[str, FileEntry]:
    """Return digest and size of every file below repo/ and packages/, by relative path."""
    entries: dict[str, FileEntry] = {}
    for room in ("packages", "repo"):
        for path in sorted((directory / room).rglob("*")):
            if path.is_file() and not path.is_symlink():
                entries[path.relative_to(directory).as_posix()] = FileEntry(sha256_of(path), path.stat().st_size)
    return entries


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, read in chunks."""
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()


def publish(directory: Path, manifest: Manifest, out: Path) -> Path:
    """Write the manifest, check that it parses, flush everything and give the package its name."""
    document = manifest_bytes(manifest)
    parse_manifest(document)
    (directory / MANIFEST_NAME).write_bytes(document)
    directory.chmod(0o755)
    sync_files(directory)
    target = out / manifest.package_id
    if target.exists():
        raise PackageExists(f"{target} is already there")
    directory.rename(target)
    sync_directory(out)
    return target


def _children(out: Path) -> list[Path]:
    return list(out.iterdir()) if out.is_dir() else []

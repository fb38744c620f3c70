"""Where packages lie on an appliance, and the moves between those places.

A package is in one of three states, whatever happens in between: on its way in (a staging directory
that nobody else looks at), integrated (files in place, then one database transaction) or in
quarantine (one rename, its reason inside). Each move is one durable rename of a finished directory.
What a cut or a kill leaves behind is recognised by rule and swept by whoever holds the import lock:
staging directories, and files that were put in place and never got their row.

Why a package was refused stays for good; its files are kept as far as `quarantine_cap_bytes` goes,
those that were refused last first, so that refused sticks do not fill the disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.durable import make_directory, move_whole, write_whole
from harness.goldgate import GateReport
from harness.manifest import Manifest
from harness.room import AnyRoom, Room
from ingest.policy import Policy

QUARANTINE_NAME = "quarantine.json"
PLACING_NAME = "placing"
"""File of a staging directory that names the package whose files are being put in place."""
_STAGE_PREFIX = "import-"
_NAME_CHARACTERS = 64
QUARANTINE_CAP_BYTES = 4 << 30
"""What the files of refused packages may take together."""


@dataclass(frozen=True)
class Shelves:
    """The directories and the record keeping that an import works with."""

    packages: Path
    incoming: Path
    quarantine: Path
    environments: Path
    cache: Path
    environments_cap_bytes: int
    latest_sequence: Callable[[str], int]
    """Package name to its highest integrated sequence; 0 when there is none."""
    integrate: Callable[[Manifest, Sequence[GateReport]], None]
    """Write the package to the database; called when its files are in place."""
    policy: Policy = field(default_factory=Policy)
    room: Room = field(default_factory=AnyRoom)
    """Whether there is room for more; an import waits until there is."""
    quarantine_cap_bytes: int = QUARANTINE_CAP_BYTES


@contextmanager
def staging(shelves: Shelves) -> Iterator[Path]:
    """Give a fresh staging directory, leftovers swept; only used while holding the import lock."""
    for leftover in shelves.incoming.glob(f"{_STAGE_PREFIX}*"):
        _drop(leftover, shelves)
    stage = Path(tempfile.mkdtemp(prefix=_STAGE_PREFIX, dir=shelves.incoming))
    try:
        yield stage
    except BaseException:
        with contextlib.suppress(Exception):  # what went wrong first is what counts; the next import sweeps again
            _drop(stage, shelves)
        raise
    shutil.rmtree(stage, ignore_errors=True)


def put_in_place(stage: Path, package: Path, shelves: Shelves) -> None:
    """Move the finished directory of a package to its shelf, durably; only a row makes it count. May be repeated."""
    final = shelves.packages / package.name
    make_directory(shelves.packages)
    write_whole(stage / PLACING_NAME, package.name.encode())
    if package.exists():
        if final.exists():  # of a crash between rename and transaction: without a row it is nothing
            shutil.rmtree(final)
        move_whole(package, final)


def quarantine_place(shelves: Shelves, name: str, stamp: str) -> Path:
    """Return a new place in quarantine for a package of any name, which is nothing before `put_in_quarantine`."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:_NAME_CHARACTERS]
    return shelves.quarantine / f"{safe}-{stamp}-{secrets.token_hex(4)}"


def put_in_quarantine(stage: Path, package: Path, place: Path, reason: Mapping[str, object]) -> None:
    """Move a refused package to its place together with the reason, at one stroke. May be repeated."""
    if place.exists():
        return
    refused = stage / "refused"
    refused.mkdir(mode=0o700, exist_ok=True)
    write_whole(refused / QUARANTINE_NAME, json.dumps(reason, indent=1, sort_keys=True).encode())
    if package.exists():
        package.rename(refused / "package")
    move_whole(refused, place)


def thin_quarantine(shelves: Shelves) -> None:
    """Remove the files of the packages refused first until the rest keeps to the cap; every reason stays."""
    places = sorted(shelves.quarantine.glob(f"*/{QUARANTINE_NAME}"), key=lambda path: path.stat().st_mtime_ns)
    sizes = {path.parent / "package": _bytes_below(path.parent / "package") for path in places}
    kept = sum(sizes.values())
    for package, size_bytes in sizes.items():
        if kept <= shelves.quarantine_cap_bytes:
            break
        for entry in list(package.iterdir()) if size_bytes else []:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        kept -= size_bytes


def _bytes_below(folder: Path) -> int:
    """Return the size of the files below a folder; what was copied in are regular files only."""
    return sum(
        (Path(root) / name).lstat().st_size for root, _, names in os.walk(folder, followlinks=False) for name in names
    )


def _drop(stage: Path, shelves: Shelves) -> None:
    """Remove a staging directory, and first the files that it put in place without a row."""
    with contextlib.suppress(FileNotFoundError):
        package_id = (stage / PLACING_NAME).read_text("utf-8")
        name, _, sequence = package_id.rpartition("-")
        if shelves.latest_sequence(name) < int(sequence):
            shutil.rmtree(shelves.packages / package_id, ignore_errors=True)
    shutil.rmtree(stage, ignore_errors=True)

"""Where packages lie on an appliance, and the moves between those places.

A package is in one of three states, whatever happens in between: on its way in (a staging directory
that nobody else looks at), integrated (files in place, then one database transaction) or in
quarantine (one rename, its reason inside). Each move is one durable rename of a finished directory.
What a cut or a kill leaves behind is recognised by rule and swept by whoever holds the import lock:
staging directories, and files that were put in place and never got their row.
"""

from __future__ import annotations

import contextlib
import json
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


def _drop(stage: Path, shelves: Shelves) -> None:
    """Remove a staging directory, and first the files that it put in place without a row."""
    with contextlib.suppress(FileNotFoundError):
        package_id = (stage / PLACING_NAME).read_text("utf-8")
        name, _, sequence = package_id.rpartition("-")
        if shelves.latest_sequence(name) < int(sequence):
            shutil.rmtree(shelves.packages / package_id, ignore_errors=True)
    shutil.rmtree(stage, ignore_errors=True)

"""RECORD, the wheel's own list of its files, compared with the files.

Pure: from the document and what was measured to faults. Installers copy RECORD into the environment
and do not compare it, so a wheel whose RECORD is wrong would be installed as if it were right.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ingest.wheelgate.faults import Fault, Unreadable
from ingest.wheelgate.limits import MAX_MEMBERS

STRONG = ("sha256", "sha384", "sha512")
_UNLISTED = ("RECORD", "RECORD.jws", "RECORD.p7s")
_FIELDS = 3


@dataclass(frozen=True)
class Row:
    """What RECORD says about one file."""

    algorithm: str
    """"" when the row has no hash."""
    digest: str
    """As written, without padding."""
    size_bytes: int | None


@dataclass(frozen=True)
class Measured:
    """What a file of the wheel really is."""

    size_bytes: int
    sha256: str
    digests: Mapping[str, bytes]
    """By the algorithm that RECORD names for the file, and sha256."""


def parse_record(document: bytes) -> dict[str, Row]:
    """Return the rows by path; Unreadable when the document is no list of files."""
    rows: dict[str, Row] = {}
    try:
        for fields in csv.reader(io.StringIO(document.decode("utf-8"), newline=""), strict=True):
            if not fields:
                continue
            path, sha, size = fields if len(fields) == _FIELDS else (fields[0], "", "no three fields")
            algorithm, _, digest = sha.partition("=")
            if len(rows) > MAX_MEMBERS:
                raise Unreadable("WHEEL_RECORD", f"at most {MAX_MEMBERS} files in RECORD", "more")
            if path in rows:
                raise Unreadable("WHEEL_RECORD", "each file once in RECORD", path)
            rows[path] = Row(algorithm, digest.rstrip("="), int(size) if size else None)
    except (UnicodeDecodeError, csv.Error, ValueError) as err:
        raise Unreadable("WHEEL_RECORD", "RECORD to be rows of path, hash and size", str(err)) from err
    return rows


def record_faults(rows: Mapping[str, Row], files: Mapping[str, Measured], dist_info: str) -> Iterator[Fault]:
    """Find files that RECORD does not list, lists although they are not there, or lists otherwise than they are."""
    exempt = {f"{dist_info}/{name}" for name in _UNLISTED}
    yield from _absent(rows, files.keys() | {f"{dist_info}/RECORD"})
    for path, measured in files.items():
        row = rows.get(path)
        if path in exempt and (row is None or not row.algorithm):
            continue
        if row is None:
            yield Fault("WHEEL_RECORD_UNLISTED", "every file in RECORD", path)
        elif row.algorithm not in STRONG:
            yield Fault("WHEEL_RECORD_WEAK", f"a hash by {', '.join(STRONG)}", f"{path}: {row.algorithm or 'none'}")
        elif row.digest not in _forms(measured.digests[row.algorithm]):
            found = _forms(measured.digests[row.algorithm])[0]
            yield Fault("WHEEL_RECORD_HASH", f"{path}: {row.algorithm} {row.digest}", found)
        elif row.size_bytes is not None and row.size_bytes != measured.size_bytes:
            yield Fault("WHEEL_RECORD_HASH", f"{path}: {row.size_bytes} bytes", f"{measured.size_bytes} bytes")


def _absent(rows: Mapping[str, Row], files: Collection[str]) -> Iterator[Fault]:
    for path in rows:
        if path not in files:
            yield Fault("WHEEL_RECORD_ABSENT", "no file in RECORD that the wheel lacks", path)


def _forms(digest: bytes) -> tuple[str, str]:
    """Return a digest as RECORD has it: base64, or the hexadecimal form that a few build tools write."""
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), digest.hex()

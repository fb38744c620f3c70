"""Records from the sandbox that nobody but our own sender can have written.

Every record carries a running number and a code made with a key that only this run knows
(HMAC-SHA256), so that a line written by anybody else, a lost line and a repeated one all show. The
key goes in with the request (`harness/sandbox/consumed.py`) and is not part of any address.

Not protected against: code in the same interpreter that finds our sender and uses it.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

KEY_BYTES = 32
CODE_BYTES = 16
_SHOWN_CHARS = 60


@dataclass(frozen=True)
class Opened:
    """What came through the record pipe of one run."""

    records: tuple[Mapping[str, Any], ...]
    """The records that our own sender wrote, in order."""
    tampering: str
    """The first thing that was wrong with the pipe, or ""."""


def new_key() -> bytes:
    """Return the key of one run."""
    return secrets.token_bytes(KEY_BYTES)


def code(key: bytes, number: int, body: bytes) -> str:
    """Return the code that makes `body` the record with this number."""
    return hmac.digest(key, b"%d %s" % (number, body), "sha256")[:CODE_BYTES].hex()


def open_records(raw: bytes | bytearray, key: bytes, *, cut: bool = False) -> Opened:
    """Check and parse the lines of a record pipe, each `NUMBER CODE JSON`.

    `cut` says that the writer was killed, so that the last line may be torn.
    """
    records: list[Mapping[str, Any]] = []
    tampering = ""
    for line, is_whole in _lines(raw):
        if not is_whole and cut:
            break
        number, body = _verified(line, key)
        if number == len(records) and not tampering:
            record = _parsed(body)
            if record is not None:
                records.append(record)
                continue
        tampering = tampering or _problem(line, number, len(records))
    return Opened(tuple(records), tampering)


def _lines(raw: bytes | bytearray) -> Iterator[tuple[bytes, bool]]:
    start = 0
    while start < len(raw):
        end = raw.find(b"\n", start)
        yield bytes(raw[start:end] if end >= 0 else raw[start:]), end >= 0
        start = end + 1 if end >= 0 else len(raw)


def _verified(line: bytes, key: bytes) -> tuple[int, bytes]:
    """Return number and body of a line that our sender wrote; -1 for any other."""
    parts = line.split(b" ", 2)
    if len(parts) != 3 or not parts[0].isdigit() or len(parts[0]) > 18:  # noqa: PLR2004 - NUMBER CODE JSON; 64 bits
        return -1, b""
    number, said, body = int(parts[0]), parts[1], parts[2]
    return (number, body) if hmac.compare_digest(said, code(key, number, body).encode()) else (-1, b"")


def _parsed(body: bytes) -> Mapping[str, Any] | None:
    try:
        record = json.loads(body)
        json.dumps(record, ensure_ascii=False).encode()  # half a surrogate pair cannot be stored
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _problem(line: bytes, number: int, expected: int) -> str:
    if number < 0:
        return f"somebody else wrote to the record pipe: {line[:_SHOWN_CHARS]!r}"
    if number == expected:
        return f"record {number} of the run is no document: {line[:_SHOWN_CHARS]!r}"
    return f"record {number} of the run came where {expected} was due: records were lost or repeated"

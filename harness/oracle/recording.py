"""What the oracle of one commit is: calls to make, what the true solution answers, and its text forms.

A recording is part of an integrated package; its digest stands in the database, so that a changed file
is no oracle. Replies are evidence: both are kept as canonical JSON and can be judged again at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.durable import write_whole
from harness.errors import HarnessError

FORMAT = 2
DIRECTORY = "oracle"

Document = Any
"""A value as tagged JSON, see harness/inside/oracle_values.py."""


class OracleMissing(HarnessError):
    """The recorded answers of a commit are gone or are not those that the gate wrote."""

    code = "ORACLE_INTEGRITY"
    exit_code = 12
    hint = (
        "The integrated package was altered. Import the package again as a new sequence, and look into who wrote there."
    )


@dataclass(frozen=True)
class Call:
    """One call that the tests make."""

    id: int
    do: Mapping[str, Any]
    """What to do: op, name, on, args, kwargs (harness/inside/oracle_calls.py)."""
    expected: Mapping[str, Any] | None
    """The outcome on the true solution; None for a call that only prepares others."""
    test: str
    """The test that makes it."""


@dataclass(frozen=True)
class Recording:
    """The oracle of one commit."""

    commit: str
    calls: tuple[Call, ...]
    """In the order in which they are made."""
    shapes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Class to the fields that are compared on its objects."""
    discriminating: int = 0
    """How many of the compared calls hollow functions, or else the parent, answer differently."""

    @property
    def checked(self) -> tuple[Call, ...]:
        """The calls whose outcome is compared."""
        return tuple(call for call in self.calls if call.expected is not None)

    @property
    def text(self) -> str:
        """The canonical text, which the digest is made from."""
        rows = [{"id": c.id, "do": c.do, "expected": c.expected, "test": c.test} for c in self.calls]
        return _canonical({
            "format": FORMAT, "commit": self.commit, "calls": rows, "discriminating": self.discriminating,
            "shapes": {name: list(fields) for name, fields in self.shapes.items()},
        })  # fmt: skip

    @property
    def sha256(self) -> str:
        """Digest of the canonical text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class Evidence:
    """What was asked and what came back, as the canonical texts; enough to judge again."""

    recording: str
    replies: str


@dataclass(frozen=True)
class Replies:
    """What a tree answered to the calls of a recording."""

    outcomes: Mapping[int, Mapping[str, Any]]
    """Call id to outcome; absent where nothing came back."""
    completed: bool
    """The replay reached its end by itself."""
    returncode: int
    timed_out: bool
    seconds: float
    tampering: str = ""
    """The first thing that was wrong with the record pipe, or ""."""
    output: str = ""
    """The end of stdout and stderr, for people."""
    signal: int = 0
    """The signal that ended the process with the tree in it while ours went on, or 0: nobody outside sent it."""
    out_of_memory: bool = False
    """The kernel ended processes of the replay because it needed more memory than it may have."""

    @property
    def text(self) -> str:
        """The canonical text, for the evidence."""
        return _canonical({
            "format": FORMAT, "outcomes": {str(key): value for key, value in self.outcomes.items()},
            "completed": self.completed, "returncode": self.returncode, "timed_out": self.timed_out,
            "seconds": round(self.seconds, 6), "tampering": self.tampering, "output": self.output,
            "signal": self.signal, "out_of_memory": self.out_of_memory,
        })  # fmt: skip


def recording_from(text: str | bytes) -> Recording:
    """Read a recording back from its text; ValueError when it is none."""
    doc = json.loads(text)
    if doc.get("format") != FORMAT:
        raise ValueError(f"an oracle of format {doc.get('format')!r}, expected {FORMAT}")
    calls = tuple(Call(row["id"], row["do"], row["expected"], row["test"]) for row in doc["calls"])
    shapes = {name: tuple(fields) for name, fields in doc["shapes"].items()}
    return Recording(doc["commit"], calls, shapes, doc["discriminating"])


def replies_from(text: str | bytes) -> Replies:
    """Read replies back from their text."""
    doc = json.loads(text)
    outcomes = {int(key): value for key, value in doc.pop("outcomes").items()}
    del doc["format"]
    return Replies(outcomes, **doc)


def save(package: Path, recording: Recording) -> str:
    """Store a recording in a package directory, durably; return its digest."""
    path = oracle_path(package, recording.commit)
    path.parent.mkdir(exist_ok=True)
    write_whole(path, recording.text.encode())
    return recording.sha256


def load(package: Path, commit: str, sha256: str) -> Recording:
    """Return the recording of a commit; OracleMissing when it is not the one with this digest."""
    path = oracle_path(package, commit)
    try:
        data = path.read_bytes()
    except OSError as err:
        raise OracleMissing(f"{path} cannot be read: {err.strerror}") from err
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise OracleMissing(f"{path} has the digest {found}, expected {sha256}")
    return recording_from(data)


def oracle_path(package: Path, commit: str) -> Path:
    """Return where the recording of a commit lies."""
    return package / DIRECTORY / f"{commit}.json"


def references(document: Document) -> Iterator[int]:
    """Yield the ids of the calls whose results a document builds on."""
    if isinstance(document, dict):
        if document.get("t") == "ref":
            yield int(document["v"][0])
        else:
            for item in document.values():
                yield from references(item)
    elif isinstance(document, list):
        for item in document:
            yield from references(item)


def _canonical(document: object) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))

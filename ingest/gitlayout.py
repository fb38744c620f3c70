"""What a copied repository says about itself, read as plain bytes, before any git looks at it.

Git answers some packages with words that help nobody, or with success and no objects. The few
files that announce such a package are read here, each bounded. What they claim is only used to
say sooner and more clearly what is wrong: the import does not rely on any of it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

MAX_OBJECTS = 1_000_000
"""Packed and loose together. The whole history of CPython is about that, of a usual library 1/20 of it."""
MAX_OBJECT_STORE_BYTES = 4 << 30
MAX_REFS = 20_000
"""Branches and tags; a project with a tag for every build has some thousands."""
_READ_BYTES = 1 << 20
_PACK_HEADER = struct.Struct(">4sII")
_FORMAT = re.compile(rb"^\s*objectformat\s*=\s*\"?(\w+)", re.IGNORECASE | re.MULTILINE)
_REFS = re.compile(rb"^\s*refstorage\s*=\s*\"?(\w+)", re.IGNORECASE | re.MULTILINE)
_PARTIAL = re.compile(
    rb"^\s*(?:promisor\s*=\s*(?:true|yes|on|1)|partialclone(?:filter)?\s*=)", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True)
class Layout:
    """What the files of a copied repository announce."""

    object_format: str
    ref_storage: str
    shallow: bool
    """The history is cut off, by `shallow` or by grafts."""
    partial: bool
    """Objects were left with a promisor remote."""
    alternates: bool
    """Objects are borrowed from another repository."""
    objects: int
    object_bytes: int
    refs: int
    """Branches, tags and whatever else has a name, packed and loose."""


def read_layout(repo: Path) -> Layout:
    """Read what a copied repository announces; only ever of a copy that holds regular files."""
    config = _start_of(repo / "config")
    info = repo / "objects" / "info"
    objects, size = 0, 0
    for path in (repo / "objects").rglob("*"):
        if path.is_file():
            size += path.stat().st_size
            objects += _pack_count(path) if path.suffix == ".pack" else len(path.name) == _LOOSE_CHARACTERS
    return Layout(
        object_format=_word(_FORMAT, config, "sha1"),
        ref_storage=_word(_REFS, config, "files"),
        shallow=bool(_lines(repo / "shallow")),
        partial=bool(_PARTIAL.search(config)) or any((repo / "objects").glob("pack/*.promisor")),
        alternates=any(_lines(info / name) for name in ("alternates", "http-alternates")),
        objects=objects,
        object_bytes=size,
        refs=_ref_count(repo),
    )


def layout_problems(layout: Layout) -> Iterator[tuple[str, str, str, str]]:
    """Yield code, file, what was expected and what was found for each thing that cannot be imported."""
    if layout.object_format.lower() != "sha1":
        yield "GIT_FORMAT", "repo/config", "object format sha1", f"object format {layout.object_format}"
    if layout.ref_storage.lower() != "files":
        yield "GIT_FORMAT", "repo/config", "refs as files", f"ref storage {layout.ref_storage}"
    if layout.partial:
        yield "GIT_PARTIAL", "repo/config", "a full clone", "a partial clone that left objects with its remote"
    if layout.alternates:
        borrowed = "objects borrowed from another repository"
        yield "GIT_ALTERNATES", "repo/objects/info/alternates", "a repository that holds all its objects", borrowed
    if layout.objects > MAX_OBJECTS:
        yield "GIT_OVERSIZED", "repo/objects/", f"at most {MAX_OBJECTS} objects", f"{layout.objects} objects"
    if layout.refs > MAX_REFS:
        yield "GIT_OVERSIZED", "repo/", f"at most {MAX_REFS} branches and tags", f"{layout.refs} refs"
    if layout.object_bytes > MAX_OBJECT_STORE_BYTES:
        found = f"{layout.object_bytes} bytes"
        yield "GIT_OVERSIZED", "repo/objects/", f"at most {MAX_OBJECT_STORE_BYTES} bytes of objects", found


def _ref_count(repo: Path) -> int:
    """Return the number of refs, counted no further than is needed to say that it is too many."""
    count = sum(1 for path in (repo / "refs").rglob("*") if path.is_file())
    if (repo / "packed-refs").is_file():
        with (repo / "packed-refs").open("rb") as lines:
            count += sum(1 for _ in islice(lines, MAX_REFS + 2))
    return count


def _pack_count(path: Path) -> int:
    with path.open("rb") as stream:
        header = stream.read(_PACK_HEADER.size)
    return int(_PACK_HEADER.unpack(header)[2]) if len(header) == _PACK_HEADER.size else 0


def _start_of(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as stream:
        return stream.read(_READ_BYTES)


def _lines(path: Path) -> list[bytes]:
    """Return the lines of a small file that say something."""
    return [line for line in _start_of(path).splitlines() if line.strip() and not line.startswith(b"#")]


def _word(pattern: re.Pattern[bytes], text: bytes, default: str) -> str:
    found = pattern.findall(text)
    return found[-1].decode("ascii", "replace") if found else default


_LOOSE_CHARACTERS = 38
"""A loose object is named by its id without the first two digits, which name its folder."""

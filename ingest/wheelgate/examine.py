"""One wheel, read once: its faults, and what the comparison with other wheels needs.

The only module here that opens a file. Every member is inflated in chunks while it is hashed;
documents that are parsed are kept in memory, within a limit.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ingest.wheelgate.archive import Member, contents, members
from ingest.wheelgate.clashes import NAMESPACE_BYTES, WheelFacts, clashing_files, is_namespace, mentions_namespace
from ingest.wheelgate.faults import Fault, Unreadable
from ingest.wheelgate.layout import SITE, layout, owned_names, top_levels
from ingest.wheelgate.limits import MAX_FAULTS, MAX_NAMESPACES, MAX_RECORD_BYTES, MAX_TEXT_BYTES
from ingest.wheelgate.metadata import Title, dist_info_folder, metadata_faults, parse_title
from ingest.wheelgate.names import name_faults
from ingest.wheelgate.record import STRONG, Measured, Row, parse_record, record_faults
from ingest.wheelgate.shadows import data_faults, entry_point_faults, module_faults
from ingest.wheelgate.startup import ENDINGS, customizes, startup_faults


@dataclass(frozen=True)
class Examined:
    """What became of one wheel."""

    faults: tuple[Fault, ...]
    """All of them: which ones count may be for a person to decide. An unreadable archive has exactly one."""
    facts: WheelFacts | None
    """None when the wheel could not be read to its end."""


@dataclass(frozen=True)
class _Open:
    """A wheel whose form is known."""

    title: Title
    dist_info: str
    files: Sequence[str]
    """Member names, folders left out."""
    paths: Mapping[str, str]
    """Member to path in an environment."""


def examine(path: Path, sha256: str) -> Examined:
    """Read a wheel from its first byte to its last; `sha256` is that of the file."""
    try:
        title = parse_title(path.name)
        with path.open("rb") as stream:
            listed = members(stream)
            faults = tuple(itertools.islice(name_faults([member.name for member in listed]), MAX_FAULTS))
            if faults:
                return Examined(faults, None)
            return _examine(stream, listed, title, path.name, sha256)
    except Unreadable as err:
        return Examined((err.fault,), None)


def _examine(stream: BinaryIO, listed: Sequence[Member], title: Title, file_name: str, sha256: str) -> Examined:
    by_name = {member.name: member for member in listed if not member.is_folder}
    paths = layout(by_name)
    wheel = _Open(title, dist_info_folder(title, top_levels(paths.values())), tuple(by_name), paths)
    record = by_name.get(f"{wheel.dist_info}/RECORD")
    if record is None:
        raise Unreadable("WHEEL_RECORD", f"{wheel.dist_info}/RECORD", "no such file")
    rows = parse_record(_whole(stream, record, MAX_RECORD_BYTES))
    read = _Reading(stream, wheel, rows)
    for member in by_name.values():
        if member is not record:
            read.take(member)
    faults = (*record_faults(rows, read.measured, wheel.dist_info), *_content_faults(wheel, read))
    installed = {path: read.measured[name].sha256 for name, path in paths.items() if name in read.measured}
    kept = clashing_files(installed, wheel.dist_info)
    facts = WheelFacts(
        file_name, sha256, title.distribution, title.tags, kept, frozenset(read.namespaces & kept.keys())
    )
    return Examined(faults, facts)


class _Reading:
    """What is taken from the members while each is read once."""

    def __init__(self, stream: BinaryIO, wheel: _Open, rows: Mapping[str, Row]) -> None:
        self.stream, self.wheel, self.rows = stream, wheel, rows
        self.measured: dict[str, Measured] = {}
        self.documents: dict[str, bytes] = {}
        self.namespaces: set[str] = set()
        self._parsed = 0

    def take(self, member: Member) -> None:
        """Hash a member against RECORD, and keep or look into the few that are documents."""
        name, path = member.name, self.wheel.paths.get(member.name, "")
        if _is_document(name, self.wheel):
            self.documents[name] = _whole(self.stream, member, MAX_TEXT_BYTES)
            chunks = iter([self.documents[name]])
        elif path.endswith("/__init__.py") and member.bytes <= NAMESPACE_BYTES:
            source = _whole(self.stream, member, NAMESPACE_BYTES)
            self._parsed += mentions_namespace(source)
            if self._parsed <= MAX_NAMESPACES and is_namespace(source):
                self.namespaces.add(path)
            chunks = iter([source])
        else:
            chunks = contents(self.stream, member)
        self.measured[name] = _measure(chunks, self.rows.get(name))


def _content_faults(wheel: _Open, read: _Reading) -> Iterator[Fault]:
    """Find what the members of a well-formed wheel say or would do that they must not."""
    documents = read.documents
    distribution, info, paths = wheel.title.distribution, wheel.dist_info, wheel.paths
    yield from metadata_faults(wheel.title, documents.get(f"{info}/METADATA"), documents.get(f"{info}/WHEEL"))
    yield from _installed_twice(paths)
    yield from data_faults(distribution, wheel.files, info.removesuffix(".dist-info"))
    if f"{info}/entry_points.txt" in documents:
        yield from entry_point_faults(distribution, documents[f"{info}/entry_points.txt"])
    own = set(owned_names(paths.values()))
    startup = {name: text for name, text in documents.items() if _is_startup(paths.get(name, ""))}
    yield from startup_faults(distribution, startup, own)
    for name, path in paths.items():
        if path.startswith(SITE) and customizes(path.removeprefix(SITE).partition("/")[0]):
            sha256, expected = read.measured[name].sha256, "no module that Python imports on every start"
            yield Fault("WHEEL_CUSTOMIZE", expected, f"{name} with sha256 {sha256}", sha256, is_decision=True)
    yield from module_faults(distribution, paths.values())


def _installed_twice(paths: Mapping[str, str]) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for name, path in paths.items():
        other = seen.setdefault(path.casefold(), name)
        if other != name:
            yield Fault("WHEEL_NAME_TWICE", f"one file for {path}", f"{other} and {name}")


def _is_document(name: str, wheel: _Open) -> bool:
    documents = {f"{wheel.dist_info}/{document}" for document in ("METADATA", "WHEEL", "entry_points.txt")}
    return name in documents or _is_startup(wheel.paths.get(name, ""))


def _is_startup(path: str) -> bool:
    return path.startswith(SITE) and path.count("/") == 1 and path.casefold().endswith(ENDINGS)


def _whole(stream: BinaryIO, member: Member, limit_bytes: int) -> bytes:
    if member.bytes > limit_bytes:
        expected = f"at most {limit_bytes} bytes in a document"
        raise Unreadable("WHEEL_TOO_LARGE", expected, f"{member.name}: {member.bytes} bytes")
    return b"".join(contents(stream, member))


def _measure(chunks: Iterator[bytes], row: Row | None) -> Measured:
    names = {"sha256"} | ({row.algorithm} if row is not None and row.algorithm in STRONG else set())
    hashers = {name: hashlib.new(name) for name in names}
    size = 0
    for chunk in chunks:
        size += len(chunk)
        for hasher in hashers.values():
            hasher.update(chunk)
    digests = {name: hasher.digest() for name, hasher in hashers.items()}
    return Measured(size, digests["sha256"].hex(), digests)

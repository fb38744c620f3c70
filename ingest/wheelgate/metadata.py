"""What a wheel says it is: file name, *.dist-info, METADATA and WHEEL have to agree.

Pure: from documents to faults. Tag lines of WHEEL are compared by interpreter and ABI, and by
platform as far as honest wheels agree: repair tools rename a file from linux_x86_64 to
manylinux_..., and a few projects leave "any" in a file that they rename by hand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser

from packaging.tags import Tag, compatible_tags, cpython_tags, parse_tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from ingest.wheelgate.faults import Fault, Unreadable
from ingest.wheelgate.limits import MAX_TAGS

_FORMAT = re.compile(r"1\.\d+")
_TAG = re.compile(r"[A-Za-z0-9_.]+-[A-Za-z0-9_.]+-[A-Za-z0-9_.]+")
_FOLDERS = (".dist-info", ".egg-info", ".egg-link", ".egg")


@dataclass(frozen=True)
class Title:
    """What the file name of a wheel says."""

    distribution: str
    """Canonical name."""
    version: Version
    tags: frozenset[Tag]


def parse_title(file_name: str) -> Title:
    """Return what a file name says; Unreadable when it is not the name of a wheel."""
    try:
        name, version, _, tags = parse_wheel_filename(file_name)
    except InvalidWheelFilename as err:
        raise Unreadable("WHEEL_FILE_NAME", "NAME-VERSION-PYTHON-ABI-PLATFORM.whl", file_name) from err
    if len(tags) > MAX_TAGS:
        raise Unreadable("WHEEL_FILE_NAME", f"a name that stands for at most {MAX_TAGS} tags", file_name)
    return Title(str(name), version, tags)


def dist_info_folder(title: Title, top_level: Iterable[str]) -> str:
    """Return the one *.dist-info among the top-level names, as installed; Unreadable when there is not just that."""
    folders = sorted({name for name in top_level if name.casefold().endswith(_FOLDERS)})
    expected = f"one {title.distribution}-{title.version}.dist-info"
    if len(folders) != 1 or not folders[0].endswith(".dist-info"):
        raise Unreadable("WHEEL_DIST_INFO", expected, ", ".join(folders) or "none")
    name, _, version = folders[0].removesuffix(".dist-info").rpartition("-")
    if canonicalize_name(name) != title.distribution or _version(version) != title.version:
        raise Unreadable("WHEEL_DIST_INFO", expected, folders[0])
    return folders[0]


def metadata_faults(title: Title, metadata: bytes | None, wheel: bytes | None) -> Iterator[Fault]:
    """Find where METADATA and WHEEL say something else than the file name."""
    about = _headers(metadata)
    names, versions = about.get_all("Name", []), about.get_all("Version", [])
    if [canonicalize_name(name) for name in names] != [title.distribution]:
        yield Fault("WHEEL_METADATA", f"METADATA to name {title.distribution} once", _listed(names))
    if [_version(version) for version in versions] != [title.version]:
        yield Fault("WHEEL_METADATA", f"METADATA to say version {title.version} once", _listed(versions))
    made = _headers(wheel)
    formats, pure = made.get_all("Wheel-Version", []), made.get_all("Root-Is-Purelib", [])
    if len(formats) != 1 or not _FORMAT.fullmatch(formats[0]):
        yield Fault("WHEEL_FORMAT", "WHEEL to say Wheel-Version 1.x", _listed(formats))
    if len(pure) != 1 or pure[0].casefold() not in {"true", "false"}:
        yield Fault("WHEEL_FORMAT", "WHEEL to say Root-Is-Purelib true or false", _listed(pure))
    yield from _tag_faults(title, made.get_all("Tag", []))


def misfit(tags: frozenset[Tag], fitting: frozenset[Tag]) -> bool:
    """Return whether an interpreter that takes `fitting` cannot use a wheel with these tags."""
    return tags.isdisjoint(fitting)


def fitting_tags(python: str) -> frozenset[Tag]:
    """Return the tags that CPython of a minor version takes on this machine."""
    version = tuple(int(part) for part in python.split("."))
    return frozenset([*cpython_tags(version), *compatible_tags(version, f"cp{python.replace('.', '')}")])


def _tag_faults(title: Title, lines: list[str]) -> Iterator[Fault]:
    whole = [line for line in lines[:MAX_TAGS] if _TAG.fullmatch(line) and _tags_in(line) <= MAX_TAGS]
    written = {tag for line in whole for tag in parse_tag(line)}
    agree = {
        named for named in title.tags for tag in written
        if (tag.interpreter, tag.abi) == (named.interpreter, named.abi) and _same_platform(tag.platform, named.platform)
    }  # fmt: skip
    if whole != lines or not agree:
        expected = ", ".join(sorted(str(tag) for tag in title.tags))
        yield Fault("WHEEL_TAGS", f"Tag lines of WHEEL to be those of the file name, {expected}", _listed(lines))


def _tags_in(line: str) -> int:
    return math.prod(len(part.split(".")) for part in line.split("-"))


def _same_platform(written: str, named: str) -> bool:
    renamed = written == "any" or (written.startswith("linux_") and named.endswith(written.removeprefix("linux")))
    return written == named or (renamed and named.startswith(("manylinux", "musllinux")))


def _headers(document: bytes | None) -> Message:
    if document is None:
        return Message()
    return BytesParser().parsebytes(document, headersonly=True)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values) or "nothing"


def _version(text: str) -> Version | None:
    try:
        return Version(str(text))
    except InvalidVersion:
        return None

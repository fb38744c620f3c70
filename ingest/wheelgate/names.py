"""Member names that mean one and the same file to every installer and on every file system.

Pure: from names to faults. A name is a relative POSIX path of plain parts in NFC; no two members
install to one path, not even where case does not count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from ingest.wheelgate.faults import Fault
from ingest.wheelgate.limits import MAX_NAME_BYTES, MAX_PART_BYTES

_DRIVE = re.compile(r"[A-Za-z]:")
_NO_TEXT = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
"""Unicode categories that no file name needs: control and formatting characters, private and unassigned ones."""


def name_faults(names: Sequence[str]) -> Iterator[Fault]:
    """Find names that leave the folder, are no plain text, are too long, or do not stand for one file each."""
    for name in names:
        yield from _one_name(name)
    yield from _same_names(names)
    folders = set(parents(names)) | {name.rstrip("/") for name in names if name.endswith("/")}
    for name in sorted(folders.intersection(names)):
        yield Fault("WHEEL_NAME_FOLDER", "a name to be a file or a folder", f"{name}: both")


def parents(names: Iterable[str]) -> Iterator[str]:
    """Yield the folders that the names lie in."""
    seen: set[str] = set()
    for name in names:
        folder = name.rstrip("/").rpartition("/")[0]
        while folder and folder not in seen:
            seen.add(folder)
            yield folder
            folder = folder.rpartition("/")[0]


def _one_name(name: str) -> Iterator[Fault]:
    parts = name.removesuffix("/").split("/")
    if name.startswith("/") or "\\" in name or _DRIVE.match(name) or not {"", ".", ".."}.isdisjoint(parts):
        yield Fault("WHEEL_NAME_ESCAPES", "relative paths of plain names", name)
    if not name.isascii() and not unicodedata.is_normalized("NFC", name):
        yield Fault("WHEEL_NAME_TEXT", "names in Unicode normal form NFC", name)
    if not (name.isascii() and name.isprintable()) and any(unicodedata.category(char) in _NO_TEXT for char in name):
        yield Fault("WHEEL_NAME_TEXT", "names without control characters", name)
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        yield Fault("WHEEL_NAME_LONG", f"paths of at most {MAX_NAME_BYTES} bytes", name)
    elif any(len(part.encode("utf-8", "surrogatepass")) > MAX_PART_BYTES for part in parts):
        yield Fault("WHEEL_NAME_LONG", f"names of at most {MAX_PART_BYTES} bytes", name)


def _same_names(names: Sequence[str]) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFKC", name).casefold().rstrip("/")
        other = seen.setdefault(key, name)
        if other is name:
            continue
        if other == name:
            yield Fault("WHEEL_NAME_TWICE", "each name once", name)
        elif other.rstrip("/") != name.rstrip("/"):  # else a file and a folder, which have a code of their own
            yield Fault("WHEEL_NAME_CASE", f"names that differ in more than case from {other}", name)

"""Wheels from real bytes: the honest one called `gift`, and ways to change a byte of it."""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping

INFO = "gift-1.0.dist-info"
DATA = "gift-1.0.data"
FILE_NAME = "gift-1.0-py3-none-any.whl"
METADATA = b"Metadata-Version: 2.1\nName: gift\nVersion: 1.0\n"
WHEEL = b"Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
CODE = b"print('from the stick')\n"

Files = Mapping[str, bytes | None]
Entry = tuple[zipfile.ZipInfo | str, bytes]


def entries(files: Files = {}, *, info: str = INFO, record: bytes | None = None) -> list[Entry]:  # noqa: B006 - only read
    """Return the members of the honest wheel with some files added, replaced or (None) left out."""
    made: dict[str, bytes | None] = {
        "gift/__init__.py": b"VALUE = 1\n", f"{info}/METADATA": METADATA, f"{info}/WHEEL": WHEEL, **files,
    }  # fmt: skip
    kept = {name: content for name, content in made.items() if content is not None}
    if f"{info}/RECORD" not in made:
        rows = [row(name, content) for name, content in kept.items() if not name.endswith("/")]
        kept[f"{info}/RECORD"] = record if record is not None else "\n".join([*rows, f"{info}/RECORD,,\n"]).encode()
    return list(kept.items())


def row(name: str, content: bytes, *, algorithm: str = "sha256", size: int | None = None) -> str:
    """Return the line of RECORD for a file."""
    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).rstrip(b"=").decode()
    return f'"{name}",{algorithm}={digest},{len(content) if size is None else size}'


def pack(members: Iterable[Entry], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return the archive of some members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return out.getvalue()


def wheel(files: Files = {}, **changes: bytes) -> bytes:  # noqa: B006 - only read
    """Return a wheel with some files."""
    return pack(entries(files, **changes))  # type: ignore[arg-type]


def another(distribution: str, files: Files, version: str = "1.0") -> dict[str, bytes]:
    """Return an honest wheel of another distribution, by its file name."""
    stem = f"{distribution}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n".encode()
    own: Files = {"gift/__init__.py": None, **files, f"{stem}.dist-info/METADATA": metadata}
    return {f"{stem}-py3-none-any.whl": pack(entries(own, info=f"{stem}.dist-info"))}


def recorded(change: Callable[[dict[str, str]], object]) -> bytes:
    """Return the honest wheel with a RECORD whose rows (by name) were changed."""
    files = {name: content for name, content in entries() if isinstance(name, str) and not name.endswith("RECORD")}
    rows = {name: row(name, content) for name, content in files.items()} | {f"{INFO}/RECORD": f"{INFO}/RECORD,,"}
    change(rows)
    return wheel(record="\n".join([*rows.values(), ""]).encode())


def patched(data: bytes, member: str, change: Callable[[bytearray, int, int], None]) -> bytes:
    """Change an archive in place; `change` receives the bytes and the offsets of both headers of a member."""
    changed = bytearray(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        at, position = archive.getinfo(member).header_offset, archive.start_dir
        for info in archive.infolist():
            if info.filename == member:
                break
            position += 46 + len(info.filename.encode()) + len(info.extra) + len(info.comment)
    change(changed, at, position)
    return bytes(changed)


def shifted(data: bytes, before: bytes) -> bytes:
    """Put bytes in front of an archive and correct every offset, so that it stays readable from both ends."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        position, number = archive.start_dir, len(archive.infolist())
        lengths = [len(info.filename.encode()) for info in archive.infolist()]
    changed = bytearray(data)
    struct.pack_into("<L", changed, len(data) - 6, position + len(before))
    for length in lengths[:number]:
        (offset,) = struct.unpack_from("<L", changed, position + 42)
        struct.pack_into("<L", changed, position + 42, offset + len(before))
        position += 46 + length
    return before + bytes(changed)

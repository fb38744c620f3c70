"""A zip archive read strictly: one way to read it, or none.

Installers read zips in different ways (from the front, from the back, by the first or the last of
two names), and hostile wheels live on the difference. Here every byte of the file belongs to
exactly one thing: the members follow each other without gap or overlap from byte 0, the table of
contents follows the last one and ends the file, and both descriptions of a member agree. Sizes are
compared with the limits before anything is inflated; memory stays bounded whatever a file claims.

Not protected against: a bug in zlib.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ingest.wheelgate.faults import Unreadable
from ingest.wheelgate.limits import (
    MAX_DIRECTORY_BYTES,
    MAX_MEMBER_BYTES,
    MAX_MEMBERS,
    MAX_RATIO,
    MAX_TOTAL_BYTES,
    RATIO_FREE_BYTES,
)

CHUNK_BYTES = 1 << 20
_END = struct.Struct("<4s4H2LH")
_ZIP64_LOCATOR_BYTES = 20
_LOCAL = struct.Struct("<4s5H3L2H")
_EXTRA = struct.Struct("<HH")
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075
_IN_ZIP64 = 0xFFFFFFFF
_ENCRYPTED, _DESCRIPTOR, _PATCH, _STRONG, _UTF8, _MASKED = 0x1, 0x8, 0x20, 0x40, 0x800, 0x2000
_SIGNED_DESCRIPTOR = struct.Struct("<4s3L")
_DESCRIPTOR_ONLY = struct.Struct("<3L")
_SET_ID = stat.S_ISUID | stat.S_ISGID


@dataclass(frozen=True)
class Member:
    """One file of an archive and where its bytes are."""

    name: str
    data_at: int
    packed_bytes: int
    bytes: int
    crc: int
    is_deflated: bool

    @property
    def is_folder(self) -> bool:
        """Whether the member only names a folder."""
        return self.name.endswith("/")


def members(stream: BinaryIO) -> list[Member]:
    """Return the members in the order of their bytes; Unreadable where two readers could differ."""
    size = os.fstat(stream.fileno()).st_size
    directory_at = _directory_at(stream, size)
    try:
        with zipfile.ZipFile(stream) as archive:
            infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    except UnicodeDecodeError as err:
        raise Unreadable("WHEEL_NAME_TEXT", "member names in UTF-8", repr(err.object[:200])) from err
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error) as err:
        raise Unreadable("WHEEL_NOT_ZIP", "a zip archive", str(err)) from err
    if len(infos) != _announced(stream, size):
        raise Unreadable("WHEEL_NOT_ZIP", f"{_announced(stream, size)} members", f"{len(infos)} members")
    _check_sizes(infos, size)
    for info in infos:
        _check_kind(info)
    return _located(stream, infos, directory_at)


def contents(stream: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield the bytes of a member; Unreadable when they are not exactly what the archive declares."""
    size = crc = 0
    for chunk in _unpacked(stream, member):
        size += len(chunk)
        crc = zlib.crc32(chunk, crc)
        yield chunk
    if size != member.bytes or crc != member.crc:
        raise _damaged(member, f"{size} bytes with checksum {crc:08x}")


def _directory_at(stream: BinaryIO, size: int) -> int:
    """Return where the table of contents starts; the end record has to be the very end of the file."""
    if size < _END.size:
        raise Unreadable("WHEEL_NOT_ZIP", "a zip archive", f"{size} bytes")
    stream.seek(size - _END.size)
    mark, disk, start_disk, here, total, length, start, comment = _END.unpack(stream.read(_END.size))
    if mark != b"PK\5\6" or comment:
        raise _without_end(stream, size)
    if disk or start_disk or here != total:
        raise Unreadable("WHEEL_NOT_ZIP", "an archive in one part", f"part {disk}, {here} of {total} members")
    stream.seek(max(0, size - _END.size - _ZIP64_LOCATOR_BYTES))
    if stream.read(4) == b"PK\6\7" or _IN_ZIP64 in {length, start} or total == 0xFFFF:  # noqa: PLR2004 - "in zip64"
        raise Unreadable("WHEEL_ZIP64", "no zip64 end record: a wheel within the limits needs none", "a zip64 record")
    if total > MAX_MEMBERS or length > MAX_DIRECTORY_BYTES:
        raise Unreadable(
            "WHEEL_TOO_MANY", f"at most {MAX_MEMBERS} members", f"{total} members, named in {length} bytes"
        )
    if start + length != size - _END.size:
        code = "WHEEL_NOT_ZIP" if start + length > size else "WHEEL_EXTRA_BYTES"
        raise Unreadable(code, f"the list of members to end at byte {size - _END.size}", f"byte {start + length}")
    return int(start)


def _without_end(stream: BinaryIO, size: int) -> Unreadable:
    """Say whether a file without its end record in place is an archive with something added, or none."""
    stream.seek(max(0, size - _END.size - 0xFFFF))
    if b"PK\5\6" in stream.read():
        return Unreadable("WHEEL_EXTRA_BYTES", "nothing after the archive, not even a comment", "more bytes")
    return Unreadable("WHEEL_NOT_ZIP", "a zip archive", "no end record: cut off, or something else")


def _announced(stream: BinaryIO, size: int) -> int:
    stream.seek(size - _END.size)
    return int(_END.unpack(stream.read(_END.size))[4])


def _check_sizes(infos: list[zipfile.ZipInfo], size: int) -> None:
    total = 0
    for info in infos:
        total += info.file_size
        if info.file_size > MAX_MEMBER_BYTES:
            raise Unreadable(
                "WHEEL_TOO_LARGE", f"members of at most {MAX_MEMBER_BYTES} bytes",
                f"{info.orig_filename}: {info.file_size} bytes",
            )  # fmt: skip
    if total > RATIO_FREE_BYTES and total > size * MAX_RATIO:
        raise Unreadable("WHEEL_RATIO", f"at most {MAX_RATIO} times its size unpacked", f"{total} bytes in {size}")
    if total > MAX_TOTAL_BYTES:
        raise Unreadable("WHEEL_TOO_LARGE", f"at most {MAX_TOTAL_BYTES} bytes unpacked", f"{total} bytes")


def _check_kind(info: zipfile.ZipInfo) -> None:
    """Refuse what is not plain data: encrypted, packed in a way that only some readers know, a link or device."""
    name, mode = info.orig_filename, info.external_attr >> 16
    if info.flag_bits & (_ENCRYPTED | _STRONG | _MASKED):
        raise Unreadable("WHEEL_ENCRYPTED", "members in the clear", f"{name}: encrypted")
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} or info.flag_bits & _PATCH:
        raise Unreadable("WHEEL_COMPRESSION", "members stored or deflated", f"{name}: method {info.compress_type}")
    if not name.isascii() and not info.flag_bits & _UTF8:
        raise Unreadable("WHEEL_NAME_TEXT", "member names in UTF-8, and marked so", name)
    kind = stat.S_IFMT(mode)
    usual = stat.S_IFDIR if name.endswith("/") else stat.S_IFREG
    if kind not in {0, usual} or mode & _SET_ID:
        raise Unreadable("WHEEL_LINK", "regular files with ordinary permissions", f"{name}: mode {mode:o}")
    if name.endswith("/") and info.file_size:
        raise Unreadable("WHEEL_NAME_FOLDER", "folders without content", f"{name}: {info.file_size} bytes")


def _located(stream: BinaryIO, infos: list[zipfile.ZipInfo], directory_at: int) -> list[Member]:
    """Compare both descriptions of every member, and see that they fill the file up to the table of contents."""
    found, position = [], 0
    for info in infos:
        _check_position(info.orig_filename, info.header_offset, position)
        data_at = _data_at(stream, info, directory_at)
        position = data_at + info.compress_size
        if info.flag_bits & _DESCRIPTOR:
            position += _descriptor_bytes(stream, info, position)
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        found.append(Member(info.orig_filename, data_at, info.compress_size, info.file_size, info.CRC, deflated))
    _check_position("the list of members", directory_at, position)
    return found


def _check_position(what: str, start: int, position: int) -> None:
    if start < position:
        raise Unreadable("WHEEL_OVERLAP", f"{what} from byte {position}", f"byte {start}, inside another member")
    if start > position:
        raise Unreadable("WHEEL_EXTRA_BYTES", f"{what} at byte {position}", f"{start - position} bytes before it")


def _data_at(stream: BinaryIO, info: zipfile.ZipInfo, directory_at: int) -> int:
    """Return where the bytes of a member start, after comparing its own header with the table of contents."""
    name = info.orig_filename
    stream.seek(info.header_offset)
    head = stream.read(_LOCAL.size)
    if len(head) < _LOCAL.size or not head.startswith(b"PK\3\4"):
        raise Unreadable("WHEEL_HEADERS", f"{name} at byte {info.header_offset}", "no member")
    _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = _LOCAL.unpack(head)
    own_name, own_extra = stream.read(name_bytes), stream.read(extra_bytes)
    later = bool(flags & _DESCRIPTOR)
    wide = _wide_sizes(name, own_extra)
    if wide is not None and wide not in {(info.file_size, info.compress_size), (0, 0)}:
        raise Unreadable("WHEEL_ZIP64", f"{name}: {info.file_size} bytes", f"{wide[0]} bytes in its zip64 field")
    if _IN_ZIP64 in {packed, size}:
        size, packed = wide or (size, packed)
    _wide_sizes(name, info.extra)
    encoding = "utf-8" if info.flag_bits & _UTF8 else "cp437"
    same = (own_name, flags, method) == (name.encode(encoding), info.flag_bits, info.compress_type)
    numbers = [(crc, packed, size), (info.CRC, info.compress_size, info.file_size)]
    if not same or (numbers[0] != numbers[1] and not (later and numbers[0] == (0, 0, 0))):
        raise Unreadable("WHEEL_HEADERS", f"{name} to be described alike twice", f"{own_name!r} in its own header")
    data_at = info.header_offset + len(head) + len(own_name) + len(own_extra)
    if data_at + info.compress_size > directory_at:
        raise Unreadable("WHEEL_OVERLAP", f"{name} to end before byte {directory_at}", f"{info.compress_size} bytes")
    return data_at


def _wide_sizes(name: str, extra: bytes) -> tuple[int, int] | None:
    """Return (unpacked, packed) of the zip64 field of a header; fields that give a second name are refused."""
    found = None
    while extra:
        if len(extra) < _EXTRA.size:
            raise Unreadable("WHEEL_HEADERS", f"{name}: whole extra fields", f"{len(extra)} bytes at their end")
        kind, length = _EXTRA.unpack_from(extra)
        field, extra = extra[_EXTRA.size : _EXTRA.size + length], extra[_EXTRA.size + length :]
        if len(field) != length or kind == _UNICODE_PATH:
            raise Unreadable("WHEEL_HEADERS", f"{name}: one name, whole extra fields", f"field {kind:#06x}")
        if kind == _ZIP64 and len(field) == 16:  # noqa: PLR2004 - two sizes
            found = (int.from_bytes(field[:8], "little"), int.from_bytes(field[8:], "little"))
        elif kind == _ZIP64:
            raise Unreadable("WHEEL_ZIP64", f"{name}: two sizes in a zip64 field", f"{len(field)} bytes")
    return found


def _descriptor_bytes(stream: BinaryIO, info: zipfile.ZipInfo, position: int) -> int:
    """Return the length of the sizes that follow a member when its writer could not seek back."""
    numbers = (info.CRC, info.compress_size, info.file_size)
    stream.seek(position)
    data = stream.read(_SIGNED_DESCRIPTOR.size)
    if data == _SIGNED_DESCRIPTOR.pack(b"PK\7\10", *numbers):
        return _SIGNED_DESCRIPTOR.size
    if data[: _DESCRIPTOR_ONLY.size] == _DESCRIPTOR_ONLY.pack(*numbers):
        return _DESCRIPTOR_ONLY.size
    raise Unreadable("WHEEL_HEADERS", f"{info.orig_filename} to be described alike twice", "other sizes after it")


def _unpacked(stream: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield what a member inflates to, never more than a chunk beyond what it declares."""
    stream.seek(member.data_at)
    left, size = member.packed_bytes, 0
    inflater = zlib.decompressobj(-zlib.MAX_WBITS) if member.is_deflated else None
    while left:
        packed = stream.read(min(left, CHUNK_BYTES))
        left -= len(packed)
        if not packed:
            raise _damaged(member, "the end of the file")
        if inflater is None:
            yield packed
            continue
        for chunk in _inflated(inflater, packed, member):
            size += len(chunk)
            if size > member.bytes:
                raise _damaged(member, "more bytes than that")
            yield chunk
        if inflater.unused_data or (inflater.eof and left):
            raise _damaged(member, "bytes after the end of its data")
    if inflater is not None and not inflater.eof:
        raise _damaged(member, "an unfinished stream")


def _inflated(inflater: zlib._Decompress, packed: bytes, member: Member) -> Iterator[bytes]:
    """Yield what some packed bytes inflate to, a chunk at a time, until zlib holds nothing back."""
    while not inflater.eof:
        try:
            chunk = inflater.decompress(packed, CHUNK_BYTES)
        except zlib.error as err:
            raise _damaged(member, str(err)) from err
        yield chunk
        packed = inflater.unconsumed_tail
        if not packed and len(chunk) < CHUNK_BYTES:
            return


def _damaged(member: Member, found: str) -> Unreadable:
    return Unreadable("WHEEL_CONTENT", f"{member.name}: {member.bytes} bytes with checksum {member.crc:08x}", found)

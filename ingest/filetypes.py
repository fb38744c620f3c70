"""What kind of file some bytes are, judged by the bytes alone.

Names and execute bits are claims of whoever wrote them, so neither is asked. Three families are
recognised, because something on a machine would run or unpack them: programs, archives and
pickles. Everything else (text, images, fonts, documents, databases) has no kind here.

Invariant: a pure function of the first and the last bytes of a file and its size; nothing is
unpacked, loaded or executed, and no input makes it take longer than one pass over those bytes.
Not protected against: a program or archive that hides behind harmless first bytes, such as a shell
script that carries its payload below the text, and files that are encrypted or encoded as text.
"""

from __future__ import annotations

import io
import pickletools
import re
import struct
from collections.abc import Callable

HEAD_BYTES = 64 << 10
"""How much of the start of a file is looked at; an ISO image shows itself only at 32 KiB."""
TAIL_BYTES = (64 << 10) + 22
"""How much of the end is looked at: a zip archive is read from its end, and its comment may be 64 KiB."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x7fELF", "ELF program"),
    (b"\xfe\xed\xfa\xce", "Mach-O program"),
    (b"\xfe\xed\xfa\xcf", "Mach-O program"),
    (b"\xce\xfa\xed\xfe", "Mach-O program"),
    (b"\xcf\xfa\xed\xfe", "Mach-O program"),
    (b"\x00asm", "WebAssembly program"),
    (b"dex\n0", "Dalvik program"),
    (b"BC\xc0\xde", "LLVM bitcode"),
    (b"\x1bLua", "Lua bytecode"),
    (b"!<arch>\n", "ar archive"),
    (b"!<thin>\n", "ar archive"),
    (b"PK\x03\x04", "zip archive"),
    (b"PK\x05\x06", "zip archive"),
    (b"PK\x07\x08", "zip archive"),
    (b"\x1f\x8b\x08", "gzip archive"),
    (b"\x1f\x9d", "compress archive"),
    (b"\xfd7zXZ\x00", "xz archive"),
    (b"\x28\xb5\x2f\xfd", "zstd archive"),
    (b"\x04\x22\x4d\x18", "lz4 archive"),
    (b"LZIP\x01", "lzip archive"),
    (b"\x89LZO\x00", "lzop archive"),
    (b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (b"Rar!\x1a\x07", "rar archive"),
    (b"MSCF\x00\x00\x00\x00", "cab archive"),
    (b"\xed\xab\xee\xdb", "rpm archive"),
    (b"xar!", "xar archive"),
    (b"hsqs", "squashfs image"),
    (b"# v2 git bundle\n", "git bundle"),
    (b"# v3 git bundle\n", "git bundle"),
    (b"PACK\x00\x00\x00", "git pack"),
)
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
_CPIO = re.compile(rb"07070(?:[12][0-9A-Fa-f]{104}|7[0-7]{70})")
_LZMA = re.compile(rb"\x5d\x00\x00[\x00-\xff]{2}(?:\xff{8}|[\x00-\xff]{5}\x00{3})\x00", re.DOTALL)
_FAT_MACHO_MOST = 40
"""A universal Mach-O program counts its architectures where a Java class has its version, 45 or more."""
_TAR_BLOCK = 512
_TAR_CHECKSUM = slice(148, 156)
_ISO_AT = 0x8001
_PYC_HEADERS = (8, 12, 16)
_PYC_CODE = b"\x63\xe3"
_PYC_MAGIC = (range(3000, 4000), range(60_000, 63_000))
_PICKLE_PROTOCOLS = (2, 3, 4, 5)
_PICKLE_IMPORTS = {"GLOBAL", "INST", "STACK_GLOBAL"}
_PICKLE_NAME = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_][\w.]*")
_PICKLE_OPCODES = 10_000
_NUMPY = b"\x93NUMPY"
_NUMPY_OBJECTS = re.compile(rb"'descr':[^}]*?O['\d]")
_NUMPY_HEADER_BYTES = 4096


def kind_of(head: bytes, tail: bytes, size: int) -> str | None:
    """Return the kind of a file from its first HEAD_BYTES, its last TAIL_BYTES and its size; None when harmless."""
    for magic, kind in _BY_FIRST_BYTE.get(head[:1], ()):
        if head.startswith(magic):
            return kind
    for look in _LOOKS:
        kind_found = look(head)
        if kind_found is not None:
            return kind_found
    return "zip archive behind other bytes" if _ends_as_zip(tail, size) else None


def kind_of_bytes(data: bytes) -> str | None:
    """Return the kind of a whole file."""
    return kind_of(data[:HEAD_BYTES], data[-TAIL_BYTES:], len(data))


def _windows(head: bytes) -> str | None:
    """MZ alone could be text; a program has a second header where the first one points, or holds NULs."""
    if not head.startswith(b"MZ"):
        return None
    if len(head) >= 64:  # noqa: PLR2004 - size of the DOS header
        at = struct.unpack_from("<I", head, 60)[0]
        if head[at : at + 4] == b"PE\0\0":
            return "PE program"
    return "DOS program" if b"\0" in head[:64] else None


def _java(head: bytes) -> str | None:
    if len(head) < 8 or head[:4] not in {b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"}:  # noqa: PLR2004
        return None
    return "Mach-O program" if struct.unpack_from(">I", head, 4)[0] <= _FAT_MACHO_MOST else "Java class"


def _pyc(head: bytes) -> str | None:
    if head[2:4] != b"\r\n":
        return None
    known = any(int.from_bytes(head[:2], "little") in versions for versions in _PYC_MAGIC)
    code = any(head[at : at + 1] and head[at] in _PYC_CODE for at in _PYC_HEADERS)
    return "Python bytecode" if known and code else None


def _packed(head: bytes) -> str | None:
    if _BZIP2.match(head):
        return "bzip2 archive"
    if _CPIO.match(head):
        return "cpio archive"
    if head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:  # noqa: PLR2004 - a skippable zstd or lz4 frame
        return "zstd archive"
    if head[_ISO_AT : _ISO_AT + 5] == b"CD001":
        return "ISO image"
    return "lzma archive" if _LZMA.match(head) else None


def _tar(head: bytes) -> str | None:
    """Know a tar header by its checksum, too: there are archives older than the word ustar."""
    block = head[:_TAR_BLOCK]
    if len(block) < _TAR_BLOCK or not any(block):
        return None
    if block[257:262] == b"ustar":
        return "tar archive"
    written = block[_TAR_CHECKSUM].strip(b" \0")
    if not written or not re.fullmatch(rb"[0-7]+", written):
        return None
    return "tar archive" if int(written, 8) == sum(block) - sum(block[_TAR_CHECKSUM]) + 8 * 32 else None


def _pickle(head: bytes) -> str | None:
    if head[:1] == b"\x80" and len(head) > 2 and head[1] in _PICKLE_PROTOCOLS:  # noqa: PLR2004
        return "pickle" if chr(head[2]) in _OPCODES else None
    if head.startswith(_NUMPY):
        return "pickle in a NumPy array" if _NUMPY_OBJECTS.search(head[:_NUMPY_HEADER_BYTES]) else None
    return "pickle" if _is_old_pickle(head) else None


def _is_old_pickle(head: bytes) -> bool:
    """Without a first opcode that names the protocol there is no magic.

    What parses as opcodes to the end, and imports something on the way, is taken for a pickle; text
    that parses by accident imports nothing.
    """
    if head[:1].decode("latin-1") not in _OPCODES:
        return False
    imports = False
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(head))):
            if opcode.name in _PICKLE_IMPORTS:
                imports = imports or argument is None or _PICKLE_NAME.fullmatch(str(argument)) is not None
            if opcode.name == "STOP" or count > _PICKLE_OPCODES:
                break
    except Exception:  # noqa: BLE001 - the parser raises whatever the bytes make it raise
        return imports and len(head) == HEAD_BYTES
    return imports


def _ends_as_zip(tail: bytes, size: int) -> bool:
    """Whether an end-of-directory record lies where a zip reader looks for it and points into the file."""
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        if at + 22 <= len(tail):
            entries, length, offset, comment = struct.unpack_from("<HIIH", tail, at + 10)
            if at + 22 + comment == len(tail) and length + offset + 22 + comment <= size and entries:
                return True
        at = tail.rfind(b"PK\x05\x06", 0, at)
    return False


_BY_FIRST_BYTE = {
    first: tuple(row for row in _MAGIC if row[0][:1] == first) for first in {magic[:1] for magic, _ in _MAGIC}
}
_OPCODES = frozenset(opcode.code for opcode in pickletools.opcodes)
_LOOKS: tuple[Callable[[bytes], str | None], ...] = (_windows, _java, _pyc, _packed, _tar, _pickle)

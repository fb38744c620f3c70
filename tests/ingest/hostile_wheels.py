"""Wheels that nobody should install, each built from real bytes, and the honest one that they start from.

`HOSTILE` is the corpus: what is wrong, in words, to the code that has to come out and the function
that makes the files. Every wheel is called `gift`; RECORD is right unless RECORD is the attack.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.ingest.wheel_bytes import (
    CODE,
    DATA,
    FILE_NAME,
    INFO,
    METADATA,
    WHEEL,
    Files,
    another,
    entries,
    pack,
    patched,
    recorded,
    row,
    shifted,
    wheel,
)


@dataclass(frozen=True)
class Attack:
    """A hostile wheel, or several that are hostile together."""

    code: str
    make: Callable[[], Mapping[str, bytes]]
    """File name to content."""
    beside: tuple[str, ...] = field(default=())
    """Environments list them, too; for wheels that are honest on their own."""


def bomb(total: int = 1 << 30) -> bytes:
    """Return a small wheel whose one member inflates to `total` zero bytes, honestly declared."""
    empty = zipfile.ZipInfo("gift/zeros.bin")  # stored, so that nothing of it is there yet
    data = pack([*entries(), (empty, b"")], zipfile.ZIP_STORED)
    return _with_member(data, "gift/zeros.bin", _deflated_zeros(total), total)


def _deflated_zeros(total: int) -> bytes:
    """Return a deflate stream of zeros: one block of a mebibyte, again and again, without inflating any of it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    once = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return once * (total >> 20) + last.flush()


def _with_member(data: bytes, member: str, packed: bytes, size: int) -> bytes:
    """Give the last member of an archive other packed bytes and a declared size."""

    def change(raw: bytearray, at: int, central: int) -> None:
        start = at + 30 + len(member)
        raw[start:start] = packed
        for offset in (at + 8, central + len(packed) + 10):
            struct.pack_into("<H", raw, offset, zipfile.ZIP_DEFLATED)
        for offset in (at + 18, central + len(packed) + 20):
            struct.pack_into("<LL", raw, offset, len(packed), size)
        (directory,) = struct.unpack_from("<L", raw, len(raw) - 6)
        struct.pack_into("<L", raw, len(raw) - 6, directory + len(packed))

    return patched(data, member, change)


def _flags(bits: int) -> bytes:
    def change(raw: bytearray, at: int, central: int) -> None:
        raw[at + 6] |= bits
        raw[central + 8] |= bits

    return patched(wheel(), "gift/__init__.py", change)


def _sizes(size: int) -> bytes:
    """Declare another unpacked size than there is, in both headers alike."""

    def change(raw: bytearray, at: int, central: int) -> None:
        struct.pack_into("<L", raw, at + 22, size)
        struct.pack_into("<L", raw, central + 24, size)

    return patched(wheel(), "gift/__init__.py", change)


def _flipped() -> bytes:
    """Damage the bytes of a member, as a failing stick would."""

    def change(raw: bytearray, at: int, central: int) -> None:
        raw[at + 30 + len("gift/__init__.py") + 3] ^= 0xFF

    return patched(wheel(), "gift/__init__.py", change)


def _other_local_name() -> bytes:
    def change(raw: bytearray, at: int, central: int) -> None:
        raw[at + 30 : at + 34] = b"evil"

    return patched(wheel(), "gift/__init__.py", change)


def _shared_bytes() -> bytes:
    """Two names in the table of contents for the bytes of one member."""

    def change(raw: bytearray, at: int, central: int) -> None:
        (first,) = struct.unpack_from("<L", raw, patched_at["gift/__init__.py"] + 42)
        struct.pack_into("<L", raw, central + 42, first)

    patched_at: dict[str, int] = {}
    data = wheel({"gift/evil_py_.py": b"VALUE = 1\n"})
    patched(data, "gift/__init__.py", lambda _raw, _at, central: patched_at.update({"gift/__init__.py": central}))
    return patched(data, "gift/evil_py_.py", change)


def _hidden_member() -> bytes:
    """Leave a member out of the table of contents: readers from the front see it all the same."""
    data = wheel({"gift/hidden.py": CODE})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [info.filename for info in archive.infolist()]
    spans: list[tuple[int, int]] = []
    length = 46 + len("gift/hidden.py")
    patched(data, "gift/hidden.py", lambda _raw, _at, central: spans.append((central, central + length)))
    raw = bytearray(data)
    del raw[slice(*spans[0])]
    struct.pack_into("<HHL", raw, len(raw) - 14, len(names) - 1, len(names) - 1, len(raw) - 22 - _directory_at(data))
    return bytes(raw)


def _directory_at(data: bytes) -> int:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.start_dir


def _zip64_end() -> bytes:
    """Add a zip64 end record, which only some readers look at, and let it say something else."""
    data, at = wheel(), _directory_at(wheel())
    end = data[-22:]
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 46, at)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(data) - 22, 1)
    return data[:-22] + record + locator + end


def _named(name: str, *, mode: int | None = None, flag: int = 0) -> bytes:
    """Add a member under a name that `zipfile` would change, or with a file mode."""
    info = zipfile.ZipInfo("x" if "\x00" in name else name)
    info.filename = name
    if mode is not None:
        info.create_system, info.external_attr = 3, mode << 16
    info.flag_bits |= flag
    base = [(member, content) for member, content in entries() if member != f"{INFO}/RECORD"]
    rows = [row(str(member), content) for member, content in base]
    rows += [row(name, CODE), f"{INFO}/RECORD,,"]
    return pack([*base, (info, CODE), (f"{INFO}/RECORD", "\n".join(rows).encode("utf-8", "surrogateescape"))])


def _not_utf8() -> bytes:
    return _named("gift/\u00e9.py").replace("gift/\u00e9.py".encode(), b"gift/\xff\xfe.py")


def _twice() -> bytes:
    """Two members of one name: readers from the front and from the back see different code."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return pack([("gift/__init__.py", CODE), *entries()])


def _one(files: Files) -> Callable[[], Mapping[str, bytes]]:
    return lambda: {FILE_NAME: wheel(files)}


def _raw(make: Callable[[], bytes], name: str = FILE_NAME) -> Callable[[], Mapping[str, bytes]]:
    return lambda: {name: make()}


def _scripts(text: str) -> Callable[[], Mapping[str, bytes]]:
    return _one({f"{INFO}/entry_points.txt": text.encode()})


def _announced(number: int) -> bytes:
    """Announce another number of members than are listed."""
    data = bytearray(wheel())
    struct.pack_into("<HH", data, len(data) - 14, number, number)
    return bytes(data)


def _second_name() -> bytes:
    """Give a member another name in an extra field that some readers prefer."""
    info = zipfile.ZipInfo("gift/a.py")
    other = b"gift/b.py"
    info.extra = struct.pack("<HHBL", 0x7075, 5 + len(other), 1, zlib.crc32(b"gift/a.py")) + other
    base = entries({"gift/a.py": CODE})
    return pack([(info if name == "gift/a.py" else name, content) for name, content in base])


def _wide(size: int) -> bytes:
    """Write one member with a zip64 field in its own header, then let the field say `size`."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries():
            with archive.open(str(name), "w", force_zip64=name == "gift/__init__.py") as stream:
                stream.write(content)

    def change(raw: bytearray, at: int, central: int) -> None:
        struct.pack_into("<Q", raw, at + 30 + len("gift/__init__.py") + 4, size)

    return patched(out.getvalue(), "gift/__init__.py", change)


def wide() -> bytes:
    """Return an honest wheel with zip64 fields, as some build tools write them."""
    return _wide(len(b"VALUE = 1\n"))


def streamed() -> bytes:
    """Return an honest wheel written to a pipe: sizes follow the members instead of preceding them."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError("a pipe has no position")

    out = Pipe()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in entries():
            archive.writestr(member, content)
    return out.getvalue()


def _streamed_otherwise() -> bytes:
    """Let the sizes after a member differ from those in the table of contents."""
    data = bytearray(streamed())
    data[data.index(b"PK\7\10") + 12] ^= 1
    return bytes(data)


HOSTILE: Mapping[str, Attack] = {
    "no zip at all": Attack("WHEEL_NOT_ZIP", _raw(lambda: b"#!/bin/sh\nrm -rf /\n" * 100)),
    "cut off": Attack("WHEEL_NOT_ZIP", _raw(lambda: wheel()[:-200])),
    "bytes in front": Attack("WHEEL_EXTRA_BYTES", _raw(lambda: b"MZ" + bytes(510) + wheel())),
    "bytes in front, offsets corrected": Attack("WHEEL_EXTRA_BYTES", _raw(lambda: shifted(wheel(), bytes(64)))),
    "bytes at the end": Attack("WHEEL_EXTRA_BYTES", _raw(lambda: wheel() + b"tail")),
    "a second archive at the end": Attack("WHEEL_EXTRA_BYTES", _raw(lambda: wheel() + wheel({"gift/evil.py": CODE}))),
    "a member outside of the list": Attack("WHEEL_EXTRA_BYTES", _raw(_hidden_member)),
    "two members in the same bytes": Attack("WHEEL_OVERLAP", _raw(_shared_bytes)),
    "a zip64 end record that lies": Attack("WHEEL_ZIP64", _raw(_zip64_end)),
    "encrypted": Attack("WHEEL_ENCRYPTED", _raw(lambda: _flags(0x1))),
    "bzip2": Attack("WHEEL_COMPRESSION", _raw(lambda: pack(entries(), zipfile.ZIP_BZIP2))),
    "lzma": Attack("WHEEL_COMPRESSION", _raw(lambda: pack(entries(), zipfile.ZIP_LZMA))),
    "another name in its own header": Attack("WHEEL_HEADERS", _raw(_other_local_name)),
    "damaged bytes": Attack("WHEEL_CONTENT", _raw(_flipped)),
    "smaller than it says": Attack("WHEEL_CONTENT", _raw(lambda: _sizes(1 << 20))),
    "larger than it says": Attack("WHEEL_CONTENT", _raw(lambda: _sizes(3))),
    "a gibibyte in a mebibyte": Attack("WHEEL_RATIO", _raw(bomb)),
    "a member of three gibibytes": Attack("WHEEL_TOO_LARGE", _raw(lambda: _sizes(3 << 30))),
    "sixty thousand members": Attack("WHEEL_TOO_MANY", _raw(lambda: _announced(60_000))),
    "more members than announced": Attack("WHEEL_NOT_ZIP", _raw(lambda: _announced(2))),
    "a second name in an extra field": Attack("WHEEL_HEADERS", _raw(_second_name)),
    "other sizes after a member": Attack("WHEEL_HEADERS", _raw(_streamed_otherwise)),
    "a zip64 field that lies": Attack("WHEEL_ZIP64", _raw(lambda: _wide(3))),
    "out of the folder": Attack("WHEEL_NAME_ESCAPES", _raw(lambda: _named("../../evil.py"))),
    "from the root": Attack("WHEEL_NAME_ESCAPES", _raw(lambda: _named("/etc/cron.d/evil"))),
    "backslashes": Attack("WHEEL_NAME_ESCAPES", _raw(lambda: _named("..\\..\\evil.py"))),
    "a drive": Attack("WHEEL_NAME_ESCAPES", _raw(lambda: _named("C:/evil.py"))),
    "a bell in a name": Attack("WHEEL_NAME_TEXT", _raw(lambda: _named("gift/\x07.py"))),
    "a NUL in a name": Attack("WHEEL_NAME_TEXT", _raw(lambda: _named("gift/a.py\x00.txt"))),
    "a name written right to left": Attack("WHEEL_NAME_TEXT", _raw(lambda: _named("gift/\u202eyp.py"))),
    "a name that is not UTF-8": Attack("WHEEL_NAME_TEXT", _raw(_not_utf8)),
    "a name that is not NFC": Attack("WHEEL_NAME_TEXT", _raw(lambda: _named("gift/e\u0301.py"))),
    "a name of a thousand characters": Attack("WHEEL_NAME_LONG", _raw(lambda: _named("gift/" + "a/" * 500 + "b.py"))),
    "one name twice": Attack("WHEEL_NAME_TWICE", _raw(_twice)),
    "one module twice, once as data": Attack("WHEEL_NAME_TWICE", _one({f"{DATA}/purelib/gift/__init__.py": CODE})),
    "names that differ in case": Attack("WHEEL_NAME_CASE", _one({"gift/A.py": b"", "gift/a.py": CODE})),
    "file and folder": Attack("WHEEL_NAME_FOLDER", _one({"gift/a": b"", "gift/a/b.py": CODE})),
    "a symbolic link": Attack("WHEEL_LINK", _raw(lambda: _named("gift/link", mode=0o120777))),
    "a device": Attack("WHEEL_LINK", _raw(lambda: _named("gift/null", mode=0o020666))),
    "a set-id bit": Attack("WHEEL_LINK", _raw(lambda: _named("gift/su", mode=0o104755))),
    "no name of a wheel": Attack("WHEEL_FILE_NAME", _raw(wheel, "gift-1.0-any.whl")),
    "another's dist-info, too": Attack("WHEEL_DIST_INFO", _one({"other-1.0.dist-info/METADATA": METADATA})),
    "another's dist-info as data": Attack(
        "WHEEL_DIST_INFO", _one({f"{DATA}/purelib/pytest-9.0.dist-info/entry_points.txt": b"[pytest11]\nx = gift\n"})
    ),
    "a part of its dist-info as data": Attack(
        "WHEEL_DIST_INFO", _one({f"{DATA}/purelib/{INFO}/entry_points.txt": b"[pytest11]\nx = gift\n"})
    ),
    "egg metadata beside": Attack("WHEEL_DIST_INFO", _one({"other.egg-info/entry_points.txt": b""})),
    "dist-info of another version": Attack("WHEEL_DIST_INFO", _raw(wheel, "gift-2.0-py3-none-any.whl")),
    "no RECORD": Attack("WHEEL_RECORD", _one({f"{INFO}/RECORD": None})),
    "RECORD that is no CSV": Attack("WHEEL_RECORD", _raw(lambda: wheel(record=b'"gift,,\n'))),
    "RECORD with a file twice": Attack(
        "WHEEL_RECORD", _raw(lambda: recorded(lambda rows: rows.update(again=rows["gift/__init__.py"])))
    ),
    "a file that RECORD leaves out": Attack(
        "WHEEL_RECORD_UNLISTED", _raw(lambda: recorded(lambda rows: rows.pop("gift/__init__.py")))
    ),
    "a file that only RECORD has": Attack(
        "WHEEL_RECORD_ABSENT", _raw(lambda: recorded(lambda rows: rows.update(gone=row("gift/gone.py", CODE))))
    ),
    "a hash of something else": Attack(
        "WHEEL_RECORD_HASH",
        _raw(lambda: recorded(lambda rows: rows.update({"gift/__init__.py": row("gift/__init__.py", CODE, size=10)}))),
    ),
    "a size of something else": Attack(
        "WHEEL_RECORD_HASH",
        _raw(lambda: recorded(
            lambda rows: rows.update({"gift/__init__.py": row("gift/__init__.py", b"VALUE = 1\n", size=11)})
        )),
    ),
    "a hash that can be forged": Attack(
        "WHEEL_RECORD_WEAK",
        _raw(lambda: recorded(
            lambda rows: rows.update({"gift/__init__.py": row("gift/__init__.py", b"VALUE = 1\n", algorithm="md5")})
        )),
    ),
    "no hash": Attack(
        "WHEEL_RECORD_WEAK", _raw(lambda: recorded(lambda rows: rows.update({"gift/__init__.py": "gift/__init__.py,,"})))
    ),
    "METADATA of another": Attack("WHEEL_METADATA", _one({f"{INFO}/METADATA": METADATA.replace(b"gift", b"pytest")})),
    "METADATA with two names": Attack("WHEEL_METADATA", _one({f"{INFO}/METADATA": METADATA + b"Name: pytest\n"})),
    "no METADATA": Attack("WHEEL_METADATA", _one({f"{INFO}/METADATA": None})),
    "a format to come": Attack("WHEEL_FORMAT", _one({f"{INFO}/WHEEL": WHEEL.replace(b"1.0", b"2.0")})),
    "tags of another machine": Attack(
        "WHEEL_TAGS", _one({f"{INFO}/WHEEL": WHEEL.replace(b"py3-none-any", b"cp39-cp39-win_amd64")})
    ),
    "a wheel for another Python": Attack(
        "WHEEL_MISFIT",
        lambda: {"gift-1.0-cp27-cp27m-win32.whl": wheel({f"{INFO}/WHEEL": WHEEL.replace(b"py3-none-any", b"cp27-cp27m-win32")})},
    ),
    "a line of code in a .pth file": Attack("WHEEL_STARTUP", _one({"gift.pth": b"import os; os.system('id')\n"})),
    "a .pth file as data": Attack("WHEEL_STARTUP", _one({f"{DATA}/platlib/gift.pth": b"import gift\n"})),
    "a .pth file that names a folder": Attack(
        "WHEEL_STARTUP", _one({"gift.pth": b"gift/more\n", "gift/more/sitecustomize.py": CODE})
    ),
    "a namespace .pth file for a module of Python": Attack(
        "WHEEL_STARTUP", lambda: {FILE_NAME: wheel({"gift.pth": namespace_pth("xml"), "xml/etree.py": CODE})}
    ),
    "a .pth file that leads outside": Attack("WHEEL_STARTUP", _one({"gift.pth": b"/work\n"})),
    "a .pth file with a hidden line end": Attack("WHEEL_STARTUP", _one({"gift.pth": b"gift\x0cimport os\n"})),
    "a namespace .pth file with more in it": Attack(
        "WHEEL_STARTUP", lambda: {FILE_NAME: wheel({"gift-nspkg.pth": namespace_pth("gift").rstrip() + b";import gift\n"})}
    ),
    "a namespace .pth file for another's package": Attack(
        "WHEEL_STARTUP", lambda: {FILE_NAME: wheel({"gift-nspkg.pth": namespace_pth("_pytest")})}
    ),
    "a known .pth file in another's wheel": Attack("WHEEL_STARTUP", _one({
        "distutils-precedence.pth": b"import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') "
        b"== 'local'; enabled and __import__('_distutils_hack').add_shim(); \n"
    })),
    "a .start file": Attack("WHEEL_STARTUP", _one({"gift.start": b"gift:main\n"})),
    "sitecustomize": Attack("WHEEL_CUSTOMIZE", _one({"sitecustomize.py": CODE})),
    "usercustomize as a package": Attack("WHEEL_CUSTOMIZE", _one({f"{DATA}/purelib/usercustomize/__init__.py": CODE})),
    "sitecustomize, compiled": Attack("WHEEL_CUSTOMIZE", _one({"sitecustomize.cpython-311-x86_64-linux-gnu.so": CODE})),
    "a script called python3": Attack("WHEEL_SCRIPT", _one({f"{DATA}/scripts/python3": CODE})),
    "a script called pip": Attack("WHEEL_SCRIPT", _one({f"{DATA}/scripts/pip": CODE})),
    "an entry point called pytest": Attack("WHEEL_SCRIPT", _scripts("[console_scripts]\npytest = gift:main\n")),
    "a script called pyvenv.cfg": Attack("WHEEL_SCRIPT", _one({f"{DATA}/scripts/pyvenv.cfg": b"home = /tmp\n"})),
    "a data file bin/activate": Attack("WHEEL_SCRIPT", _one({f"{DATA}/data/bin/activate": CODE})),
    "an entry point that climbs": Attack("WHEEL_ENTRY_POINT", _scripts("[console_scripts]\n../../run = gift:main\n")),
    "entry points that cannot be parsed": Attack("WHEEL_ENTRY_POINTS", _scripts("console_scripts]\nx = gift\n")),
    "an entry point with code in it": Attack(
        "WHEEL_ENTRY_POINTS", _scripts("[gui_scripts]\nx = gift:main\n  import os; os.system('id')\n")
    ),
    "a data file pyvenv.cfg": Attack("WHEEL_DATA", _one({f"{DATA}/data/pyvenv.cfg": b"home = /tmp\n"})),
    "a data file below lib": Attack("WHEEL_DATA", _one({f"{DATA}/data/lib/python3.11/site-packages/sitecustomize.py": CODE})),
    "an unknown scheme": Attack("WHEEL_DATA_SCHEME", _one({f"{DATA}/stdlib/os.py": CODE})),
    "a second data folder": Attack("WHEEL_DATA_SCHEME", _one({"other-1.0.data/scripts/run": CODE})),
    "pytest's modules": Attack("WHEEL_TOOL", _one({"_pytest/assertion.py": CODE})),
    "the module that every environment starts with": Attack("WHEEL_TOOL", _one({"_virtualenv.py": CODE})),
    "pytest as one file": Attack("WHEEL_TOOL", _one({"pytest.py": CODE})),
    "setuptools' modules as data": Attack("WHEEL_TOOL", _one({f"{DATA}/platlib/pkg_resources/__init__.py": CODE})),
    "one path from two wheels": Attack(
        "WHEEL_CLASH", lambda: {FILE_NAME: wheel(), **another("later", {"gift/__init__.py": CODE})}
    ),
    "one module from two wheels": Attack("WHEEL_CLASH", lambda: {FILE_NAME: wheel(), **another("later", {"gift.so": CODE})}),
    "bytecode for another's module": Attack(
        "WHEEL_CLASH",
        lambda: {FILE_NAME: wheel(), **another("later", {"gift/__pycache__/__init__.cpython-311.pyc": CODE})},
    ),
    "a file where another has a folder": Attack(
        "WHEEL_CLASH",
        lambda: {
            FILE_NAME: wheel({f"{DATA}/data/share/gift/x": b""}),
            **another("later", {"later-1.0.data/data/share/gift": b""}),
        },
    ),
    "one distribution twice": Attack(
        "WHEEL_DISTRIBUTION_TWICE", lambda: {FILE_NAME: wheel(), **another("gift", {"gift/__init__.py": CODE}, "1.1")}
    ),
}  # fmt: skip


def namespace_pth(package: str) -> bytes:
    """Return the start-up file that setuptools 69 writes for a namespace package."""
    return (
        "import sys, types, os;p = os.path.join(sys._getframe(1).f_locals['sitedir'], *('%s',));"
        "importlib = __import__('importlib.util');__import__('importlib.machinery');"
        "m = sys.modules.setdefault('%s', importlib.util.module_from_spec(importlib.machinery.PathFinder.find_spec("
        "'%s', [os.path.dirname(p)])));m = m or sys.modules.setdefault('%s', types.ModuleType('%s'));"
        "mp = (m or []) and m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)\n" % ((package,) * 5)
    ).encode()

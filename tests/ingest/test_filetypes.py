"""Kinds of files: programs, archives and pickles are known by their bytes, and nothing else is taken for one."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import py_compile
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.git import git_environment
from ingest.filetypes import HEAD_BYTES, kind_of_bytes

CHECKOUT = Path(__file__).parent.parent.parent


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.py", "print()")
    return out.getvalue()


def _tar(form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        archive.addfile(tarfile.TarInfo("a/b"), io.BytesIO(b""))
    return out.getvalue()


def _old_tar() -> bytes:
    """Return a tar header from before the word ustar, with its checksum."""
    block = bytearray(_tar(tarfile.USTAR_FORMAT)[:512])
    block[257:512] = bytes(255)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _pe() -> bytes:
    return b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(100)


def _pyc(where: Path) -> bytes:
    source = where / "module.py"
    source.write_text("x = 1\n")
    return Path(py_compile.compile(str(source), doraise=True)).read_bytes()  # type: ignore[arg-type]


def _bundle(where: Path) -> bytes:
    env = git_environment() | {
        f"GIT_{who}_{key}": "a@example.invalid" for who in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")
    }
    for command in (
        ["init", "-q"],
        ["commit", "-q", "--allow-empty", "-m", "one"],
        ["bundle", "create", "-q", "b", "HEAD"],
    ):
        subprocess.run(["git", *command], cwd=where, env=env, check=True, capture_output=True)
    return (where / "b").read_bytes()


class Evil:
    """Runs something when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return print, ("fired",)


def _npy(descr: str) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(8)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda _: Path(sys.executable).resolve().read_bytes(), "ELF program"),
        (lambda _: _pe(), "PE program"),
        (lambda _: b"MZ" + bytes(80), "DOS program"),
        (lambda _: b"\xcf\xfa\xed\xfe" + bytes(28), "Mach-O program"),
        (lambda _: b"\xca\xfe\xba\xbe" + struct.pack(">I", 2) + bytes(40), "Mach-O program"),
        (lambda _: b"\xca\xfe\xba\xbe" + struct.pack(">I", 61) + bytes(40), "Java class"),
        (lambda _: b"\0asm\x01\0\0\0", "WebAssembly program"),
        (_pyc, "Python bytecode"),
        (lambda _: _zip(), "zip archive"),
        (lambda _: b"#!/usr/bin/env python3\n" + _zip(), "zip archive behind other bytes"),
        (lambda _: b"\x89PNG\r\n\x1a\n" + bytes(70_000) + _zip(), "zip archive behind other bytes"),
        (lambda _: _tar(tarfile.USTAR_FORMAT), "tar archive"),
        (lambda _: _tar(tarfile.GNU_FORMAT), "tar archive"),
        (lambda _: _old_tar(), "tar archive"),
        (lambda _: gzip.compress(b"x"), "gzip archive"),
        (lambda _: bz2.compress(b"x"), "bzip2 archive"),
        (lambda _: lzma.compress(b"x"), "xz archive"),
        (lambda _: lzma.compress(b"x" * 99, format=lzma.FORMAT_ALONE), "lzma archive"),
        (lambda _: b"\x28\xb5\x2f\xfd" + bytes(9), "zstd archive"),
        (lambda _: b"7z\xbc\xaf\x27\x1c" + bytes(26), "7z archive"),
        (lambda _: b"Rar!\x1a\x07\x01\0", "rar archive"),
        (lambda _: b"!<arch>\ndebian-binary   ", "ar archive"),
        (lambda _: b"070701" + b"0" * 104 + b"a\0", "cpio archive"),
        (_bundle, "git bundle"),
        (lambda _: bytes(0x8001) + b"CD001" + bytes(99), "ISO image"),
        *((lambda _, p=protocol: pickle.dumps(Evil(), protocol=p), "pickle") for protocol in range(6)),
        (lambda _: b"cos\nsystem\n(S'true'\ntR.", "pickle"),
        (lambda _: b"\x80\x04" + pickle.dumps([1], protocol=4)[2:], "pickle"),
        (lambda _: pickle.dumps(Evil(), protocol=4)[2:], "pickle"),
        (lambda _: pickle.dumps(Evil(), protocol=0) + b"trailing text", "pickle"),
        (lambda _: b"cos\nsystem\n(" + b"S'aaaaaaaa'\n" * HEAD_BYTES, "pickle"),
        (lambda _: _npy("'|O'"), "pickle in a NumPy array"),
    ],
)
def test_what_could_be_run_or_unpacked_is_known_by_its_bytes(
    make: Callable[[Path], bytes], kind: str, tmp_path: Path
) -> None:
    """Each kind is recognised without its name being asked."""
    assert kind_of_bytes(make(tmp_path)) == kind


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n", b"MZ is how this note begins", b"import os\nimport sys\n\nN.\n", b"class A:\n    pass\n",
        b"(c) 2026 by the authors\n", b"b.\n", b"070701 is a number\n", b"# v2 git bundles are files\n",
        b"*.py text eol=lf\n", b"I1\n.", b"(lp0\nI1\na.", b"PK\n", b"BZh9 is no archive", b"\x80\x81\x82 binary",
        b"\x89PNG\r\n\x1a\n" + bytes(99), b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(99), b"GIF89a" + bytes(99),
        b"%PDF-1.7\n" + bytes(99), b"SQLite format 3\0" + bytes(999), b"\0\x01\0\0\0\x0c" + bytes(99),
        b"wOF2" + bytes(99), b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"RIFF\x24\0\0\0WAVEfmt ", bytes(20_000),
        b'#!/bin/sh\nexec python3 "$0"\n', b"-----BEGIN CERTIFICATE-----\n", b"\xde\x12\x04\x95" + bytes(64),
        b"text with PK\x05\x06 in the middle, " + b"x" * 99, _npy("'<f8'"), b"\xca\xfe", b"\x7fEL", b"ab\r\n" + bytes(20),
    ],
    ids=lambda data: repr(data[:16]),
)  # fmt: skip
def test_text_images_and_data_are_no_finding(data: bytes) -> None:
    """Source, pictures, fonts, databases, message catalogues and odd words at the start have no kind."""
    assert kind_of_bytes(data) is None


def test_every_file_of_this_repository_is_harmless() -> None:
    """No source file of the appliance is taken for something else."""
    tracked = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "*.py", "*.md", "*.toml", "*.json", "*.patch"],
        cwd=CHECKOUT, capture_output=True, check=False,
    ).stdout.split(b"\0")  # fmt: skip
    files = [CHECKOUT / name.decode() for name in tracked if name] or sorted(CHECKOUT.rglob("*.py"))
    found = {str(path): kind_of_bytes(path.read_bytes()) for path in files if path.is_file()}
    assert len(found) > 50
    assert {path: kind for path, kind in found.items() if kind} == {}

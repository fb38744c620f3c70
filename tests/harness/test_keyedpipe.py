"""Records that nobody else can have written: codes, numbers, and what shows when either is wrong."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys

import pytest

from harness.inside.sandbox_stream import make_sender
from harness.keyedpipe import KEY_BYTES, code, new_key, open_records
from tests.records import KEY, sealed

RECORDS = [{"t": "start", "id": "é [x]\n"}, {"t": "phase", "s": 0.25, "n": None, "x": True}, {"t": "end", "exit": 0}]


def lines_of(*records: object) -> list[bytes]:
    """Return the lines that the sender writes."""
    return sealed(*records).splitlines(keepends=True)


def test_what_was_sent_comes_back_in_order() -> None:
    """Every kind of value survives, and nothing is wrong."""
    opened = open_records(sealed(*RECORDS), KEY)
    assert list(opened.records) == RECORDS
    assert opened.tampering == ""


def test_the_code_is_hmac_sha256_of_number_and_text() -> None:
    """The sender in the sandbox and the reader outside make it in different ways and agree."""
    number, said, body = lines_of(RECORDS[0])[0].rstrip(b"\n").split(b" ", 2)
    expected = hmac.new(KEY, number + b" " + body, hashlib.sha256).hexdigest()[:32]
    assert said.decode() == expected == code(KEY, 0, body)


@pytest.mark.parametrize(
    ("lines", "words", "read"),
    [
        (lambda a, _, c: [a, c], "came where 1 was due", 1),
        (lambda a, b, c: [a, a, b, c], "came where 1 was due", 1),
        (lambda a, b, c: [a, c, b], "came where 1 was due", 1),
        (lambda _, b, c: [b, c], "came where 0 was due", 0),
        (lambda a, b, c: [a, b.replace(b"0.25", b"0.26"), c], "somebody else", 1),
        (lambda a, b, c: [a, b.replace(b"1 ", b"2 ", 1), c], "somebody else", 1),
        (lambda a, b, c: [a, b"{}\n", b, c], "somebody else", 1),
        (lambda a, b, c: [a, b, c, b"\n"], "somebody else", 3),
        (lambda a, b, c: [a, b, c, b"x"], "somebody else", 3),
        (lambda a, b, c: [a, b, c[:-1]], "", 3),
        (lambda a, b, c: [a, b, c[:-9]], "somebody else", 2),
    ],
    ids=["lost", "repeated", "reordered", "first lost", "changed", "renumbered", "put between", "empty line",
         "no newline", "last newline", "torn"],
)  # fmt: skip
def test_every_change_of_the_stream_shows(lines: object, words: str, read: int) -> None:
    """The first thing that is wrong is named, and what came before it is kept."""
    raw = b"".join(lines(*lines_of(*RECORDS)))  # type: ignore[operator]
    opened = open_records(raw, KEY)
    assert words in opened.tampering
    assert bool(words) is bool(opened.tampering)
    assert list(opened.records) == RECORDS[:read]


def test_records_of_another_run_are_not_ours() -> None:
    """A key is good for one run."""
    assert new_key() != new_key()
    assert len(new_key()) == KEY_BYTES
    assert "somebody else" in open_records(sealed(*RECORDS), new_key()).tampering


def test_a_torn_last_line_of_a_killed_run_is_no_sign_of_anything() -> None:
    """The writer was stopped in the middle of a record."""
    raw = sealed(*RECORDS)[:-7]
    assert open_records(raw, KEY, cut=True).tampering == ""
    assert len(open_records(raw, KEY, cut=True).records) == 2


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"{", b"[" * 5000, b'{"id": "\\ud800"}'])
def test_a_sealed_line_that_is_no_document_shows(body: bytes) -> None:
    """Not even our own sender may write anything but documents that can be stored."""
    raw = b"0 %s %s\n" % (code(KEY, 0, body).encode(), body)
    assert "is no document" in open_records(raw, KEY).tampering


@pytest.mark.parametrize("number", [b"-1", b"+0", b"0x0", b"1" * 5000, "٣".encode(), b""])
def test_odd_numbers_are_not_ours(number: bytes) -> None:
    """Numbers are short and of plain digits."""
    assert "somebody else" in open_records(number + b" " + b"0" * 32 + b" {}\n", KEY).tampering


def test_patching_the_modules_later_does_not_reach_the_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """What sending needs was bound when the sender was made."""
    reading, writing = os.pipe()
    send = make_sender(writing, KEY)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("patched")

    for target, name in (
        (os, "write"),
        (json, "dumps"),
        (json.JSONEncoder, "encode"),
        (hmac, "new"),
        (hashlib, "sha256"),
    ):
        monkeypatch.setattr(target, name, broken)
    send({"t": "start"})
    monkeypatch.undo()
    assert open_records(os.read(reading, 1000), KEY).records == ({"t": "start"},)
    os.close(reading)
    os.close(writing)


def test_the_sender_keeps_no_key() -> None:
    """Neither the key nor a text of it is among what the sender refers to."""
    key = new_key()
    reading, writing = os.pipe()
    send = make_sender(writing, key)
    held = [cell.cell_contents for cell in send.__closure__]
    assert all(key not in (thing, getattr(thing, "key", None)) and key.hex() != thing for thing in held)
    assert sys.getrefcount(key) == 2
    os.close(reading)
    os.close(writing)

"""Tests of what commands print."""

from __future__ import annotations

import json
import time

import pytest

from appliance.cli.output import Progress, emit, table

HOSTILE = "a\x1b[2J\x9b1A\u202egnp.sh\u200b\nb"
ESCAPED = r"a\x1b[2J\x9b1A\u202egnp.sh\u200b\nb"


def test_without_a_terminal_lines_are_rare_and_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """The first line is printed, those that follow at once are not, and nothing needs more than ASCII."""
    progress = Progress()
    progress("gate 1/9 \u2713")
    progress("gate 2/9")
    progress.done()
    captured = capsys.readouterr()
    assert (captured.err, captured.out) == ("gate 1/9 ?\n", "")


def test_a_long_silence_is_broken_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever watches sees which work is going on, and since when."""
    progress = Progress(interval_s=0.05)
    progress("gate 1/9")
    time.sleep(0.3)
    progress.done()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "gate 1/9"
    assert len(lines) > 1
    assert all(line.startswith("gate 1/9 ... ") and line.endswith("still at work") for line in lines[1:])


def test_nothing_is_printed_after_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """A finished progress leaves no thread behind."""
    progress = Progress(interval_s=0.02)
    progress("last")
    progress.done()
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_a_table_lines_up() -> None:
    """Columns are as wide as their widest cell; no line ends with blanks."""
    assert table(("a", "bb"), [(1, "x"), (22, "")]) == "a   bb\n1   x\n22"


def test_a_table_carries_no_escapes_to_the_terminal() -> None:
    """Cells may hold text of a manifest that nobody vouches for, line feeds included."""
    assert table(("a", "b"), [(HOSTILE, 1)]).splitlines()[1] == f"{ESCAPED}  1"


def test_progress_carries_no_escapes_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of files are shown while they are read."""
    progress = Progress()
    progress(HOSTILE)
    progress.done()
    assert capsys.readouterr().err == f"{ESCAPED}\n"


def test_json_is_the_same_document_without_raw_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs read what was written; a terminal that shows it acts on nothing."""
    text = HOSTILE + "\U000e0041 \u00e4"
    emit({"text": text})
    shown = capsys.readouterr().out
    assert json.loads(shown)["text"] == text
    assert shown.removesuffix("\n").isprintable()
    assert "\u00e4" in shown

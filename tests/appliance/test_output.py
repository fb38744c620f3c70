"""Tests of what commands print."""

from __future__ import annotations

import time

import pytest

from appliance.cli.output import Progress, table


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

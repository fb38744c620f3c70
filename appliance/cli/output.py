"""What commands print: results on stdout, progress on stderr.

With --json stdout carries one document, or JSON lines, and nothing else. Progress is one line that
is rewritten on a terminal, and otherwise one plain ASCII line now and then. Text may come from a
medium that nobody vouches for: no cell, no JSON and no progress carries a character that a terminal acts on.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

SCHEMA = 1
QUIET_INTERVAL_S = 30.0
_WIDTH = 110


def emit(document: dict[str, Any]) -> None:
    """Print one JSON document on one line; what is not printable is written as JSON escapes."""
    text = json.dumps({"schema": SCHEMA, **document}, sort_keys=True, ensure_ascii=False)
    if not text.isprintable():  # only in strings, where an escape stands for the same character
        text = "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
    click.echo(text)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --json to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout and nothing else.")(function)


def dry_run_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --dry-run to a command."""
    return click.option("--dry-run", is_flag=True, help="Check everything, change nothing.")(function)


class Progress:
    """A callable that shows the last line of progress, and says now and then that it still goes on."""

    def __init__(self, *, interval_s: float = QUIET_INTERVAL_S) -> None:
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._interval_s = interval_s
        self._last_print = float("-inf")
        self._line = ""
        self._since = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None

    def __call__(self, line: str) -> None:
        """Show a line of progress."""
        with self._lock:
            self._line, self._since = line, time.monotonic()
            if self._terminal or self._since - self._last_print >= self._interval_s:
                self._print(line)
            if self._heart is None:
                self._ended.clear()
                self._heart = threading.Thread(target=self._beat, daemon=True)
                self._heart.start()

    def done(self) -> None:
        """End the heartbeat, and clear the line on a terminal."""
        self._ended.set()
        if self._heart is not None:
            self._heart.join()
            self._heart = None
            if self._terminal:
                click.echo("\r" + " " * _WIDTH + "\r", err=True, nl=False)

    def _beat(self) -> None:
        while not self._ended.wait(self._interval_s):
            with self._lock:
                quiet_s = time.monotonic() - self._since
                if quiet_s >= self._interval_s:
                    self._print(f"{self._line} ... {quiet_s:.0f} s ago, still at work")

    def _print(self, raw: str) -> None:
        from ingest.inspect import printable  # noqa: PLC0415 - not for a command that prints no progress

        line = printable(raw)
        self._last_print = time.monotonic()
        if self._terminal:
            click.echo("\r" + line[:_WIDTH].ljust(_WIDTH), err=True, nl=False)
        else:
            click.echo(line.encode("ascii", "replace").decode(), err=True)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a plain text table; the last column is left as long as it is, and escapes stand for control characters."""
    from ingest.inspect import printable  # noqa: PLC0415 - not for a command that prints no table

    cells = [list(headings), *([printable(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )

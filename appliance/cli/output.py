"""What commands print: results on stdout, progress on stderr.

With --json stdout carries one document, or JSON lines, and nothing else. Progress is one line that
is rewritten on a terminal, and otherwise one plain ASCII line now and then.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

SCHEMA = 1
QUIET_INTERVAL_S = 30.0
_WIDTH = 110


def emit(document: dict[str, Any]) -> None:
    """Print one JSON document on one line."""
    click.echo(json.dumps({"schema": SCHEMA, **document}, sort_keys=True, ensure_ascii=False))


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --json to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout and nothing else.")(function)


def dry_run_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --dry-run to a command."""
    return click.option("--dry-run", is_flag=True, help="Check everything, change nothing.")(function)


class Progress:
    """A callable that shows the last line of progress."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._last = float("-inf")
        self._shown = False

    def __call__(self, line: str) -> None:
        """Show a line of progress."""
        now = time.monotonic()
        if self._terminal:
            click.echo("\r" + line[:_WIDTH].ljust(_WIDTH), err=True, nl=False)
            self._shown = True
        elif now - self._last >= QUIET_INTERVAL_S:
            click.echo(line.encode("ascii", "replace").decode(), err=True)
            self._last = now

    def done(self) -> None:
        """Clear the line on a terminal."""
        if self._shown:
            click.echo("\r" + " " * _WIDTH + "\r", err=True, nl=False)
            self._shown = False


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a plain text table; the last column is left as long as it is."""
    cells = [list(headings), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )

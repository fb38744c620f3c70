"""Kill commands of the appliance at any moment, and look at what they leave behind.

Shared by tests and by tests/bench/kills.py. `check` holds after every kill; `state` is what a
command has to end with, disturbed or not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.appliance.conftest import Done, command, query, start
from tests.packages import git, read_manifest

GONE_WITHIN_S = 15
EVIDENCE = {
    "retrieval_llm_calls": "task_run_id = t.id", "retrieval_decisions": "task_run_id = t.id",
    "plans": "task_run_id = t.id", "attempts": "task_run_id = t.id", "attempt_runs": "attempt_id = a.id",
    "test_results": "attempt_id = a.id",
}  # fmt: skip


@dataclass(frozen=True)
class Kill:
    """How one kill went."""

    after_s: float
    whole_group: bool
    ended: bool
    """The command had ended by itself."""


def kill(home: Path, arguments: Sequence[str], moments: random.Random, between_s: tuple[float, float]) -> Kill:
    """Start a command and SIGKILL it at a random moment: the main process alone, or its process group."""
    after_s, whole_group = moments.uniform(*between_s), moments.random() < 0.5
    process = start(home, *arguments)
    ended = True
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        ended = False
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
    wait_until_gone(home)
    check(home)
    return Kill(after_s, whole_group, ended)


def check(home: Path) -> None:
    """Assert what holds at any time: whole databases, whole packages behind every row, whole quarantine entries."""
    for database in (home / "var").glob("*.db"):
        assert query(database, "PRAGMA integrity_check") == [("ok",)]
        assert query(database, "PRAGMA foreign_key_check") == []
    for package in packages(home):
        assert_whole(home / "repo_packages" / package)
    for place in (home / "var" / "quarantine").glob("*"):
        assert json.loads((place / "quarantine.json").read_bytes())["findings"]
        assert (place / "package").is_dir()


def assert_whole(directory: Path) -> None:
    """Assert that an integrated package has every wheel and every commit that its manifest lists."""
    manifest = read_manifest(directory)
    for path, entry in manifest.files.items():
        if path.startswith("packages/"):
            assert hashlib.sha256((directory / path).read_bytes()).hexdigest() == entry.sha256
    known = git(directory / "repo", "rev-list", "--all").split()
    assert {commit.sha for commit in manifest.commits} <= set(known)


def state(home: Path) -> dict[str, Any]:
    """Return what an appliance has come to, without times."""
    return {
        "packages": packages(home),
        "shelves": sorted(path.name for path in (home / "repo_packages").glob("*")),
        "incoming": sorted(path.name for path in (home / "var" / "incoming").glob("*") if path.name != ".lock"),
        "building": sorted(path.name for path in (home / "var" / "environments").glob(".building-*")),
        "quarantine": len(list((home / "var" / "quarantine").glob("*"))),
        "commits": rows(home / "var" / "curated.db", "commits", "package, sha, position, state, reason, f2p, p2p"),
        "attempts": rows(
            home / "var" / "raw.db", "attempts", _evidence(), "a JOIN task_runs t ON t.id = a.task_run_id"
        ),
    }


def packages(home: Path) -> list[str]:
    """Return the ids of integrated packages."""
    return [row[0] for row in rows(home / "var" / "curated.db", "packages", "id")]


def attempts(home: Path) -> int:
    """Return the number of stored attempts."""
    return len(rows(home / "var" / "raw.db", "attempts", "id"))


def rows(database: Path, table: str, columns: str, more: str = "") -> list[tuple[Any, ...]]:
    """Return sorted rows of a table, none while it does not exist."""
    if not database.is_file() or not query(database, f"SELECT 1 FROM sqlite_master WHERE name = '{table}'"):
        return []
    return sorted(query(database, f"SELECT {columns} FROM {table} {more}"))


def _evidence() -> str:
    """Return the columns that say which attempt it is and how much evidence it has in every table."""
    counts = ", ".join(f"(SELECT count(*) FROM {table} WHERE {where})" for table, where in EVIDENCE.items())
    return f"t.key, t.commit_sha, t.attempt, a.verdict, {counts}"


def finish(home: Path, arguments: Sequence[str]) -> Done:
    """Run the command undisturbed to its end."""
    done = command(home, *arguments, APPLIANCE_HOME=str(home))
    wait_until_gone(home)
    check(home)
    return done


def wait_until_gone(home: Path) -> None:
    """Wait for every process of a home to end: workers by their environment, sandboxes by what they mount."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while left := processes(home):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)


def processes(home: Path) -> list[str]:
    """Return the processes that belong to a home."""
    marks = (f"APPLIANCE_HOME={home}\0".encode(), str((home / "var" / "environments").resolve()).encode())
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            words = (process / "cmdline").read_bytes()
            seen = words + b"\0" + (process / "environ").read_bytes()
        except OSError:
            continue
        if any(mark in seen for mark in marks):
            found.append(f"{process.name} {words.replace(bytes(1), b' ').decode(errors='replace')[:120]}")
    return found

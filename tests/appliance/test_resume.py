"""Killed at any instant, an import or a run leaves nothing half done, and the same command goes on."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.appliance.conftest import COMMITS, Done, command, copy_home, make_home, query, start
from tests.packages import PACKAGE_ID, only_commits

SEED = 20_260_101
IMPORT_KILLS_S = (0.6, 1.0, 1.5, 2.2, 3.0)
RUN_KILLS = 15
KILL_BETWEEN_S = (0.4, 2.6)
ATTEMPTS = 12
GONE_WITHIN_S = 15
RUN = (
    "harness", "run", "--package", "abacus", "--answerer", "gold", "--attempts", str(ATTEMPTS), "--workers", "2",
    "--no-cache",
)  # fmt: skip
PER_ATTEMPT = {
    "retrieval_llm_calls": "task_run_id = t.id", "retrieval_decisions": "task_run_id = t.id",
    "plans": "task_run_id = t.id", "attempts": "task_run_id = t.id", "attempt_runs": "attempt_id = a.id",
    "test_results": "attempt_id = a.id",
}  # fmt: skip


def test_a_killed_import_leaves_nothing_and_succeeds_the_next_time(
    package: Path, templates: Any, tmp_path: Path
) -> None:
    """SIGKILL of the whole process group at several moments; then one package is there, once, and staging is empty."""
    only_commits(package, 1)
    home = make_home(tmp_path / "home", templates.root)
    integrated = False
    for moment_s in IMPORT_KILLS_S:
        process = start(home, "ingest", "import", str(package))
        with contextlib.suppress(subprocess.TimeoutExpired):
            integrated |= process.wait(moment_s) == 0
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _wait_until_gone(home)
        rows = _packages(home)
        assert len(rows) <= 1
        assert not rows or (home / "repo_packages" / PACKAGE_ID / "manifest.json").is_file()
    last = command(home, "ingest", "import", str(package), "--json")
    assert last.code == (11 if integrated or _was_in(last) else 0), last.err
    assert _packages(home) == [(PACKAGE_ID, 1)]
    assert [path.name for path in (home / "repo_packages").iterdir()] == [PACKAGE_ID]
    assert [path.name for path in (home / "var" / "incoming").iterdir()] == [".lock"]
    assert not (home / "var" / "quarantine").exists()


def test_a_killed_run_goes_on_until_every_attempt_is_there_once(
    imported: Path, gold_run: tuple[Path, Done, Path], tmp_path: Path
) -> None:
    """SIGKILL at random moments of a run with two workers: no attempt is lost, doubled or half stored."""
    home = copy_home(imported, tmp_path / "home")
    moments = random.Random(SEED)
    stored = [0]
    for _ in range(RUN_KILLS):
        process = start(home, *RUN)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(*KILL_BETWEEN_S))
        process.kill()
        process.wait()
        _wait_until_gone(home)
        stored.append(_attempts(home))
    assert stored == sorted(stored), "an attempt that was stored is gone"
    done = command(home, *RUN, "--json")
    assert done.code == 0, done.err
    summary = done.lines[-1]["summary"]
    assert (summary["attempts"], summary["already_stored"]) == (COMMITS * ATTEMPTS, stored[-1])
    assert summary["verdicts"] == {"RESOLVED": COMMITS * ATTEMPTS}
    _assert_whole(home, gold_run[0])
    again = command(home, *RUN, "--json").lines[-1]["summary"]
    assert (again["new"], again["already_stored"]) == (0, COMMITS * ATTEMPTS)
    assert command(home, "harness", "regrade", "--json").json["checked"] == COMMITS * ATTEMPTS


def test_an_interrupted_run_ends_with_130_and_leaves_no_process(imported: Path, tmp_path: Path) -> None:
    """Ctrl-C stops the workers and their sandboxes; what was stored stays."""
    home = copy_home(imported, tmp_path / "home")
    process = start(home, *RUN)
    deadline = time.monotonic() + GONE_WITHIN_S
    while not _attempts(home):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(GONE_WITHIN_S) == 130
    _wait_until_gone(home)
    assert 0 < _attempts(home) < COMMITS * ATTEMPTS


def _assert_whole(home: Path, uninterrupted: Path) -> None:
    """Compare with a run that was not disturbed: each attempt has exactly the rows that belong to its commit."""
    database = home / "var" / "raw.db"
    assert query(database, "PRAGMA foreign_key_check") == []
    assert query(database, "PRAGMA integrity_check") == [("ok",)]
    keys = [row for (row,) in query(database, "SELECT commit_sha || ' ' || attempt FROM task_runs")]
    assert len(keys) == len(set(keys)) == COMMITS * ATTEMPTS
    expected = _rows_by_commit(uninterrupted / "var" / "raw.db")
    found = _rows_by_commit(database)
    assert {commit: set(counts) for commit, counts in found.items()} == {
        commit: set(counts) for commit, counts in expected.items()
    }
    assert all(sum(counts.values()) == ATTEMPTS for counts in found.values())


def _rows_by_commit(database: Path) -> dict[str, Counter[tuple[int, ...]]]:
    """Return per commit the numbers of rows in each evidence table that its attempts have."""
    columns = ", ".join(f"(SELECT count(*) FROM {table} WHERE {where})" for table, where in PER_ATTEMPT.items())
    rows = query(
        database, f"SELECT t.commit_sha, {columns} FROM task_runs t LEFT JOIN attempts a ON a.task_run_id = t.id"
    )
    found: dict[str, Counter[tuple[int, ...]]] = {}
    for commit, *counts in rows:
        found.setdefault(commit, Counter())[tuple(counts)] += 1
    return found


def _packages(home: Path) -> list[tuple[str, int]]:
    database = home / "var" / "curated.db"
    if not database.is_file() or not query(database, "SELECT 1 FROM sqlite_master WHERE name = 'packages'"):
        return []
    return [(row[0], row[1]) for row in query(database, "SELECT id, sequence FROM packages")]


def _attempts(home: Path) -> int:
    database = home / "var" / "raw.db"
    if not database.is_file() or not query(database, "SELECT 1 FROM sqlite_master WHERE name = 'attempts'"):
        return 0
    return int(query(database, "SELECT count(*) FROM attempts")[0][0])


def _was_in(done: Done) -> bool:
    return "ALREADY_INTEGRATED" in done.err


def _wait_until_gone(home: Path) -> None:
    """Wait for every process of a home to end: workers by their environment, sandboxes by what they mount."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while left := _processes(home):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)


def _processes(home: Path) -> list[str]:
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

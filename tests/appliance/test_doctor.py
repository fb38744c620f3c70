"""The doctor: what it says of a machine that is well, of one that is not, and that nothing runs on the latter."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.doctor import Item, Level, Report, clock, database, disk
from tests.appliance.conftest import Done, query

GIB = 1 << 30
NO_NETNS = (
    'n=$#; while [ $n -gt 0 ]; do a=$1; shift; n=$((n-1)); case "$a" in '
    '--unshare-all) set -- "$@" --unshare-user --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try;; '
    '*) set -- "$@" "$a";; esac; done'
)


@pytest.fixture
def broken_path(tmp_path: Path) -> str:
    """Return a PATH on which bwrap forgets the network namespace."""
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "bwrap").write_text(f'#!/bin/sh\n{NO_NETNS}\nexec /usr/bin/bwrap "$@"\n')
    (directory / "bwrap").chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


def items(done: Done) -> dict[str, dict[str, str]]:
    """Return the items of a JSON report by name."""
    return {item["name"]: item for item in done.json["items"]}


def test_a_home_that_is_well(imported: Path, run: Callable[..., Done]) -> None:
    """Every escape is refused; what is not ok is a warning with a next step."""
    done = run(imported, "doctor", "--json")
    found = items(done)
    assert done.code == done.json["exit_code"]
    assert done.code in {0, 3}, done.out
    assert {"home", "disk", "curated.db", "raw.db", "kernel", "user", "clock", "git", "bwrap", "uv", "python"} <= set(
        found
    )
    assert {item["level"] for name, item in found.items() if name.startswith("isolation: n")} == {"ok"}
    assert all(item["next"] for item in found.values() if item["level"] != "ok")


def test_without_a_home_it_says_so(tmp_path: Path, run: Callable[..., Done]) -> None:
    """The machine is looked over all the same, one line per item, and nothing is created."""
    done = run(tmp_path, "doctor")
    assert done.code == 3, done.out
    lines = done.out.splitlines()
    assert any(line.startswith("ok") and "isolation: nested namespaces" in line for line in lines)
    assert any(line.startswith("warn") and "home" in line for line in lines)
    assert "next: Change to the directory that holds appliance.toml" in done.out
    assert list(tmp_path.iterdir()) == []


def test_where_isolation_is_missing_nothing_untrusted_is_run(
    imported_copy: Path, broken_path: str, run: Callable[..., Done]
) -> None:
    """`harness run` ends with 14 before any test, and the doctor shows which escape went through."""
    refused = run(
        imported_copy, "harness", "run", "--package", "abacus", "--answerer", "gold", "--json", PATH=broken_path
    )
    assert refused.code == 14
    assert refused.error["error"] == "SANDBOX_UNAVAILABLE"
    assert "network, by namespace" in refused.error["message"]
    assert refused.error["next"]
    raw = imported_copy / "var" / "raw.db"
    assert not raw.exists() or query(raw, "SELECT count(*) FROM attempts") == [(0,)]
    shown = run(imported_copy, "doctor", "--json", PATH=broken_path)
    assert shown.code == 14
    assert items(shown)["isolation: network, by namespace"]["level"] == "FAIL"
    assert items(shown)["isolation: network, by filter"]["level"] == "ok"


def test_an_import_is_refused_as_well(
    new_home: Path, package: Path, broken_path: str, run: Callable[..., Done]
) -> None:
    """No environment is built, no commit gated and nothing integrated where the sandbox does not hold."""
    done = run(new_home, "ingest", "import", str(package), PATH=broken_path)
    assert done.code == 14
    assert "SANDBOX_UNAVAILABLE" in done.err
    assert not list((new_home / "repo_packages").glob("*"))


def test_a_broken_configuration_is_shown(tmp_path: Path, run: Callable[..., Done]) -> None:
    """A home that cannot be opened is a failure with its next step, not a traceback."""
    (tmp_path / "appliance.toml").write_text("[harness]\nworkers = 0\n")
    done = run(tmp_path, "doctor", "--json")
    assert done.code == 14
    assert items(done)["home"]["level"] == "FAIL"


@pytest.mark.parametrize(
    ("levels", "code"), [((Level.OK,), 0), ((Level.OK, Level.WARN), 3), ((Level.WARN, Level.FAIL), 14), ((), 0)]
)
def test_the_worst_item_decides(levels: tuple[Level, ...], code: int) -> None:
    """A failure outweighs warnings."""
    assert Report(tuple(Item("x", level, "") for level in levels)).exit_code == code


@pytest.mark.parametrize(("free", "level"), [(GIB, Level.OK), (GIB - 1, Level.WARN)])
def test_disk_space_is_held_against_the_reserve(free: int, level: Level) -> None:
    """At the reserve all is well, below it work pauses."""
    assert disk(free, 1.0).level is level


@pytest.mark.parametrize(
    ("now", "level"), [(1_000_000_000.0, Level.OK), (999_950_000.0, Level.OK), (968_000_000.0, Level.WARN)]
)
def test_a_clock_that_is_behind_what_was_written_is_wrong(now: float, level: Level) -> None:
    """A day of slack for time zones and drift, no more."""
    assert clock(now, 1_000_000_000.0).level is level


def test_a_database_is_opened_and_not_made(tmp_path: Path) -> None:
    """Absent is fine, readable is fine, damaged is a failure; none is created."""
    assert database(tmp_path / "no.db").level is Level.OK
    assert list(tmp_path.iterdir()) == []
    with sqlite3.connect(tmp_path / "good.db") as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    assert (database(tmp_path / "good.db").level, database(tmp_path / "good.db").detail[:8]) == (Level.OK, "1 tables")
    (tmp_path / "bad.db").write_bytes(b"this is no database, however long it is" * 100)
    assert database(tmp_path / "bad.db").level is Level.FAIL

"""Opening databases: durable settings, migrations once, failures in words."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import Busy, DatabaseDamaged
from appliance.store.database import open_database, transaction, translated
from appliance.store.schema_curated import migrations as curated
from appliance.store.schema_raw import migrations as raw
from harness.errors import DiskFull
from tests.appliance.conftest import ROOT, environ

OPEN = (
    "import sys; from pathlib import Path; from appliance.store.database import open_database;"
    "from appliance.store.schema_raw import migrations; open_database(Path(sys.argv[1]), migrations).close()"
)


def test_settings_that_survive_a_power_cut(tmp_path: Path) -> None:
    """Write-ahead log, full synchronisation and foreign keys are on in every connection."""
    database = open_database(tmp_path / "var" / "raw.db", raw)
    values = [
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")
    ]
    database.close()
    assert values == ["wal", 2, 1]


def test_migrations_are_applied_once(tmp_path: Path) -> None:
    """Opening again finds nothing pending and keeps what was written."""
    path = tmp_path / "raw.db"
    first = open_database(path, raw)
    with transaction(first, path):
        first.execute("INSERT INTO nodes (node_id) VALUES ('a')")
    first.close()
    second = open_database(path, raw)
    assert list(raw.pending(second)) == []
    assert second.execute("SELECT node_id FROM nodes").fetchall() == [("a",)]
    second.close()


def test_processes_that_open_a_new_database_at_once_do_not_collide(tmp_path: Path) -> None:
    """The schema is made by one of them; the others wait and find it."""
    path = tmp_path / "raw.db"
    started = [
        subprocess.Popen([sys.executable, "-c", OPEN, str(path)], env=environ(), cwd=ROOT, stderr=subprocess.PIPE)
        for _ in range(5)
    ]
    errors = [process.communicate(timeout=60)[1] for process in started]
    assert errors == [b""] * len(started)


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A transaction is whole or not at all, whatever ends it."""
    path = tmp_path / "raw.db"
    database = open_database(path, raw)
    with pytest.raises(KeyboardInterrupt), transaction(database, path):
        _insert_and_stop(database)
    assert database.execute("SELECT count(*) FROM nodes").fetchone() == (0,)
    database.close()


def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    """Garbage in place of a database is an integrity failure with a next step, and stays as it is."""
    path = tmp_path / "raw.db"
    path.write_bytes(b"garbage" * 100)
    with pytest.raises(DatabaseDamaged, match=r"raw\.db") as caught:
        open_database(path, raw)
    assert caught.value.exit_code == 12
    assert path.read_bytes() == b"garbage" * 100


def test_a_locked_database_is_busy(tmp_path: Path) -> None:
    """Waiting for another writer ends in BUSY, not in a message of SQLite."""
    path = tmp_path / "raw.db"
    holder, waiter = open_database(path, raw), open_database(path, raw)
    waiter.execute("PRAGMA busy_timeout = 50")
    with transaction(holder, path), pytest.raises(Busy) as caught, transaction(waiter, path):
        pass
    assert caught.value.exit_code == 11
    holder.close()
    waiter.close()


def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    """When pages cannot be added, the transaction ends with DISK_FULL and leaves no row."""
    path = tmp_path / "raw.db"
    database = open_database(path, raw)
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages + 2}")
    rows = [(f"{number} {'x' * 500}",) for number in range(1000)]
    with pytest.raises(DiskFull) as caught, transaction(database, path):
        database.conn.executemany("INSERT INTO nodes (node_id) VALUES (?)", rows)
    assert caught.value.exit_code == 14
    assert database.execute("SELECT count(*) FROM nodes").fetchone() == (0,)
    database.close()


@pytest.mark.parametrize("statement", ["SELECT nonsense", "INSERT INTO nodes (node_id) VALUES (NULL)"])
def test_mistakes_of_ours_are_not_translated(statement: str, tmp_path: Path) -> None:
    """A wrong statement or a broken constraint stays what it is: a bug to be seen."""
    database = open_database(tmp_path / "raw.db", raw)
    with pytest.raises(sqlite3.Error), translated(tmp_path / "raw.db"):
        database.execute(statement)
    database.close()


@pytest.mark.parametrize("migrations", [raw, curated], ids=["raw", "curated"])
def test_every_table_is_strict(migrations: Callable[[], object], tmp_path: Path) -> None:
    """No table takes a value of another type than its column says."""
    database = open_database(tmp_path / "x.db", migrations)  # type: ignore[arg-type]
    rows = database.execute(
        "SELECT name FROM pragma_table_list WHERE type = 'table' AND strict = 0 AND name NOT LIKE '%sqlite%'"
    ).fetchall()
    database.close()
    assert rows == []


def _insert_and_stop(database: Any) -> None:
    database.execute("INSERT INTO nodes (node_id) VALUES ('a')")
    raise KeyboardInterrupt

"""The command line with a real package: what it prints, how it ends, what it leaves."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.appliance.conftest import COMMITS, LIMIT_S, Done, query, start, tables
from tests.packages import PACKAGE_ID, reseal, with_sequence, without_runs

Run = Callable[..., Done]


def test_an_import_ends_with_one_document(import_report: tuple[Path, Done]) -> None:
    """`ingest import --json` prints what became of the package and its commits, and nothing else."""
    _, done = import_report
    assert done.code == 0, done.err
    report = done.json
    assert (report["schema"], report["package"], report["state"]) == (1, PACKAGE_ID, "integrated")
    assert (report["commits"], report["validated"], report["rejected"]) == (COMMITS, COMMITS, {})
    assert set(report["seconds"]) >= {"copy", "check", "gate", "integrate"}
    assert len(report["details"]) == COMMITS


def test_an_import_leaves_files_and_rows(imported: Path, good_package: Path) -> None:
    """The package's files are in place, and curated.db has its package, environment and commits."""
    shelf = imported / "repo_packages" / PACKAGE_ID
    assert sorted(path.name for path in shelf.iterdir()) == ["manifest.json", "oracle", "packages", "repo"]
    database = imported / "var" / "curated.db"
    digest = hashlib.sha256((good_package / "manifest.json").read_bytes()).hexdigest()
    assert query(database, "SELECT id, manifest_sha256 FROM packages") == [(PACKAGE_ID, digest)]
    assert query(database, "SELECT count(*) FROM environments") == [(1,)]
    assert query(database, "SELECT DISTINCT state, gate_runs FROM commits") == [("validated", 11)]
    assert list((imported / "var" / "incoming").glob("import-*")) == []


def test_list_show_and_status_agree(imported: Path, run: Run) -> None:
    """Each command prints one document with the schema, and they name the same package."""
    listed, shown = (
        run(imported, "ingest", "list", "--json").json,
        run(imported, "ingest", "show", "abacus", "--json").json,
    )
    status = run(imported, "status", "--json").json
    assert [document["schema"] for document in (listed, shown, status)] == [1, 1, 1]
    assert [package["id"] for package in listed["packages"]] == [PACKAGE_ID]
    assert listed["quarantine"] == []
    assert shown["package"] == PACKAGE_ID
    assert [(row["state"], len(row["f2p"])) for row in shown["commits"]] == [("validated", 1)] * COMMITS
    assert [(p["id"], p["validated"]) for p in status["packages"]] == [(PACKAGE_ID, COMMITS)]


def test_list_show_and_status_speak_to_people(imported: Path, run: Run) -> None:
    """Without --json the same facts are a table and a next step."""
    assert PACKAGE_ID in run(imported, "ingest", "list").out
    assert run(imported, "ingest", "show", "abacus").out.count("validated") == COMMITS
    assert "next: appliance harness run --package abacus" in run(imported, "status").out


def test_an_empty_home_says_what_to_do_first(new_home: Path, run: Run) -> None:
    """Without packages, list and status name the import."""
    assert "appliance ingest import" in run(new_home, "ingest", "list").out
    status = run(new_home, "status")
    assert (status.code, "next: appliance ingest import" in status.out) == (0, True)


def test_the_same_sequence_again_is_busy_and_changes_nothing(imported_copy: Path, good_package: Path, run: Run) -> None:
    """A second import ends with 11, and no row and no file differs."""
    before = _state(imported_copy)
    done = run(imported_copy, "ingest", "import", str(good_package), "--json")
    assert (done.code, done.out, done.error["error"]) == (11, "", "ALREADY_INTEGRATED")
    assert done.error["exit_code"] == 11
    assert _state(imported_copy) == before


def test_a_dry_run_changes_nothing(imported_copy: Path, package: Path, run: Run) -> None:
    """--dry-run of a new sequence passes every check and leaves databases, packages and quarantine as they are."""
    newer = with_sequence(package, 2)
    before = _state(imported_copy)
    done = run(imported_copy, "ingest", "import", str(newer), "--dry-run", "--json")
    assert (done.code, done.json["state"], done.json["package"]) == (0, "checked", "abacus-2")
    assert _state(imported_copy) == before


def test_a_dry_run_of_a_damaged_package_changes_nothing(imported_copy: Path, package: Path, run: Run) -> None:
    """--dry-run names the finding with exit 12, and nothing is kept in quarantine."""
    newer = with_sequence(package, 2)
    (newer / "packages" / "extra").write_text("x")
    before = _state(imported_copy)
    done = run(imported_copy, "ingest", "import", str(newer), "--dry-run")
    assert (done.code, "FILE_UNLISTED" in done.out, "nothing was kept" in done.out) == (12, True, True)
    assert _state(imported_copy) == before


def test_a_damaged_package_ends_with_12_and_is_listed_in_quarantine(new_home: Path, package: Path, run: Run) -> None:
    """The refusal has code, place, expectation, fact and next step; `ingest list` shows it from then on."""
    wheel = next((package / "packages").iterdir())
    wheel.write_bytes(wheel.read_bytes()[:-1])
    done = run(new_home, "ingest", "import", str(package), "--json")
    assert (done.code, done.json["state"], done.json["failed_check"]) == (12, "quarantined", "files")
    [finding] = done.json["findings"]
    assert (finding["code"], finding["file"]) == ("FILE_CHANGED", f"packages/{wheel.name}")
    assert Path(done.json["quarantine"], "quarantine.json").is_file()
    [kept] = run(new_home, "ingest", "list", "--json").json["quarantine"]
    assert kept["findings"] == [finding]
    assert "FILE_CHANGED" in run(new_home, "ingest", "list").out
    assert query(new_home / "var" / "curated.db", "SELECT count(*) FROM packages") == [(0,)]


def test_a_refusal_speaks_to_people(new_home: Path, package: Path, run: Run) -> None:
    """Without --json a refusal says what was expected, what was found and what to do."""
    (package / "manifest.json").write_text("{}")
    done = run(new_home, "ingest", "import", str(package))
    assert done.code == 12
    for word in ("REFUSED abacus-1: MANIFEST_SCHEMA", "expected:", "found:", "next:", "kept in:"):
        assert word in done.out


def test_a_package_without_a_usable_python_ends_with_a_warning(new_home: Path, package: Path, run: Run) -> None:
    """Integrated without a single validated commit is exit 3, with the reason per commit."""
    done = run(new_home, "ingest", "import", str(without_runs(package)), "--json")
    assert (done.code, done.json["state"], done.json["rejected"]) == (3, "integrated", {"python_missing": COMMITS})
    shown = run(new_home, "ingest", "show", "abacus", "--json").json
    assert {row["reason"] for row in shown["commits"]} == {"python_missing"}


def test_importing_runs_nothing_that_the_package_brings(
    new_home: Path, package: Path, run: Run, tmp_path: Path
) -> None:
    """Hooks and configured programs of the package's repository leave no trace on this machine."""
    canary = tmp_path / "canary"
    payload = package / "repo" / "payload"
    payload.write_text(f"#!/bin/sh\ntouch {canary}\n")
    payload.chmod(0o755)
    hooks = package / "repo" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "post-index-change", "pre-auto-gc", "reference-transaction"):
        shutil.copy(payload, hooks / name)
    config = package / "repo" / "config"
    lines = "".join(f"\t{name} = {payload}\n" for name in ("fsmonitor", "pager", "editor", "sshCommand", "askPass"))
    config.write_text(f"{config.read_text()}[core]\n{lines}\thooksPath = {hooks}\n[alias]\n\tfetch = !{payload}\n")
    reseal(without_runs(package))
    assert run(new_home, "ingest", "import", str(package)).code == 3
    assert not canary.exists()


def test_an_import_while_another_runs_ends_with_11(new_home: Path, good_package: Path, run: Run) -> None:
    """IMPORT_RUNNING is an error object on stderr; stdout stays empty."""
    incoming = new_home / "var" / "incoming"
    incoming.mkdir()
    with (incoming / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run(new_home, "ingest", "import", str(good_package), "--json")
    assert (done.code, done.out, done.error["error"]) == (11, "", "IMPORT_RUNNING")


def test_an_import_whose_worker_is_killed_says_so_and_can_be_repeated(new_home: Path, package: Path, run: Run) -> None:
    """A worker that the kernel ends is no traceback, nothing is integrated, and the next import works."""
    process = start(new_home, "ingest", "import", str(package), "--json", stderr=subprocess.PIPE)
    deadline = time.monotonic() + LIMIT_S
    while not (workers := _workers_of(process.pid)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(workers[0], signal.SIGKILL)
    said = process.communicate(timeout=LIMIT_S)[1].decode()
    assert (process.returncode, '"error": "WORKER_DIED"' in said, "Traceback" in said) == (1, True, False), said
    assert query(new_home / "var" / "curated.db", "SELECT count(*) FROM packages") == [(0,)]
    assert run(new_home, "ingest", "import", str(without_runs(package))).code == 3


def test_a_run_while_another_runs_ends_with_11(imported_copy: Path, run: Run) -> None:
    """Two runs at the same time would make the same attempts; a dry run makes none and is let through."""
    arguments = ("harness", "run", "--package", "abacus", "--answerer", "gold", "--commits", "1", "--json")
    with (imported_copy / "var" / "harness.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run(imported_copy, *arguments)
        dry = run(imported_copy, *arguments, "--dry-run")
    assert (done.code, done.out, done.error["error"]) == (11, "", "BUSY")
    assert (dry.code, dry.json["to_make"]) == (0, 1)


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", '{"at": 1}', '{"at": "1", "package": "p", "findings": [1]}'],
    ids=["missing", "empty", "torn", "a list", "half", "odd"],
)  # fmt: skip
def test_a_quarantine_without_a_readable_reason_is_listed_as_such(
    text: str | None, new_home: Path, package: Path, run: Run
) -> None:
    """What a power cut left in quarantine is shown beside the rest, and stops neither list nor status."""
    (package / "manifest.json").unlink()
    assert run(new_home, "ingest", "import", str(package)).code == 12
    torn = new_home / "var" / "quarantine" / "torn"
    torn.mkdir()
    if text is not None:
        (torn / "quarantine.json").write_text(text)
    kept = run(new_home, "ingest", "list", "--json").json["quarantine"]
    codes = {Path(item["path"]).name: item["findings"][0]["code"] for item in kept}
    assert (len(codes), codes.pop("torn"), set(codes.values())) == (2, "QUARANTINE_UNREADABLE", {"MANIFEST_MISSING"})
    assert "quarantined torn: QUARANTINE_UNREADABLE" in run(new_home, "ingest", "list").out
    assert run(new_home, "status", "--json").json["quarantined"] == 2


def test_names_that_are_no_utf_8_can_be_printed(new_home: Path, package: Path, run: Run) -> None:
    """Files and directories with odd bytes in their names are escaped in text and in JSON."""
    named = package.rename(package.with_name("odd-\udcff"))
    (named / "\udcfe.txt").write_text("x")
    done = run(new_home, "ingest", "import", os.fsdecode(os.fsencode(named)))
    assert (done.code, "REFUSED odd-\\xff: UNEXPECTED_FILE in \\xfe.txt" in done.out) == (12, True), done.err
    assert run(new_home, "ingest", "import", str(named), "--json").json["findings"][0]["file"] == "\\xfe.txt"
    assert run(new_home, "ingest", "list").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "error", "words"),
    [
        (("ingest", "show", "nothing"), 10, "NOT_FOUND", PACKAGE_ID),
        (("harness", "run", "--package", "nothing", "--answerer", "gold"), 10, "NOT_FOUND", PACKAGE_ID),
        (("harness", "show", "99"), 10, "NOT_FOUND", "99"),
        (("ingest", "import", "/nonexistent"), 10, "PACKAGE_MISSING", "/nonexistent"),
        (("harness", "run", "--package", "abacus", "--answerer", "oracle"), 2, "BAD_ROUTE", "oracle"),
        (("harness", "run", "--package", "abacus", "--answerer", "gold", "--route", "dream=gold"), 2, "BAD_ROUTE", "dream"),
        (("harness", "run", "--package", "abacus", "--answerer", "replay"), 2, "BAD_ROUTE", "replay"),
        (("harness", "run", "--package", "abacus", "--answerer", "gold", "--route", "execute-code=lexical"), 2,
         "BAD_ROUTE", "execute-code"),
    ],
)  # fmt: skip
def test_failures_are_objects_on_stderr_with_a_next_step(
    arguments: tuple[str, ...], code: int, error: str, words: str, *, imported: Path, run: Run
) -> None:
    """With --json a failure has code, message, next step and exit code; there is no traceback and no output."""
    done = run(imported, *arguments, "--json")
    assert (done.code, done.out) == (code, "")
    assert set(done.error) == {"error", "message", "next", "exit_code"}
    assert (done.error["error"], done.error["exit_code"]) == (error, code)
    assert words in done.error["message"]
    assert done.error["next"]
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("harness", "run", "--package", "abacus"), "--answerer"),
        (("harness", "run", "--package", "abacus", "--answerer", "gold", "--route", "scope"), "STAGE=ANSWERER"),
        (("harness", "run", "--package", "a", "--answerer", "replay", "--replay", "/nonexistent"), "does not exist"),
        (("harness", "run", "--package", "abacus", "--answerer", "gold", "--attempts", "0"), "--attempts"),
        (("harness", "show", "99999999999999999999"), "range"),
        (("harness", "show", "first"), "not a valid integer"),
        (("harness", "run", "--package", "abacus", "--answerer", "gold", "--seed", str(10**20)), "range"),
        (("nonsense",), "No such command"),
        (("ingest", "import", "x", "--colour"), "No such option"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...], words: str, imported: Path, run: Run) -> None:
    """A command line that makes no sense is answered with what is wrong about it."""
    done = run(imported, *arguments)
    assert (done.code, words in done.err, "Traceback" in done.err) == (2, True, False), done.err


@pytest.mark.parametrize(
    "arguments", [("status",), ("ingest", "list"), ("ingest", "import", "x"), ("harness", "regrade")]
)
def test_without_a_home_every_command_says_so(arguments: tuple[str, ...], tmp_path: Path, run: Run) -> None:
    """Outside of a home a command ends with 10 and makes nothing."""
    done = run(tmp_path, *arguments)
    assert (done.code, "error NO_HOME" in done.err, "next:" in done.err) == (10, True, True)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_configuration_lists_all_problems(new_home: Path, run: Run) -> None:
    """Every wrong setting is named in one message with exit 2."""
    (new_home / "appliance.toml").write_text("[harness]\nworkers = 0\nspeed = 1\n[environments]\ncap_gib = 'x'\n")
    done = run(new_home, "status")
    assert done.code == 2
    assert all(word in done.err for word in ("harness.workers", "harness.speed", "environments.cap_gib"))


def test_the_environment_names_the_home_for_a_command(imported: Path, tmp_path: Path, run: Run) -> None:
    """APPLIANCE_HOME works from any directory."""
    done = run(tmp_path, "status", "--json", APPLIANCE_HOME=str(imported))
    assert done.json["home"] == str(imported)


def test_debug_shows_where_a_failure_comes_from(tmp_path: Path, run: Run) -> None:
    """--debug is the one way to a traceback."""
    assert "Traceback" in run(tmp_path, "--debug", "status").err


def test_a_damaged_database_is_an_integrity_failure(new_home: Path, run: Run) -> None:
    """A database that is none ends with 12 and a next step."""
    (new_home / "var" / "curated.db").write_bytes(b"garbage" * 100)
    done = run(new_home, "status", "--json")
    assert (done.code, done.error["error"], "Traceback" in done.err) == (12, "DATABASE_DAMAGED", False)


def test_an_unreadable_file_on_the_medium_is_named(new_home: Path, package: Path, run: Run) -> None:
    """The medium's fault ends with COPY_FAILED, and nothing is integrated."""
    wheel = next((package / "packages").iterdir())
    wheel.chmod(0)
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    done = run(new_home, "ingest", "import", str(package), "--json", prefix=prefix)
    assert (done.code, done.error["error"], wheel.name in done.error["message"]) == (12, "COPY_FAILED", True)
    assert query(new_home / "var" / "curated.db", "SELECT count(*) FROM packages") == [(0,)]
    wheel.chmod(0o644)
    assert run(new_home, "ingest", "import", str(without_runs(package))).code == 3


def _workers_of(pid: int) -> list[int]:
    """Return the worker processes that a process has started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1])
            if parent == pid and b"spawn_main" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def _state(home: Path) -> dict[str, Any]:
    """Return the content of the databases and of every file that an import may leave."""
    files = {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("repo_packages", "var/quarantine")
        for path in sorted((home / folder).rglob("*"))
        if path.is_file()
    }
    databases = {path.name: tables(path) for path in (home / "var").glob("*.db")}
    staged = [path.name for path in (home / "var" / "incoming").iterdir()]
    return {"files": files, "databases": databases, "staged": staged}

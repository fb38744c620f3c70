"""`appliance harness` from the outside: run, show, regrade."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from tests.appliance.conftest import COMMITS, Done, query, tables
from tests.packages import PACKAGE_ID, without_runs

Run = Callable[..., Done]


def test_a_gold_run_resolves_every_commit(gold_run: tuple[Path, Done, Path]) -> None:
    """Each attempt is one JSON line, the summary is the last one, and every verdict is RESOLVED."""
    _, done, _ = gold_run
    assert done.code == 0, done.err
    *rows, last = done.lines
    assert all(line["schema"] == 1 for line in done.lines)
    assert [row["verdict"] for row in rows] == ["RESOLVED"] * COMMITS
    assert len({row["commit"] for row in rows}) == COMMITS
    for row in rows:
        assert set(row) >= {"commit", "verdict", "attempt", "seconds", "alignment"}
        assert (row["alignment"]["file_recall"], row["seconds"]["total"] > 0) == (1.0, True)
    summary = last["summary"]
    assert (summary["attempts"], summary["new"], summary["verdicts"]) == (COMMITS, COMMITS, {"RESOLVED": COMMITS})


def test_running_again_makes_nothing_new(gold_copy: Path, run: Run) -> None:
    """The same command prints the stored attempts and adds no row."""
    before = tables(gold_copy / "var" / "raw.db")
    done = run(gold_copy, "harness", "run", "--package", "abacus", "--answerer", "gold", "--json")
    *rows, last = done.lines
    assert (done.code, len(rows)) == (0, COMMITS)
    assert (last["summary"]["new"], last["summary"]["already_stored"]) == (0, COMMITS)
    assert tables(gold_copy / "var" / "raw.db") == before


def test_a_dry_run_counts_attempts_and_makes_none(gold_copy: Path, run: Run) -> None:
    """--dry-run says how many attempts would be made; stored ones are not among them."""
    before = tables(gold_copy / "var" / "raw.db")
    arguments = ("--package", "abacus", "--answerer", "gold", "--attempts", "2", "--dry-run", "--json")
    done = run(gold_copy, "harness", "run", *arguments)
    counts = (done.json["attempts"], done.json["already_stored"], done.json["to_make"])
    assert (done.code, counts) == (0, (2 * COMMITS, COMMITS, COMMITS))
    assert tables(gold_copy / "var" / "raw.db") == before


def test_a_recording_replays_to_the_same_verdicts(gold_copy: Path, gold_run: tuple[Path, Done, Path], run: Run) -> None:
    """What --record wrote answers every stage in place of gold."""
    arguments = ("--answerer", "replay", "--replay", str(gold_run[2]))
    done = run(gold_copy, "harness", "run", "--package", "abacus", *arguments, "--json")
    *rows, last = done.lines
    assert [row["verdict"] for row in rows] == ["RESOLVED"] * COMMITS, done.out
    assert set(last["summary"]["routes"].values()) == {"replay"}
    assert query(gold_copy / "var" / "raw.db", "SELECT DISTINCT source FROM retrieval_llm_calls ORDER BY 1") == [
        ("synthetic",), ("teacher",),
    ]  # fmt: skip


def test_the_lexical_answerer_plans_and_gold_writes(imported_copy: Path, run: Run) -> None:
    """A lexical run of one commit is an attempt with a verdict of its own and mixed routes."""
    done = run(
        imported_copy, "harness", "run", "--package", PACKAGE_ID, "--answerer", "lexical", "--commits", "1", "--json"
    )
    row, last = done.lines
    assert done.code == 0
    assert row["verdict"] in {"RESOLVED", "NOT_RESOLVED", "EDIT_FAILED"}
    routes = last["summary"]["routes"]
    assert (routes["scope"], routes["execute-code"]) == ("lexical", "gold")


def test_a_run_chooses_commits_and_counts_attempts(gold_copy: Path, run: Run) -> None:
    """--only and --attempts make that many attempts at that commit, each with a number and a seed."""
    [(sha,)] = query(gold_copy / "var" / "curated.db", "SELECT sha FROM commits WHERE position = 1")
    arguments = ("--only", sha[:8], "--attempts", "2", "--workers", "1")
    done = run(gold_copy, "harness", "run", "--package", "abacus", "--answerer", "gold", *arguments, "--json")
    first, second, _ = done.lines
    assert {first["commit"], second["commit"]} == {sha}
    assert sorted((first["attempt"], second["attempt"])) == [1, 2]


def test_a_prefix_that_fits_no_commit_is_named(gold_copy: Path, run: Run) -> None:
    """A mistyped commit is a usage error, not an empty run."""
    done = run(gold_copy, "harness", "run", "--package", "abacus", "--answerer", "gold", "--only", "zz")
    assert (done.code, "no validated commit starts with zz" in done.err) == (2, True)


def test_a_run_without_commits_has_no_usable_result(new_home: Path, package: Path, run: Run) -> None:
    """When a package has no validated commit, the import says where to look, and the run ends with 21."""
    imported = run(new_home, "ingest", "import", str(without_runs(package)))
    assert "next: appliance ingest show abacus-1" in imported.out
    done = run(new_home, "harness", "run", "--package", "abacus", "--answerer", "gold", "--json")
    assert (done.code, done.json["summary"]["attempts"]) == (21, 0)


def test_a_shown_attempt_holds_the_whole_story(gold_run: tuple[Path, Done, Path], run: Run) -> None:
    """`harness show` prints task, decisions, prompts, patch, tests and verdict, as text and as JSON."""
    home = gold_run[0]
    text = run(home, "harness", "show", "1").out
    for word in (
        "attempt 1: RESOLVED",
        "task:",
        "decisions:",
        "calls:",
        "prompt",
        "patch:",
        "tests, run 1:",
        "seconds:",
    ):
        assert word in text
    attempt = run(home, "harness", "show", "1", "--json").json["attempt"]
    assert (attempt["verdict"], bool(attempt["calls"]), bool(attempt["tests"])) == ("RESOLVED", True, True)


def test_regrading_agrees_with_every_stored_verdict(gold_run: tuple[Path, Done, Path], run: Run) -> None:
    """The stored results give the stored verdicts."""
    done = run(gold_run[0], "harness", "regrade", "--json")
    assert (done.code, done.json["checked"], done.json["mismatches"]) == (0, COMMITS, [])


def test_regrading_detects_a_changed_test_result(gold_copy: Path, run: Run) -> None:
    """A result that was altered behind the triggers' back ends with 12 and names the attempt."""
    database = sqlite3.connect(gold_copy / "var" / "raw.db")
    with database:
        database.execute("DROP TRIGGER test_results_no_update")
        database.execute("UPDATE test_results SET outcome = 'failed' WHERE attempt_id = 2")
    database.close()
    done = run(gold_copy, "harness", "regrade", "--json")
    assert (done.code, done.error["error"]) == (12, "EVIDENCE_MISMATCH")
    assert done.json["mismatches"] == [[2, "RESOLVED", "NOT_RESOLVED"]]

"""raw.db: an attempt is there whole or not at all, never twice, and never changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.store.raw import RawStore
from appliance.store.schema_raw import EVIDENCE_TABLES
from harness.canaries import CanaryResult
from harness.context import Decision
from harness.grade import Grade, Required, Verdict, grade
from harness.plan import Step
from harness.record import AttemptRecord, CallRecord, PlanRecord, StepRecord
from harness.redflags import RedFlag
from harness.results import Outcome, RunResult, TestResult

REQUIRED = Required(frozenset({"t.py::test_new"}), frozenset({"t.py::test_old"}))
RUN = RunResult(
    tests={
        "t.py::test_new": TestResult("t.py::test_new", Outcome.PASSED, 0.25),
        "t.py::test_old": TestResult("t.py::test_old", Outcome.FAILED, 0.5, "assert 1 == 2"),
    },
    uncollectable={"u.py": "SyntaxError"}, completed=True, pytest_exit=1, returncode=1, timed_out=False, seconds=1.5,
    output="1 failed", tampering="", canaries=(CanaryResult("t.py::test_canary", "failed", "failed"),),
)  # fmt: skip
CALL = CallRecord(
    stage="scope", ordinal=0, prompt="Which files?\n", answer='{"files": []}', answerer="gold", source="synthetic",
    adapter=None, seed=1, temperature=0.0, prompt_tokens=3, tokens_in=None, tokens_out=None, seconds=0.125,
)  # fmt: skip
RECORD = AttemptRecord(
    package="abacus-1", commit="a" * 40, attempt=1, key="k1", routes={"scope": "gold"}, seed=1, temperature=0.0,
    task="Add a function", context_sha256="c" * 64,
    grade=Grade(Verdict.NOT_RESOLVED, "one failed", 1, 0, ("t.py::test_old",)), required=REQUIRED, problem="", patch="--- a\n+++ b\n",
    tree_sha256="t" * 64, template_key="e" * 32, runs=(RUN,), run_keys=("r1",), calls=(CALL,),
    decisions=(Decision("scope", "src/a.py", "", "relevant", 1.5, "named"),),
    plans=(PlanRecord("step-plan", "p1", "{}"),),
    steps=(StepRecord("p1", Step("s1", "src/a.py", "f", "add_function", "Add f."), applied=False, problem="no match"),),
    alignment={"file_recall": 1.0}, seconds={"total": 2.0}, cached=False, started_at="2026-01-01T00:00:00Z",
    ended_at="2026-01-01T00:00:02Z", limits={"wall_s": 60.0},
    red_flags=(RedFlag("src/a.py", 3, "thread", "threading.Thread", hard=False),),
)  # fmt: skip


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[RawStore]:
    """Return an empty store."""
    store = RawStore(tmp_path / "var" / "raw.db")
    yield store
    store.close()


def test_everything_of_an_attempt_comes_back(raw: RawStore) -> None:
    """Prompts and answers byte for byte, decisions, plans, steps, tests and times are read back as stored."""
    stored = raw.attempt(raw.add(RECORD))
    assert stored is not None
    assert (stored["verdict"], stored["reason"], stored["patch"]) == ("NOT_RESOLVED", "one failed", RECORD.patch)
    [call] = stored["calls"]
    assert (call["prompt"], call["answer"], call["call_type"]) == (CALL.prompt, CALL.answer, "scope")
    assert [row["path"] for row in stored["decisions"]] == ["src/a.py"]
    assert [row["document"] for row in stored["plans"]] == ["{}"]
    assert stored["steps"][0]["problem"] == "no match"
    assert {row["node_id"]: row["outcome"] for row in stored["tests"]} == {
        "t.py::test_new": "passed", "t.py::test_old": "failed",
    }  # fmt: skip
    assert stored["runs"][0]["output"] == "1 failed"
    assert stored["runs"][0]["canaries"] == [
        {"node_id": "t.py::test_canary", "expected": "failed", "outcome": "failed"}
    ]
    assert [(flag["name"], flag["hard"]) for flag in stored["red_flags"]] == [("threading.Thread", False)]
    assert (stored["alignment"], stored["seconds"], stored["limits"]) == (
        {"file_recall": 1.0}, {"total": 2.0}, {"wall_s": 60.0},
    )  # fmt: skip


def test_an_attempt_that_is_not_there_is_none(raw: RawStore) -> None:
    """Asking for an unknown id is no error of the store."""
    assert raw.attempt(7) is None


def test_the_same_key_is_never_stored_twice(raw: RawStore) -> None:
    """The second try fails as a whole: no row of it stays."""
    raw.add(RECORD)
    before = _counts(raw)
    with pytest.raises(sqlite3.IntegrityError):
        raw.add(replace(RECORD, task="Another task"))
    assert _counts(raw) == before


def test_an_attempt_that_cannot_be_stored_whole_leaves_nothing(raw: RawStore) -> None:
    """A record that breaks a constraint in its last table leaves no row in the first ones."""
    before = _counts(raw)
    broken = replace(RECORD, grade=replace(RECORD.grade, verdict=Verdict.RESOLVED), calls=(CALL, CALL))
    with pytest.raises(sqlite3.IntegrityError):
        raw.add(broken)
    assert _counts(raw) == before


def test_a_stored_attempt_is_found_by_its_key(raw: RawStore) -> None:
    """A key gives id and verdict of its attempt, or nothing."""
    attempt_id = raw.add(RECORD)
    assert raw.stored("k1") == (attempt_id, "NOT_RESOLVED")
    assert raw.stored("k2") is None


def test_texts_are_stored_once(raw: RawStore) -> None:
    """A second attempt with the same prompts adds rows but no texts."""
    raw.add(RECORD)
    texts = _counts(raw)["texts"]
    raw.add(replace(RECORD, key="k2", attempt=2))
    assert _counts(raw)["texts"] == texts
    assert _counts(raw)["attempts"] == 2


def test_text_that_is_not_unicode_is_stored_under_the_digest_of_what_is_stored(raw: RawStore) -> None:
    """Lone surrogates from a test's output do not stop the record."""
    odd = replace(RECORD, runs=(replace(RUN, output="bad \udcff byte"),))
    stored = raw.attempt(raw.add(odd))
    assert stored is not None
    assert stored["runs"][0]["output"] == "bad ? byte"


@pytest.mark.parametrize("table", EVIDENCE_TABLES)
@pytest.mark.parametrize("statement", ["UPDATE {table} SET {column} = {column}", "DELETE FROM {table}"])
def test_evidence_refuses_to_change(table: str, statement: str, raw: RawStore) -> None:
    """No row of any evidence table can be changed or removed through the database."""
    raw.add(RECORD)
    _training_rows(raw)
    column = raw.db.execute(f"SELECT name FROM pragma_table_info('{table}')").fetchone()[0]
    with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"):
        raw.db.execute(statement.format(table=table, column=column))
    raw.db.conn.rollback()


@pytest.mark.parametrize("table", EVIDENCE_TABLES)
def test_replacing_a_row_is_refused_too(table: str, raw: RawStore) -> None:
    """INSERT OR REPLACE is not a way around the triggers."""
    raw.add(RECORD)
    _training_rows(raw)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw.db.execute(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")
    raw.db.conn.rollback()


def test_an_unknown_verdict_is_refused(raw: RawStore) -> None:
    """The set of verdicts is closed in the database as well."""
    raw.add(RECORD)
    with pytest.raises(sqlite3.IntegrityError):
        raw.db.execute(
            "INSERT INTO attempts SELECT 9, 9, 'FINE', reason, f2p_passed, p2p_passed, failing, required, problem, patch_sha256, "
            "tree_sha256, template_key, steps, alignment, limits, cached, red_flags, NULL, NULL FROM attempts"
        )


def test_verdicts_allowed_by_the_schema_are_those_of_the_harness(raw: RawStore) -> None:
    """Every verdict of the harness can be stored."""
    for number, verdict in enumerate(Verdict):
        raw.add(replace(RECORD, key=f"v{number}", grade=replace(RECORD.grade, verdict=verdict)))
    assert sum(raw.verdicts()["abacus-1"].values()) == len(Verdict)


def test_gradings_are_what_a_verdict_rests_on(raw: RawStore) -> None:
    """The runs and the required tests come back as the values that were judged."""
    raw.add(RECORD)
    [stored] = raw.gradings()
    assert (stored.required, stored.verdict) == (REQUIRED, "NOT_RESOLVED")
    assert stored.runs == (replace(RUN, output=""),)


def test_tampering_is_stored_with_its_run_and_judged_again_the_same(raw: RawStore) -> None:
    """What showed the interference is evidence: the stored run gives the stored verdict."""
    tampered = replace(RUN, completed=False, pytest_exit=None, tampering="a closing canary was not run")
    record = replace(RECORD, runs=(tampered,), grade=grade([tampered], REQUIRED))
    raw.add(record)
    [stored] = raw.gradings()
    assert stored.verdict == grade(stored.runs, stored.required).verdict == "TAMPERED"
    assert stored.runs[0].tampering == "a closing canary was not run"


def test_replay_rows_repeat_the_calls(raw: RawStore) -> None:
    """A recording has one row per call, in order, with the exact answer."""
    [row] = raw.replay_rows([raw.add(RECORD)])
    assert row == {
        "commit": "a" * 40, "stage": "scope", "ordinal": 0, "prompt_sha256": CALL.prompt_sha256, "answer": CALL.answer,
    }  # fmt: skip


def test_the_newest_attempts_come_first(raw: RawStore) -> None:
    """The last attempts are the last ones stored."""
    for number in range(3):
        raw.add(replace(RECORD, key=f"n{number}", attempt=number))
    assert [row["attempt"] for row in raw.last_attempts(2)] == [2, 1]


def _counts(raw: RawStore) -> dict[str, int]:
    return {table: raw.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in EVIDENCE_TABLES}


def _training_rows(raw: RawStore) -> None:
    raw.db.execute("INSERT INTO training_datasets VALUES (1, 'scope', 1, 'd', '2026-01-01T00:00:00Z')")
    raw.db.execute("INSERT INTO training_examples VALUES (1, 1, 1, 'sft', 'synthetic')")
    raw.db.execute("INSERT INTO training_plans VALUES (1, 'scope', 1, '{}', '2026-01-01T00:00:00Z')")

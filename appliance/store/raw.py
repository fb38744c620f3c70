"""raw.db: write the record of an attempt in one transaction, and read it back.

Invariant: an attempt is there whole or not at all, and never twice; its key is unique.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance.store.database import open_database, transaction
from harness.canaries import CanaryResult
from harness.grade import Required
from harness.oracle.recording import Evidence
from harness.record import AttemptRecord, CallRecord, text_sha256
from harness.results import Outcome, RunResult, TestResult


@dataclass(frozen=True)
class StoredGrading:
    """What a stored verdict was made from."""

    attempt_id: int
    package: str
    commit: str
    verdict: str
    runs: tuple[RunResult, ...]
    required: Required
    problem: str
    oracle: Evidence | None


class RawStore:
    """The evidence of one appliance."""

    def __init__(self, path: Path) -> None:
        from appliance.store.schema_raw import migrations  # noqa: PLC0415 - imports sqlite-utils

        self.path = path
        self.db = open_database(path, migrations)

    def close(self) -> None:
        """Close the connection."""
        self.db.close()

    def stored(self, key: str) -> tuple[int, str] | None:
        """Return id and verdict of the attempt with this key, or None when there is none yet."""
        row = self.db.execute(
            "SELECT a.id, a.verdict FROM task_runs t JOIN attempts a ON a.task_run_id = t.id WHERE t.key = ?", [key]
        ).fetchone()
        return None if row is None else (int(row[0]), str(row[1]))

    def add(self, record: AttemptRecord) -> int:
        """Store an attempt with everything that belongs to it; return the attempt's id."""
        with transaction(self.db, self.path):
            run_id = self._insert(
                "task_runs",
                key=record.key, package=record.package, commit_sha=record.commit, attempt=record.attempt,
                task=record.task, routes=_json(dict(record.routes)), seed=record.seed, temperature=record.temperature,
                context_sha256=record.context_sha256, success=int(record.grade.verdict == "RESOLVED"),
                seconds=_json(dict(record.seconds)), started_at=record.started_at, ended_at=record.ended_at,
            )  # fmt: skip
            for call in record.calls:
                self._add_call(run_id, call)
            for decision in record.decisions:
                self._insert("retrieval_decisions", task_run_id=run_id, **asdict(decision))
            for plan in record.plans:
                self._insert("plans", task_run_id=run_id, **asdict(plan))
            return self._add_attempt(run_id, record)

    def _add_call(self, run_id: int, call: CallRecord) -> None:
        row = asdict(call)
        prompt, answer, stage = row.pop("prompt"), row.pop("answer"), row.pop("stage")
        self._insert(
            "retrieval_llm_calls", task_run_id=run_id, call_type=stage, prompt_sha256=self._text(prompt),
            answer_sha256=self._text(answer), **row,
        )  # fmt: skip

    def _add_attempt(self, run_id: int, record: AttemptRecord) -> int:
        attempt_id = self._insert(
            "attempts",
            task_run_id=run_id, verdict=record.grade.verdict.value, reason=record.grade.reason,
            f2p_passed=record.grade.f2p_passed, p2p_passed=record.grade.p2p_passed,
            failing=_json(list(record.grade.failing)),
            required=self._text(_json({"f2p": sorted(record.required.f2p), "p2p": sorted(record.required.p2p)})),
            problem=record.problem,
            patch_sha256=self._text(record.patch), tree_sha256=record.tree_sha256, template_key=record.template_key,
            steps=_json([asdict(step) for step in record.steps]), alignment=_json(dict(record.alignment)),
            limits=_json(dict(record.limits)), cached=int(record.cached),
            red_flags=_json([asdict(flag) for flag in record.red_flags]),
            oracle_recording_sha256=self._text(record.oracle.recording) if record.oracle else None,
            oracle_replies_sha256=self._text(record.oracle.replies) if record.oracle else None,
        )  # fmt: skip
        for number, (run, key) in enumerate(zip(record.runs, record.run_keys, strict=True)):
            self._insert(
                "attempt_runs", attempt_id=attempt_id, run=number, key=key, completed=int(run.completed),
                pytest_exit=run.pytest_exit, returncode=run.returncode, timed_out=int(run.timed_out),
                seconds=run.seconds, uncollectable=_json(dict(run.uncollectable)),
                output_sha256=self._text(run.output), tampering=run.tampering, out_of_memory=int(run.out_of_memory),
                canaries=_json([asdict(canary) for canary in run.canaries]),
            )  # fmt: skip
            self.db.conn.executemany(
                "INSERT INTO test_results (attempt_id, run, node, outcome, seconds, message) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (attempt_id, number, self._node(test.node_id), test.outcome.value, test.seconds, test.message)
                    for test in run.tests.values()
                ],
            )
        return attempt_id

    def attempt(self, attempt_id: int) -> dict[str, Any] | None:
        """Return everything stored about an attempt, or None."""
        row = self._one(
            "SELECT a.*, t.key, t.package, t.commit_sha, t.attempt, t.task, t.routes, t.seed, t.temperature, "
            "t.context_sha256, t.seconds, t.started_at, t.ended_at, p.content AS patch, "
            "o.content AS oracle_recording, y.content AS oracle_replies "
            "FROM attempts a JOIN task_runs t ON t.id = a.task_run_id JOIN texts p ON p.sha256 = a.patch_sha256 "
            "LEFT JOIN texts o ON o.sha256 = a.oracle_recording_sha256 "
            "LEFT JOIN texts y ON y.sha256 = a.oracle_replies_sha256 "
            "WHERE a.id = ?",
            attempt_id,
        )
        if row is None:
            return None
        for name in ("failing", "steps", "alignment", "limits", "routes", "seconds", "red_flags"):
            row[name] = json.loads(row[name])
        run_id = row["task_run_id"]
        row["calls"] = self._all("SELECT * FROM calls WHERE task_run_id = ? ORDER BY id", run_id)
        row["decisions"] = self._all(
            "SELECT stage, path, symbol, verdict, score, reason FROM retrieval_decisions "
            "WHERE task_run_id = ? ORDER BY id",
            run_id,
        )
        row["plans"] = self._all("SELECT stage, part, document FROM plans WHERE task_run_id = ? ORDER BY id", run_id)
        row["runs"] = self._all(
            "SELECT r.*, t.content AS output FROM attempt_runs r JOIN texts t ON t.sha256 = r.output_sha256 "
            "WHERE attempt_id = ? ORDER BY run",
            attempt_id,
        )
        for run in row["runs"]:
            run["canaries"] = json.loads(run["canaries"])
        row["tests"] = self._all("SELECT * FROM results WHERE attempt_id = ? ORDER BY run, node_id", attempt_id)
        return row

    def headline(self, attempt_id: int) -> dict[str, Any]:
        """Return the verdict of an attempt with its times and alignment; the attempt must exist."""
        return self._all(
            "SELECT t.commit_sha, t.attempt, a.verdict, a.reason, t.seconds, a.alignment FROM attempts a "
            "JOIN task_runs t ON t.id = a.task_run_id WHERE a.id = ?",
            attempt_id,
        )[0]

    def gradings(self) -> Iterator[StoredGrading]:
        """Return what every graded attempt was judged on, oldest first."""
        for row in self._all(
            "SELECT a.id, a.verdict, a.problem, t.package, t.commit_sha, q.content AS required, "
            "o.content AS recording, p.content AS replies FROM attempts a "
            "JOIN task_runs t ON t.id = a.task_run_id JOIN texts q ON q.sha256 = a.required "
            "LEFT JOIN texts o ON o.sha256 = a.oracle_recording_sha256 "
            "LEFT JOIN texts p ON p.sha256 = a.oracle_replies_sha256 ORDER BY a.id"
        ):
            needs = json.loads(row["required"])
            required = Required(frozenset(needs["f2p"]), frozenset(needs["p2p"]))
            runs = tuple(self._runs(row["id"]))
            yield StoredGrading(
                row["id"], row["package"], row["commit_sha"], row["verdict"], runs, required, row["problem"],
                Evidence(row["recording"], row["replies"]) if row["recording"] is not None else None,
            )  # fmt: skip

    def verdicts(self) -> dict[str, Counter[str]]:
        """Return the number of attempts by package and verdict."""
        counts: dict[str, Counter[str]] = {}
        for package, verdict, number in self.db.execute(
            "SELECT t.package, a.verdict, count(*) FROM attempts a JOIN task_runs t ON t.id = a.task_run_id "
            "GROUP BY 1, 2 ORDER BY 1, 2"
        ):
            counts.setdefault(package, Counter())[verdict] = number
        return counts

    def last_attempts(self, limit: int) -> list[dict[str, Any]]:
        """Return the newest attempts, newest first."""
        return self._all(
            "SELECT a.id, t.package, t.commit_sha, t.attempt, a.verdict, a.reason, t.ended_at FROM attempts a "
            "JOIN task_runs t ON t.id = a.task_run_id ORDER BY a.id DESC LIMIT ?",
            limit,
        )

    def replay_rows(self, attempt_ids: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Return the calls of these attempts as rows of a replay file."""
        for attempt_id in attempt_ids:
            yield from self._all(
                'SELECT c.commit_sha AS "commit", c.call_type AS stage, c.ordinal, c.prompt_sha256, c.answer '
                "FROM calls c JOIN attempts a ON a.task_run_id = c.task_run_id WHERE a.id = ? ORDER BY c.id",
                attempt_id,
            )

    def _runs(self, attempt_id: int) -> Iterator[RunResult]:
        tests: dict[int, dict[str, TestResult]] = {}
        for row in self._all("SELECT * FROM results WHERE attempt_id = ?", attempt_id):
            result = TestResult(row["node_id"], Outcome(row["outcome"]), row["seconds"], row["message"])
            tests.setdefault(row["run"], {})[row["node_id"]] = result
        for row in self._all("SELECT * FROM attempt_runs WHERE attempt_id = ? ORDER BY run", attempt_id):
            yield RunResult(
                tests=tests.get(row["run"], {}), uncollectable=json.loads(row["uncollectable"]),
                completed=bool(row["completed"]), pytest_exit=row["pytest_exit"], returncode=row["returncode"],
                timed_out=bool(row["timed_out"]), seconds=row["seconds"], tampering=row["tampering"],
                canaries=tuple(CanaryResult(**canary) for canary in json.loads(row["canaries"])),
                out_of_memory=bool(row["out_of_memory"]),
            )  # fmt: skip

    def _insert(self, table: str, **values: Any) -> int:  # noqa: ANN401 - a row's columns are of many types
        columns = ", ".join(values)
        marks = ", ".join("?" * len(values))
        cursor = self.db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", list(values.values()))  # noqa: S608
        return int(cursor.lastrowid or 0)

    def _text(self, content: str) -> str:
        safe = content.encode("utf-8", "replace").decode("utf-8")
        digest = text_sha256(safe)
        self.db.execute("INSERT OR IGNORE INTO texts (sha256, content) VALUES (?, ?)", [digest, safe])
        return digest

    def _node(self, node_id: str) -> int:
        self.db.execute("INSERT OR IGNORE INTO nodes (node_id) VALUES (?)", [node_id])
        return int(self.db.execute("SELECT id FROM nodes WHERE node_id = ?", [node_id]).fetchone()[0])

    def _all(self, sql: str, *arguments: object) -> list[dict[str, Any]]:
        cursor = self.db.execute(sql, list(arguments))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _one(self, sql: str, *arguments: object) -> dict[str, Any] | None:
        rows = self._all(sql, *arguments)
        return rows[0] if rows else None


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)

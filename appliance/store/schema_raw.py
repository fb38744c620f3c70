"""The schema of raw.db: append-only evidence of every attempt.

Texts (prompts, answers, patches, outputs) are stored once by digest; the views put them back
beside their rows. Triggers refuse every UPDATE and DELETE on evidence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlite_utils.migrations import Migrations

if TYPE_CHECKING:
    from sqlite_utils import Database

migrations = Migrations("raw")

EVIDENCE_TABLES = (
    "texts", "nodes", "task_runs", "retrieval_llm_calls", "retrieval_decisions", "plans", "attempts", "attempt_runs",
    "test_results", "training_examples", "training_datasets", "training_plans",
)  # fmt: skip

_TABLES = """
CREATE TABLE texts (sha256 TEXT PRIMARY KEY, content TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE nodes (id INTEGER PRIMARY KEY, node_id TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE task_runs (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  package TEXT NOT NULL,
  commit_sha TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  task TEXT NOT NULL,
  routes TEXT NOT NULL,
  seed INTEGER NOT NULL,
  temperature REAL NOT NULL,
  context_sha256 TEXT NOT NULL,
  success INTEGER NOT NULL,
  seconds TEXT NOT NULL,
  started_at TEXT NOT NULL,
  ended_at TEXT NOT NULL
) STRICT;
CREATE INDEX task_runs_commit ON task_runs (package, commit_sha);
CREATE TABLE retrieval_llm_calls (
  id INTEGER PRIMARY KEY,
  task_run_id INTEGER NOT NULL REFERENCES task_runs (id),
  call_type TEXT NOT NULL,
  ordinal INTEGER NOT NULL,
  prompt_sha256 TEXT NOT NULL REFERENCES texts (sha256),
  answer_sha256 TEXT NOT NULL REFERENCES texts (sha256),
  answerer TEXT NOT NULL,
  source TEXT NOT NULL CHECK (source IN ('synthetic', 'teacher', 'harness', 'logged')),
  adapter TEXT,
  seed INTEGER NOT NULL,
  temperature REAL NOT NULL,
  prompt_tokens INTEGER NOT NULL,
  tokens_in INTEGER,
  tokens_out INTEGER,
  seconds REAL NOT NULL,
  problem TEXT NOT NULL,
  UNIQUE (task_run_id, call_type, ordinal)
) STRICT;
CREATE TABLE retrieval_decisions (
  id INTEGER PRIMARY KEY,
  task_run_id INTEGER NOT NULL REFERENCES task_runs (id),
  stage TEXT NOT NULL,
  path TEXT NOT NULL,
  symbol TEXT NOT NULL,
  verdict TEXT NOT NULL,
  score REAL NOT NULL,
  reason TEXT NOT NULL
) STRICT;
CREATE INDEX retrieval_decisions_run ON retrieval_decisions (task_run_id);
CREATE TABLE plans (
  id INTEGER PRIMARY KEY,
  task_run_id INTEGER NOT NULL REFERENCES task_runs (id),
  stage TEXT NOT NULL,
  part TEXT NOT NULL,
  document TEXT NOT NULL,
  UNIQUE (task_run_id, stage, part)
) STRICT;
CREATE TABLE attempts (
  id INTEGER PRIMARY KEY,
  task_run_id INTEGER NOT NULL UNIQUE REFERENCES task_runs (id),
  verdict TEXT NOT NULL CHECK (verdict IN ('RESOLVED', 'NOT_RESOLVED', 'EDIT_FAILED', 'TAMPERED', 'TIMEOUT', 'FLAKY',
                                           'ENV_BROKEN', 'CONTEXT_OVERFLOW')),
  reason TEXT NOT NULL,
  f2p_passed INTEGER NOT NULL,
  p2p_passed INTEGER NOT NULL,
  failing TEXT NOT NULL,
  required TEXT NOT NULL REFERENCES texts (sha256),
  problem TEXT NOT NULL,
  patch_sha256 TEXT NOT NULL REFERENCES texts (sha256),
  tree_sha256 TEXT NOT NULL,
  template_key TEXT NOT NULL,
  steps TEXT NOT NULL,
  alignment TEXT NOT NULL,
  limits TEXT NOT NULL,
  cached INTEGER NOT NULL,
  red_flags TEXT NOT NULL,
  oracle_recording_sha256 TEXT REFERENCES texts (sha256),
  oracle_replies_sha256 TEXT REFERENCES texts (sha256)
) STRICT;
CREATE INDEX attempts_verdict ON attempts (verdict);
CREATE TABLE attempt_runs (
  attempt_id INTEGER NOT NULL REFERENCES attempts (id),
  run INTEGER NOT NULL,
  key TEXT NOT NULL,
  completed INTEGER NOT NULL,
  pytest_exit INTEGER,
  returncode INTEGER NOT NULL,
  timed_out INTEGER NOT NULL,
  seconds REAL NOT NULL,
  uncollectable TEXT NOT NULL,
  output_sha256 TEXT NOT NULL REFERENCES texts (sha256),
  tampering TEXT NOT NULL,
  out_of_memory INTEGER NOT NULL,
  canaries TEXT NOT NULL,
  PRIMARY KEY (attempt_id, run)
) STRICT, WITHOUT ROWID;
CREATE TABLE test_results (
  attempt_id INTEGER NOT NULL,
  run INTEGER NOT NULL,
  node INTEGER NOT NULL REFERENCES nodes (id),
  outcome TEXT NOT NULL,
  seconds REAL NOT NULL,
  message TEXT NOT NULL,
  PRIMARY KEY (attempt_id, run, node),
  FOREIGN KEY (attempt_id, run) REFERENCES attempt_runs (attempt_id, run)
) STRICT, WITHOUT ROWID;
CREATE TABLE training_datasets (
  id INTEGER PRIMARY KEY,
  stage TEXT NOT NULL,
  version INTEGER NOT NULL,
  sha256 TEXT NOT NULL UNIQUE,
  created_at TEXT NOT NULL,
  UNIQUE (stage, version)
) STRICT;
CREATE TABLE training_examples (
  id INTEGER PRIMARY KEY,
  dataset_id INTEGER NOT NULL REFERENCES training_datasets (id),
  call_id INTEGER NOT NULL REFERENCES retrieval_llm_calls (id),
  kind TEXT NOT NULL CHECK (kind IN ('sft', 'chosen', 'rejected')),
  source TEXT NOT NULL CHECK (source IN ('synthetic', 'teacher', 'harness', 'logged'))
) STRICT;
CREATE TABLE training_plans (
  id INTEGER PRIMARY KEY,
  stage TEXT NOT NULL,
  dataset_id INTEGER NOT NULL REFERENCES training_datasets (id),
  configuration TEXT NOT NULL,
  created_at TEXT NOT NULL
) STRICT;
CREATE VIEW calls AS
  SELECT c.*, r.package, r.commit_sha, r.attempt, p.content AS prompt, a.content AS answer
  FROM retrieval_llm_calls c JOIN task_runs r ON r.id = c.task_run_id
  JOIN texts p ON p.sha256 = c.prompt_sha256 JOIN texts a ON a.sha256 = c.answer_sha256;
CREATE VIEW results AS
  SELECT t.attempt_id, t.run, n.node_id, t.outcome, t.seconds, t.message
  FROM test_results t JOIN nodes n ON n.id = t.node;
"""


@migrations()
def m001_evidence(db: Database) -> None:
    """Create the evidence tables."""
    for statement in filter(str.strip, _TABLES.split(";")):
        db.execute(statement)
    for table in EVIDENCE_TABLES:
        for action in ("UPDATE", "DELETE"):
            db.execute(
                f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )

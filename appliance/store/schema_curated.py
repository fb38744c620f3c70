"""The schema of curated.db: the verified configuration that the appliance reads at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlite_utils.migrations import Migrations

if TYPE_CHECKING:
    from sqlite_utils import Database

migrations = Migrations("curated")

_TABLES = """
CREATE TABLE packages (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  upstream TEXT NOT NULL,
  license TEXT NOT NULL,
  organisation TEXT NOT NULL,
  domain TEXT NOT NULL,
  head TEXT NOT NULL,
  manifest_sha256 TEXT NOT NULL,
  test_command TEXT NOT NULL,
  test_scope TEXT NOT NULL,
  integrated_at TEXT NOT NULL,
  signer TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  overrides TEXT NOT NULL,
  UNIQUE (name, sequence)
) STRICT;
CREATE TABLE environments (
  package TEXT NOT NULL REFERENCES packages (id),
  id TEXT NOT NULL,
  python TEXT NOT NULL,
  wheels TEXT NOT NULL,
  lock TEXT NOT NULL,
  undeclared_imports TEXT NOT NULL,
  PRIMARY KEY (package, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE commits (
  package TEXT NOT NULL REFERENCES packages (id),
  sha TEXT NOT NULL,
  position INTEGER NOT NULL,
  parent TEXT NOT NULL,
  environment TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('validated', 'rejected')),
  reason TEXT NOT NULL,
  detail TEXT NOT NULL,
  f2p TEXT NOT NULL,
  p2p TEXT NOT NULL,
  flaky TEXT NOT NULL,
  test_files TEXT NOT NULL,
  gold_median_s REAL NOT NULL,
  limit_s REAL NOT NULL,
  template_key TEXT NOT NULL,
  gate_runs INTEGER NOT NULL,
  gate_seconds REAL NOT NULL,
  layer TEXT NOT NULL,
  control TEXT NOT NULL,
  oracle_sha256 TEXT NOT NULL,
  oracle_calls INTEGER NOT NULL,
  oracle_discriminating INTEGER NOT NULL,
  oracle_why TEXT NOT NULL,
  PRIMARY KEY (package, sha),
  FOREIGN KEY (package, environment) REFERENCES environments (package, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE bases (
  id TEXT PRIMARY KEY,
  role TEXT NOT NULL CHECK (role IN ('reasoning', 'coding')),
  version INTEGER NOT NULL,
  sha256 TEXT NOT NULL UNIQUE,
  path TEXT NOT NULL,
  created_at TEXT NOT NULL,
  UNIQUE (role, version)
) STRICT;
CREATE TABLE adapter_metadata (
  id TEXT PRIMARY KEY,
  stage TEXT NOT NULL,
  version INTEGER NOT NULL,
  base TEXT NOT NULL REFERENCES bases (id),
  status TEXT NOT NULL CHECK (status IN ('candidate', 'active', 'inactive', 'rejected', 'invalidated')),
  path TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  dataset_sha256 TEXT NOT NULL,
  metrics TEXT NOT NULL,
  trained_at TEXT NOT NULL,
  UNIQUE (stage, version)
) STRICT;
CREATE UNIQUE INDEX adapter_one_active_per_stage ON adapter_metadata (stage) WHERE status = 'active';
CREATE TABLE eval_sets (
  sha256 TEXT PRIMARY KEY, stage TEXT NOT NULL, items TEXT NOT NULL, created_at TEXT NOT NULL
) STRICT;
CREATE TABLE exams (
  id INTEGER PRIMARY KEY,
  eval_set TEXT NOT NULL REFERENCES eval_sets (sha256),
  adapter TEXT REFERENCES adapter_metadata (id),
  outcome TEXT NOT NULL,
  taken_at TEXT NOT NULL
) STRICT;
CREATE TABLE decisions (
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL, inputs TEXT NOT NULL, outcome TEXT NOT NULL,
  who TEXT NOT NULL, reason TEXT NOT NULL, decided_at TEXT NOT NULL
) STRICT;
CREATE INDEX decisions_by_subject ON decisions (kind, subject);
CREATE TABLE arrivals (
  id TEXT PRIMARY KEY, path TEXT NOT NULL, package TEXT NOT NULL, manifest_sha256 TEXT NOT NULL, outcome TEXT NOT NULL,
  code TEXT NOT NULL, detail TEXT NOT NULL, at TEXT NOT NULL
) STRICT;
CREATE TABLE campaigns (
  id TEXT PRIMARY KEY, configuration TEXT NOT NULL, state TEXT NOT NULL, started_at TEXT NOT NULL, ended_at TEXT
) STRICT;
"""


@migrations()
def m001_configuration(db: Database) -> None:
    """Create the tables."""
    for statement in filter(str.strip, _TABLES.split(";")):
        db.execute(statement)

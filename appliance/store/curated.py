"""curated.db: integrated packages with their commits and environments, and the decisions about them.

A package is written in one transaction, after its files are in place; a package without a row is
not integrated, whatever lies on disk.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Cursor
from typing import Any

from appliance.errors import Ambiguous, NotFound
from appliance.store import decisions
from appliance.store.database import open_database, transaction
from appliance.store.decisions import Decision
from harness.goldgate import NO_ORACLE, GateReport, OracleNote
from harness.grade import Required
from harness.manifest import Manifest


@dataclass(frozen=True)
class StoredCommit:
    """A commit with what the gold gate found."""

    sha: str
    state: str
    reason: str
    detail: str
    required: Required
    test_files: tuple[str, ...]
    limit_s: float
    gate_seconds: float
    oracle: OracleNote = NO_ORACLE


@dataclass(frozen=True)
class Entry:
    """How a package came in."""

    signer: str = ""
    """Principal that signed it, "" for an unsigned one."""
    fingerprint: str = ""
    overrides: tuple[str, ...] = ()
    """sha256 of files in it that an operator let through."""
    decisions: tuple[Decision, ...] = ()


NO_ENTRY = Entry()


class CuratedStore:
    """The verified configuration of one appliance."""

    def __init__(self, path: Path) -> None:
        from appliance.store.schema_curated import migrations  # noqa: PLC0415 - imports sqlite-utils

        self.path = path
        self.db = open_database(path, migrations)

    def close(self) -> None:
        """Close the connection."""
        self.db.close()

    def add_package(
        self, manifest: Manifest, manifest_sha256: str, reports: Sequence[GateReport], entry: Entry = NO_ENTRY
    ) -> None:
        """Write a package with its environments and gated commits, and the decisions by which it came in."""
        with transaction(self.db, self.path):
            self.db.execute(
                "INSERT INTO packages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [manifest.package_id, manifest.name, manifest.sequence, manifest.upstream, manifest.license,
                 manifest.organisation, manifest.domain, manifest.head,
                 manifest_sha256, json.dumps(list(manifest.test_command)),
                 manifest.test_scope, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), entry.signer,
                 entry.fingerprint, json.dumps(list(entry.overrides))],
            )  # fmt: skip
            for env in manifest.environments:
                self.db.execute(
                    "INSERT INTO environments VALUES (?, ?, ?, ?, ?, ?)",
                    [manifest.package_id, env.id, env.python, json.dumps(list(env.wheels)),
                     json.dumps(asdict(env.lock)), json.dumps(list(env.undeclared_imports))],
                )  # fmt: skip
            for position, report in enumerate(reports):
                self._add_commit(manifest.package_id, position, report)
            for decision in entry.decisions:
                decisions.write(self.db, decision)

    def decide(self, *made: Decision) -> None:
        """Write decisions that stand by themselves."""
        with transaction(self.db, self.path):
            for decision in made:
                decisions.write(self.db, decision)

    def decisions(self, kind: str, subject: str = "") -> list[dict[str, Any]]:
        """Return the decisions of a kind, oldest first, of one subject or of all."""
        return decisions.read(self.db, kind, subject)

    def allowed(self) -> frozenset[str]:
        """Return the sha256 of the files that operators let through."""
        return decisions.allowed(self.db)

    def integrated(self, name: str) -> dict[int, str]:
        """Return the integrated sequences of a package name, each with the digest of its manifest."""
        rows = self.db.execute("SELECT sequence, manifest_sha256 FROM packages WHERE name = ?", [name]).fetchall()
        return {int(sequence): str(digest) for sequence, digest in rows}

    def has_manifest(self, manifest_sha256: str) -> bool:
        """Return whether a package with this very manifest is integrated."""
        row = self.db.execute("SELECT 1 FROM packages WHERE manifest_sha256 = ?", [manifest_sha256]).fetchone()
        return row is not None

    def _add_commit(self, package: str, position: int, report: GateReport) -> None:
        verdict = report.verdict
        self.db.execute(
            "INSERT INTO commits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [package, report.commit.sha, position, report.commit.parent, report.commit.environment,
             "validated" if verdict.validated else "rejected", verdict.rejection.value if verdict.rejection else "",
             verdict.detail, json.dumps(sorted(verdict.required.f2p)), json.dumps(sorted(verdict.required.p2p)),
             json.dumps(sorted(verdict.flaky)), json.dumps(list(report.test_files)), verdict.gold_median_s,
             verdict.limit_s, report.template_key, report.runs, round(report.seconds, 3), report.layer,
             report.control, report.oracle.sha256, report.oracle.calls, report.oracle.discriminating,
             report.oracle.why],
        )  # fmt: skip

    def latest_sequence(self, name: str) -> int:
        """Return the highest integrated sequence of a package name; 0 when there is none."""
        row = self.db.execute("SELECT coalesce(max(sequence), 0) FROM packages WHERE name = ?", [name]).fetchone()
        return int(row[0])

    def package_ids(self, name: str = "") -> list[str]:
        """Return the ids of integrated packages, of one name or of all, newest sequence first."""
        rows = self.db.execute(
            "SELECT id FROM packages WHERE ? IN ('', name, id) ORDER BY name, sequence DESC", [name]
        ).fetchall()
        return [row[0] for row in rows]

    def resolve(self, name: str) -> str:
        """Return the id for a package name or id; NotFound when there is none, Ambiguous for a name of several.

        An exact id wins: else a package that is named like the id of another one would hide it for good.
        """
        ids = self.package_ids(name)
        if name in ids:
            return name
        if not ids:
            known = ", ".join(self.package_ids()) or "none"
            raise NotFound(f"no package {name!r} is integrated; integrated are: {known}")
        if len(ids) > 1:
            raise Ambiguous(f"{name!r} names {len(ids)} packages", hint=f"Say which one: {', '.join(ids)}")
        return ids[0]

    def package(self, package_id: str) -> dict[str, Any]:
        """Return how an integrated package came in: manifest digest, time, signer, overrides."""
        cursor = self.db.execute(
            "SELECT id, manifest_sha256, integrated_at, signer, fingerprint, overrides FROM packages WHERE id = ?",
            [package_id],
        )
        [row] = _dicts(cursor)
        return row

    def manifest_sha256(self, package: str) -> str:
        """Return the digest of the manifest that an integrated package was gated with."""
        row = self.db.execute("SELECT manifest_sha256 FROM packages WHERE id = ?", [package]).fetchone()
        return str(row[0])

    def commits(self, package: str) -> list[StoredCommit]:
        """Return the commits of a package in manifest order."""
        rows = self.db.execute(
            "SELECT sha, state, reason, detail, f2p, p2p, test_files, limit_s, gate_seconds, oracle_sha256, "
            "oracle_calls, oracle_discriminating, oracle_why FROM commits WHERE package = ? ORDER BY position",
            [package],
        ).fetchall()
        return [
            StoredCommit(
                sha, state, reason, detail, Required(frozenset(json.loads(f2p)), frozenset(json.loads(p2p))),
                tuple(json.loads(files)), limit_s, gate_seconds, OracleNote(*oracle),
            )
            for sha, state, reason, detail, f2p, p2p, files, limit_s, gate_seconds, *oracle in rows
        ]  # fmt: skip

    def summary(self) -> list[dict[str, Any]]:
        """Return one row per package: what it is and how its commits fared."""
        cursor = self.db.execute(
            "SELECT p.id, p.name, p.sequence, p.organisation, p.domain, p.integrated_at, p.signer, p.fingerprint, "
            "p.overrides, count(c.sha) AS commits, coalesce(sum(c.state = 'validated'), 0) AS validated "
            "FROM packages p LEFT JOIN commits c ON c.package = p.id "
            "GROUP BY p.id ORDER BY p.name, p.sequence"
        )
        return _dicts(cursor)


def _dicts(cursor: Cursor) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [row | {"overrides": json.loads(row["overrides"])} for row in rows]

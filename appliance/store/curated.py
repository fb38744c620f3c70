"""curated.db: integrated packages with their commits and environments.

A package is written in one transaction, after its files are in place; a package without a row is
not integrated, whatever lies on disk.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.errors import Ambiguous, NotFound
from appliance.store.database import open_database, transaction
from harness.goldgate import GateReport
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


class CuratedStore:
    """The verified configuration of one appliance."""

    def __init__(self, path: Path) -> None:
        from appliance.store.schema_curated import migrations  # noqa: PLC0415 - imports sqlite-utils

        self.path = path
        self.db = open_database(path, migrations)

    def close(self) -> None:
        """Close the connection."""
        self.db.close()

    def add_package(self, manifest: Manifest, manifest_sha256: str, reports: Sequence[GateReport]) -> None:
        """Write a package with its environments and gated commits."""
        with transaction(self.db, self.path):
            self.db.execute(
                "INSERT INTO packages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [manifest.package_id, manifest.name, manifest.sequence, manifest.upstream, manifest.license,
                 manifest.organisation, manifest.domain, manifest.head,
                 manifest_sha256, json.dumps(list(manifest.test_command)),
                 manifest.test_scope, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")],
            )  # fmt: skip
            for env in manifest.environments:
                self.db.execute(
                    "INSERT INTO environments VALUES (?, ?, ?, ?, ?, ?)",
                    [manifest.package_id, env.id, env.python, json.dumps(list(env.wheels)),
                     json.dumps(asdict(env.lock)), json.dumps(list(env.undeclared_imports))],
                )  # fmt: skip
            for position, report in enumerate(reports):
                self._add_commit(manifest.package_id, position, report)

    def _add_commit(self, package: str, position: int, report: GateReport) -> None:
        verdict = report.verdict
        self.db.execute(
            "INSERT INTO commits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [package, report.commit.sha, position, report.commit.parent, report.commit.environment,
             "validated" if verdict.validated else "rejected", verdict.rejection.value if verdict.rejection else "",
             verdict.detail, json.dumps(sorted(verdict.required.f2p)), json.dumps(sorted(verdict.required.p2p)),
             json.dumps(sorted(verdict.flaky)), json.dumps(list(report.test_files)), verdict.gold_median_s,
             verdict.limit_s, report.template_key, report.runs, round(report.seconds, 3), report.layer],
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
        """Return the id for a package name or id; NotFound when there is none, or more than one by that name."""
        ids = self.package_ids(name)
        if not ids:
            known = ", ".join(self.package_ids()) or "none"
            raise NotFound(f"no package {name!r} is integrated; integrated are: {known}")
        if len(ids) > 1:
            raise Ambiguous(f"{name!r} names {len(ids)} packages", hint=f"Say which one: {', '.join(ids)}")
        return ids[0]

    def manifest_sha256(self, package: str) -> str:
        """Return the digest of the manifest that an integrated package was gated with."""
        row = self.db.execute("SELECT manifest_sha256 FROM packages WHERE id = ?", [package]).fetchone()
        return str(row[0])

    def commits(self, package: str) -> list[StoredCommit]:
        """Return the commits of a package in manifest order."""
        rows = self.db.execute(
            "SELECT sha, state, reason, detail, f2p, p2p, test_files, limit_s, gate_seconds FROM commits "
            "WHERE package = ? ORDER BY position",
            [package],
        ).fetchall()
        return [
            StoredCommit(
                sha, state, reason, detail, Required(frozenset(json.loads(f2p)), frozenset(json.loads(p2p))),
                tuple(json.loads(files)), limit_s, gate_seconds,
            )
            for sha, state, reason, detail, f2p, p2p, files, limit_s, gate_seconds in rows
        ]  # fmt: skip

    def summary(self) -> list[dict[str, Any]]:
        """Return one row per package: what it is and how its commits fared."""
        cursor = self.db.execute(
            "SELECT p.id, p.name, p.sequence, p.organisation, p.domain, p.integrated_at, count(c.sha) AS commits, "
            "coalesce(sum(c.state = 'validated'), 0) AS validated "
            "FROM packages p LEFT JOIN commits c ON c.package = p.id "
            "GROUP BY p.id ORDER BY p.name, p.sequence"
        )
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

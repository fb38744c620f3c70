"""Import a package: copy in once, check, gate every commit, integrate at one stroke, or quarantine.

A package is either integrated (files in place, then one database transaction) or quarantined with
its reason; a crash in between leaves a staging directory that the next import sweeps away.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.durable import sync_directory, write_whole
from harness.envs.template import TemplateStore
from harness.errors import DiskFull, Failure
from harness.flock import only_holder
from harness.gate import Rejection, reject
from harness.goldgate import GateJob, GateReport, run_gate
from harness.manifest import Manifest
from harness.workbench import Places
from ingest.checks.candidate import Candidate
from ingest.checks.table import first_findings
from ingest.errors import AlreadyImporting, PackageMissing
from ingest.findings import Finding
from ingest.inspect import printable
from ingest.policy import Policy
from ingest.staging import Staged, copy_in

QUARANTINE_NAME = "quarantine.json"
_SPARE_BYTES = 1 << 20
_NAME_CHARACTERS = 64
_DETAIL_CHARACTERS = 1_000


@dataclass(frozen=True)
class Shelves:
    """The directories and the record keeping that an import works with."""

    packages: Path
    incoming: Path
    quarantine: Path
    environments: Path
    cache: Path
    environments_cap_bytes: int
    latest_sequence: Callable[[str], int]
    """Package name to its highest integrated sequence; 0 when there is none."""
    integrate: Callable[[Manifest, Sequence[GateReport]], None]
    """Write the package to the database; called when its files are in place."""
    policy: Policy = field(default_factory=Policy)


@dataclass
class ImportReport:
    """What became of a package."""

    package: str
    state: str
    """integrated, quarantined or checked (dry run)."""
    findings: list[Finding] = field(default_factory=list)
    failed_check: str = ""
    quarantine: str = ""
    gates: list[GateReport] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def validated(self) -> int:
        """Number of commits that passed the gold gate."""
        return sum(report.verdict.validated for report in self.gates)

    def reasons(self) -> dict[str, int]:
        """Return the number of rejected commits by reason."""
        counts: dict[str, int] = {}
        for report in self.gates:
            if report.verdict.rejection is not None:
                counts[report.verdict.rejection.value] = counts.get(report.verdict.rejection.value, 0) + 1
        return dict(sorted(counts.items()))

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "package": printable(self.package),
            "state": self.state,
            "failed_check": self.failed_check,
            "findings": [
                {name: printable(text) for name, text in finding.as_dict().items()} for finding in self.findings
            ],
            "quarantine": printable(self.quarantine),
            "commits": len(self.gates),
            "validated": self.validated,
            "rejected": self.reasons(),
            "details": [
                {"commit": r.commit.sha, "reason": r.verdict.rejection.value if r.verdict.rejection else "",
                 "detail": printable(r.verdict.detail), "f2p": len(r.verdict.required.f2p),
                 "p2p": len(r.verdict.required.p2p),
                 "runs": r.runs, "seconds": round(r.seconds, 2)}
                for r in self.gates
            ],
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }  # fmt: skip


def import_package(
    source: Path, shelves: Shelves, executor: Executor, *, gate_budget_s: float, progress: Callable[[str], None],
    dry_run: bool = False,
) -> ImportReport:  # fmt: skip
    """Import the package in `source`; raises only when the package itself was not judged."""
    if not source.is_dir():
        raise PackageMissing(f"{source} is not a directory")
    shelves.incoming.mkdir(parents=True, exist_ok=True)
    with only_holder(shelves.incoming / ".lock", AlreadyImporting("another import is running on this appliance")):
        _sweep(shelves)
        stage = Path(tempfile.mkdtemp(prefix="import-", dir=shelves.incoming))
        try:
            job = _Import(source, shelves, stage, executor=executor, gate_budget_s=gate_budget_s, progress=progress)
            return job.run(dry_run=dry_run)
        except OSError as err:
            if err.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise DiskFull(f"this machine's disk is full: {err}") from err
            raise
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def gate_commit(job: GateJob) -> GateReport:
    """Take one commit through the gate in a worker; what nobody foresaw rejects this commit and no other.

    Failures and a full disk speak of the machine, so they stop the import.
    """
    try:
        return run_gate(job)
    except Failure:
        raise
    except Exception as err:
        if isinstance(err, OSError) and err.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        words = printable(f"internal error: {type(err).__name__}: {err}")
        return GateReport(job.commit, reject(Rejection.GOLD_FAILS, words[:_DETAIL_CHARACTERS]), (), "", 0, 0.0, 0.0)


class _Import:
    """One package on its way in."""

    def __init__(
        self, source: Path, shelves: Shelves, stage: Path, *, executor: Executor, gate_budget_s: float,
        progress: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.source, self.shelves, self.executor, self.stage = source, shelves, executor, stage
        self.gate_budget_s, self.progress = gate_budget_s, progress
        self.report = ImportReport(package=source.name, state="")

    def run(self, *, dry_run: bool) -> ImportReport:
        candidate = self.checked()
        if self.report.findings:
            if dry_run:
                self.report.state = "checked"
                return self.report
            return self.quarantined()
        manifest = candidate.known
        self.report.package = manifest.package_id
        if dry_run:
            self.report.state = "checked"
            return self.report
        self.shelve_copy(candidate)
        self.gate(candidate)
        self.integrate(manifest)
        return self.report

    def checked(self) -> Candidate:
        self.progress(f"copying {self.source.name}")
        with self.timed("copy"):
            staged = copy_in(self.source, self.stage / "package")
        self.check_room(staged)
        self.progress(f"checking {len(staged.files)} files")
        with self.timed("check"):
            templates = TemplateStore(self.shelves.environments, cap_bytes=self.shelves.environments_cap_bytes)
            candidate = Candidate(staged, templates, self.shelves.latest_sequence, self.shelves.policy)
            self.report.failed_check, self.report.findings = first_findings(candidate)
        return candidate

    def check_room(self, staged: Staged) -> None:
        """Stop before git meets the full disk: what it says then looks like a fault of the package."""
        needed = _SPARE_BYTES + sum(entry.bytes for path, entry in staged.files.items() if path.startswith("repo/"))
        free = shutil.disk_usage(self.stage).free
        if free < needed:
            raise DiskFull(f"{needed} bytes are needed to take the repository in, {free} are free")

    def shelve_copy(self, candidate: Candidate) -> None:
        """Put the staged package into the shape of an integrated one: our bare repository as repo/."""
        package = candidate.staged.directory
        if candidate.repo is not None:
            shutil.rmtree(package / "repo")
            candidate.repo.rename(package / "repo")
        final = self.stage / candidate.known.package_id
        package.rename(final)

    def gate(self, candidate: Candidate) -> None:
        manifest = candidate.known
        places = Places(
            self.stage / manifest.package_id, self.shelves.environments, self.shelves.cache,
            self.shelves.environments_cap_bytes,
        )  # fmt: skip
        reports: dict[str, GateReport] = {}
        jobs = {}
        with self.timed("gate"):
            for commit in manifest.commits:
                missing = candidate.python_missing.get(commit.environment)
                if missing is not None:
                    reports[commit.sha] = GateReport(
                        commit, reject(Rejection.PYTHON_MISSING, missing), (), "", 0, 0.0, 0.0
                    )
                else:
                    jobs[self.executor.submit(gate_commit, GateJob(places, commit, self.gate_budget_s))] = commit
            for future in as_completed(jobs):
                report = future.result()
                reports[report.commit.sha] = report
                self.progress(_gate_line(report, len(reports), len(manifest.commits)))
        self.report.gates = [reports[commit.sha] for commit in manifest.commits]

    def integrate(self, manifest: Manifest) -> None:
        """Files first, durable and in place; then the one transaction that makes them count."""
        with self.timed("integrate"):
            staged, final = self.stage / manifest.package_id, self.shelves.packages / manifest.package_id
            self.shelves.packages.mkdir(parents=True, exist_ok=True)
            if final.exists():  # left by a crash between rename and transaction: without a row it is nothing
                shutil.rmtree(final)
            os.sync()
            staged.rename(final)
            sync_directory(self.shelves.packages)
            self.shelves.integrate(manifest, self.report.gates)
        self.report.state = "integrated"

    def quarantined(self) -> ImportReport:
        """Keep the package with its reason; the reason is there first, whole and durable."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        self.shelves.quarantine.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^A-Za-z0-9._-]", "_", self.source.name)[:_NAME_CHARACTERS]
        target = Path(tempfile.mkdtemp(prefix=f"{name}-{stamp}-", dir=self.shelves.quarantine))
        self.report.state, self.report.quarantine = "quarantined", str(target)
        document = {"at": stamp, "source": printable(str(self.source)), **self.report.as_dict()}
        try:
            write_whole(target / QUARANTINE_NAME, json.dumps(document, indent=1, sort_keys=True).encode())
            (self.stage / "package").rename(target / "package")
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        sync_directory(target)
        sync_directory(self.shelves.quarantine)
        return self.report

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.report.seconds[phase] = time.monotonic() - started


def _sweep(shelves: Shelves) -> None:
    """Remove what an interrupted import left behind; only called while holding the import lock."""
    for leftover in shelves.incoming.glob("import-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _gate_line(report: GateReport, done: int, total: int) -> str:
    verdict = report.verdict
    state = "validated" if verdict.rejection is None else verdict.rejection.value
    return f"gate {done}/{total} {report.commit.sha[:10]} {state} ({report.seconds:.1f} s): {verdict.detail[:120]}"

"""Import a package: copy in once, check, gate every commit, integrate at one stroke, or quarantine.

A package is either integrated (files in place, then one database transaction) or quarantined with
its reason; a crash in between leaves a staging directory that the next import sweeps away. Trust
comes first: a package that is refused for its survey, signature, manifest or sequence is not copied.
Every phase waits for room on the disk before it starts, and one that meets a full disk is done again.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from harness.envs.template import TemplateStore
from harness.errors import DiskFull, Failure
from harness.flock import only_holder
from harness.gate import Rejection, reject
from harness.goldgate import GateJob, GateReport, run_gate
from harness.handout import QUEUED_PER_WORKER, Rules, hand_out
from harness.manifest import Manifest
from harness.room import despite_full, is_full, wait_for
from harness.workbench import Places
from ingest.checks.candidate import Candidate, Check
from ingest.checks.table import CHECKS, FIRST_LOOK, first_findings
from ingest.errors import AlreadyImporting, PackageMissing
from ingest.findings import Finding
from ingest.firstlook import copy_papers, papers_bytes, swollen, whole_bytes
from ingest.inspect import printable
from ingest.shelves import (
    QUARANTINE_NAME,
    Shelves,
    put_in_place,
    put_in_quarantine,
    quarantine_place,
    staging,
    thin_quarantine,
)
from ingest.staging import Staged, copy_in
from ingest.survey import survey

__all__ = ["QUARANTINE_NAME", "ImportReport", "Shelves", "gate_commit", "import_package"]

WORKERS = 2
"""Commits gated at the same time, if nobody says otherwise."""
GATE_PATIENCE_S = 3_600.0
"""What the gate may take for one commit beside its budget, at the very most: builds, git, the last run."""
_SPARE_BYTES = 1 << 20
_DETAIL_CHARACTERS = 1_000


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
    dry_run: bool = False, workers: int = WORKERS,
) -> ImportReport:  # fmt: skip
    """Import the package in `source`; raises only when the package itself was not judged."""
    _present(source)
    shelves.incoming.mkdir(parents=True, exist_ok=True)
    with only_holder(shelves.incoming / ".lock", AlreadyImporting("another import is running on this appliance")):
        wait_for(shelves.room, partial(_present, source))
        try:
            with staging(shelves) as stage:
                rules = Rules(
                    workers * QUEUED_PER_WORKER, shelves.room,
                    (QUEUED_PER_WORKER + 1) * (GATE_PATIENCE_S + gate_budget_s),
                )  # fmt: skip
                job = _Import(
                    source,
                    shelves,
                    stage,
                    executor=executor,
                    rules=rules,
                    gate_budget_s=gate_budget_s,
                    progress=progress,
                )
                return job.run(dry_run=dry_run)
        except OSError as err:
            if is_full(err):
                raise DiskFull(f"this machine's disk is full: {err}") from err
            raise


def gate_commit(job: GateJob) -> GateReport:
    """Take one commit through the gate in a worker; what nobody foresaw rejects this commit and no other.

    Failures and a full disk speak of the machine, so they stop the import.
    """
    try:
        return run_gate(job)
    except Failure:
        raise
    except Exception as err:
        if is_full(err):
            raise
        words = printable(f"internal error: {type(err).__name__}: {err}")
        return GateReport(job.commit, reject(Rejection.GOLD_FAILS, words[:_DETAIL_CHARACTERS]), (), "", 0, 0.0, 0.0)


class _Import:
    """One package on its way in."""

    def __init__(
        self, source: Path, shelves: Shelves, stage: Path, *, executor: Executor, rules: Rules, gate_budget_s: float,
        progress: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.source, self.shelves, self.executor, self.stage = source, shelves, executor, stage
        self.rules, self.gate_budget_s, self.progress = rules, gate_budget_s, progress
        self.report = ImportReport(package=source.name, state="")
        self.is_doubted = False

    def run(self, *, dry_run: bool) -> ImportReport:
        room = self.shelves.room
        candidate = despite_full(room, self.checked)
        if candidate.manifest is not None and not self.report.findings:
            self.report.package = candidate.manifest.package_id
        if dry_run:
            self.report.state = "checked"
        elif self.report.findings:
            self.quarantine()
        else:
            self.shelve_copy(candidate)
            self.gate(candidate)
            self.integrate(candidate.known)
        return self.report

    def checked(self) -> Candidate:
        package = self.stage / "package"
        shutil.rmtree(package, ignore_errors=True)  # of a try that met a full disk
        candidate = self.looked_at(package)
        if self.report.findings:
            return candidate
        shutil.rmtree(package)
        wait_for(self.shelves.room, partial(whole_bytes, self.source))
        self.progress(f"copying {self.source.name}")
        with self.timed("copy"):
            staged = copy_in(self.source, package)
        self.check_room(staged)
        self.progress(f"checking {len(staged.files)} files")
        with self.timed("check"):
            return self.judged(staged, CHECKS)

    def looked_at(self, package: Path) -> Candidate:
        """Judge by the survey, the manifest and the signature, before room is made for the rest."""
        with self.timed("look"):
            seen = survey(self.source)
            wait_for(self.shelves.room, papers_bytes(seen))
            candidate = self.judged(copy_papers(self.source, seen, package), FIRST_LOOK)
            if not self.report.findings:
                self.report.findings = swollen(seen, candidate.known)
                self.report.failed_check = "files" if self.report.findings else ""
            return candidate

    def judged(self, staged: Staged, checks: tuple[tuple[str, Check], ...]) -> Candidate:
        templates = TemplateStore(self.shelves.environments, cap_bytes=self.shelves.environments_cap_bytes)
        candidate = Candidate(staged, templates, self.shelves.latest_sequence, self.shelves.policy)
        self.report.failed_check, self.report.findings = first_findings(candidate, checks)
        if self.report.findings and self.may_be_the_disk(staged):
            raise DiskFull("this machine's disk filled up under the checks; they say nothing about the package")
        return candidate

    def check_room(self, staged: Staged) -> None:
        """Stop before git meets the full disk: what it says then looks like a fault of the package."""
        needed = _bytes_for_git(staged)
        wait_for(self.shelves.room, needed)
        free = shutil.disk_usage(self.stage).free
        if free < needed:
            raise DiskFull(f"{needed} bytes are needed to take the repository in, {free} are free")

    def may_be_the_disk(self, staged: Staged) -> bool:
        """Return whether a full disk may have made the findings: it is full now, or git says so for the first time."""
        if shutil.disk_usage(self.stage).free < _bytes_for_git(staged):
            return True
        is_said = any(os.strerror(errno.ENOSPC) in finding.found for finding in self.report.findings)
        is_new, self.is_doubted = is_said and not self.is_doubted, is_said  # a package can say it, too
        return is_new

    def shelve_copy(self, candidate: Candidate) -> None:
        """Put the staged package into the shape of an integrated one: our bare repository as repo/."""
        package = candidate.staged.directory
        if candidate.repo is not None:
            shutil.rmtree(package / "repo")
            candidate.repo.rename(package / "repo")
        package.rename(self.stage / candidate.known.package_id)

    def gate(self, candidate: Candidate) -> None:
        manifest = candidate.known
        places = Places(
            self.stage / manifest.package_id, self.shelves.environments, self.shelves.cache,
            self.shelves.environments_cap_bytes,
        )  # fmt: skip
        reports: dict[str, GateReport] = {}
        jobs = []
        for commit in manifest.commits:
            missing = candidate.python_missing.get(commit.environment)
            if missing is None:
                jobs.append(GateJob(places, commit, self.gate_budget_s))
            else:
                reports[commit.sha] = GateReport(commit, reject(Rejection.PYTHON_MISSING, missing), (), "", 0, 0.0, 0.0)
        with self.timed("gate"):
            for ended in hand_out(self.executor, gate_commit, jobs, self.rules):
                for gated in ended:
                    if gated.result is None:
                        raise gated.error or AssertionError("a job ends with a result or an error")
                    reports[gated.job.commit.sha] = gated.result
                    self.progress(_gate_line(gated.result, len(reports), len(manifest.commits)))
        self.report.gates = [reports[commit.sha] for commit in manifest.commits]

    def integrate(self, manifest: Manifest) -> None:
        """Files first, durable and in place; then the one transaction that makes them count."""
        with self.timed("integrate"):
            staged = self.stage / manifest.package_id
            despite_full(self.shelves.room, partial(put_in_place, self.stage, staged, self.shelves))
            despite_full(self.shelves.room, partial(self.shelves.integrate, manifest, self.report.gates))
        self.report.state = "integrated"

    def quarantine(self) -> None:
        """Keep the package with its reason."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        place = quarantine_place(self.shelves, self.source.name, stamp)
        self.report.state, self.report.quarantine = "quarantined", str(place)
        document = {"at": stamp, "source": printable(str(self.source)), **self.report.as_dict()}
        keep = partial(put_in_quarantine, self.stage, self.stage / "package", place, document)
        despite_full(self.shelves.room, keep)
        with suppress(OSError):  # the refusal stands; the next one thins again
            thin_quarantine(self.shelves)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.report.seconds[phase] = time.monotonic() - started


def _present(source: Path) -> int:
    """Return that a package takes no room yet; PackageMissing when it is not there (any more)."""
    if not source.is_dir():
        raise PackageMissing(f"{source} is not a directory")
    return 0


def _bytes_for_git(staged: Staged) -> int:
    """Return the room that taking the repository in needs."""
    return _SPARE_BYTES + sum(entry.bytes for path, entry in staged.files.items() if path.startswith("repo/"))


def _gate_line(report: GateReport, done: int, total: int) -> str:
    verdict = report.verdict
    state = "validated" if verdict.rejection is None else verdict.rejection.value
    return f"gate {done}/{total} {report.commit.sha[:10]} {state} ({report.seconds:.1f} s): {verdict.detail[:120]}"

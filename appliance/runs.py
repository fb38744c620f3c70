"""Make attempts at the validated commits of a package and store their evidence as they finish.

Resumable by construction: an attempt's key names everything that decides it, finished keys are
skipped, and each record is one transaction. Killed at any instant, the same call goes on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median
from typing import Any

from appliance.errors import Busy, ManifestChanged, WorkerDied, WorkerFailed
from appliance.home import Home
from appliance.store.curated import CuratedStore, StoredCommit
from appliance.store.raw import RawStore
from evals.metrics import pass_at_k
from harness.answerers.routes import RoutedAnswerers
from harness.attempt import AttemptJob, run_attempt
from harness.cachecap import collect
from harness.errors import Failure
from harness.flock import only_holder
from harness.grade import Verdict, grade
from harness.handout import QUEUED_PER_WORKER, Rules, hand_out
from harness.manifest import MANIFEST_NAME, Commit, parse_manifest
from harness.oracle.judge import confirmed
from harness.record import AttemptRecord
from harness.room import AnyRoom, Room, despite_full, is_full
from harness.workbench import Places

LOCK_NAME = "harness.lock"
PATIENCE_S = 7_200.0
"""What one attempt may take beside its runs, at the very most: answers, builds, further runs."""
RUNS = 5
"""Runs under the commit's own limit that one attempt makes at the very most."""
BROKEN_TRIES = 3
"""How often an attempt may find its environment broken: code that breaks it on purpose must not be run for ever."""


@dataclass(frozen=True)
class RunOptions:
    """What `harness run` was asked to do."""

    package: str
    answerers: RoutedAnswerers
    commits: int | None
    attempts: int
    workers: int
    seed: int
    temperature: float
    use_cache: bool
    only: tuple[str, ...] = ()
    """Commit prefixes; empty means all."""


@dataclass
class RunSummary:
    """What a run came to."""

    package: str
    routes: Mapping[str, str]
    verdicts: Counter[str] = field(default_factory=Counter)
    new: int = 0
    known: int = 0
    cached_results: int = 0
    by_commit: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: list[Mapping[str, float]] = field(default_factory=list)

    def add(self, commit: str, verdict: str, made: AttemptRecord | None) -> None:
        """Count one attempt; `made` is None when it was stored already."""
        self.verdicts[verdict] += 1
        self.by_commit.setdefault(commit, Counter())[verdict] += 1
        if made is None:
            self.known += 1
        else:
            self.new += 1
            self.cached_results += made.cached
            self.seconds.append(made.seconds)

    def as_dict(self) -> dict[str, Any]:
        """Return the summary for JSON."""
        counts = [(seen.total() - seen["ENV_BROKEN"], seen["RESOLVED"]) for seen in self.by_commit.values()]
        most = max((tried for tried, _ in counts), default=0)
        phases = sorted({name for row in self.seconds for name in row})
        return {
            "package": self.package,
            "routes": dict(self.routes),
            "attempts": self.new + self.known,
            "new": self.new,
            "already_stored": self.known,
            "results_from_cache": self.cached_results,
            "commits": len(counts),
            "verdicts": dict(sorted(self.verdicts.items())),
            "pass_at": {str(k): pass_at_k(counts, k) for k in sorted({1, most}) if most},
            "median_seconds": {name: round(median(row.get(name, 0.0) for row in self.seconds), 4) for name in phases},
        }


def plan_jobs(home: Home, curated: CuratedStore, options: RunOptions) -> list[AttemptJob]:
    """Return the attempts that a run consists of, in manifest order.

    ManifestChanged when the manifest on disk is not the one that was gated.
    """
    package = curated.resolve(options.package)
    places = Places(home.packages / package, home.environments, home.cache, home.environments_cap_bytes)
    document = (places.package / MANIFEST_NAME).read_bytes()
    if hashlib.sha256(document).hexdigest() != curated.manifest_sha256(package):
        raise ManifestChanged(f"{places.package / MANIFEST_NAME} is not the manifest that was integrated")
    manifest = parse_manifest(document)
    by_sha = {commit.sha: commit for commit in manifest.commits}
    chosen = [
        stored
        for stored in curated.commits(package)
        if stored.state == "validated" and (not options.only or stored.sha.startswith(options.only))
    ][: options.commits]
    return [
        _job(options, places, by_sha[stored.sha], stored, number)
        for stored in chosen
        for number in range(1, options.attempts + 1)
    ]


def _job(options: RunOptions, places: Places, commit: Commit, stored: StoredCommit, number: int) -> AttemptJob:
    return AttemptJob(
        places=places, commit=commit, required=stored.required, test_files=stored.test_files, limit_s=stored.limit_s,
        answerers=options.answerers, routes=options.answerers.names(), answers_sha256=options.answerers.replay_sha256,
        attempt=number, seed=options.seed + number - 1, temperature=options.temperature, use_cache=options.use_cache,
        oracle_sha256=stored.oracle.sha256,
    )  # fmt: skip


@contextmanager
def only_run(home: Home) -> Iterator[None]:
    """Be the only run of a home, or raise Busy; the caches are brought below their cap first."""
    with only_holder(home.var / LOCK_NAME, Busy("another `appliance harness run` is under way on this appliance")):
        collect(home.cache, home.cache_cap_bytes)
        yield


def run_attempts(
    jobs: list[AttemptJob], raw: RawStore, executor: Executor, workers: int, *, room: Room | None = None
) -> Iterator[tuple[AttemptRecord | None, int]]:  # fmt: skip
    """Make the attempts that are not stored yet; yield each record with its id, None for a stored one.

    Without room nothing is handed out; what is under way finishes and is stored, and work goes on once there is
    room. An attempt that meets a full disk is made again. When one raises, what finished beside it is stored and
    yielded first: WorkerFailed, WorkerDied, WorkerStuck, or the failure that it raised.
    """
    room = room or AnyRoom()
    todo = []
    for job in jobs:
        wanted, attempt_id = settle(raw, job)
        if attempt_id is None:
            todo.append(wanted)
        else:
            yield None, attempt_id
    for ended in hand_out(executor, run_attempt, todo, Rules(workers * QUEUED_PER_WORKER, room, stuck_after_s(todo))):
        for attempt in ended:
            if attempt.result is not None:
                yield attempt.result, despite_full(room, partial(raw.add, attempt.result))
        for attempt in ended:
            if attempt.error is not None:
                raise _as_failure(attempt.job, attempt.error) from attempt.error


def stuck_after_s(jobs: list[AttemptJob]) -> float:
    """Return after how long an attempt that was handed out is surely stuck, those before it in the queue included."""
    longest_s = max((job.limit_s for job in jobs), default=0.0)
    return (QUEUED_PER_WORKER + 1) * (PATIENCE_S + RUNS * longest_s)


def settle(raw: RawStore, job: AttemptJob) -> tuple[AttemptJob, int | None]:
    """Return the id of a stored attempt, or the job to make: a broken environment is tried again, a few times.

    After BROKEN_TRIES the last ENV_BROKEN stands.
    """
    while (found := raw.stored(job.key)) is not None:
        attempt_id, verdict = found
        if verdict != Verdict.ENV_BROKEN or job.retry + 1 >= BROKEN_TRIES:
            return job, attempt_id
        job = replace(job, retry=job.retry + 1)
    return job, None


def _as_failure(job: AttemptJob, error: BaseException) -> BaseException:
    """Return what to raise for an attempt that gave no record."""
    what = f"attempt {job.attempt} at commit {job.commit.sha}"
    if isinstance(error, BrokenProcessPool):
        return WorkerDied(f"a worker process was killed from outside, during {what} or one beside it")
    if isinstance(error, Failure) or not isinstance(error, Exception):
        return error
    if is_full(error):
        return error  # the command line knows a full disk
    return WorkerFailed(f"{what} ended with {type(error).__name__}: {error}")


@dataclass(frozen=True)
class Regraded:
    """How stored evidence compares with the stored verdicts."""

    checked: int
    skipped: int
    """Attempts that ended before any test ran: there is nothing to grade again."""
    mismatches: tuple[tuple[int, str, str], ...]
    """(attempt id, stored verdict, verdict that the evidence gives)."""


def regrade(raw: RawStore, progress: Callable[[str], None]) -> Regraded:
    """Grade every stored attempt again from its stored results, without running anything."""
    checked, skipped, mismatches = 0, 0, []
    for stored in raw.gradings():
        if not stored.runs:
            skipped += 1
            continue
        checked += 1
        judged = grade(stored.runs, stored.required, problem=stored.problem)
        verdict = confirmed(judged, stored.oracle).verdict.value
        if verdict != stored.verdict:
            mismatches.append((stored.attempt_id, stored.verdict, verdict))
            progress(f"attempt {stored.attempt_id}: stored {stored.verdict}, evidence says {verdict}")
    return Regraded(checked, skipped, tuple(mismatches))

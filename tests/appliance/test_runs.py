"""Runs: which attempts a run consists of, what is skipped, and grading again."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from appliance.errors import Busy, ManifestChanged, NotFound, WorkerDied, WorkerFailed
from appliance.home import Home, open_home
from appliance.pool import worker_pool
from appliance.runs import (
    BROKEN_TRIES,
    RunOptions,
    RunSummary,
    only_run,
    plan_jobs,
    regrade,
    run_attempts,
    settle,
    stuck_after_s,
)
from appliance.store.curated import CuratedStore
from appliance.store.raw import RawStore
from harness.answerers.routes import make_routes
from harness.attempt import AttemptJob, run_attempt
from harness.durable import NEW_PREFIX
from harness.errors import DiskFull
from harness.grade import Verdict
from harness.manifest import MANIFEST_NAME
from harness.oracle.recording import Call, Evidence, OracleMissing, Recording, Replies, oracle_path
from harness.results import Outcome
from tests.appliance.conftest import COMMITS, Done
from tests.appliance.test_raw import RECORD, RUN
from tests.packages import read_manifest


class _NoExecutor(Executor):
    """An executor that must not be used."""

    def submit(self, *_: Any, **__: Any) -> NoReturn:
        """Fail: nothing was to be run."""
        raise AssertionError("an attempt that is stored was to be made again")


class _Finished(Executor):
    """An executor whose jobs have all ended when they are looked at: these errors first, records for the rest."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)

    def submit(self, _: Any, job: AttemptJob, /, *__: Any, **___: Any) -> Future[Any]:
        """Return a future that is done."""
        future: Future[Any] = Future()
        if self.errors:
            future.set_exception(self.errors.pop(0))
        else:
            future.set_result(replace(RECORD, key=job.key, commit=job.commit.sha))
        return future


class _Killer(Executor):
    """An executor whose worker processes are killed by what they are given."""

    def __init__(self, pool: Executor) -> None:
        self.pool = pool

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        """End the worker as the kernel does when memory is short."""
        return self.pool.submit(os._exit, 9)


@pytest.fixture(scope="module")
def home(gold_run: tuple[Path, Done, Path], tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home with one gold attempt per commit."""
    return open_home(Path(shutil.copytree(gold_run[0], tmp_path_factory.mktemp("runs") / "home", symlinks=True)))


@pytest.fixture
def curated(home: Home) -> Iterator[CuratedStore]:
    """Return the store of packages."""
    store = CuratedStore(home.curated_db)
    yield store
    store.close()


@pytest.fixture
def raw(home: Home) -> Iterator[RawStore]:
    """Return the store of attempts."""
    store = RawStore(home.raw_db)
    yield store
    store.close()


def _options(**changes: Any) -> RunOptions:
    values: dict[str, Any] = {
        "package": "abacus", "answerers": make_routes("gold", {}, None), "commits": None, "attempts": 1, "workers": 1,
        "seed": 0, "temperature": 0.0, "use_cache": True,
    }  # fmt: skip
    return RunOptions(**(values | changes))


def test_a_run_takes_every_validated_commit_in_manifest_order(home: Home, curated: CuratedStore) -> None:
    """Without further options there is one attempt per validated commit."""
    jobs = plan_jobs(home, curated, _options())
    manifest = read_manifest(home.packages / "abacus-1")
    assert [job.commit.sha for job in jobs] == [commit.sha for commit in manifest.commits]
    assert all(job.required.f2p and job.limit_s >= 60 for job in jobs)


def test_commits_and_attempts_bound_a_run(home: Home, curated: CuratedStore) -> None:
    """Attempts at one commit follow each other, with seeds counting up from the given one."""
    jobs = plan_jobs(home, curated, _options(commits=2, attempts=2, seed=5))
    assert [(job.attempt, job.seed) for job in jobs] == [(1, 5), (2, 6)] * 2
    assert len({job.commit.sha for job in jobs}) == 2


def test_an_unknown_package_is_not_found(home: Home, curated: CuratedStore) -> None:
    """A run of a package that is not integrated does not start."""
    with pytest.raises(NotFound):
        plan_jobs(home, curated, _options(package="other"))


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1}, {"temperature": 0.5}, {"answerers": make_routes("lexical", {}, None)},
        {"answerers": make_routes("gold", {"scope": "lexical"}, None)},
    ],
)  # fmt: skip
def test_what_decides_an_attempt_is_in_its_key(changes: dict[str, Any], home: Home, curated: CuratedStore) -> None:
    """Another seed, temperature or route is another attempt."""
    [job], [other] = (plan_jobs(home, curated, _options(commits=1, **more)) for more in ({}, changes))
    assert job.key != other.key


def test_using_the_cache_is_not_in_the_key(home: Home, curated: CuratedStore) -> None:
    """Whether results may come from the cache does not make another attempt."""
    [job], [other] = (plan_jobs(home, curated, _options(commits=1, use_cache=use)) for use in (True, False))
    assert job.key == other.key


def test_stored_attempts_are_not_made_again(home: Home, curated: CuratedStore, raw: RawStore) -> None:
    """A finished run yields the stored ids, in order, and hands no work out."""
    jobs = plan_jobs(home, curated, _options())
    made = list(run_attempts(jobs, raw, _NoExecutor(), 1))
    assert [record for record, _ in made] == [None] * COMMITS
    assert [settle(raw, job) for job in jobs] == [(job, made[i][1]) for i, job in enumerate(jobs)]


def test_a_broken_environment_is_tried_again(home: Home, curated: CuratedStore, tmp_path: Path) -> None:
    """ENV_BROKEN says nothing about the attempt: the next run makes it under a key of its own, and both rows stay."""
    store = RawStore(tmp_path / "raw.db")
    [job] = plan_jobs(home, curated, _options(commits=1, seed=8))
    broken = replace(RECORD.grade, verdict=Verdict.ENV_BROKEN)
    store.add(replace(RECORD, key=job.key, grade=broken))
    again, attempt_id = settle(store, job)
    assert (attempt_id, again.retry, again.key == job.key) == (None, 1, False)
    stored = store.add(replace(RECORD, key=again.key))
    assert settle(store, job) == (again, stored)
    store.close()


def test_an_attempt_that_breaks_its_environment_each_time_is_not_made_for_ever(
    home: Home, curated: CuratedStore, tmp_path: Path
) -> None:  # fmt: skip
    """After a few tries ENV_BROKEN is the attempt's verdict, and nothing more is handed out."""
    store = RawStore(tmp_path / "raw.db")
    [job] = plan_jobs(home, curated, _options(commits=1, seed=9))
    broken, stored = replace(RECORD.grade, verdict=Verdict.ENV_BROKEN), []
    for number in range(BROKEN_TRIES):
        wanted, attempt_id = settle(store, job)
        assert (attempt_id, wanted.retry) == (None, number)
        stored.append(store.add(replace(RECORD, key=wanted.key, grade=broken)))
    assert settle(store, job)[1] == stored[-1]
    assert list(run_attempts([job], store, _NoExecutor(), 1)) == [(None, stored[-1])]
    store.close()


def test_a_job_that_is_new_goes_to_the_executor(home: Home, curated: CuratedStore, raw: RawStore) -> None:
    """Only what is not stored is handed out."""
    [job] = plan_jobs(home, curated, _options(commits=1, seed=77))
    assert isinstance(job, AttemptJob)
    with pytest.raises(AssertionError, match="made again"):
        list(run_attempts([job], raw, _NoExecutor(), 1))


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (ValueError("too odd"), WorkerFailed, "ValueError: too odd"), (DiskFull("no room"), DiskFull, "no room"),
        (OSError(28, "No space left on device"), OSError, "No space left"),
    ],
    ids=["unforeseen", "a failure", "a full disk"],
)  # fmt: skip
def test_what_finished_beside_a_breakdown_is_stored(
    error: Exception, raised: type[Exception], words: str, *, home: Home, curated: CuratedStore, tmp_path: Path
) -> None:  # fmt: skip
    """One attempt that raises costs itself alone; the next run makes that one and no other."""
    jobs, store = plan_jobs(home, curated, _options(seed=5)), RawStore(tmp_path / "raw.db")
    made = list[Any]()
    with pytest.raises(raised, match=words) as caught:
        made.extend(run_attempts(jobs, store, _Finished(error), 2))
    assert len(made) == sum(settle(store, job)[1] is not None for job in jobs) == COMMITS - 1
    if raised is WorkerFailed:
        assert jobs[0].commit.sha in str(caught.value)
    assert [record is None for record, _ in run_attempts(jobs, store, _Finished(), 2)].count(False) == 1
    store.close()


def test_a_worker_that_is_killed_is_said_to_be(home: Home, curated: CuratedStore, tmp_path: Path) -> None:
    """A worker that the kernel ended is a failure with a next step, for what is handed out afterwards, too."""
    jobs, store = plan_jobs(home, curated, _options(seed=6)), RawStore(tmp_path / "raw.db")
    with pytest.raises(WorkerDied, match=r"killed from outside"), worker_pool(1) as pool:
        list(run_attempts(jobs, store, _Killer(pool), 1))
    with worker_pool(1) as pool:
        assert pool.submit(os._exit, 9).exception() is not None
        with pytest.raises(WorkerDied):
            list(run_attempts(jobs, store, pool, 1))
    store.close()


def test_there_is_one_run_at_a_time(home: Home) -> None:
    """While a run holds the lock another is busy; afterwards it is not."""
    with only_run(home), pytest.raises(Busy), only_run(home):
        pass
    with only_run(home):
        pass


def test_a_run_sweeps_what_killed_writers_left_in_the_caches(home: Home) -> None:
    """Half-written files that nobody writes any more are gone when a run begins; entries are not."""
    litter, entry = home.cache / "results" / f"{NEW_PREFIX}dead", home.cache / "results" / "entry"
    for path in (litter, entry):
        path.write_bytes(b"x")
        os.utime(path, (0, 0))
    with only_run(home):
        assert (litter.exists(), entry.exists()) == (False, True)
    entry.unlink()


def test_the_limit_for_stuck_attempts_leaves_room_for_the_queue(home: Home, curated: CuratedStore) -> None:
    """It is far above what attempts may take by their own limits, and is there when there is nothing to do."""
    jobs = plan_jobs(home, curated, _options())
    assert stuck_after_s(jobs) > 3 * 5 * max(job.limit_s for job in jobs)
    assert stuck_after_s([]) > 3600


def test_a_manifest_that_was_changed_after_the_gate_is_refused(gold_copy: Path) -> None:
    """What was gated is what is attempted: one byte more in the manifest on disk, and no run starts."""
    home = open_home(gold_copy)
    store = CuratedStore(home.curated_db)
    manifest = home.packages / "abacus-1" / MANIFEST_NAME
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    with pytest.raises(ManifestChanged) as caught:
        plan_jobs(home, store, _options())
    assert (caught.value.exit_code, str(manifest) in str(caught.value)) == (12, True)
    store.close()


def test_grading_again_skips_what_never_ran(tmp_path: Path) -> None:
    """An attempt without a test run is counted as skipped, and the others are compared."""
    store, lines = RawStore(tmp_path / "raw.db"), list[str]()
    store.add(RECORD)
    store.add(replace(RECORD, key="k2", runs=(), run_keys=()))
    wrong = replace(RECORD.grade, verdict=type(RECORD.grade.verdict).RESOLVED)
    attempt_id = store.add(replace(RECORD, key="k3", grade=wrong))
    result = regrade(store, lines.append)
    store.close()
    assert (result.checked, result.skipped) == (2, 1)
    assert result.mismatches == ((attempt_id, "RESOLVED", "NOT_RESOLVED"),)
    assert lines == [f"attempt {attempt_id}: stored RESOLVED, evidence says NOT_RESOLVED"]


def test_a_verdict_follows_from_the_oracle_as_well(tmp_path: Path) -> None:
    """Tests that pass are RESOLVED only with the replies that the oracle expects."""
    store = RawStore(tmp_path / "raw.db")
    run = replace(RUN, tests={node: replace(RUN.tests[node], outcome=Outcome.PASSED) for node in RUN.tests})
    resolved = replace(RECORD, runs=(run,), grade=replace(RECORD.grade, verdict=Verdict.RESOLVED))
    right, wrong = evidence(3), evidence(4)
    ids = [store.add(replace(resolved, key=key, oracle=oracle)) for key, oracle in (("a", right), ("b", wrong))]
    result = regrade(store, [].append)
    store.close()
    assert (result.checked, result.mismatches) == (2, ((ids[1], "RESOLVED", "TAMPERED"),))


def evidence(answer: int) -> Evidence:
    """Return what an oracle was told that expects f() to give 3."""
    do = {"op": "call", "name": "m:f", "args": [], "kwargs": []}
    asked = Recording("a" * 40, (Call(0, do, {"value": 3, "changed": []}, "t.py::test_new"),))
    told = {0: {"value": answer, "changed": []}}
    replies = Replies(told, completed=True, returncode=0, timed_out=False, seconds=0.1)
    return Evidence(asked.text, replies.text)


def test_the_oracle_is_in_the_key(home: Home, curated: CuratedStore) -> None:
    """The recorded oracle of a commit is part of what decides an attempt."""
    [job] = plan_jobs(home, curated, _options(commits=1))
    assert len(job.oracle_sha256) == 64
    assert replace(job, oracle_sha256="").key != job.key


def test_an_altered_oracle_stops_the_attempt(home: Home, curated: CuratedStore) -> None:
    """A recording that is not the one that the gate wrote is no oracle."""
    [job] = plan_jobs(home, curated, _options(commits=1))
    path = oracle_path(job.places.package, job.commit.sha)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"value":', b'"value": ', 1))
    try:
        with pytest.raises(OracleMissing, match="digest"):
            run_attempt(job)
    finally:
        path.write_bytes(whole)


def test_a_summary_has_the_median_of_each_phase() -> None:
    """A phase that an attempt did not reach counts as no time."""
    summary = RunSummary(
        "abacus-1", {"scope": "gold"}, Counter(RESOLVED=2), new=2, known=1, seconds=[{"test": 3.0, "total": 4.0}, {"total": 2.0}]
    )  # fmt: skip
    document = summary.as_dict()
    assert (document["attempts"], document["median_seconds"]) == (3, {"test": 1.5, "total": 3.0})

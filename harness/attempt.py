"""One attempt: a case, somebody who answers, a verdict, and all the evidence.

The composition of the harness: pipeline, grading tree, tests, grade, alignment. Runs inside a
worker; takes a small job, returns one record. An environment that cannot be built is a verdict
(ENV_BROKEN), so that a row is never lost; a full disk or a missing sandbox stops the run instead,
because it says nothing about the attempt.
"""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.alignment import align
from harness.answerers import ANSWERER_FORMAT
from harness.asking import Interview
from harness.case import Case, patch, path_conflict
from harness.errors import EnvironmentUnresolvable, Failure, PythonMissing, ReplayMissing
from harness.grade import Grade, Required, Verdict, grade, needs_rerun
from harness.manifest import Commit
from harness.oracle.judge import confirmed
from harness.oracle.process import replay
from harness.oracle.recording import Evidence, load
from harness.paths import Role, role
from harness.pipeline import Trajectory, as_question, run_pipeline
from harness.ports import Answerers
from harness.prompts import PROMPT_FORMAT
from harness.record import AttemptRecord
from harness.redflags import RedFlag, first_hard, screen
from harness.results import RunResult
from harness.testrun import HARNESS_FORMAT, TestRequest
from harness.tree import Tree, changed_paths
from harness.workbench import Places, Workbench, open_workbench

RERUNS = 2
_INFRASTRUCTURE = (EnvironmentUnresolvable, PythonMissing, ReplayMissing)


@dataclass(frozen=True)
class AttemptJob:
    """One attempt to make; small enough to send to a worker."""

    places: Places
    commit: Commit
    required: Required
    test_files: tuple[str, ...]
    limit_s: float
    answerers: Answerers
    routes: Mapping[str, str]
    """Stage to who answers it, as recorded evidence."""
    answers_sha256: str
    """Digest of what the answerers know beyond the case (a replay file, an adapter), or ""."""
    attempt: int
    seed: int
    temperature: float
    use_cache: bool = True
    oracle_sha256: str = ""
    """Digest of the commit's recorded oracle, or "" where it has none."""
    retry: int = 0
    """How many times this attempt came to nothing because the environment was broken."""

    @property
    def key(self) -> str:
        """Digest of everything that decides the attempt."""
        parts = [
            HARNESS_FORMAT, PROMPT_FORMAT, self.places.package.name, self.commit.sha, self.commit.task,
            sorted(self.routes.items()), self.answers_sha256, self.attempt, self.seed, self.temperature,
            sorted(self.required.f2p), sorted(self.required.p2p), sorted(self.test_files), self.limit_s,
            self.commit.kinds, self.commit.environment, ANSWERER_FORMAT,
            self.oracle_sha256, self.retry,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def run_attempt(job: AttemptJob) -> AttemptRecord:
    """Make one attempt and return its record."""
    bench = open_workbench(job.places)
    bench.use_cache = job.use_cache
    return _Attempt(bench, job).record()


class _Attempt:
    """One attempt under way."""

    def __init__(self, bench: Workbench, job: AttemptJob) -> None:
        self.bench, self.job = bench, job
        self.started = self.lap_started = time.perf_counter()
        self.started_at = _now()
        self.seconds: dict[str, float] = {}
        self.runs: list[RunResult] = []
        self.run_keys: list[str] = []
        self.cached = False
        self.tree_sha256 = ""
        self.template_key = ""
        self.required = job.required
        self.red_flags: tuple[RedFlag, ...] = ()
        self.oracle: Evidence | None = None

    def record(self) -> AttemptRecord:
        job = self.job
        case = self.bench.case(job.commit)
        self.lap("checkout")
        index = self.bench.index(case.parent)
        self.lap("index")
        facts = {
            "python": self.bench.manifest.environment(job.commit.environment).python,
            "tests": " ".join(self.bench.manifest.test_command),
        }
        interview = Interview(job.answerers.model(case), seed=job.seed, temperature=job.temperature)
        question = as_question(job.commit.task, job.commit.kinds, case.parent, facts)
        trajectory = Trajectory(candidate=case.parent)
        try:
            try:
                run_pipeline(question, index, interview, trajectory)
            finally:
                self.seconds |= trajectory.seconds
                self.lap("pipeline")
            verdict = self.verdict(case, trajectory)
        except _INFRASTRUCTURE as err:
            words = "; ".join(filter(None, [trajectory.reason, f"{type(err).__name__}: {err}"]))
            verdict = Grade(Verdict.ENV_BROKEN, words, 0, 0)
        except (Failure, OSError):
            raise  # a full disk or a missing sandbox says nothing about the attempt
        except Exception as err:  # noqa: BLE001 - the edge of the worker: one poison commit must not stop a run
            verdict = Grade(Verdict.ENV_BROKEN, f"internal error: {_where(err)}", 0, 0)
        self.lap("grade")
        return self.finished(case, trajectory, verdict)

    def verdict(self, case: Case, trajectory: Trajectory) -> Grade:
        """Run the tests on a tree the model never touched, unless the pass itself already failed."""
        if trajectory.stopped is not None:
            return Grade(trajectory.stopped, trajectory.reason, 0, 0)
        tree = graded_tree(case, trajectory.candidate, self.required)
        both = path_conflict(tree)
        if both is not None:
            reason = f"{both} is a file and a folder at once: an edit contradicts the tests of the commit"
            return Grade(Verdict.EDIT_FAILED, reason, 0, 0)
        self.tree_sha256 = tree.sha256
        self.red_flags = screen(case.parent, trajectory.candidate, case.gold)
        flag = first_hard(self.red_flags)
        if flag is not None:
            return Grade(Verdict.TAMPERED, f"red flag: {flag}, which neither the parent nor the solution does", 0, 0)
        further = self.bench.further(case, trajectory.candidate, self.job.test_files)
        self.required = Required(self.required.f2p, self.required.p2p | further.p2p)
        files = (*self.job.test_files, *further.files)
        request = self.bench.request(case, tree, files, self.job.limit_s + further.limit_s)
        self.template_key = request.template.key
        shadow = self.bench.shadow(case, trajectory.candidate, request)
        if shadow is not None:
            reason = f"{shadow} would stand before what the tests rely on, or be read beside it"
            return Grade(Verdict.TAMPERED, reason, 0, 0)
        run, self.cached = self.bench.run(request)
        self.runs, self.run_keys = [run], [request.key]
        if needs_rerun(run, self.required):
            self.runs += [self.bench.run_fresh(request) for _ in range(RERUNS)]
            self.run_keys += [request.key] * RERUNS
        self.lap("test")
        judged = grade(self.runs, self.required, problem=trajectory.reason)
        if judged.verdict is Verdict.RESOLVED and self.job.oracle_sha256:
            self.oracle = self.replayed(request)
            self.lap("oracle")
        return confirmed(judged, self.oracle)

    def replayed(self, request: TestRequest) -> Evidence:
        """Ask the candidate what the true solution was asked, in a process that no test is part of."""
        recording = load(self.job.places.package, self.job.commit.sha, self.job.oracle_sha256)
        replies = replay(request, request.tree, recording.calls, recording.shapes)
        return Evidence(recording.text, replies.text)

    def finished(self, case: Case, trajectory: Trajectory, verdict: Grade) -> AttemptRecord:
        job = self.job
        alignment = align(
            trajectory.planned_steps(),
            changed_paths(case.parent, trajectory.candidate),
            [gold.step for gold in case.truth.steps],
        )
        self.lap("align")
        self.seconds["total"] = time.perf_counter() - self.started
        return AttemptRecord(
            package=job.places.package.name, commit=job.commit.sha, attempt=job.attempt, key=job.key,
            routes=job.routes, seed=job.seed, temperature=job.temperature, task=job.commit.task,
            context_sha256=trajectory.context.sha256, grade=verdict, required=self.required,
            problem="" if trajectory.stopped else trajectory.reason, patch=patch(case.parent, trajectory.candidate),
            tree_sha256=self.tree_sha256, template_key=self.template_key, runs=tuple(self.runs),
            run_keys=tuple(self.run_keys), calls=tuple(trajectory.calls), decisions=tuple(trajectory.decisions),
            plans=tuple(trajectory.plans), steps=tuple(trajectory.steps), alignment=alignment.as_dict(),
            seconds={name: round(value, 6) for name, value in self.seconds.items()}, cached=self.cached,
            started_at=self.started_at, ended_at=_now(), limits={"wall_s": job.limit_s},
            red_flags=self.red_flags, oracle=self.oracle,
        )  # fmt: skip

    def lap(self, phase: str) -> None:
        """Book the time since the last lap on a phase."""
        now = time.perf_counter()
        self.seconds[phase] = now - self.lap_started
        self.lap_started = now


def graded_tree(case: Case, candidate: Tree, required: Required) -> Tree:
    """Return the tree that a candidate is graded in, without a word of its own about what is tested.

    Beyond tests and configuration these come from the true solution's tree: docs, whose examples may be
    tests, and modules that hold required tests under names that do not tell.
    """
    holders = {node.partition("::")[0] for node in required.f2p | required.p2p if not _is_doctest(node)}
    own = {Role.DOCS, Role.CI}
    return case.graded(candidate).overlay(case.gold_graded, lambda path: path in holders or role(path) in own)


def _is_doctest(node: str) -> bool:
    """Return whether a node id is an example in a docstring, which belongs to the code: its name has dots."""
    return "." in node.partition("[")[0].partition("::")[2]


def _where(err: Exception) -> str:
    """Return an unforeseen exception with the place it came from, for whoever mends it."""
    frame = traceback.extract_tb(err.__traceback__)[-1]
    return f"{type(err).__name__}: {err} ({Path(frame.filename).name}:{frame.lineno})"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

"""The gold gate's runs: parent and gold, three times each, in fresh sandboxes, one of them shuffled.

The first pair is looked at before the rest is paid for: a commit whose gold fails, whose parent
hangs or whose tests pass without the solution costs two runs, not six. A commit that passes is run
once more as a control with hollow functions, which has to fail, and then its oracle is recorded and
stored in the package. Every run is bounded by its own limit and by the commit's budget; a commit
whose budget ends before the control is rejected, one whose budget ends later has no oracle.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from harness import gate
from harness.case import Case, path_conflict
from harness.control import hollow
from harness.errors import EnvironmentUnresolvable, GitFailed, PythonMissing
from harness.gate import Control, GateVerdict, Rejection, attempt_limit_s, reject
from harness.manifest import Commit
from harness.oracle.make import make_recording
from harness.oracle.recording import save
from harness.results import RunResult
from harness.testrun import TestRequest
from harness.workbench import Places, Workbench, open_workbench

REPEATS = 3
SHUFFLE_SEED = 20_240_229
GOLD_LIMIT_S = 300.0
MAX_SOURCE_BYTES = 2 << 20
SHOWN_PATHS = 3


@dataclass(frozen=True)
class GateJob:
    """One commit to take through the gate; small enough to send to a worker."""

    places: Places
    commit: Commit
    budget_s: float


@dataclass(frozen=True)
class OracleNote:
    """What the gate says about the oracle of a commit."""

    sha256: str = ""
    """Digest of the stored recording, "" where there is none."""
    calls: int = 0
    """How many calls are compared."""
    discriminating: int = 0
    """How many of them hollow functions, or else the parent, answer differently."""
    why: str = ""
    """Why there is none, in one word (harness.oracle.make.WhyNone)."""


NO_ORACLE = OracleNote()


@dataclass(frozen=True)
class GateReport:
    """What the gate found for one commit, and what it spent."""

    commit: Commit
    verdict: GateVerdict
    test_files: tuple[str, ...]
    """Test files that were run; empty means the declared suite."""
    template_key: str
    runs: int
    seconds: float
    run_seconds: float
    """Time inside sandboxes."""
    layer: str = ""
    """How the project layer was made."""
    control: str = ""
    """How the run with hollow functions ended (harness.gate.Control); "" for commits that did not come so far."""
    oracle: OracleNote = NO_ORACLE


def run_gate(job: GateJob) -> GateReport:
    """Take one commit through the gate; every way to fail is a reason, not an exception."""
    started = time.monotonic()
    gate_run = _GateRun(open_workbench(job.places), job)
    try:
        verdict = gate_run.verdict()
    except PythonMissing as err:
        verdict = reject(Rejection.PYTHON_MISSING, str(err))
    except EnvironmentUnresolvable as err:
        verdict = reject(Rejection.ENV_UNRESOLVABLE, str(err))
    except GitFailed as err:
        verdict = reject(Rejection.COMMIT_MISSING, f"git cannot read the commit or its parent: {err}")
    return GateReport(
        commit=job.commit, verdict=verdict, test_files=gate_run.files, template_key=gate_run.template_key,
        runs=len(gate_run.spent), seconds=time.monotonic() - started, run_seconds=sum(gate_run.spent),
        layer=gate_run.layer, control=gate_run.control, oracle=gate_run.oracle,
    )  # fmt: skip


class _GateRun:
    """One commit on its way through the gate."""

    def __init__(self, bench: Workbench, job: GateJob) -> None:
        self.bench, self.job = bench, job
        self.files: tuple[str, ...] = ()
        self.template_key = ""
        self.layer = ""
        self.control = ""
        self.oracle = NO_ORACLE
        self.spent: list[float] = []

    def verdict(self) -> GateVerdict:
        case = self.bench.case(self.job.commit)
        unfair = _unfair(case)
        if unfair is not None:
            return unfair
        self.files = self.bench.test_files(case)
        gold = self.bench.request(case, case.gold_graded, self.files, GOLD_LIMIT_S)
        parent = self.bench.request(case, case.parent_graded, self.files, GOLD_LIMIT_S)
        self.template_key, self.layer = gold.template.key, gold.layer.how
        try:
            verdict = self.judge(gold, parent)
            if verdict.validated:
                verdict = self.controlled(gold, parent, verdict)
        except _BudgetSpentError:
            spent = f"{sum(self.spent):.0f} s for {len(self.spent)} of {2 * REPEATS} runs and the control"
            return reject(Rejection.TIMEOUT, f"the budget of {self.job.budget_s:.0f} s is spent: {spent}")
        if verdict.validated:
            self.oracle = self.recorded(gold, parent, verdict)
        return verdict

    def judge(self, gold: TestRequest, parent: TestRequest) -> GateVerdict:
        golds = [self.run(gold, GOLD_LIMIT_S)]
        early = gate.judge_gold(golds[0])
        if early is not None:
            return early
        limit_s = attempt_limit_s(golds[0].seconds)
        parents = [self.run(parent, limit_s)]
        early = gate.judge_pair(parents[0], golds[0])
        if early is not None:
            return early
        for repeat in range(1, REPEATS):
            shuffle = SHUFFLE_SEED if repeat == REPEATS - 1 else None
            golds.append(self.run(gold, limit_s, shuffle))
            parents.append(self.run(parent, limit_s, shuffle))
        return gate.judge(parents, golds)

    def controlled(self, gold: TestRequest, parent: TestRequest, verdict: GateVerdict) -> GateVerdict:
        """Reject a commit whose required tests pass on functions that compute nothing."""
        tree = hollow(parent.tree, gold.tree)
        if tree is None:
            self.control = Control.NO_FUNCTION
            return verdict
        run = self.run(replace(gold, tree=tree), verdict.limit_s)
        self.control = gate.judge_control(run, verdict.required)
        return gate.reject_constant(verdict) if self.control is Control.PASSED else verdict

    def recorded(self, gold: TestRequest, parent: TestRequest, verdict: GateVerdict) -> OracleNote:
        """Record the oracle of a validated commit and store it with the package."""
        made = make_recording(
            gold, parent, self.job.commit.sha, verdict.required,
            limit_s=verdict.limit_s, budget_s=self.job.budget_s - sum(self.spent),
        )  # fmt: skip
        self.spent += made.spent
        if made.recording is None:
            return OracleNote(why=made.why)
        sha256 = save(self.job.places.package, made.recording)
        return OracleNote(sha256, len(made.recording.checked), made.recording.discriminating)

    def run(self, request: TestRequest, limit_s: float, shuffle: int | None = None) -> RunResult:
        left_s = self.job.budget_s - sum(self.spent)
        if left_s <= 0:
            raise _BudgetSpentError
        run = self.bench.run_fresh(request.within(min(limit_s, left_s)), shuffle=shuffle)
        self.spent.append(run.seconds)
        if run.timed_out and left_s < limit_s:
            raise _BudgetSpentError
        return run


class _BudgetSpentError(Exception):
    """The commit's time budget does not allow another run."""


def _unfair(case: Case) -> GateVerdict | None:
    """Return why the task is not one to pose at all, before any test has run."""
    size = sum(
        len(tree.read(path)) for tree in (case.parent, case.gold) for path in case.changed_source if path in tree
    )
    if size > MAX_SOURCE_BYTES:
        return reject(Rejection.OVERSIZED, f"its source files hold {size} bytes, the limit is {MAX_SOURCE_BYTES}")
    if case.inexpressible:
        detail = f"the solution changes what edits of text cannot: {', '.join(case.inexpressible[:SHOWN_PATHS])}"
        return reject(Rejection.INEXPRESSIBLE, detail)
    both = path_conflict(case.parent_graded)
    if both is not None:
        return reject(Rejection.INEXPRESSIBLE, f"with the commit's tests {both} is a file and a folder at once")
    line = gate.leaked_line(case.commit.task, case.added_source_lines())
    if line is not None:
        return reject(Rejection.LEAKS_FUTURE, f"the task text quotes the solution: {line[:120]!r}")
    return None

"""One pass of the pipeline over a case: retrieve, plan, edit. No tests are run here.

The model's side sees the parent tree alone. Whatever happens, what was asked, decided, planned and
edited until then comes back; a stop is a value with its reason, not an exception.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from harness.answers import is_nothing
from harness.asking import Interview
from harness.assemble import assemble
from harness.case import patch
from harness.context import ContextPackage, Decision
from harness.edits import ProtectedPath, apply_step
from harness.errors import AnswerInvalid, ContextOverflow, EditRejected
from harness.grade import Verdict
from harness.index.repo import RepoIndex, is_text_name
from harness.paths import Role, role
from harness.plan import Part, PartPlan, Step, TaskAnalysis
from harness.record import CallRecord, PlanRecord, StepRecord
from harness.retrieval import rank_files, rank_symbols
from harness.stages import (
    Candidate,
    ExecuteFacts,
    MetaPlanFacts,
    PrecisionFacts,
    ScopeFacts,
    Stage,
    StepPlanFacts,
    TaskAnalysisFacts,
    TestPlanFacts,
)
from harness.tree import Tree

CANDIDATE_FILES = 24
NOT_OFFERED_ROWS = 500
"""Files below the limit that leave a decision of their own; a tree may have many thousands."""
SCOPE_BATCH = 12
PRECISION_BATCH = 120
LISTING_CHARS = 16_000
"""A longer list of files would fill the window of task-analysis; it is given by folder instead."""
WHOLE = Part(id="p1", description="The whole task.", files=())
"""The only part of a task that needs no decomposition; no file list means any file."""


@dataclass(frozen=True)
class Question:
    """What the pipeline is given: everything before the commit, nothing after."""

    task: str
    kinds: tuple[str, ...]
    parent: Tree
    environment: str
    """One line about the interpreter and the test command."""


@dataclass
class Trajectory:
    """What one pass left behind."""

    candidate: Tree
    context: ContextPackage = field(default_factory=lambda: ContextPackage((), ()))
    decisions: list[Decision] = field(default_factory=list)
    plans: list[PlanRecord] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    calls: list[CallRecord] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    stopped: Verdict | None = None
    """The verdict that the pass itself already implies, or None: then the tests decide."""
    reason: str = ""

    def planned_steps(self) -> list[Step]:
        """Return every code step that was planned, in order, whether or not it was reached."""
        return [record.step for record in self.steps]


def run_pipeline(question: Question, index: RepoIndex, interview: Interview, trajectory: Trajectory) -> None:
    """Run the seven stages on a question.

    What happens goes into `trajectory` as it happens, so that it is still there when an answerer
    fails for reasons that are not the pass's own, and that failure goes through to the caller.
    """
    trajectory.calls = interview.calls
    try:
        _Pass(question, index, interview, trajectory).run()
    except ContextOverflow as err:
        trajectory.stopped, trajectory.reason = Verdict.CONTEXT_OVERFLOW, str(err)
    except ProtectedPath as err:
        trajectory.stopped, trajectory.reason = Verdict.TAMPERED, str(err)
    except EditRejected as err:
        trajectory.stopped, trajectory.reason = Verdict.EDIT_FAILED, str(err)
    except AnswerInvalid as err:
        trajectory.reason = str(err)  # no usable plan: the tests look at what there is, but it cannot be resolved


class _Pass:
    """The stages in order; each fills its part of the trajectory."""

    def __init__(self, question: Question, index: RepoIndex, interview: Interview, out: Trajectory) -> None:
        self.question, self.index, self.interview, self.out = question, index, interview, out

    def run(self) -> None:
        task, kinds = self.question.task, self.question.kinds
        analysis = self.analyse()
        with self.timed("retrieve"):
            files = self.scope(analysis)
            self.precision(analysis, files)
        parts: tuple[Part, ...] = (WHOLE,)
        if "meta-plan" in kinds:
            with self.timed("plan"):
                plan = self.interview.meta_plan(MetaPlanFacts(task, self.out.context))
                self.keep_plan(Stage.META_PLAN, "")
            parts = plan.parts
        for part in parts:
            with self.timed("plan"):
                steps = self.interview.part_plan(Stage.STEP_PLAN, StepPlanFacts(task, part, self.out.context))
                self.keep_plan(Stage.STEP_PLAN, part.id)
            self.execute(part, steps)
            if "test-plan" in kinds:
                self.plan_tests(part)

    def analyse(self) -> TaskAnalysis:
        with self.timed("retrieve"):
            facts = TaskAnalysisFacts(self.question.task, listing(self.question.parent), self.question.environment)
            return self.interview.task_analysis(facts)

    def scope(self, analysis: TaskAnalysis) -> list[str]:
        ranked = rank_files(
            self.question.task, (*analysis.keywords, *analysis.files), self.index, self.question.parent,
            limit=len(self.index.modules),
        )  # fmt: skip
        candidates = ranked[:CANDIDATE_FILES]
        chosen: list[str] = []
        for start in range(0, len(candidates), SCOPE_BATCH):
            batch = candidates[start : start + SCOPE_BATCH]
            verdicts = self.interview.scope(ScopeFacts(self.question.task, analysis, batch))
            chosen += [path for path, verdict in verdicts.items() if verdict != "irrelevant"]
            self.out.decisions += [_scope_decision(item, verdicts[item.path]) for item in batch]
        self.out.decisions += _not_offered(ranked)
        return chosen

    def precision(self, analysis: TaskAnalysis, files: list[str]) -> None:
        cards = rank_symbols(self.question.task, analysis.keywords, self.index, files)
        tiers: dict[tuple[str, str], str] = {}
        for start in range(0, len(cards), PRECISION_BATCH):
            batch = cards[start : start + PRECISION_BATCH]
            tiers |= self.interview.precision(PrecisionFacts(self.question.task, batch))
        self.out.decisions += [
            Decision("precision", card.path, card.symbol, tiers[card.path, card.symbol], card.score,
                     ", ".join(card.reasons))
            for card in cards
        ]  # fmt: skip
        self.out.context = assemble(
            self.question.parent,
            self.index,
            cards,
            tiers=tiers,
            made=self.out.decisions,
            count=self.interview.count,
        )
        self.out.decisions = list(self.out.context.decisions)

    def execute(self, part: Part, plan: PartPlan) -> None:
        first = len(self.out.steps)
        self.out.steps += [StepRecord(part.id, step, applied=False, problem="not reached") for step in plan.steps]
        for at, step in enumerate(plan.steps, first):
            try:
                problem = self.do(step)
            except (EditRejected, ContextOverflow) as err:
                self.out.steps[at] = StepRecord(part.id, step, applied=False, problem=str(err))
                raise
            self.out.steps[at] = StepRecord(part.id, step, applied=not problem, problem=problem)

    def do(self, step: Step) -> str:
        """Have one step coded and apply it; return why it left the tree as it is, or ""."""
        text = _present_text(self.out.candidate, step)
        with self.timed("code"):
            answer = self.interview.code(ExecuteFacts(self.question.task, step, text))
        if is_nothing(answer):
            return "nothing left to change"
        with self.timed("edit"):
            self.out.candidate = apply_step(self.out.candidate, step, answer)
        return ""

    def plan_tests(self, part: Part) -> None:
        """Ask for the tests of a part; no code rests on the answer, so an invalid one ends nothing."""
        with self.timed("plan"):
            diff = patch(self.question.parent, self.out.candidate)
            try:
                self.interview.part_plan(
                    Stage.TEST_PLAN, TestPlanFacts(self.question.task, part, diff, self.out.context)
                )
            except AnswerInvalid:
                return  # the call is kept with its problem
            self.keep_plan(Stage.TEST_PLAN, part.id)

    def keep_plan(self, stage: Stage, part: str) -> None:
        self.out.plans.append(PlanRecord(stage.value, part, self.interview.calls[-1].answer))

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.out.seconds[phase] = self.out.seconds.get(phase, 0.0) + time.perf_counter() - started


def listing(tree: Tree, most_chars: int = LISTING_CHARS) -> tuple[str, ...]:
    """Return the Python files of a tree for the first look; of a large tree its folders with their counts."""
    wanted = (path for path in sorted(tree) if path.endswith(".py") and role(path) in {Role.SOURCE, Role.TEST})
    paths = [path for path in wanted if is_text_name(path)]
    if sum(len(path) + 1 for path in paths) <= most_chars:
        return tuple(paths)
    folders = Counter(path.rpartition("/")[0] for path in paths)
    return tuple(f"{folder or '.'}/ ({number} files)" for folder, number in sorted(folders.items()))


def _scope_decision(item: Candidate, verdict: str) -> Decision:
    return Decision("scope", item.path, "", verdict, item.score, ", ".join(item.reasons))


def _not_offered(ranked: Sequence[Candidate]) -> list[Decision]:
    """Return the decisions about the files that ranking put below the limit; the last one says what is not listed."""
    rest = ranked[CANDIDATE_FILES:]
    listed = [
        Decision("scope", item.path, "", "not offered", item.score,
                 f"rank {rank}, {CANDIDATE_FILES} are offered: {', '.join(item.reasons)}")
        for rank, item in enumerate(rest[:NOT_OFFERED_ROWS], CANDIDATE_FILES + 1)
    ]  # fmt: skip
    left = len(rest) - len(listed)
    if left:
        listed[-1] = replace(listed[-1], reason=f"{listed[-1].reason}; {left} files that rank lower are not listed")
    return listed


def _present_text(tree: Tree, step: Step) -> str:
    if step.action == "create" or step.file not in tree:
        return ""
    try:
        return tree.text(step.file)
    except UnicodeDecodeError as err:
        raise EditRejected(f"{step.file} is not UTF-8 text") from err


def as_question(task: str, kinds: tuple[str, ...], parent: Tree, facts: dict[str, Any]) -> Question:
    """Return the question for a commit; `facts` are the interpreter version and the test command."""
    environment = f"Python {facts['python']}; tests: {facts['tests']}"
    return Question(task, kinds, parent, environment)

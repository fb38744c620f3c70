"""Episodes as conversations: what the harness would ask about them, and what the true commit answers.

The pipeline itself is run on every episode, with the answerer that knows the commit (or the lexical one for the
stages before planning, as a small student is routed), and its calls are taken as they are. So prompts, context,
step descriptions and answers are the product's own, parsers accept the answers, and the edits lead to the commit;
an episode where any of that fails is not used.

Further tasks about the same files follow as short turns: the first lines of the very prompt the harness would
send, without the files, which the student has just read. They are for training only and make answers, not
prompts, the larger part of what is read.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.answerers.gold import GoldAnswerer
from harness.answerers.lexical import LexicalAnswerer
from harness.answers import is_nothing, part_plan
from harness.asking import Interview
from harness.context import ContextPackage
from harness.edits import apply_step
from harness.index.facts import FactsCache
from harness.index.repo import RepoIndex
from harness.pipeline import WHOLE, Question, Trajectory, run_pipeline
from harness.plan import Step
from harness.prompts import render
from harness.record import CallRecord
from harness.schemas import schema
from harness.stages import WINDOW_TOKENS, Answer, ExecuteFacts, Facts, Stage, StageCall, StepPlanFacts
from harness.tree import Tree
from models.recipe.episodes import Commit, Episode

ENVIRONMENT = "Python 3.11; tests: python -m pytest"
BEFORE_PLANNING = (Stage.TASK_ANALYSIS, Stage.SCOPE, Stage.PRECISION)
FOLLOW_UPS_MAX = 4
RAW = "raw"
_BODY = {Stage.STEP_PLAN: "\n\nPart: ", Stage.EXECUTE_CODE: "\n\nFile: "}


@dataclass(frozen=True)
class Conversation:
    """Questions and answers about one repository; raw text is one answer without a question."""

    stage: str
    families: tuple[str, ...]
    turns: tuple[tuple[str, str], ...]
    """What the user says, what the assistant says."""

    @property
    def chars(self) -> int:
        """Length of all turns."""
        return sum(len(user) + len(assistant) for user, assistant in self.turns)

    def shortened(self, chars: int) -> Conversation:
        """Return the conversation with as many turns as fit, at least the first."""
        turns = list(self.turns)
        while len(turns) > 1 and sum(len(a) + len(b) for a, b in turns) > chars:
            turns.pop()
        return Conversation(self.stage, self.families[: len(turns)], tuple(turns))


@dataclass(frozen=True)
class Mix:
    """How often the pipeline's other calls become conversations of their own."""

    true_scope: float = 0.3
    """Episodes in which the stages before planning are answered by the commit instead of by words."""
    task_analysis: float = 0.3
    scope: float = 0.6
    precision: float = 0.3
    meta_plan: float = 0.05
    """Narrow commits that are asked for parts all the same; broad ones always are."""
    step_plan: float = 0.8
    nothing: float = 0.02
    """Episodes that also ask for a step that is done already."""


class Teacher:
    """Implements `harness.ports.Model`: the commit answers, the words may answer the stages before planning."""

    def __init__(self, gold: GoldAnswerer, *, true_scope: bool) -> None:
        self._gold = gold
        self._lexical = LexicalAnswerer()
        self._true_scope = true_scope

    def answer(self, call: StageCall) -> Answer:
        """Return the answer to a call."""
        lexical = call.stage in BEFORE_PLANNING and not self._true_scope
        return self._lexical.answer(call) if lexical else self._gold.answer(call)


@dataclass(frozen=True)
class Lesson:
    """One episode after the pipeline was run on it."""

    episode: Episode
    parent: Tree
    calls: tuple[CallRecord, ...]
    context: ContextPackage
    families: tuple[str, ...]


def lesson(
    episode: Episode, *, true_scope: bool, kinds: tuple[str, ...], cache: FactsCache | None = None
) -> Lesson | None:
    """Run the pipeline on the main commit; None when it does not lead to that commit."""
    cache = cache or FactsCache()
    commit = episode.commits[0]
    parent, after = episode.tree(), episode.tree(commit)
    gold = GoldAnswerer(parent, after, cache=cache)
    interview = Interview(Teacher(gold, true_scope=true_scope), seed=0, temperature=0.0)
    trajectory = Trajectory(candidate=parent)
    run_pipeline(
        Question(commit.task, kinds, parent, ENVIRONMENT), RepoIndex.build(parent, cache), interview, trajectory
    )
    if trajectory.stopped or trajectory.reason or trajectory.candidate.sha256 != after.sha256:
        return None
    families = tuple(change.family for change in commit.changes)
    return Lesson(episode, parent, tuple(interview.calls), trajectory.context, families)


def conversations(
    told: Lesson, rng: random.Random, mix: Mix, cache: FactsCache | None = None
) -> Iterator[Conversation]:
    """Return what is taught of one lesson."""
    wanted = {Stage.TASK_ANALYSIS: mix.task_analysis, Stage.SCOPE: mix.scope, Stage.PRECISION: mix.precision,
              Stage.STEP_PLAN: mix.step_plan}  # fmt: skip
    shown = set(told.context.paths)
    changed = {change.path for change in told.episode.commits[0].changes}
    followed: set[Stage] = set()
    for call in told.calls:
        stage = Stage(call.stage)
        if call.answerer != "gold" or rng.random() > wanted.get(stage, 1.0):
            continue
        if stage in {Stage.STEP_PLAN, Stage.META_PLAN} and not changed <= shown:
            continue  # nobody could name a file that is not in view
        turns = [(call.prompt, call.answer)]
        families = list(told.families)
        if stage in _BODY and stage not in followed and len(told.episode.commits[0].changes) == 1:
            followed.add(stage)
            for commit, turn in _follow_ups(told, stage, rng, cache):
                turns.append(turn)
                families.append(commit.changes[0].family)
        yield Conversation(call.stage, tuple(families), tuple(turns))
    if rng.random() < mix.nothing:
        done = _done_already(told, cache)
        if done is not None:
            yield done


def ask(gold: GoldAnswerer, stage: Stage, facts: Facts) -> tuple[str, str]:
    """Return the prompt of a stage call and the answer of the commit."""
    made = call_of(stage, facts)
    return made.prompt, gold.answer(made).text


def call_of(stage: Stage, facts: Facts) -> StageCall:
    """Return a stage call as the harness would make it."""
    shape = None if stage is Stage.EXECUTE_CODE else schema(stage.value)
    return StageCall(stage, render(stage, facts), facts, shape, WINDOW_TOKENS[stage], 0)


def planned(gold: GoldAnswerer, task: str, context: ContextPackage) -> tuple[StageCall, str, tuple[Step, ...]]:
    """Return the step-plan call of a whole task, the answer of the commit, and its steps."""
    made = call_of(Stage.STEP_PLAN, StepPlanFacts(task, WHOLE, context))
    text = gold.answer(made).text
    return made, text, part_plan(made, text).steps


def _follow_ups(
    told: Lesson, stage: Stage, rng: random.Random, cache: FactsCache | None
) -> Iterator[tuple[Commit, tuple[str, str]]]:
    """Return short turns about other tasks in the files that the first turn shows."""
    commits = [commit for commit in told.episode.commits[1:] if _is_in_view(commit, told, stage)]
    for commit in rng.sample(commits, min(len(commits), rng.randint(1, FOLLOW_UPS_MAX))):
        gold = GoldAnswerer(told.parent, told.episode.tree(commit), cache=cache)
        call, text, steps = planned(gold, commit.task, told.context)
        if len(steps) != 1:
            continue
        if stage is Stage.STEP_PLAN:
            yield commit, (_opening(call.prompt, stage), text)
            continue
        prompt, answer = ask(gold, stage, ExecuteFacts(commit.task, steps[0], told.parent.text(steps[0].file)))
        if _leads_to(told, commit, steps[0], answer):
            yield commit, (_opening(prompt, stage), answer)


def _is_in_view(commit: Commit, told: Lesson, stage: Stage) -> bool:
    path = commit.changes[0].path
    if stage is Stage.EXECUTE_CODE:
        return path == told.episode.commits[0].changes[0].path
    return any(item.path == path and not item.symbol for item in told.context.items)


def _opening(prompt: str, stage: Stage) -> str:
    head, found, _ = prompt.partition(_BODY[stage])
    assert found, f"the {stage} prompt has no {_BODY[stage]!r}"
    return f"{head}\n"


def _leads_to(told: Lesson, commit: Commit, step: Step, answer: str) -> bool:
    return apply_step(told.parent, step, answer).sha256 == told.episode.tree(commit).sha256


def _done_already(told: Lesson, cache: FactsCache | None) -> Conversation | None:
    """Return a question about a step whose change is in the file already."""
    commit = told.episode.commits[0]
    after = told.episode.tree(commit)
    gold = GoldAnswerer(told.parent, after, cache=cache)
    _, _, steps = planned(gold, commit.task, told.context)
    if len(steps) != 1:
        return None
    prompt, answer = ask(gold, Stage.EXECUTE_CODE, ExecuteFacts(commit.task, steps[0], after.text(steps[0].file)))
    return Conversation(Stage.EXECUTE_CODE, told.families, ((prompt, answer),)) if is_nothing(answer) else None


def versions(episode: Episode) -> Sequence[tuple[str, str]]:
    """Return (parent, commit) texts of every file that a commit of the episode changes."""
    parent = episode.files()
    pairs = []
    for commit in episode.commits:
        after = episode.files(commit)
        pairs += [(parent[path], after[path]) for path in {change.path for change in commit.changes}]
    return sorted(pairs)

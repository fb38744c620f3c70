"""What a base can do: planning and editing on functions it has never seen, judged by running them.

A case is one commit in a repository of reserved names. It counts only if the parent's behaviour differs from the
commit's (fail to pass). `code` gives the student the true step; `plan` asks it for the step and compares file and
symbol; `both` lets it code for the plan it made. Left-out families are measured in the same way and have to be at zero.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.answerers.gold import GoldAnswerer
from harness.answers import part_plan
from harness.edits import apply_step
from harness.errors import Failure
from harness.plan import Step
from harness.stages import ExecuteFacts, Stage, StageCall
from harness.tree import Tree
from models.recipe.conversations import call_of, lesson, planned
from models.recipe.episodes import Episode, draw_episode, tree_of
from models.recipe.families import Family
from models.recipe.functions import probes
from models.recipe.judge import Job, observations
from models.recipe.left_out import LEFT_OUT
from models.recipe.names import Pool
from models.recipe.repositories import Reached, Size, small_repository
from models.recipe.seen import SEEN

SIZE = Size(modules=(2, 4), functions=(1, 3))
TRIES = 60
EXTRA_VALUES: dict[str, tuple[object, ...]] = {"numbers": ([], None), "table": ({}, None), "text": ("", None)}
"""Passed as first argument now and then, so that what guards against them shows."""

Ask = Callable[[Sequence[str]], list[str]]
"""Returns the answers to questions."""


@dataclass(frozen=True)
class EvaluationCase:
    """One commit, its calls, and how to see whether it was made."""

    family: str
    parent: Tree
    files: dict[str, str]
    after: dict[str, str]
    plan: StageCall
    step: Step
    code: StageCall
    target: Reached
    probes: str

    def job(self, files: dict[str, str]) -> Job:
        """Return the judge's job for a version of the files."""
        return Job(files, self.target.module, self.target.symbol, self.target.made_with, self.probes)


@dataclass(frozen=True)
class Score:
    """Results of one family."""

    family: str
    cases: int
    code: int
    """Cases whose commit-like behaviour was reached with the true step."""
    applied: int
    """Answers to the true step that could be applied."""
    plan: int
    """Plans that name the right file and symbol and nothing else."""
    both: int


def cases(families: Sequence[Family], number: int, seed: int, pool: Pool = Pool.EVALUATION) -> list[EvaluationCase]:
    """Return `number` cases of each family, fewer where a family shows too seldom."""
    found: list[EvaluationCase] = []
    for family in families:
        rng = random.Random(f"evaluation {seed} {family.name}")  # noqa: S311 - data
        drawn: list[EvaluationCase] = []
        for _ in range(TRIES):
            if len(drawn) >= number:
                break
            batch = [case for _ in range(number * 2) if (case := _case(rng, family, pool))]
            seen = observations([case.job(files) for case in batch for files in (case.files, case.after)])
            pairs = zip(batch, seen[::2], seen[1::2], strict=True)
            drawn += [case for case, before, after in pairs if before != after and not _fails_to_load(after)]
            if not batch:
                continue
        found += drawn[:number]
    return found


def score(made: Sequence[EvaluationCase], ask: Ask) -> tuple[Score, ...]:
    """Return the results of a student, by family."""
    coded = ask([case.code.prompt for case in made])
    plans = ask([case.plan.prompt for case in made])
    versions = [_applied(case, case.step, answer) for case, answer in zip(made, coded, strict=True)]
    steps = [_single_step(case, answer) for case, answer in zip(made, plans, strict=True)]
    named = [step is not None and (step.file, step.symbol) == (case.step.file, case.step.symbol)
             for case, step in zip(made, steps, strict=True)]  # fmt: skip
    own = _own_code(made, steps, ask)
    wanted = observations([case.job(case.after) for case in made])
    right = [_passes(made, versions, wanted), _passes(made, own, wanted)]
    rows = []
    for family in dict.fromkeys(case.family for case in made):
        at = [number for number, case in enumerate(made) if case.family == family]
        rows.append(
            Score(
                family, len(at), sum(right[0][n] for n in at), sum(versions[n] is not None for n in at),
                sum(named[n] for n in at), sum(right[1][n] for n in at),
            )
        )  # fmt: skip
    return tuple(rows)


def evaluate(ask: Ask, *, number: int, seed: int = 7) -> dict[str, Any]:
    """Return the evaluation of a student as it is written into report.json."""
    seen = score(cases(SEEN, number, seed), ask)
    left = score(cases([item.family for item in LEFT_OUT], number, seed), ask)
    return {"seed": seed, "seen": _table(seen), "left_out": _table(left)}


def _table(rows: Sequence[Score]) -> dict[str, Any]:
    names = ("cases", "code", "applied", "plan", "both")
    total = {name: sum(getattr(row, name) for row in rows) for name in names}
    return {"total": total, "families": {row.family: {name: getattr(row, name) for name in names} for row in rows}}


def _case(rng: random.Random, family: Family, pool: Pool) -> EvaluationCase | None:
    repository = small_repository(rng, pool, SIZE)
    episode = draw_episode(rng, repository, [family], pool, per_file=1)
    if episode is None:
        return None
    main = episode.commits[0]
    alone = Episode(repository, main.changes, (main,))
    change = main.changes[0]
    target = repository.callables.get((change.path, change.symbol))
    site = next((found for key, found in repository.callables.items() if key[0] == change.path), None)
    if target is None and (change.family not in {"add-function", "drop-function"} or site is None):
        return None
    told = lesson(alone, true_scope=False, kinds=("step-plan",))
    if told is None or change.path not in told.context.paths:
        return None
    gold = GoldAnswerer(told.parent, alone.tree(main))
    plan, _, steps = planned(gold, main.task, told.context)
    if len(steps) != 1:
        return None
    code = call_of(Stage.EXECUTE_CODE, ExecuteFacts(main.task, steps[0], told.parent.text(steps[0].file)))
    target = target or site
    assert target is not None
    symbol = change.symbol if change.family == "add-function" else target.symbol
    reached = Reached(target.module, symbol, target.sketch, target.made_with)
    calls = [[3, 8], [-2, 5], [0, 0], [40, 7]] if change.family == "add-function" else _probes(rng, target)
    return EvaluationCase(
        change.family, told.parent, alone.files(), alone.files(main), plan, steps[0], code, reached, repr(calls)
    )


def _probes(rng: random.Random, target: Reached) -> list[list[object]]:
    calls = probes(rng, target.sketch)
    first = target.sketch.parameters[0].kind if target.sketch.parameters else ""
    for value in EXTRA_VALUES.get(first, (0, None)):
        calls += [[value, *call[1:]] for call in calls[:2]]
    return [*calls, *([*call, 99] for call in calls[:2])]


def _fails_to_load(seen: Sequence[str]) -> bool:
    return bool(seen) and seen[0].startswith(("does not load", "crashed"))


def _applied(case: EvaluationCase, step: Step, answer: str) -> dict[str, str] | None:
    try:
        tree = apply_step(case.parent, step, answer)
    except Failure:
        return None
    return {path: tree.text(path) for path in tree}


def _single_step(case: EvaluationCase, answer: str) -> Step | None:
    try:
        steps = part_plan(case.plan, answer).steps
    except Failure:
        return None
    return steps[0] if len(steps) == 1 else None


def _own_code(made: Sequence[EvaluationCase], steps: Sequence[Step | None], ask: Ask) -> list[dict[str, str] | None]:
    """Return the files after the student's own step, None where there is none to code."""
    task = [case.code.facts for case in made]
    usable = [
        (at, step, call_of(Stage.EXECUTE_CODE, ExecuteFacts(_task(task[at]), step, made[at].parent.text(step.file))))
        for at, step in enumerate(steps)
        if step is not None and step.file in made[at].parent and step.action == "modify"
    ]
    answers = ask([call.prompt for _, _, call in usable])
    found: list[dict[str, str] | None] = [None] * len(made)
    for (at, step, _), answer in zip(usable, answers, strict=True):
        found[at] = _applied(made[at], step, answer)
    return found


def _task(facts: object) -> str:
    assert isinstance(facts, ExecuteFacts)
    return facts.task


def _passes(
    made: Sequence[EvaluationCase], versions: Sequence[dict[str, str] | None], wanted: Sequence[tuple[str, ...]]
) -> list[bool]:
    tried = [at for at, files in enumerate(versions) if files is not None]
    seen = observations([made[at].job(versions[at] or {}) for at in tried])
    right = dict(zip(tried, seen, strict=True))
    return [right.get(at) == wanted[at] for at in range(len(made))]


def gold_ask(made: Sequence[EvaluationCase]) -> Ask:
    """Return an answerer that knows the commits: every case has to be solvable by it."""
    by_prompt: dict[str, str] = {}
    for case in made:
        gold = GoldAnswerer(case.parent, tree_of(case.after))
        for call in (case.plan, case.code):
            by_prompt[call.prompt] = gold.answer(call).text
    return lambda questions: [by_prompt[question] for question in questions]

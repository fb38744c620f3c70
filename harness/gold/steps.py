"""Gold steps: the plan that a commit would have been, proven to lead to it.

Invariant: answering the steps in their order with `hunks_for` turns every file into the text of the
commit, each step changes something, and no step on the way leaves a syntax error that was not there
before. It holds because the steps of a file are derived by playing them through; symbols whose
changes cannot stand alone (one statement cut in two) share a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.edits import first_syntax_error
from harness.gold.describe import describe
from harness.gold.hunks import Hunk, owned_hunks, patched
from harness.gold.units import Symbol, Unit, dependencies, in_order
from harness.index.repo import RepoIndex
from harness.plan import Step


@dataclass(frozen=True)
class GoldStep:
    """A step, and the symbols of its file that it covers."""

    step: Step
    units: tuple[Unit, ...]
    is_last: bool
    """Whether no later step touches the same file."""

    @property
    def owners(self) -> frozenset[str]:
        """Qualified names of the symbols that this step changes."""
        return frozenset(unit.symbol for unit in self.units)


def gold_steps(units: Sequence[Unit], parent: RepoIndex, gold: RepoIndex) -> tuple[GoldStep, ...]:
    """Return the steps for these units, in an order that respects what depends on what."""
    needs = dependencies(units, parent, gold)
    ordered = in_order(units, needs)
    place = {unit.key: at for at, unit in enumerate(ordered)}
    groups = [
        group
        for path in dict.fromkeys(unit.path for unit in ordered)
        for group in _groups([unit for unit in ordered if unit.path == path])
    ]
    groups.sort(key=lambda group: place[group[0].key])
    ids = {unit.key: f"s{number}" for number, group in enumerate(groups, 1) for unit in group}
    last = {group[0].path: ids[group[0].key] for group in groups}
    return tuple(_step(group, ids, needs, last) for group in groups)


def hunks_for(step: GoldStep | None, path: str, text: str, gold_text: str) -> tuple[Hunk, ...]:
    """Return the hunks of `text` that the answer to a step applies; none when nothing is left to do.

    Those of the step's owners; everything that is left when it is the last step of its file, or no
    gold step (None), or its owners have nothing left, or theirs alone would leave a syntax error.
    """
    hunks = owned_hunks(text, gold_text)
    if step is None or step.is_last:
        return hunks
    chosen = tuple(hunk for hunk in hunks if hunk.owner in step.owners)
    return hunks if not chosen or breaks_syntax(path, text, patched(text, chosen)) else chosen


def breaks_syntax(path: str, before: str, after: str) -> bool:
    """Return whether a module compiled before and does not any more."""
    if not path.endswith((".py", ".pyi")) or first_syntax_error(after.encode()) is None:
        return False
    return first_syntax_error(before.encode()) is None


def _groups(units: Sequence[Unit]) -> list[list[Unit]]:
    """Cut the units of one file into steps by playing them through."""
    change = units[0].change
    if change.before is None or change.after is None:
        return [list(units)]
    state, groups, pending = change.before, list[list[Unit]](), list[Unit]()
    for unit in units:
        pending.append(unit)
        hunks = owned_hunks(state, change.after)
        if unit is not units[-1]:
            owners = {item.symbol for item in pending}
            hunks = tuple(hunk for hunk in hunks if hunk.owner in owners)
        after = patched(state, hunks)
        if not hunks or (unit is not units[-1] and breaks_syntax(change.path, state, after)):
            continue
        groups.append(pending)
        state, pending = after, []
    if pending and groups:  # an earlier step did their work already
        groups[-1] += pending
    return groups


def _step(
    group: Sequence[Unit], ids: Mapping[Symbol, str], needs: Mapping[Symbol, set[Symbol]], last: Mapping[str, str]
) -> GoldStep:
    first = group[0]
    own = ids[first.key]
    earlier = {ids[key] for unit in group for key in needs[unit.key] if _number(ids[key]) < _number(own)}
    step = Step(
        id=own, file=first.path, symbol=first.symbol, action=first.change.action, description=describe(group),
        depends_on=tuple(sorted(earlier, key=_number)),
    )  # fmt: skip
    return GoldStep(step, tuple(group), is_last=last[first.path] == own)


def _number(step_id: str) -> int:
    return int(step_id[1:])

"""How a plan, and the edits made for it, compare with what the commit really changed.

Structure only, nothing is run: a plan that aims at the right files and symbols in a sensible order
and still fails its tests was probably coded badly; one that does not was planned badly (seed 004,
6.9). Pure, so that stored attempts can be judged again at any time.

What counts as the same symbol: equal names, or one inside the other, because a plan that says
`Parser` and a commit that changed `Parser.feed` mean the same place. Module-level code ("") is one
symbol per file and equals only itself. In a file that the commit creates or deletes, and in steps
that create or delete one, the whole file is the symbol ("").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.plan import Step

Symbol = tuple[str, str]
"""Path and qualified name."""


@dataclass(frozen=True)
class Alignment:
    """Shares are between 0 and 1; lists are sorted."""

    file_recall: float
    """Share of the files that the commit changes which the plan names; 1 when there are none."""
    file_precision: float
    """Share of the planned files that the commit changes; an empty plan has 0, unless nothing was to do."""
    symbol_recall: float
    """As `file_recall`, over the symbols that the commit changes."""
    symbol_precision: float
    """As `file_precision`, over the symbols that the plan names."""
    order_consistency: float
    """Share of the dependencies between changed symbols that the plan orders the same way.

    Only dependencies whose two ends are planned count, what is missing lowers the recall already;
    1 when there are none. One step that covers both ends contradicts nothing.
    """
    unplanned_edits: tuple[str, ...]
    """Files that were edited although no step names them."""
    missing_files: tuple[str, ...]
    """Files that the commit changes and no step names."""

    def as_dict(self) -> dict[str, Any]:
        """Return the values as they are stored, ready for JSON."""
        return {
            "file_recall": self.file_recall,
            "file_precision": self.file_precision,
            "symbol_recall": self.symbol_recall,
            "symbol_precision": self.symbol_precision,
            "order_consistency": self.order_consistency,
            "unplanned_edits": list(self.unplanned_edits),
            "missing_files": list(self.missing_files),
        }


def align(planned: Sequence[Step], edited: Iterable[str], gold_steps: Sequence[Step]) -> Alignment:
    """Compare a plan, in the order of its execution, and the edited paths with the gold steps."""
    gold_files = {step.file for step in gold_steps}
    planned_files = {step.file for step in planned}
    whole = {step.file for step in gold_steps if step.action != "modify"}
    wanted = [_symbol(step, whole) for step in gold_steps]
    named = [_symbol(step, whole) for step in planned]
    needed = set(wanted)
    return Alignment(
        file_recall=_recall(len(gold_files & planned_files), len(gold_files)),
        file_precision=_precision(len(planned_files & gold_files), len(planned_files), len(gold_files)),
        symbol_recall=_recall(sum(_covered(symbol, named) for symbol in needed), len(needed)),
        symbol_precision=_precision(sum(_covered(s, wanted) for s in set(named)), len(set(named)), len(wanted)),
        order_consistency=_order_consistency(gold_steps, wanted, named),
        unplanned_edits=tuple(sorted(set(edited) - planned_files)),
        missing_files=tuple(sorted(gold_files - planned_files)),
    )


def _symbol(step: Step, whole: set[str]) -> Symbol:
    return (step.file, "" if step.file in whole or step.action != "modify" else step.symbol)


def _same_place(one: Symbol, other: Symbol) -> bool:
    if one == other:
        return True
    (path, name), (other_path, other_name) = one, other
    nested = name.startswith(f"{other_name}.") or other_name.startswith(f"{name}.")
    return path == other_path and bool(name) and bool(other_name) and nested


def _covered(symbol: Symbol, by: Sequence[Symbol]) -> bool:
    return any(_same_place(symbol, other) for other in by)


def _recall(found: int, wanted: int) -> float:
    return found / wanted if wanted else 1.0


def _precision(right: int, named: int, wanted: int) -> float:
    return right / named if named else float(not wanted)


def _order_consistency(gold_steps: Sequence[Step], wanted: Sequence[Symbol], named: Sequence[Symbol]) -> float:
    place = {
        step.id: next((at for at, other in enumerate(named) if _same_place(symbol, other)), None)
        for step, symbol in zip(gold_steps, wanted, strict=True)
    }
    verdicts = [
        before <= after
        for step in gold_steps
        for needed in step.depends_on
        if (before := place.get(needed)) is not None and (after := place[step.id]) is not None
    ]
    return sum(verdicts) / len(verdicts) if verdicts else 1.0

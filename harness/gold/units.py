"""What a commit changes, cut into units: one symbol of one file, and what each builds on.

A unit is what a gold step is made from. Units of a file come in file order; the order over all units
puts a definition before its users wherever no circle prevents it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.gold.changes import FileChange
from harness.gold.hunks import Hunk, facts_of, owned_hunks
from harness.index.repo import RepoIndex

Symbol = tuple[str, str]
"""Path and qualified name."""

_IDENTIFIER = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class Unit:
    """The changes of one symbol; `symbol` is "" for module-level code or a whole file."""

    change: FileChange
    symbol: str
    hunks: tuple[Hunk, ...] = ()

    @property
    def path(self) -> str:
        """File of the unit."""
        return self.change.path

    @property
    def key(self) -> Symbol:
        """What identifies the unit within a commit."""
        return (self.change.path, self.symbol)


def units_of(changes: Iterable[FileChange]) -> tuple[Unit, ...]:
    """Return the units of these files, by file and in file order; deleted files come last."""
    found: list[Unit] = []
    for change in sorted(changes, key=lambda item: item.after is None):
        if change.before is None or change.after is None:
            found.append(Unit(change, ""))
            continue
        owned: dict[str, list[Hunk]] = {}
        for hunk in owned_hunks(change.before, change.after):
            owned.setdefault(hunk.owner, []).append(hunk)
        found += [Unit(change, owner, tuple(hunks)) for owner, hunks in owned.items()]
    return tuple(found)


def used_before(unit: Unit, parent: RepoIndex) -> set[Symbol]:
    """Return the symbols of the parent that a unit refers to as it was."""
    names = {hunk.was for hunk in unit.hunks} | {unit.symbol}
    return _uses(unit, parent, unit.change.before, _old_lines(unit), names)


def used_after(unit: Unit, gold: RepoIndex) -> set[Symbol]:
    """Return the symbols of the commit that a unit refers to as it will be."""
    return _uses(unit, gold, unit.change.after, [line for hunk in unit.hunks for line in hunk.lines], {unit.symbol})


def imported_names(unit: Unit) -> set[str]:
    """Return the local names that the module-level code of a unit imports, and did not before."""
    if unit.symbol or unit.change.before is None or unit.change.after is None:
        return set()
    before = {replace(item, line=0) for item in facts_of(unit.change.before).imports}
    return {item.binds for item in facts_of(unit.change.after).imports if replace(item, line=0) not in before} - {""}


def dependencies(units: Sequence[Unit], parent: RepoIndex, gold: RepoIndex) -> dict[Symbol, set[Symbol]]:
    """Return for each unit the units it builds on; circles are possible."""
    by_key = {unit.key: unit for unit in units}
    found: dict[Symbol, set[Symbol]] = {}
    for unit in units:
        needs = {key for target in used_after(unit, gold) if (key := _unit_for(target, by_key))}
        if unit.symbol and (top := by_key.get((unit.path, ""))) and _heads(unit) & imported_names(top):
            needs.add(top.key)
        if unit.change.after is None:  # a file goes when nothing uses it any more
            needs |= {other.key for other in units if other.path in parent.importers(unit.path)}
        needs |= {other.key for other in units if _makes_room(other, unit)}
        found[unit.key] = needs - {unit.key}
    return found


def in_order(units: Sequence[Unit], needs: Mapping[Symbol, set[Symbol]]) -> tuple[Unit, ...]:
    """Return the units with definitions before users, else as listed; circles are cut at their first unit."""
    left = list(units)
    done: set[Symbol] = set()
    ordered: list[Unit] = []
    while left:
        unit = next((unit for unit in left if needs[unit.key] <= done), left[0])
        left.remove(unit)
        done.add(unit.key)
        ordered.append(unit)
    return tuple(ordered)


def _uses(unit: Unit, index: RepoIndex, text: str | None, lines: Iterable[str], names: Iterable[str]) -> set[Symbol]:
    if text is None or unit.path not in index.modules:
        return set()
    whole_file = unit.change.before is None or unit.change.after is None
    found: set[Symbol] = set()
    if whole_file:
        dotted = set(index.modules[unit.path].references)
        dotted |= {item.binds for item in index.modules[unit.path].imports} - {""}
    else:
        found.update(*(index.uses(unit.path, name) for name in names if name))
        dotted = set() if unit.symbol else {name for line in lines for name in _IDENTIFIER.findall(line)}
    found |= {target for name in dotted if (target := index.resolve(unit.path, name))}
    return {target for target in found if target[1] and target != unit.key}


def _old_lines(unit: Unit) -> list[str]:
    lines = (unit.change.before or "").split("\n")
    return [line for hunk in unit.hunks for line in lines[hunk.start : hunk.end]]


def _heads(unit: Unit) -> set[str]:
    """Return the first names of everything the new text of a unit refers to."""
    symbols = facts_of(unit.change.after or "").symbols
    return {name.partition(".")[0] for item in symbols if item.qualname == unit.symbol for name in item.references}


def _unit_for(target: Symbol, by_key: Mapping[Symbol, Unit]) -> Symbol | None:
    path, name = target
    while name and (path, name) not in by_key:
        name = name.rpartition(".")[0]
    found = by_key.get((path, name))
    if found is None or (not name and found.change.before is not None):
        return None  # module-level changes of an old file define nothing that has a name
    return found.key


def _makes_room(other: Unit, unit: Unit) -> bool:
    """Return whether `other` deletes the file where `unit` needs a folder, or the other way round."""
    if other.change.after is not None or unit.change.before is not None:
        return False
    return unit.path.startswith(f"{other.path}/") or other.path.startswith(f"{unit.path}/")

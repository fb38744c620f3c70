"""The ground truth of every stage for one commit (seed 004, 6.3).

Pure: two trees in, values out. What is said about the parent (relevance, tiers) names only files and
symbols that the parent has, so the answers made from it fit questions that know nothing of the commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.gold.changes import FileChange, changed_files, in_package, is_planned
from harness.gold.parts import gold_parts, home_of_tests
from harness.gold.steps import GoldStep, gold_steps
from harness.gold.units import Symbol, Unit, units_of, used_after, used_before
from harness.index.facts import FactsCache
from harness.index.repo import RepoIndex
from harness.paths import Role, role
from harness.plan import Part
from harness.tree import Tree


@dataclass(frozen=True)
class GoldTruth:
    """What the right answers of all stages are made from."""

    changes: Mapping[str, FileChange]
    """Every changed file that steps or test steps cover, by path."""
    relevant: frozenset[str]
    """Files of the parent that the commit changes."""
    supporting: frozenset[str]
    """Files of the parent that changed files use directly."""
    primary: frozenset[Symbol]
    """Symbols of the parent that the commit changes, or puts something new into."""
    supporting_symbols: frozenset[Symbol]
    """Symbols of the parent that changed code refers to, and the classes around primary methods."""
    steps: tuple[GoldStep, ...]
    test_steps: tuple[GoldStep, ...]
    parts: tuple[Part, ...]
    """In an order that respects their dependencies."""
    test_home: Mapping[str, str]
    """Changed test file to the id of the part whose tests it holds."""

    def relevance(self, path: str) -> str:
        """Return relevant, supporting or irrelevant."""
        return "relevant" if path in self.relevant else "supporting" if path in self.supporting else "irrelevant"

    def tier(self, path: str, symbol: str) -> str:
        """Return primary, supporting or excluded."""
        key = (path, symbol)
        return "primary" if key in self.primary else "supporting" if key in self.supporting_symbols else "excluded"

    def step_for(self, path: str, symbol: str) -> GoldStep | None:
        """Return the gold step that covers this symbol, if there is one."""
        steps = (*self.steps, *self.test_steps)
        return next((gold for gold in steps if gold.step.file == path and symbol in gold.owners), None)


def derive(parent: Tree, gold: Tree, cache: FactsCache | None = None) -> GoldTruth:
    """Read the ground truth off a commit: the trees before and after it."""
    cache = cache or FactsCache()
    before, after = RepoIndex.build(parent, cache), RepoIndex.build(gold, cache)
    source = changed_files(parent, gold, is_planned)
    tests = changed_files(parent, gold, lambda path: role(path) is Role.TEST)
    units = units_of(source)
    steps = gold_steps(units, before, after)
    test_steps = gold_steps(units_of(tests), before, after)
    parts = gold_parts(steps or test_steps, after)  # a commit of tests alone has a part for them
    relevant = frozenset(item.path for item in source if item.before is not None and in_package(parent, item.path))
    primary = frozenset(_at_parent(before, unit) for unit in units if unit.change.before is not None)
    return GoldTruth(
        changes={item.path: item for item in (*source, *tests)},
        relevant=relevant,
        supporting=_used_files(source, before, after) - relevant,
        primary=primary,
        supporting_symbols=_used_symbols(units, before, after, primary),
        steps=steps,
        test_steps=test_steps,
        parts=parts,
        test_home=home_of_tests([item.path for item in tests], parts, after),
    )


def _used_files(changes: tuple[FileChange, ...], before: RepoIndex, after: RepoIndex) -> frozenset[str]:
    used: set[str] = set()
    for change in changes:
        if change.path in before.modules:
            used |= before.imports(change.path)
        if change.path in after.modules:
            used |= after.imports(change.path) & set(before.modules)
    return frozenset(used)


def _at_parent(before: RepoIndex, unit: Unit) -> Symbol:
    """Return the symbol of the parent that a unit changes: itself, or what the new symbol is put into."""
    names = {symbol.qualname for symbol in before.modules[unit.path].symbols} if unit.path in before.modules else set()
    name = next((hunk.was for hunk in unit.hunks if hunk.was in names), unit.symbol)
    while name and name not in names:
        name = name.rpartition(".")[0]
    return (unit.path, name)


def _used_symbols(
    units: tuple[Unit, ...], before: RepoIndex, after: RepoIndex, primary: frozenset[Symbol]
) -> frozenset[Symbol]:
    used: set[Symbol] = set()
    for unit in units:
        used |= used_before(unit, before) | used_after(unit, after)
    used |= {(path, name.rpartition(".")[0]) for path, name in primary if "." in name}
    known = {(path, symbol.qualname) for path, facts in before.modules.items() for symbol in facts.symbols}
    return frozenset(used & known) - primary

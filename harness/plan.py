"""Plans as values: what the planning stages answer, parsed once at the edge.

JSON shapes are fixed by `harness/schemas/*.schema.json`; the functions here turn a document that
already satisfies its schema into frozen dataclasses and check what a schema cannot say: unique
ids, and dependencies that point at known ids without a cycle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeVar

from harness.errors import AnswerInvalid


@dataclass(frozen=True)
class TaskAnalysis:
    """What a task is about, before any file was read."""

    intent: str
    keywords: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """One independent unit of a task."""

    id: str
    description: str
    files: tuple[str, ...]
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetaPlan:
    """A task cut into parts, in an order that respects the dependencies."""

    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Step:
    """One change of one file."""

    id: str
    file: str
    symbol: str
    """Qualified name inside the module; "" for module-level code or a whole file."""
    action: str
    description: str
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartPlan:
    """The steps of one part, in an order that respects the dependencies."""

    steps: tuple[Step, ...]


K = TypeVar("K")
T = TypeVar("T", Part, Step)


def parse_task_analysis(doc: Mapping[str, Any]) -> TaskAnalysis:
    """Read a task-analysis answer."""
    return TaskAnalysis(doc["intent"], tuple(doc["keywords"]), tuple(doc["files"]))


def parse_scope(doc: Mapping[str, Any], asked: Iterable[str]) -> dict[str, str]:
    """Read a scope answer: path to relevance, exactly one verdict per file that was asked about."""
    return _one_each({row["path"]: row["relevance"] for row in doc["files"]}, asked, len(doc["files"]), "file")


def parse_precision(doc: Mapping[str, Any], asked: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Read a precision answer: (file, symbol) to tier, exactly one verdict per symbol asked about."""
    rows = {(row["file"], row["symbol"]): row["tier"] for row in doc["symbols"]}
    return _one_each(rows, asked, len(doc["symbols"]), "symbol")


def parse_meta_plan(doc: Mapping[str, Any]) -> MetaPlan:
    """Read a meta-plan answer; parts come back in dependency order."""
    parts = [Part(p["id"], p["description"], tuple(p["files"]), tuple(p["depends_on"])) for p in doc["parts"]]
    return MetaPlan(tuple(_ordered(parts, "part")))


def parse_part_plan(doc: Mapping[str, Any]) -> PartPlan:
    """Read a step-plan or test-plan answer; steps come back in dependency order."""
    steps = [
        Step(s["id"], s["file"], s["symbol"], s["action"], s["description"], tuple(s["depends_on"]))
        for s in doc["steps"]
    ]
    return PartPlan(tuple(_ordered(steps, "step")))


def _one_each(rows: dict[K, str], asked: Iterable[K], answered: int, noun: str) -> dict[K, str]:
    wanted = list(asked)
    if answered != len(rows) or set(rows) != set(wanted):
        odd = sorted(map(str, set(rows) ^ set(wanted)))[:3]
        raise AnswerInvalid(f"expected one verdict for each of {len(wanted)} {noun}s, differing at {odd or 'a repeat'}")
    return {key: rows[key] for key in wanted}


def _ordered(items: list[T], noun: str) -> list[T]:
    by_id = {item.id: item for item in items}
    if len(by_id) != len(items):
        raise AnswerInvalid(f"two {noun}s share an id")
    unknown = {dep for item in items for dep in item.depends_on} - set(by_id)
    if unknown:
        raise AnswerInvalid(f"a {noun} depends on {min(unknown)!r}, which is not a {noun} of this plan")
    done: set[str] = set()
    ordered: list[T] = []
    try:
        TopologicalSorter({item.id: item.depends_on for item in items}).prepare()
    except CycleError as err:
        raise AnswerInvalid(f"the {noun}s depend on each other in a circle: {err.args[1]}") from err
    while len(ordered) < len(items):  # stable: the earliest listed item that is ready comes next
        for item in items:
            if item.id not in done and set(item.depends_on) <= done:
                done.add(item.id)
                ordered.append(item)
                break
    return ordered

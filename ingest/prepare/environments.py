"""From needs to environments: lock, wheels, and the extras that tests turn out to import.

For each need a ladder of locks is tried: the era's, then today's; each as declared, then without
version bounds (an exact pin of old often has no wheel for the interpreter at hand), and only at last
with distributions that have to be built. Then imports that nothing provides are traced to
requirements that the project declares elsewhere (extras, other groups), which join the lock. A name
is never guessed: what stays open is reported.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from packaging.utils import canonicalize_name

from harness.manifest import Environment, Lock
from ingest.errors import DownloadFailed, LockUnresolved
from ingest.prepare.imports import describe, missing
from ingest.prepare.locks import Locked, Resolver, unbounded
from ingest.prepare.needs import Need
from ingest.prepare.requirements import TOOLS, distribution_name
from ingest.prepare.wheels import WheelStore

RESOLVE_AT_ONCE = 4
NOTE_CHARACTERS = 600


@dataclass(frozen=True)
class Step:
    """One rung of the ladder of locks."""

    taken: str
    """era or newest, as in `harness.manifest.Lock`."""
    is_bounded: bool = True
    wheels_only: bool = True

    @property
    def title(self) -> str:
        """Return the rung in words."""
        bounds = "" if self.is_bounded else ", version bounds ignored"
        return f"{self.taken} lock{bounds}{'' if self.wheels_only else ', with distributions built here'}"


LADDER = (
    Step("era"),
    Step("era", is_bounded=False),
    Step("era", wheels_only=False),
    Step("newest"),
    Step("newest", is_bounded=False),
    Step("newest", is_bounded=False, wheels_only=False),
)
NEWEST = LADDER[3:]
"""Where an environment goes on whose era's lock was proved not to work."""


@dataclass(frozen=True)
class Built:
    """An environment with what it took to get there."""

    environment: Environment
    need: Need
    wheels: tuple[Path, ...]
    step: Step


@dataclass(frozen=True)
class Outcome:
    """What became of the needs."""

    built: tuple[Built, ...]
    unresolved: tuple[tuple[Need, str], ...]
    """Needs for which no rung of the ladder worked, with the last reason."""


@dataclass(frozen=True)
class _Locked:
    """A rung that worked."""

    step: Step
    locked: Locked
    wheels: tuple[Path, ...]
    requirements: tuple[str, ...]
    note: str


class EnvironmentBuilder:
    """Turns needs into environments with the wheels of one store."""

    def __init__(self, resolver: Resolver, store: WheelStore, progress: Callable[[str], None]) -> None:
        self._resolver = resolver
        self._store = store
        self._progress = progress

    def build(self, needs: Iterable[Need], *, ladder: tuple[Step, ...] = LADDER, note: str = "") -> Outcome:
        """Build every need; `note` is put in front of the notes of the locks."""
        asked = list(needs)
        base = self._climb({at: (need.wanted, need) for at, need in enumerate(asked)}, ladder)
        found = {at: rung for at, rung in base.items() if isinstance(rung, _Locked)}
        self._progress(f"locked {len(found)} of {len(asked)} environments")
        extended = self._with_declared_imports(asked, found)
        built = [
            Built(self._environment(asked[at], rung, note), asked[at], rung.wheels, rung.step)
            for at, rung in sorted((found | extended).items())
        ]
        failed = tuple((asked[at], rung) for at, rung in base.items() if isinstance(rung, str))
        return Outcome(tuple(built), failed)

    def _climb(
        self, questions: Mapping[int, tuple[tuple[str, ...], Need]], ladder: tuple[Step, ...]
    ) -> dict[int, _Locked | str]:
        """Return the first rung that works for each question, or the reason of the last."""
        answers: dict[int, _Locked | str] = {}
        notes: dict[int, str] = dict.fromkeys(questions, "")
        pending = dict(questions)
        for step in ladder:
            asked = {at: _question(step, *question) for at, question in pending.items()}
            for at, answer in self._ask(asked, wheels_only=step.wheels_only).items():
                requirements, need = asked[at][0], pending[at][1]
                if isinstance(answer, str):
                    answers[at] = answer
                    notes[at] = notes[at] or f"not the {step.title}: {answer}"[:NOTE_CHARACTERS]
                else:
                    taken = "" if step in {LADDER[0], NEWEST[0]} else step.title
                    note = "; ".join(part for part in (need.era.note, taken, notes[at]) if part)
                    answers[at] = _Locked(step, answer[0], answer[1], requirements, note)
                    del pending[at]
        return answers

    def _ask(
        self, questions: Mapping[int, tuple[tuple[str, ...], str | None]], *, wheels_only: bool
    ) -> dict[int, tuple[Locked, tuple[Path, ...]] | str]:
        """Resolve and fetch many questions at once."""
        resolve = partial(self._resolve, wheels_only=wheels_only)
        with ThreadPoolExecutor(RESOLVE_AT_ONCE) as pool:
            locks = dict(zip(questions, pool.map(resolve, questions.values()), strict=True))
        self._store.fetch(pin for lock in locks.values() if isinstance(lock, Locked) for pin in lock.pins)
        answers: dict[int, tuple[Locked, tuple[Path, ...]] | str] = {}
        for at, lock in locks.items():
            try:
                answers[at] = lock if isinstance(lock, str) else (lock, self._store.paths(lock.pins))
            except DownloadFailed as err:
                answers[at] = str(err)
        return answers

    def _resolve(self, question: tuple[tuple[str, ...], str | None], *, wheels_only: bool) -> Locked | str:
        try:
            return self._resolver.resolve(*question, wheels_only=wheels_only)
        except LockUnresolved as err:
            return str(err)

    def _with_declared_imports(self, needs: list[Need], found: Mapping[int, _Locked]) -> dict[int, _Locked]:
        """Return the rungs that had to grow by requirements which the project declares elsewhere."""
        open_imports = {at: missing(needs[at].imports, self._provided(rung)) for at, rung in found.items()}
        added = {
            at: self._declared_for(needs[at], modules, self._provided(found[at]))
            for at, modules in open_imports.items()
        }
        extended: dict[int, _Locked] = {}
        for taken in {found[at].step for at, lines in added.items() if lines}:
            here = {at: lines for at, lines in added.items() if lines and found[at].step == taken}
            answers = self._climb({at: (_joined(found[at], lines), needs[at]) for at, lines in here.items()}, (taken,))
            for at, lines in here.items():
                answer = answers[at]
                grown = answer if isinstance(answer, _Locked) else self._one_by_one(needs[at], found[at], lines)
                extended[at] = _Locked(grown.step, grown.locked, grown.wheels, grown.requirements, found[at].note)
        return extended

    def _one_by_one(self, need: Need, rung: _Locked, lines: tuple[str, ...]) -> _Locked:
        """Add what can be added where the whole does not resolve."""
        best = rung
        for line in lines:
            answer = self._climb({0: (_joined(best, (line,)), need)}, (rung.step,))[0]
            best = answer if isinstance(answer, _Locked) else best
        return best

    def _declared_for(self, need: Need, modules: Mapping[str, bool], provided: Iterable[str]) -> tuple[str, ...]:
        """Return the pool's requirements that provide some of these modules, or what the sources guard."""
        by_name = {distribution_name(line): line for line in need.pool}
        guarded = {str(canonicalize_name(module)) for module in set(need.guarded) - set(provided)}
        lines: set[str] = {by_name[name] for name in guarded if name in by_name}
        for module, optional in modules.items():
            line = by_name.get(str(canonicalize_name(module))) or self._provider(module, by_name)
            if not line and not optional:
                line = next((one for one in need.conditional if one == canonicalize_name(module)), None)
            if line:
                lines.add(line)
        return tuple(sorted(lines))

    def _provider(self, module: str, by_name: Mapping[str, str]) -> str | None:
        """Return the requirement whose newest wheel installs this module, by looking into the wheels."""
        names = [name for name in by_name if name not in TOOLS and not name.startswith("sphinx")]
        with ThreadPoolExecutor(RESOLVE_AT_ONCE) as pool:
            locks = list(pool.map(self._newest_alone, names))
        self._store.fetch(pin for lock in locks if lock for pin in lock.pins)
        for name, lock in zip(names, locks, strict=True):
            try:
                wheels = self._store.paths(lock.pins) if lock else ()
            except DownloadFailed:
                continue
            if any(module in self._store.modules(wheel) for wheel in wheels):
                return by_name[name]
        return None

    def _newest_alone(self, name: str) -> Locked | None:
        try:
            return self._resolver.resolve([name], None, dependencies=False)
        except LockUnresolved:
            return None

    def _provided(self, rung: _Locked) -> frozenset[str]:
        return frozenset(module for wheel in rung.wheels for module in self._store.modules(wheel))

    def _environment(self, need: Need, rung: _Locked, note: str) -> Environment:
        undeclared = describe(missing(need.imports, self._provided(rung)))
        notes = "; ".join(part for part in (note, rung.note) if part)[: 3 * NOTE_CHARACTERS]
        return Environment(
            id=environment_id(self._resolver.python, rung.wheels, need.env),
            python=self._resolver.python,
            wheels=tuple(sorted(wheel.name for wheel in rung.wheels)),
            env=dict(need.env),
            lock=Lock(rung.step.taken, rung.locked.exclude_newer, notes),
            requirements=rung.requirements,
            undeclared_imports=undeclared,
        )


def environment_id(python: str, wheels: Iterable[Path], env: Mapping[str, str]) -> str:
    """Return the id of an environment: a digest of the interpreter, the wheels and the variables."""
    digests = sorted(hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels)
    text = json.dumps([python, digests, sorted(env.items())])
    return "env-" + hashlib.sha256(text.encode()).hexdigest()[:12]


def _question(step: Step, wanted: tuple[str, ...], need: Need) -> tuple[tuple[str, ...], str | None]:
    requirements = wanted if step.is_bounded else unbounded(wanted)
    return requirements, need.era.exclude_newer if step.taken == "era" else None


def _joined(rung: _Locked, lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({*rung.requirements, *lines}))

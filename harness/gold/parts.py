"""Gold parts: the steps of a commit grouped into units of work that a meta-plan would name.

One part unless the commit is large enough to be worth dividing (seed 004, 6.9): four or more files
and new symbols among them. Files that use each other belong together; where everything is connected,
folders decide. A part depends only on parts before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from harness.gold.describe import is_new, shortened
from harness.gold.steps import GoldStep
from harness.index.repo import RepoIndex
from harness.plan import Part

META_PLAN_FILES = 4


def gold_parts(steps: Sequence[GoldStep], gold: RepoIndex) -> tuple[Part, ...]:
    """Return the parts of these steps; none when there are no steps."""
    files = list(dict.fromkeys(gold_step.step.file for gold_step in steps))
    groups = [files] if files else []
    if len(files) >= META_PLAN_FILES and any(is_new(unit) for gold_step in steps for unit in gold_step.units):
        groups = _connected(files, gold)
        if len(groups) == 1:
            groups = _by_folder(files)
    part_of = {file: number for number, group in enumerate(groups) for file in group}
    file_of = {gold_step.step.id: gold_step.step.file for gold_step in steps}
    parts: list[Part] = []
    for number, group in enumerate(groups):
        mine = [gold_step.step for gold_step in steps if gold_step.step.file in group]
        needs = {part_of[file_of[needed]] for step in mine for needed in step.depends_on}
        needs = {needed for needed in needs if needed < number}
        described = shortened([step.description for step in mine])
        parts.append(Part(f"p{number + 1}", described, tuple(group), tuple(f"p{n + 1}" for n in sorted(needs))))
    return tuple(parts)


def home_of_tests(tests: Iterable[str], parts: Sequence[Part], gold: RepoIndex) -> Mapping[str, str]:
    """Return for each test file the last part that it uses a file of, else the last part of all."""
    homes: dict[str, str] = {}
    for test in tests:
        used = gold.imports(test) if test in gold.modules else frozenset()
        fitting = [part.id for part in parts if used & set(part.files)] or [part.id for part in parts]
        if fitting:
            homes[test] = fitting[-1]
    return homes


def _connected(files: Sequence[str], gold: RepoIndex) -> list[list[str]]:
    """Group files that use each other, directly or through other files of the list."""
    used = {file: gold.imports(file) if file in gold.modules else frozenset() for file in files}
    groups: list[list[str]] = []
    for file in files:
        touching = [group for group in groups if any(file in used[other] or other in used[file] for other in group)]
        merged = [other for group in touching for other in group] + [file]
        groups = [group for group in groups if group not in touching] + [merged]
    return _listed(groups, files)


def _by_folder(files: Sequence[str]) -> list[list[str]]:
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault(str(PurePosixPath(file).parent), []).append(file)
    return _listed(folders.values(), files)


def _listed(groups: Iterable[list[str]], files: Sequence[str]) -> list[list[str]]:
    place = {file: at for at, file in enumerate(files)}
    return sorted((sorted(group, key=place.__getitem__) for group in groups), key=lambda group: place[group[0]])

"""Episodes: one generated repository with several tasks waiting in it.

The parent holds the `before` of every change at once, so the files a student reads have more than one thing
wrong, and only the task says which one is meant. A commit is one change or a few; what it does not touch stays
as it is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from harness.edits import first_syntax_error
from harness.tree import Tree
from models.recipe.families import Change, Family, Site, are_disjoint, compose, sites
from models.recipe.names import Namer, Pool
from models.recipe.repositories import SmallRepository

SENTENCES_PER_TITLE = 1
BREADTH = 4
"""Files of a commit that is worth dividing (the rule of harness/gold/parts.py)."""


@dataclass(frozen=True)
class Commit:
    """One task: what it says, and the changes that fulfil it."""

    task: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Episode:
    """A repository, all changes that wait in it, and commits made of them; the first is the main one."""

    repository: SmallRepository
    changes: tuple[Change, ...]
    commits: tuple[Commit, ...]

    def files(self, commit: Commit | None = None) -> dict[str, str]:
        """Return the files of the parent, or as a commit leaves them."""
        committed = commit.changes if commit else ()
        result = dict(self.repository.files)
        for path in {change.path for change in self.changes}:
            mine = [change for change in self.changes if change.path == path]
            lines = result[path].split("\n")[:-1]
            result[path] = compose(lines, mine, committed=committed)
        return result

    def tree(self, commit: Commit | None = None) -> Tree:
        """Return the files as the harness sees them."""
        return tree_of(self.files(commit))


def tree_of(files: dict[str, str]) -> Tree:
    """Return a tree of these texts."""

    def nothing(blob: str) -> bytes:
        raise KeyError(blob)

    return Tree(MappingProxyType({}), nothing).replace({path: text.encode() for path, text in files.items()})


def draw_episode(
    rng: random.Random,
    repository: SmallRepository,
    families: Sequence[Family],
    pool: Pool,
    *,
    per_file: int = 3,
    together: int = 1,
    spread: bool = False,
) -> Episode | None:
    """Return an episode, None when the repository offers too little.

    `together` changes make the main commit, in one file or, with `spread`, each in a file of its own;
    every other change is a commit by itself.
    """
    namer = Namer(rng, pool)
    paths = list(repository.sources)
    rng.shuffle(paths)
    chosen: list[Change] = []
    for number, path in enumerate(paths):
        wanted = per_file if number == 0 else rng.choice((0, 1, 1, 2))
        chosen += _changes_of(rng, sites(path, repository.files[path]), families, namer, max(wanted, int(spread)))
    main = _main_changes(rng, chosen, together, spread=spread)
    if len(main) < together:
        return None
    rest = [change for change in chosen if change not in main]
    commits = (Commit(_message(rng, main), tuple(main)), *(Commit(_message(rng, [item]), (item,)) for item in rest))
    episode = Episode(repository, tuple(chosen), commits)
    parent = episode.files()
    broken = [path for path in repository.sources if first_syntax_error(parent[path].encode()) is not None]
    return None if broken else episode


def _changes_of(
    rng: random.Random, offered: Sequence[Site], families: Sequence[Family], namer: Namer, wanted: int
) -> list[Change]:
    """Return disjoint changes of one file; what fits few functions is tried first more often."""
    chosen: list[Change] = []
    order = sorted(families, key=lambda family: rng.random() ** (1 / family.weight), reverse=True)
    for family in order:
        if len(chosen) == wanted:
            break
        for site in rng.sample(offered, len(offered)):
            found = list(family.changes(site, rng, namer))
            change = rng.choice(found) if found else None
            if change and are_disjoint([*chosen, change]):
                chosen.append(change)
                break
    return chosen


def _main_changes(rng: random.Random, chosen: Sequence[Change], together: int, *, spread: bool) -> list[Change]:
    if not spread:
        first = chosen[:1]
        others = list(chosen[1:])
        rng.shuffle(others)
        return [*first, *others[: together - 1]]
    by_path: dict[str, Change] = {}
    for change in chosen:
        by_path.setdefault(change.path, change)
    return list(by_path.values())[:together]


def _message(rng: random.Random, changes: Sequence[Change]) -> str:
    """Return the message of a commit: its first sentence as title, the others as body."""
    first, *others = [change.task for change in changes]
    if not others:
        return first if rng.random() < 0.9 else f"{first}."  # noqa: PLR2004 - share
    mark = rng.choice(("", "- "))
    return f"{first}\n\n" + "\n".join(f"{mark}{sentence}." for sentence in others)

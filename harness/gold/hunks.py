"""The line differences between two versions of a file, each owned by one symbol.

A commit changes lines, a plan changes symbols; this is where one becomes the other. Invariant:
whatever the texts are, applying all hunks of `owned_hunks(a, b)` to `a` gives the lines of `b`, and
hunks never overlap, so any subset can be applied.

Owners are a best effort (a file that does not parse is owned by "" as a whole), the hunks are exact.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from harness.edits import join_lines, split_lines
from harness.index.facts import ModuleFacts, analyse


@dataclass(frozen=True)
class Hunk:
    """Lines `start` to `end` (0-based, half-open) of the old text become `lines`."""

    start: int
    end: int
    lines: tuple[str, ...]
    owner: str
    """Qualified name of the symbol that is changed; "" for module-level code."""
    was: str
    """The name that symbol has in the old text, other than `owner` when it was renamed."""


class Run(NamedTuple):
    """Neighbouring lines of one owner."""

    owner: str
    start: int
    end: int


class _Span(NamedTuple):
    i1: int
    i2: int
    j1: int
    j2: int


def owned_hunks(old: str, new: str) -> tuple[Hunk, ...]:
    """Return the hunks that lead from `old` to `new`, in file order."""
    old_lines, new_lines = split_lines(old)[0], split_lines(new)[0]
    spans = _changed_spans(old_lines, new_lines)
    if not spans:
        return ()
    old_owners, new_owners = line_owners(old), line_owners(new)
    renamed = _renames(old_lines, spans, old_owners, new_owners)
    old_names, new_names = set(old_owners), set(new_owners)
    new_owners = _outermost(new_owners, _classes(new) - old_names - set(renamed.values()))
    aliased = [renamed.get(name, name) for name in old_owners]
    aliased = _outermost(aliased, _classes(old) - new_names - set(renamed))
    found: list[Hunk] = []
    for before, span, after in zip([None, *spans], spans, [*spans[1:], None], strict=False):
        placed = _slide(span, before, after, (old_lines, new_lines), (aliased, new_owners))
        old_runs = runs(aliased, old_lines, placed.i1, placed.i2)
        new_runs = runs(new_owners, new_lines, placed.j1, placed.j2)
        for a, b in _paired(old_runs, new_runs, placed):
            lines = tuple(new_lines[b.start : b.end])
            if tuple(old_lines[a.start : a.end]) != lines:
                was = old_owners[a.start] if a.end > a.start and renamed.get(old_owners[a.start]) else b.owner
                found.append(Hunk(a.start, a.end, lines, b.owner, was))
    return tuple(found)


def patched(text: str, hunks: Sequence[Hunk]) -> str:
    """Return `text` after these hunks of it; a missing final newline stays missing."""
    lines, final_newline = split_lines(text)
    for hunk in reversed(hunks):
        lines[hunk.start : hunk.end] = hunk.lines
    return join_lines(lines, final_newline=final_newline)


@lru_cache(maxsize=64)
def facts_of(text: str) -> ModuleFacts:
    """Return the facts of a module; the same texts are asked about again and again."""
    return analyse(text)


def line_owners(text: str) -> list[str]:
    """Return for each line the innermost symbol it belongs to.

    Blank lines and comments belong to what follows them, as a reader would say.
    """
    lines = split_lines(text)[0]
    owners = [""] * len(lines)
    for symbol in facts_of(text).symbols:  # outer before inner
        owners[symbol.start - 1 : symbol.end] = [symbol.qualname] * (min(symbol.end, len(lines)) - symbol.start + 1)
    following: str | None = None
    for at in range(len(lines) - 1, -1, -1):
        if not lines[at].strip() or lines[at].lstrip().startswith("#"):
            owners[at] = owners[at] if following is None else following
        else:
            following = owners[at]
    return owners


def runs(owners: Sequence[str], lines: Sequence[str], start: int, end: int) -> list[Run]:
    """Return lines `start` to `end` as runs of one owner; blank lines join the run before them, or else after."""
    found: list[Run] = []
    for at in range(start, end):
        blank = not lines[at].strip()
        if found and (blank or found[-1].owner == owners[at]):
            found[-1] = found[-1]._replace(end=at + 1)
        elif found and len(found) == 1 and not any(line.strip() for line in lines[start:at]):
            found[-1] = Run(owners[at], found[-1].start, at + 1)
        else:
            found.append(Run(owners[at], at, at + 1))
    return found


def _changed_spans(old: Sequence[str], new: Sequence[str]) -> list[_Span]:
    head = next((k for k, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    most = min(len(old), len(new)) - head
    tail = next((k for k in range(most) if old[-1 - k] != new[-1 - k]), most)
    matcher = difflib.SequenceMatcher(None, old[head : len(old) - tail], new[head : len(new) - tail], autojunk=False)
    return [
        _Span(head + i1, head + i2, head + j1, head + j2)
        for tag, i1, i2, j1, j2 in matcher.get_opcodes()
        if tag != "equal"
    ]


def _classes(text: str) -> set[str]:
    return {symbol.qualname for symbol in facts_of(text).symbols if symbol.kind == "class"}


def _outermost(owners: Sequence[str], whole: set[str]) -> list[str]:
    """Name the outermost class of `whole` where a line is inside of one: it comes or goes as a whole."""
    if not whole:
        return list(owners)
    named: dict[str, str] = {}
    for owner in set(owners):
        parts = owner.split(".")
        prefixes = (".".join(parts[:size]) for size in range(1, len(parts) + 1))
        named[owner] = next((prefix for prefix in prefixes if prefix in whole), owner)
    return [named[owner] for owner in owners]


def _renames(
    old_lines: Sequence[str], spans: Sequence[_Span], old_owners: Sequence[str], new_owners: Sequence[str]
) -> Mapping[str, str]:
    """Return old name to new name, for names that are gone and whose kept lines went to a new name."""
    gone, fresh = set(old_owners) - set(new_owners), set(new_owners) - set(old_owners)
    if not gone or not fresh:
        return {}
    votes: dict[str, Counter[str]] = {name: Counter() for name in gone}
    i = j = 0
    for span in [*spans, _Span(len(old_owners), 0, len(new_owners), 0)]:
        while i < span.i1:
            if old_owners[i] in gone and old_lines[i].strip():
                votes[old_owners[i]][new_owners[j]] += 1
            i, j = i + 1, j + 1
        i, j = span.i2, span.j2
    winners = {name: count.most_common(1)[0][0] for name, count in votes.items() if count}
    return {name: winner for name, winner in winners.items() if winner in fresh}


def _slide(
    span: _Span, before: _Span | None, after: _Span | None,
    lines: tuple[Sequence[str], Sequence[str]], owners: tuple[Sequence[str], Sequence[str]],
) -> _Span:  # fmt: skip
    """Move a pure insertion or deletion to where it touches the fewest owners.

    A line diff cannot tell which of two equal decorators, `return`s or blank lines is the new one.
    """
    i1, i2, j1, j2 = span
    if i1 != i2 and j1 != j2:
        return span
    side, start, end = (1, j1, j2) if i1 == i2 else (0, i1, i2)
    text, names = lines[side], owners[side]
    floor = (before.i2, before.j2)[side] if before else 0
    ceiling = (after.i1, after.j1)[side] if after else len(text)
    up = 0
    while start - up > floor and text[start - up - 1] == text[end - up - 1]:
        up += 1
    down = 0
    while end + down < ceiling and text[start + down] == text[end + down]:
        down += 1

    def untidiness(shift: int) -> tuple[int, bool, int]:
        first = start + shift
        touched = runs(names, text, first, end + shift)
        whole = first == 0 or names[first - 1] != names[first] or not text[first - 1].strip()
        return len(touched), not whole, abs(shift)

    best = min(range(-up, down + 1), key=untidiness)
    return _Span(i1 + best, i2 + best, j1 + best, j2 + best)


def _paired(old: Sequence[Run], new: Sequence[Run], span: _Span) -> list[tuple[Run, Run]]:
    """Pair the runs of both sides by owner; what has no partner is paired with an empty run."""
    pairs: list[tuple[Run, Run]] = []
    matcher = difflib.SequenceMatcher(None, [run.owner for run in old], [run.owner for run in new], autojunk=False)
    i, j = span.i1, span.j1
    for _, a1, a2, b1, b2 in matcher.get_opcodes():
        for step in range(max(a2 - a1, b2 - b1)):
            a = old[a1 + step] if a1 + step < a2 else None
            b = new[b1 + step] if b1 + step < b2 else None
            owner = b.owner if b else a.owner if a else ""
            a = a or Run(owner, i, i)
            b = b or Run(owner, j, j)
            pairs.append((a, b))
            i, j = a.end, b.end
    return pairs

"""Hunks as SEARCH/REPLACE blocks that are certain to apply.

A hunk knows line numbers, a block must be found by its text: every SEARCH is widened with the lines
around it until it occurs exactly once in the text as it will be when its turn comes. Hunks that come
to touch each other in doing so become one block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.edits import Block, find_span, split_lines
from harness.gold.hunks import Hunk


@dataclass(frozen=True)
class _Region:
    """Lines `start` to `end` of the old text, with the hunks inside."""

    start: int
    end: int
    hunks: tuple[Hunk, ...]

    def replacement(self, lines: Sequence[str]) -> list[str]:
        """Return the lines that stand here afterwards."""
        result: list[str] = []
        at = self.start
        for hunk in self.hunks:
            result += [*lines[at : hunk.start], *hunk.lines]
            at = hunk.end
        return [*result, *lines[at : self.end]]


def blocks_for(text: str, hunks: Sequence[Hunk]) -> tuple[Block, ...]:
    """Return blocks that change `text` as these hunks of it do; no hunks, no blocks."""
    if not hunks:
        return ()
    lines = split_lines(text)[0]
    if not lines:
        return (Block((), tuple(line for hunk in hunks for line in hunk.lines)),)
    regions = _joined([_Region(hunk.start, hunk.end, (hunk,)) for hunk in hunks])
    states = [lines]  # the text before region k, one per region that is settled
    at = 0
    while at < len(regions):
        region, state = regions[at], states[at]
        shift = len(state) - len(lines)  # everything settled lies above
        search = lines[region.start : region.end]
        whole = len(search) == len(lines)
        if whole or (any(line.strip() for line in search) and len(find_span(state, search)) == 1):
            first, last = region.start + shift, region.end + shift
            states.append([*state[:first], *region.replacement(lines), *state[last:]])
            at += 1
            continue
        wider = _Region(max(region.start - 1, 0), min(region.end + 1, len(lines)), region.hunks)
        count = len(regions)
        regions = _joined([*regions[:at], wider, *regions[at + 1 :]])
        if at and len(regions) < count and regions[at - 1].end >= wider.start:
            at -= 1  # it grew into the block above, which has to be settled again
            del states[at + 1 :]
    return tuple(Block(tuple(lines[region.start : region.end]), tuple(region.replacement(lines))) for region in regions)


def _joined(regions: Sequence[_Region]) -> list[_Region]:
    joined: list[_Region] = []
    for region in regions:
        if joined and region.start <= joined[-1].end:
            last = joined[-1]
            joined[-1] = _Region(last.start, max(last.end, region.end), (*last.hunks, *region.hunks))
        else:
            joined.append(region)
    return joined

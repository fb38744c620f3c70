"""The ContextPackage: what the planner and the coder get to see, and why.

Invariant: items are whole symbols or whole files, never cut; they stand in a fixed order (path,
then first line), so that the same decisions always give the same prompt bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class ContextItem:
    """One whole symbol, or one whole file when `symbol` is ""."""

    path: str
    symbol: str
    tier: str
    """primary or supporting."""
    start: int
    """First line, 1-based."""
    end: int
    """Last line, inclusive."""
    text: str


@dataclass(frozen=True)
class Decision:
    """One retrieval decision, kept as evidence."""

    stage: str
    """Which stage decided: scope, precision or context."""
    path: str
    symbol: str
    """"" when the decision is about the file."""
    verdict: str
    """relevant/supporting/irrelevant, primary/supporting/excluded, or included/omitted."""
    score: float
    reason: str


@dataclass(frozen=True)
class ContextPackage:
    """The curated context of one attempt."""

    items: tuple[ContextItem, ...]
    decisions: tuple[Decision, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """Files with at least one item, in order."""
        return tuple(dict.fromkeys(item.path for item in self.items))

    def render(self) -> str:
        """Return the text that goes into prompts."""
        blocks = []
        for item in self.items:
            what = item.symbol or "whole file"
            blocks.append(f"### {item.path}:{item.start}-{item.end} ({what}, {item.tier})\n```python\n{item.text}\n```")
        return "\n\n".join(blocks)

    @property
    def sha256(self) -> str:
        """Digest of the rendered text: two attempts with the same digest saw the same context."""
        return hashlib.sha256(self.render().encode()).hexdigest()

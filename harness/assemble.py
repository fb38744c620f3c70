"""Build the ContextPackage from the decisions of scope and precision.

Whole symbols only. Primary symbols go in first; supporting ones as far as the budget reaches; what
stays out is a decision like any other, with its reason. Nothing is cut to fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.context import ContextItem, ContextPackage, Decision
from harness.index.repo import RepoIndex
from harness.index.syntax import source_lines, source_text
from harness.ports import TokenCounter
from harness.stages import SymbolCard
from harness.tree import Tree

BUDGET_TOKENS = 20_000
"""Context tokens in a planning prompt; the window also holds the task, the diff and the answer."""
WHOLE_FILE_LINES = 120
"""A file up to this length is shown whole instead of symbol by symbol."""


def assemble(
    tree: Tree, index: RepoIndex, cards: Sequence[SymbolCard], *, tiers: Mapping[tuple[str, str], str],
    made: Iterable[Decision], count: TokenCounter,
) -> ContextPackage:  # fmt: skip
    """Return the package of everything judged primary or supporting, within the budget."""
    decisions = list(made)
    chosen: list[ContextItem] = []
    spent = 0
    texts, unreadable = _texts(tree, [card.path for card in cards if tiers[card.path, card.symbol] != "excluded"])
    for path, problem in unreadable.items():
        score = max(card.score for card in cards if card.path == path)
        decisions.append(Decision("context", path, "", "omitted", score, problem))
    for item, score in _wanted(texts, index, [card for card in cards if card.path in texts], tiers):
        cost = count(item.text)
        if spent + cost > BUDGET_TOKENS:
            reason = f"{cost} tokens do not fit in what is left of {BUDGET_TOKENS}"
            decisions.append(Decision("context", item.path, item.symbol, "omitted", score, reason))
            continue
        spent += cost
        chosen.append(item)
        decisions.append(Decision("context", item.path, item.symbol, "included", score, f"{item.tier}, {cost} tokens"))
    chosen.sort(key=lambda item: (item.path, item.start, item.symbol))
    return ContextPackage(tuple(chosen), tuple(decisions))


def _texts(tree: Tree, paths: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the texts by path, decoded as Python would, and why the others have none."""
    texts: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    for path in dict.fromkeys(paths):
        try:
            texts[path] = source_text(tree.read(path))
        except ValueError as err:
            unreadable[path] = str(err)
    return texts, unreadable


def _wanted(
    texts: Mapping[str, str], index: RepoIndex, cards: Sequence[SymbolCard], tiers: Mapping[tuple[str, str], str]
) -> list[tuple[ContextItem, float]]:
    """Return the items in the order in which they may spend the budget."""
    items: dict[tuple[str, str], tuple[ContextItem, float]] = {}
    for tier in ("primary", "supporting"):
        for card in sorted(cards, key=lambda card: (-card.score, card.path, card.symbol)):
            if tiers[card.path, card.symbol] != tier or (card.path, "") in items:
                continue
            item = _item(texts[card.path], index, card, tier)
            if item.symbol == "":
                for key in [key for key in items if key[0] == card.path]:
                    del items[key]
            items[card.path, item.symbol] = (item, card.score)
    return [entry for entry in items.values() if not _inside_another(entry[0], items)]


def _item(text: str, index: RepoIndex, card: SymbolCard, tier: str) -> ContextItem:
    lines = source_lines(text)
    symbol = next((s for s in index.modules[card.path].symbols if s.qualname == card.symbol), None)
    if len(lines) <= WHOLE_FILE_LINES:
        return ContextItem(card.path, "", tier, 1, max(len(lines), 1), "\n".join(lines))
    if symbol is None:  # module level of a long file: what stands before the first function or class
        first = min((s.start for s in index.modules[card.path].symbols if s.kind != "constant"), default=len(lines) + 1)
        return ContextItem(card.path, "(module)", tier, 1, max(first - 1, 1), "\n".join(lines[: first - 1]))
    return ContextItem(
        card.path, card.symbol, tier, symbol.start, symbol.end, "\n".join(lines[symbol.start - 1 : symbol.end])
    )


def _inside_another(item: ContextItem, items: Mapping[tuple[str, str], tuple[ContextItem, float]]) -> bool:
    """Return whether the class around a method is shown already."""
    outer = item.symbol.rpartition(".")[0]
    return bool(outer) and (item.path, outer) in items

"""Words for what a unit changes: names and kinds of change, never the new code itself.

A planner has to say what is to be done in terms that the coder can act on; names that appear or
disappear are those terms. Code is the coder's answer, so none of it is quoted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from harness.gold.hunks import facts_of
from harness.gold.units import Unit, imported_names
from harness.index.facts import Symbol

NAMES_SHOWN = 4
DESCRIPTION_CHARS = 1_500
_KEYWORD = re.compile(r"^\s*(if|elif|else|for|while|try|except|finally|raise|return|yield|with|assert|del)\b")


def describe(units: Sequence[Unit]) -> str:
    """Return one sentence per unit for a step that covers these units of one file."""
    return shortened([_sentence(unit) for unit in units])


def shortened(sentences: Sequence[str]) -> str:
    """Return the sentences that fit a description, and how many more there are."""
    shown: list[str] = []
    for sentence in sentences:
        if shown and sum(len(item) + 1 for item in shown) + len(sentence) > DESCRIPTION_CHARS:
            return f"{' '.join(shown)} {len(sentences) - len(shown)} more changes."
        shown.append(sentence)
    return " ".join(shown)


def is_new(unit: Unit) -> bool:
    """Return whether a unit brings a symbol that the parent does not have."""
    if unit.change.before is None:
        return bool(facts_of(unit.change.after or "").symbols)
    return bool(unit.symbol) and _find(unit.change.before, unit.symbol) is None and not _old_name(unit)


def _sentence(unit: Unit) -> str:
    change = unit.change
    if change.before is None:
        return f"Create `{change.path}`{_defining(change.after or '')}."
    if change.after is None:
        return f"Delete `{change.path}`{_defining(change.before)}."
    if not change.path.endswith((".py", ".pyi")):
        return f"Change `{PurePosixPath(change.path).name}`."
    if not unit.symbol:
        return f"Change module-level code of `{change.path}`{_tail([_listed('import', imported_names(unit))])}."
    before, after = _find(change.before, _old_name(unit) or unit.symbol), _find(change.after, unit.symbol)
    return _symbol_sentence(unit, before, after)


def _symbol_sentence(unit: Unit, before: Symbol | None, after: Symbol | None) -> str:
    old, new = _own_names(unit.change.before or "", before), _own_names(unit.change.after or "", after)
    if before is None:
        return f"Add {after.kind if after else 'code'} `{unit.symbol}`{_tail([_listed('using', new)])}."
    if after is None:
        return f"Remove {before.kind} `{unit.symbol}`."
    verb = f"Rename `{_old_name(unit)}` to `{unit.symbol}`" if _old_name(unit) else f"Change `{unit.symbol}`"
    added, dropped = _statements(unit)
    details = [
        "new signature" if after.signature != before.signature and after.kind != "constant" else "",
        "new docstring" if after.doc != before.doc else "",
        _listed("use", new - old),
        _listed("no longer use", old - new),
        _listed("add", added),
        _listed("drop", dropped),
    ]
    return f"{verb}{_tail(details)}."


def _own_names(text: str, symbol: Symbol | None) -> frozenset[str]:
    """Return the names of the module, or of the object itself, that a symbol refers to outside of its methods."""
    if symbol is None:
        return frozenset()
    facts = facts_of(text)
    known = {item.qualname for item in facts.symbols} | {item.binds for item in facts.imports} | {"self", "cls"}
    inner = [item.references for item in facts.symbols if item.qualname.startswith(f"{symbol.qualname}.")]
    own = symbol.references.difference(*inner)
    return frozenset(name for name in own if name.partition(".")[0] in known)


def _statements(unit: Unit) -> tuple[set[str], set[str]]:
    """Return the kinds of statement that a unit has more of, and fewer of, than before."""
    lines = (unit.change.before or "").split("\n")
    old = Counter(
        word for hunk in unit.hunks for line in lines[hunk.start : hunk.end] for word in _KEYWORD.findall(line)
    )
    new = Counter(word for hunk in unit.hunks for line in hunk.lines for word in _KEYWORD.findall(line))
    return set(new - old), set(old - new)


def _old_name(unit: Unit) -> str:
    return next((hunk.was for hunk in unit.hunks if hunk.was not in {unit.symbol, ""}), "")


def _find(text: str, qualname: str) -> Symbol | None:
    return next((symbol for symbol in facts_of(text).symbols if symbol.qualname == qualname), None)


def _defining(text: str) -> str:
    names = [symbol.qualname for symbol in facts_of(text).symbols if "." not in symbol.qualname]
    return f", which defines {_quoted(dict.fromkeys(names))}" if names else ""


def _listed(verb: str, names: Iterable[str]) -> str:
    words = sorted(name for name in names if name not in {"self", "cls"})
    return f"{verb} {_quoted(words)}" if words else ""


def _quoted(names: Iterable[str]) -> str:
    words = list(names)
    shown = ", ".join(f"`{word}`" for word in words[:NAMES_SHOWN])
    return f"{shown} and {len(words) - NAMES_SHOWN} more" if len(words) > NAMES_SHOWN else shown


def _tail(details: Iterable[str]) -> str:
    words = "; ".join(detail for detail in details if detail)
    return f": {words}" if words else ""

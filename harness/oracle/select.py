"""From what the recorder saw to the calls of an oracle: which are kept, and what they need to be made.

Pure. A call is worth comparing when a changed function ran during it. It brings along every earlier
call on the objects it uses, in order, because those made their state. Tests take turns, fail-to-pass
tests first, so that one test with a thousand parameters does not fill the recording.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.grade import Required
from harness.oracle.recording import Call, references

MOST_COMPARED = 150
MOST_PER_FUNCTION = 30
MOST_PER_TEST = 20
MOST_NEEDED = 60
MOST_CALLS = 500
MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Seen:
    """One entry call as the recorder saw it."""

    call: Call
    function: str
    """Where the function stands: path and first line."""
    touched: bool
    """Whether a changed function ran during the call."""

    @property
    def text(self) -> str:
        """What is asked, the same for the same question."""
        return json.dumps([self.call.do["op"], self.call.do], sort_keys=True)


def read_seen(records: Iterable[Mapping[str, Any]], required: Required) -> list[Seen]:
    """Return the entry calls of required tests that passed, in the order in which they were made."""
    rows = list(records)
    passed = {row["id"] for row in rows if row.get("t") == "test" and row.get("passed")}
    wanted = passed & (required.f2p | required.p2p)
    found: list[Seen] = []
    for row in rows:
        if row.get("t") == "calls" and row.get("test") in wanted:
            found += [
                Seen(Call(item["id"], item["do"], item["outcome"], row["test"]), item["fn"], bool(item["touched"]))
                for item in row["calls"]
            ]
    return sorted(found, key=lambda seen: seen.call.id)


def chosen(seen: Sequence[Seen], required: Required) -> tuple[Call, ...]:
    """Return the calls to keep, with an expected outcome where it is to be compared."""
    needs = _Needs(seen)
    kept: set[int] = set()
    compared: set[int] = set()
    asked: set[str] = set()
    per_function: dict[str, int] = {}
    per_test: dict[str, int] = {}
    size = 0
    for item in _in_turns(seen, required):
        if len(compared) >= MOST_COMPARED:
            break
        needed = needs.of(item.call)
        if needed is None or item.text in asked or per_function.get(item.function, 0) >= MOST_PER_FUNCTION:
            continue
        fresh = (needed | {item.call.id}) - kept
        grown = size + sum(needs.bytes(number) for number in fresh)
        if per_test.get(item.call.test, 0) >= MOST_PER_TEST or len(kept | fresh) > MOST_CALLS or grown > MOST_BYTES:
            continue
        size, kept = grown, kept | fresh
        compared.add(item.call.id)
        if not needed:
            asked.add(item.text)
        per_function[item.function] = per_function.get(item.function, 0) + 1
        per_test[item.call.test] = per_test.get(item.call.test, 0) + 1
    return tuple(
        item.call if item.call.id in compared else replace(item.call, expected=None)
        for item in seen
        if item.call.id in kept
    )


def without(calls: Sequence[Call], unstable: Iterable[int]) -> tuple[Call, ...]:
    """Return the calls with some no longer compared, and without those that nothing needs any more."""
    dropped = set(unstable)
    left = [replace(call, expected=None) if call.id in dropped else call for call in calls]
    needs = _Needs([Seen(call, "", touched=True) for call in left])
    kept: set[int] = set()
    for call in left:
        if call.expected is not None:
            kept |= {call.id} | (needs.of(call, most=MOST_CALLS) or set())
    return tuple(call for call in left if call.id in kept)


def shapes_of(calls: Iterable[Call]) -> dict[str, tuple[str, ...]]:
    """Return the fields to read from objects of each class that an expected value holds."""
    found: dict[str, set[str]] = {}
    for call in calls:
        _collect(call.expected, found)
    return {name: tuple(sorted(fields)) for name, fields in sorted(found.items()) if name and fields}


def nameless_fields(call: Call) -> tuple[str, ...]:
    """Return the attributes of expected objects whose class only the solution knows."""
    found: dict[str, set[str]] = {}
    _collect(call.expected, found)
    return tuple(sorted(found.get("", ())))


def _collect(document: object, found: dict[str, set[str]]) -> None:
    """Gather the fields of objects by the last name of their class, "" where they have none."""
    if isinstance(document, list):
        for item in document:
            _collect(item, found)
    elif isinstance(document, dict):
        if document.get("t") == "object":
            fields = found.setdefault(str(document.get("c", "")).rpartition(":")[2], set())
            fields.update(str(row[0]) for row in document["v"])
        for item in document.values():
            _collect(item, found)


class _Needs:
    """Which earlier calls each call rests on."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        self.by_id = {item.call.id: item.call for item in seen}
        self.users: dict[int, list[int]] = {}
        """Call to the calls that use its result, in order."""
        for item in seen:
            for number in set(references(item.call.do)):
                self.users.setdefault(number, []).append(item.call.id)

    def of(self, call: Call, *, most: int = MOST_NEEDED) -> set[int] | None:
        """Return the ids of the calls that have to be made before this one; None when that cannot be."""
        needed: set[int] = set()
        waiting = [(number, call.id) for number in references(call.do)]
        while waiting:
            number, before = waiting.pop()
            if number not in self.by_id or len(needed) > most:
                return None
            on_it = [number, *(user for user in self.users.get(number, ()) if user < before)]
            for other in on_it:
                if other not in needed and other != call.id:
                    needed.add(other)
                    waiting += [(ref, other) for ref in references(self.by_id[other].do)]
        return needed

    def bytes(self, number: int) -> int:
        """Return the size of a call's text."""
        call = self.by_id[number]
        return len(json.dumps([call.do, call.expected]))


def _in_turns(seen: Sequence[Seen], required: Required) -> list[Seen]:
    """Return the calls worth comparing: one of each test function at a time, fail-to-pass tests first."""
    turns: dict[tuple[bool, str], int] = {}
    placed: list[tuple[bool, int, int, Seen]] = []
    for item in seen:
        if not item.touched:
            continue
        late = item.call.test not in required.f2p
        group = (late, item.call.test.partition("[")[0])
        turns[group] = turns.get(group, 0) + 1
        placed.append((late, turns[group], item.call.id, item))
    return [item for *_, item in sorted(placed, key=lambda row: row[:3])]

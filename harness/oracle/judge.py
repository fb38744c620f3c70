"""Whether a candidate answers as the true solution does: a pure comparison of two sets of documents.

Exact in type and value, order of dictionaries and sets apart. What may differ is what tests cannot rely
on: the last bits of a number and whether it is written with a point, the text of an exception and a
subclass of it, a class that only the solution knows (made empty by `harness/oracle/contract.py`), a
subclass of the expected class, built-in ones included. A reply that is not there disagrees.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.grade import CRASH_SIGNALS, Grade, Verdict
from harness.oracle.recording import Call, Document, Evidence, Recording, Replies, recording_from, replies_from
from harness.oracle.wording import call_text, outcome_text

_UNORDERED = {"set", "frozenset"}
_OBJECTS = {"object", "exception"}
_MEMBERS = {"enum", "flag"}
RELATIVE, ABSOLUTE = 1e-12, 1e-12
"""How far floating point numbers may be apart: more than sums in another order differ by, less than the clock moves
between two replays, so that times are not taken for constants."""


@dataclass(frozen=True)
class OracleVerdict:
    """How the replies compare with the recording."""

    agreed: int
    disagreed: int
    missing: int
    """Compared calls without a reply; they disagree as well."""
    first: str
    """The first difference in words, or ""."""

    @property
    def agrees(self) -> bool:
        """Whether every compared call came out as on the true solution."""
        return not self.disagreed and not self.missing

    @property
    def reason(self) -> str:
        """One sentence for the verdict of an attempt."""
        if self.agrees:
            return f"{self.agreed} recorded calls come out as on the solution"
        return f"the tests pass, but outside of them {self.first}"


def confirmed(judged: Grade, evidence: Evidence | None) -> Grade:
    """Return an attempt's verdict with the oracle's beside it: RESOLVED needs both.

    A disagreement is TAMPERED. It may be an honest solution that differs where no test looks; it is kept
    for review either way, and is neither a good example nor a bad one.
    """
    if judged.verdict is not Verdict.RESOLVED or evidence is None:
        return judged
    recording, replies = recording_from(evidence.recording), replies_from(evidence.replies)
    verdict = judge(recording, replies)
    if verdict.agrees:
        return replace(judged, reason=f"{judged.reason}, and {verdict.reason}")
    is_its_doing = replies.returncode >= 0 or -replies.returncode in CRASH_SIGNALS
    if verdict.disagreed or is_its_doing or replies.signal or replies.out_of_memory:
        return replace(judged, verdict=Verdict.TAMPERED, reason=verdict.reason)
    if replies.timed_out:
        return replace(judged, verdict=Verdict.TIMEOUT, reason=verdict.reason)
    return replace(judged, verdict=Verdict.ENV_BROKEN, reason=verdict.reason)


def judge(recording: Recording, replies: Replies) -> OracleVerdict:
    """Compare what a tree answered with what the true solution answers."""
    agreed = disagreed = missing = 0
    first = ""
    for call in recording.checked:
        got = replies.outcomes.get(call.id)
        if got is None:
            missing += 1
            first = first or f"{call_text(call.do, recording)} gave no answer: {_why_nothing(replies)}"
        elif agrees(call, got):
            agreed += 1
        else:
            disagreed += 1
            first = first or _difference(call, got, recording)
    if replies.tampering and not missing and not disagreed:
        missing, first = 1, f"the replay was interfered with: {replies.tampering}"
    return OracleVerdict(agreed, disagreed, missing, first)


def agrees(call: Call, got: Mapping[str, Any]) -> bool:
    """Return whether an outcome is the expected one; what is no outcome at all is not."""
    try:
        return call.expected is not None and same_outcome(call.expected, got)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, RecursionError):
        return False


def same_outcome(expected: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    """Return whether one outcome stands for the other."""
    if "raised" in expected:
        return "raised" in got and _is_raised(expected["raised"] or {}, got["raised"])
    if "value" not in expected or "value" not in got:
        return False
    if "self" in expected and not same(expected["self"], got.get("self")):
        return False
    return same(expected["value"], got["value"]) and _same_changes(expected, got)


def _is_raised(wanted: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    """Return whether an exception is of the expected class, or of one that the tests accept in its place."""
    lineage = got.get("mro", ())
    if not wanted.get("c") or _last(wanted["c"]) in lineage:
        return True
    return any(name.rpartition(".")[2] in wanted.get("or", ()) for name in lineage)


def _same_changes(expected: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    unread = {str(place) for place in expected.get("unread", ())}
    rows = ({str(place): value for place, value in said.get("changed", ())} for said in (expected, got))
    wanted, found = ({place: value for place, value in said.items() if place not in unread} for said in rows)
    return wanted.keys() == found.keys() and all(same(value, found[place]) for place, value in wanted.items())


def same(expected: Document, got: Document) -> bool:
    """Return whether a value stands for the expected one, as far as the expected one says anything."""
    wanted = _number(expected)
    if wanted is not None:
        found = _number(_content(got))
        return found is not None and _close(wanted, found)
    if not isinstance(expected, dict):
        got = _content(got)
        return type(expected) is type(got) and expected == got
    if expected["t"] == "opaque":
        return not expected["c"] or _is_a(expected["c"], got)
    if expected["t"] in _OBJECTS:
        return _same_object(expected, got)
    got = got if expected["t"] in _MEMBERS else _content(got)
    return isinstance(got, dict) and expected["t"] == got.get("t") and _same_content(expected, got)


def _content(document: Document) -> Document:
    """Return what an object of a subclass of a built-in class holds; another document as it is."""
    while isinstance(document, dict) and "b" in document:
        document = document["b"]
    return document


def _number(document: Document) -> int | float | None:
    """Return the value of a whole or floating point number; None for others, truth values among them."""
    if isinstance(document, int) and not isinstance(document, bool):
        return document
    if not isinstance(document, dict) or document.get("t") not in {"int", "float"}:
        return None
    text = str(document["v"])
    if document["t"] == "int":
        return int(text, 16)
    return float(text) if text in {"nan", "inf", "-inf"} else float.fromhex(text)


def _close(wanted: float, found: float) -> bool:
    """Return whether tests can hardly tell two numbers apart: the last bits depend on the order of operations."""
    if isinstance(wanted, int) and isinstance(found, int):
        return wanted == found
    try:
        return math.isclose(wanted, found, rel_tol=RELATIVE, abs_tol=ABSOLUTE) or (wanted != wanted and found != found)  # noqa: PLR0124 - not a number
    except OverflowError:
        return wanted == found


def _same_content(expected: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    tag = expected["t"]
    if tag in _MEMBERS:
        is_member = (_last(expected["c"]), expected["v"]) == (_last(got["c"]), got["v"])
        return is_member and ("w" not in expected or same(expected["w"], got.get("w")))
    if tag == "name":
        return _last(expected["v"]) == _last(got["v"])
    if tag == "dict":
        return _same_pairs(expected, got)
    if tag in _UNORDERED:
        return _same_members(expected["v"], got["v"])
    if isinstance(expected["v"], list):
        return _same_items(expected["v"], got["v"]) and _rest(expected) == _rest(got)
    return expected == got


def _same_object(expected: Mapping[str, Any], got: Document) -> bool:
    if not _is_a(expected["c"], got):
        return False
    if expected["t"] == "exception":
        return isinstance(got, dict) and got.get("t") == "exception"
    if "b" in expected and not same(expected["b"], got):
        return False
    fields = _fields(got)
    return all(name in fields and same(value, fields[name]) for name, _, value in expected["v"])


def _fields(got: Document) -> dict[str, Document]:
    """Return what was read from an object; a member of an enum has a value."""
    if not isinstance(got, dict):
        return {}
    if got.get("t") == "object":
        return {row[0]: row[2] for row in got["v"]}
    return {"value": got["w"]} if got.get("t") in _MEMBERS and "w" in got else {}


def _is_a(name: str, got: Document) -> bool:
    """Return whether an object is of the class with this name, or of a subclass; "" is any class."""
    return not name or (isinstance(got, dict) and _last(name) in got.get("mro", ()))


def _same_items(expected: list[Any], got: object) -> bool:
    if not isinstance(got, list) or len(expected) != len(got):
        return False
    return all(same(a, b) for a, b in zip(expected, got, strict=True))


def _same_members(expected: list[Any], got: list[Any]) -> bool:
    left = list(got)
    for item in expected:
        at = next((at for at, other in enumerate(left) if same(item, other)), None)
        if at is None:
            return False
        del left[at]
    return not left


def _same_pairs(expected: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    if expected["k"] == got["k"] == "OrderedDict":
        return _same_items(expected["v"], got["v"])
    if len(expected["v"]) != len(got["v"]):
        return False
    found = {_key(key): value for key, value in got["v"]}
    return all(_key(key) in found and same(value, found[_key(key)]) for key, value in expected["v"])


def _key(document: Document) -> str:
    return json.dumps(document, sort_keys=True)


def _rest(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in {"v", "mro"}}


def _last(name: str) -> str:
    return name.rpartition(":")[2]


def common(call: Call, got: Mapping[str, Any]) -> Call:
    """Return a call without the attributes of expected objects that came out otherwise: they do not last."""
    expected = call.expected
    if expected is None or "value" not in expected or "value" not in got or agrees(call, got):
        return call
    made = {**expected, "value": _shared(expected["value"], got["value"])}
    if "self" in expected:
        made["self"] = _shared(expected["self"], got.get("self"))
        if made["self"].get("t") != "object":
            del made["self"]
    return replace(call, expected=made)


def _shared(expected: Document, got: Document) -> Document:
    if not isinstance(expected, dict) or not isinstance(got, dict) or same(expected, got):
        return expected
    if expected["t"] == got.get("t") == "object":
        fields = {row[0]: row[2] for row in got["v"]}
        rows = [[name, name, _shared(value, fields[name])] for name, _, value in expected["v"] if name in fields]
        rows = [row for row in rows if same(row[2], fields[row[0]])]
        is_bare = not rows and "b" not in expected
        return {"t": "opaque", "c": expected["c"]} if is_bare else {**expected, "v": rows}
    if expected["t"] in {"list", "tuple"} and expected["t"] == got.get("t") and len(expected["v"]) == len(got["v"]):
        return {**expected, "v": [_shared(a, b) for a, b in zip(expected["v"], got["v"], strict=True)]}
    return expected


def _difference(call: Call, got: Mapping[str, Any], recording: Recording) -> str:
    expected = outcome_text(call.expected or {})
    try:
        found = outcome_text(got)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, RecursionError):
        found = "answers something that is no value"
    text = f"{call_text(call.do, recording)} {found} where the solution {expected}"
    return f"{text} of another kind" if found == expected else text


def _why_nothing(replies: Replies) -> str:
    if replies.timed_out:
        return f"the replay did not end within {replies.seconds:.0f} s"
    if replies.out_of_memory:
        return "the replay needed more memory than it may have"
    if replies.signal or replies.returncode < 0:
        return f"signal {replies.signal or -replies.returncode} ended the replay"
    return f"the replay ended with status {replies.returncode}"

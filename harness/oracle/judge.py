"""Whether a candidate answers as the true solution does: a pure comparison of two sets of documents.

Exact in type and value, order of dictionaries and sets apart. What may differ is what tests cannot rely
on: the text of an exception and a subclass of it, a class that only the solution knows (made empty by
`harness/oracle/contract.py`), a subclass of the expected class. A reply that is not there disagrees.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.grade import CRASH_SIGNALS, Grade, Verdict
from harness.oracle.recording import Call, Document, Evidence, Recording, Replies, recording_from, replies_from
from harness.oracle.wording import call_text, outcome_text

_UNORDERED = {"set", "frozenset"}
_OBJECTS = {"object", "named", "exception"}


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
    if verdict.disagreed or replies.returncode >= 0 or -replies.returncode in CRASH_SIGNALS:
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
        wanted = (expected["raised"] or {}).get("c", "")
        return "raised" in got and (not wanted or _last(wanted) in got["raised"].get("mro", ()))
    if "value" not in expected or "value" not in got:
        return False
    return _same(expected["value"], got["value"]) and _same_changes(expected["changed"], got.get("changed", []))


def _same_changes(expected: list[Any], got: list[Any]) -> bool:
    wanted, found = ({str(place): value for place, value in rows} for rows in (expected, got))
    return wanted.keys() == found.keys() and all(_same(value, found[place]) for place, value in wanted.items())


def _same(expected: Document, got: Document) -> bool:
    if not isinstance(expected, dict):
        return type(expected) is type(got) and expected == got
    if expected["t"] == "opaque":
        return not expected["c"] or _is_a(expected["c"], got)
    if not isinstance(got, dict):
        return False
    if expected["t"] in _OBJECTS:
        return _same_object(expected, got)
    return expected["t"] == got.get("t") and _same_content(expected, got)


def _same_content(expected: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    tag = expected["t"]
    if tag in {"enum", "flag"}:
        return (_last(expected["c"]), expected["v"]) == (_last(got["c"]), got["v"])
    if tag == "name":
        return _last(expected["v"]) == _last(got["v"])
    if tag == "dict":
        return _same_pairs(expected, got)
    if tag in _UNORDERED:
        return _same_members(expected["v"], got["v"])
    if isinstance(expected["v"], list):
        return _same_items(expected["v"], got["v"]) and _rest(expected) == _rest(got)
    return expected == got


def _same_object(expected: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    if got.get("t") not in _OBJECTS or not _is_a(expected["c"], got):
        return False
    if expected["t"] == "exception":
        return True
    if expected["t"] == "named":
        return got["t"] == "named" and _same_items(expected["v"], got["v"])
    fields = {row[0]: row[2] for row in got["v"]} if got["t"] == "object" else {}
    return all(name in fields and _same(value, fields[name]) for name, _, value in expected["v"])


def _is_a(name: str, got: Document) -> bool:
    """Return whether an object is of the class with this name, or of a subclass; "" is any class."""
    return not name or (isinstance(got, dict) and _last(name) in got.get("mro", ()))


def _same_items(expected: list[Any], got: object) -> bool:
    if not isinstance(got, list) or len(expected) != len(got):
        return False
    return all(_same(a, b) for a, b in zip(expected, got, strict=True))


def _same_members(expected: list[Any], got: list[Any]) -> bool:
    left = list(got)
    for item in expected:
        at = next((at for at, other in enumerate(left) if _same(item, other)), None)
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
    return all(_key(key) in found and _same(value, found[_key(key)]) for key, value in expected["v"])


def _key(document: Document) -> str:
    return json.dumps(document, sort_keys=True)


def _rest(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in {"v", "mro"}}


def _last(name: str) -> str:
    return name.rpartition(":")[2]


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
    if replies.returncode < 0:
        return f"signal {-replies.returncode} ended the replay"
    return f"the replay ended with status {replies.returncode}"

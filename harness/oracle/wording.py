"""Calls and outcomes in words, for the person who reads why an attempt did not count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.oracle.recording import Document, Recording

SHOWN_CHARS = 60
SHOWN_ITEMS = 6
ABSENT = {"t": "absent"}
"""What is read from an object that has no such attribute."""
_BRACKETS = {"list": "[]", "tuple": "()", "set": "{}", "frozenset": "{}", "deque": "[]"}


def call_text(do: Mapping[str, Any], recording: Recording, depth: int = 0) -> str:
    """Return a call as a reader would write it, receivers included."""
    name = str(do["name"]).rpartition(":")[2]
    words = [_short(value_text(item, recording, depth)) for item in do["args"]]
    words += [f"{key}={_short(value_text(item, recording, depth))}" for key, item in do.get("kwargs", ())]
    arguments = ", ".join(words)
    if do["op"] in {"call", "new", "operator"}:
        return f"{name}({arguments})"
    on = _short(value_text(do["on"], recording, depth))
    if do["op"] == "get":
        return f"{on}.{name}"
    return f"{on}.{name} = {arguments}" if do["op"] == "set" else f"{on}.{name}({arguments})"


def outcome_text(outcome: Mapping[str, Any]) -> str:
    """Return what came of a call: gives 3, raises ValueError, does not end."""
    if "raised" in outcome:
        name = str((outcome["raised"] or {}).get("c", "")).rpartition(":")[2]
        return f"raises {name or 'an exception'}"
    if "timeout" in outcome:
        return "does not end in time"
    if "unready" in outcome:
        return f"cannot be called ({outcome['unready']})"
    text = f"gives {_short(value_text(outcome.get('value'), None))}"
    for place, value in outcome.get("changed", ()):
        which = f"argument {place + 1}" if isinstance(place, int) else str(place)
        text += f" and leaves {which} as {_short(value_text(value, None))}"
    if "self" in outcome:
        text += f" and leaves the object as {_short(value_text(outcome['self'], None))}"
    return text


def value_text(document: Document, recording: Recording | None, depth: int = 0) -> str:
    """Return a document as something close to Python."""
    if not isinstance(document, dict):
        return repr(document)
    tag, value = str(document["t"]), document.get("v")
    known = _WORDS.get(tag)
    if known is not None:
        return known(document, recording, depth)
    if tag in _BRACKETS:
        brackets = _BRACKETS[tag]
        return f"{brackets[0]}{_listed(document['v'], recording, depth)}{brackets[1]}"
    return str(value).rpartition(":")[2] if tag in {"name", "module"} else f"{tag}({value})"


def _mapping(document: Mapping[str, Any], recording: Recording | None, depth: int) -> str:
    rows = document["v"]
    pairs = [f"{value_text(k, recording, depth)}: {value_text(v, recording, depth)}" for k, v in rows[:SHOWN_ITEMS]]
    return "{" + ", ".join([*pairs, *(["..."] if len(rows) > SHOWN_ITEMS else [])]) + "}"


def _float(document: Mapping[str, Any], _recording: Recording | None, _depth: int) -> str:
    text = str(document["v"])
    return text if text in {"nan", "inf", "-inf"} else repr(float.fromhex(text))


def _object(document: Mapping[str, Any], recording: Recording | None, depth: int) -> str:
    name = str(document["c"]).rpartition(":")[2] or "object"
    if document["t"] == "opaque":
        return f"an object of {(document.get('mro') or [name])[0]}"
    if document["t"] in {"enum", "flag"}:
        return f"{name}.{document['v']}"
    if document["t"] == "object":
        words = [f"{row[0]}={value_text(row[2], recording, depth)}" for row in document["v"] if row[2] != ABSENT]
        words = [*([value_text(document["b"], recording, depth)] if "b" in document else []), *words]
        return f"{name}({', '.join(words[:SHOWN_ITEMS])})"
    return f"{name}({_listed(document['v'], recording, depth)})"


def _earlier(document: Mapping[str, Any], recording: Recording | None, depth: int) -> str:
    path = document["v"]
    call = next((call for call in recording.calls if call.id == path[0]), None) if recording else None
    if call is None or depth > 1:
        return "..."
    text = call_text(call.do, recording, depth + 1) if recording else "..."
    return text + "".join(f"[{step!r}]" for step in path[1:])


def _listed(items: list[Any], recording: Recording | None, depth: int) -> str:
    words = [value_text(item, recording, depth) for item in items[:SHOWN_ITEMS]]
    return ", ".join([*words, *(["..."] if len(items) > SHOWN_ITEMS else [])])


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 3]}..."


_WORDS: Mapping[str, Callable[[Mapping[str, Any], Recording | None, int], str]] = {
    "ref": _earlier, "dict": _mapping, "float": _float,
    **dict.fromkeys(("object", "named", "exception", "opaque", "enum", "flag"), _object),
}  # fmt: skip

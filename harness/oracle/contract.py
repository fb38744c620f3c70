"""What of a recorded outcome tests can rely on: class names that others know, exceptions that tests name.

A class that only the solution has, and that no test mentions, is the solution's own business: its name
is taken out of the expected documents, and another solution may return something else there. An
exception is expected by the nearest class of its line that a test names, or else that others know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.oracle.functions import class_names
from harness.oracle.recording import Document
from harness.oracle.spoken import Spoken, spoken
from harness.tree import Tree

_ANY = {"Exception", "BaseException", "object"}


@dataclass(frozen=True)
class Contract:
    """Which class names are known outside of a solution."""

    private: frozenset[str]
    """Qualified names of classes that the commit adds and no test says."""
    said: frozenset[str]
    """Names that test files say."""
    accepted: tuple[frozenset[str], ...] = ()
    """Classes of exceptions that tests accept in each other's place."""

    def outcome(self, outcome: Mapping[str, Any]) -> dict[str, Any]:
        """Return an outcome with what no test can rely on taken out."""
        if "raised" in outcome:
            return {"raised": self._exception(outcome["raised"])}
        if "value" not in outcome:
            return dict(outcome)
        changed = [[place, self.document(value)] for place, value in outcome["changed"]]
        made = {"value": self.document(outcome["value"]), "changed": changed}
        if "self" in outcome and (state := self.document(outcome["self"])).get("t") == "object":
            made["self"] = state
        if "unread" in outcome:
            made["unread"] = outcome["unread"]
        return made

    def document(self, document: Document) -> Document:
        """Return a document without the names of private classes."""
        if isinstance(document, list):
            return [self.document(item) for item in document]
        if not isinstance(document, dict):
            return document
        made = {name: self.document(item) for name, item in document.items() if name != "mro"}
        if "c" not in document:
            return made
        return self._object(made, self._class(document))

    def _object(self, made: dict[str, Any], known: str) -> Document:
        """Return the document of an object; one that is a number or a text to tests is only that."""
        is_member = made["t"] in {"enum", "flag"}
        if "b" in made and (_last(made["c"]) not in self.said if is_member else not known and not made["v"]):
            return made["b"]
        if is_member and not known and "w" in made:
            return {"t": "object", "c": "", "v": [["value", "value", made["w"]]]}
        if made["t"] == "opaque" or (not known and (is_member or made["t"] == "exception")):
            return {"t": "opaque", "c": known}
        return made | {"c": known}

    def _class(self, document: Mapping[str, Any]) -> str:
        """Return the class of an object if it is somebody else's business, else ""."""
        name = str(document["c"])
        module, _, qualname = name.partition(":")
        is_hidden = qualname in self.private or qualname.rpartition(".")[2].startswith("_") or "<" in qualname
        is_plain = document["t"] == "opaque" and module.partition(".")[0] in _STANDARD
        return "" if is_hidden or is_plain else name

    def _exception(self, raised: Mapping[str, Any]) -> dict[str, Any]:
        lineage = [str(name) for name in raised.get("mro", ())]
        said = next((name for name in lineage if _last(name) in self.said), None)
        known = next((name for name in lineage if name not in self.private), "")
        name = said or known
        if name in _ANY:
            return {"c": ""}
        others = {other for group in self.accepted if _last(name) in group for other in group} - {_last(name)}
        return {"c": name, "or": sorted(others)} if others else {"c": name}


def _last(name: str) -> str:
    """Return a class name without its module and the classes around it."""
    return str(name).rpartition(":")[2].rpartition(".")[2]


_STANDARD = {"builtins", "itertools", "functools", "collections", "types", "_io", "io", "weakref", "generator"}
"""Modules whose opaque objects (iterators, functions, files) stand for nothing that can be compared."""


def contract_of(parent: Tree, gold: Tree, words: Spoken | None = None) -> Contract:
    """Return what the tests of a commit can rely on; both trees hold the commit's tests."""
    words = words or spoken(gold)
    added = class_names(gold) - class_names(parent)
    private = frozenset(name for name in added if name.rpartition(".")[2] not in words.names)
    return Contract(private, words.names, words.accepted)

"""Facts about files, kept by the git blob id of their content.

Commits of one repository share almost all of their blobs, so indexing the next commit costs only
what changed. The memory part is bounded; the optional directory carries facts from one process
to the next. A cache never decides anything: a file in it that is damaged, or was written by another
format or another Python, is computed again and replaced.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from harness.durable import keep_cached
from harness.index.syntax import Import, ModuleFacts, Symbol, analyse, source_text
from harness.index.terms import count_terms

__all__ = ["FactsCache", "Import", "ModuleFacts", "Symbol", "analyse"]

FORMAT = f"2-{sys.version_info.major}.{sys.version_info.minor}"
"""Facts depend on the grammar of the Python that parsed, so its version is part of the format."""
MAX_ENTRIES = 20_000

V = TypeVar("V")


class _Recent(Generic[V]):
    """The most recently used values, by blob id."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._values: OrderedDict[str, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, blob: str) -> V | None:
        with self._lock:
            if blob not in self._values:
                return None
            self._values.move_to_end(blob)
            return self._values[blob]

    def put(self, blob: str, value: V) -> None:
        with self._lock:
            self._values[blob] = value
            self._values.move_to_end(blob)
            while len(self._values) > self._max_entries:
                self._values.popitem(last=False)


class FactsCache:
    """Facts and search terms by blob id; safe for use from several threads and processes."""

    def __init__(self, directory: Path | None = None, *, max_entries: int = MAX_ENTRIES) -> None:
        self.directory = directory
        self.hits = 0
        """Facts that were known, in memory or in the directory."""
        self.misses = 0
        """Facts that had to be computed."""
        self._facts: _Recent[ModuleFacts] = _Recent(max_entries)
        self._terms: _Recent[Counter[str]] = _Recent(max_entries)

    def get(self, blob: str, read: Callable[[str], bytes]) -> ModuleFacts:
        """Return the facts of a blob; `read` is called only when they are not known yet."""
        facts = self._facts.get(blob) or self._load(blob)
        if facts is not None:
            self.hits += 1
        else:
            self.misses += 1
            facts = _analyse_bytes(read(blob))
            self._save(blob, facts)
        self._facts.put(blob, facts)
        return facts

    def terms(self, blob: str, read: Callable[[str], bytes]) -> Counter[str]:
        """Return how often each search term occurs in a blob; not to be changed by the caller."""
        terms = self._terms.get(blob)
        if terms is None:
            terms = count_terms(_searchable(read(blob)))
            self._terms.put(blob, terms)
        return terms

    def _file(self, blob: str) -> Path | None:
        return self.directory / blob[:2] / f"{blob[2:]}.json" if self.directory else None

    def _load(self, blob: str) -> ModuleFacts | None:
        file = self._file(blob)
        if file is None:
            return None
        try:
            return _from_document(json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def _save(self, blob: str, facts: ModuleFacts) -> None:
        file = self._file(blob)
        if file is None:
            return
        keep_cached(file, _document(facts))


def _analyse_bytes(data: bytes) -> ModuleFacts:
    try:
        return analyse(source_text(data))
    except ValueError as err:
        return ModuleFacts(error=str(err)[:300])


def _searchable(data: bytes) -> str:
    try:
        return source_text(data)
    except ValueError:
        return data.decode("utf-8", "replace")


def _document(facts: ModuleFacts) -> bytes:
    doc = {
        "format": FORMAT,
        "symbols": [
            [s.qualname, s.kind, s.start, s.end, s.signature, s.doc, sorted(s.references)] for s in facts.symbols
        ],
        "imports": [[i.module, i.name, i.alias, i.level, i.line] for i in facts.imports],
        "references": sorted(facts.references),
        "doc": facts.doc,
        "error": facts.error,
    }
    return json.dumps(doc, separators=(",", ":")).encode()


def _from_document(doc: Mapping[str, Any]) -> ModuleFacts:
    if doc["format"] != FORMAT:
        raise ValueError(f"facts of format {doc['format']}")
    return ModuleFacts(
        symbols=tuple(_symbol(row) for row in doc["symbols"]),
        imports=tuple(Import(*row) for row in doc["imports"]),
        references=frozenset(doc["references"]),
        doc=doc["doc"],
        error=doc["error"],
    )


def _symbol(row: list[Any]) -> Symbol:
    qualname, kind, start, end, signature, doc, references = row
    return Symbol(qualname, kind, start, end, signature, doc, frozenset(references))

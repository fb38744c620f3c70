"""Symbols of chosen files, best first for a task.

Works on facts alone: a symbol is described by its name, signature, docstring line and the names it
uses. Each file also gets one card for its module-level code, because imports, `__all__` and other
statements outside any symbol change too. A symbol that occurs several times (overloads, property
setters) has one card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.index.repo import RepoIndex
from harness.index.syntax import Symbol
from harness.index.terms import terms
from harness.retrieval.query import Query, read_query
from harness.retrieval.signals import bm25, definitions
from harness.stages import SymbolCard

WEIGHTS = {"text": 1.0, "defines": 1.25, "qualified": 0.5, "size": 0.75, "kind": 1.25, "file": 0.5}
"""Set on real histories like those of the file ranking; neighbours in the call graph did not pay."""
KIND_PRIOR = {"module": 1.0, "function": 0.2, "method": 0.2}
"""A quarter of all changed symbols is module-level code: a change of code brings its imports along."""
NAME_REPEATS = 3
LINES_FOR_FULL_SIZE = 60
PLACES_TO_HALVE = 3
"""How many places further down the list a file counts half."""
REASONS = 3


@dataclass(frozen=True)
class _Document:
    """One symbol, or the module-level code of a file, as retrieval sees it."""

    path: str
    symbol: str
    kind: str
    signature: str
    terms: tuple[str, ...]
    lines: int


def rank_symbols(task: str, keywords: Sequence[str], index: RepoIndex, paths: Sequence[str]) -> tuple[SymbolCard, ...]:
    """Return a card for every symbol of `paths`, best first; scores lie in 0..1.

    `paths` comes best file first, as `rank_files` gives it: the place of its file counts for a symbol.
    """
    query = read_query(task, keywords)
    files = list(dict.fromkeys(paths))
    documents = [document for path in files for document in _documents(path, index)]
    signals = _signals(query, documents, {path: 1 / (1 + place / PLACES_TO_HALVE) for place, path in enumerate(files)})
    total = sum(WEIGHTS.values())
    cards = []
    for position, document in enumerate(documents):
        shares = {name: WEIGHTS[name] * values[position] / total for name, values in signals.items()}
        top = sorted((name for name in shares if shares[name] > 0), key=lambda name: (-shares[name], name))
        reasons = tuple(f"{name} {shares[name]:.3f}" for name in top[:REASONS])
        score = round(sum(shares.values()), 6)
        cards.append(SymbolCard(document.path, document.symbol, document.kind, document.signature, score, reasons))
    cards.sort(key=lambda card: (-card.score, card.path, card.symbol))
    return tuple(cards)


def _documents(path: str, index: RepoIndex) -> list[_Document]:
    facts = index.modules[path]
    by_name: dict[str, list[Symbol]] = {}
    for symbol in facts.symbols:
        by_name.setdefault(symbol.qualname, []).append(symbol)
    documents = [_document(path, symbols) for symbols in by_name.values()]
    module = index.module_name(path)
    imported = " ".join(f"{item.module} {item.name}" for item in facts.imports)
    described = f"module {module}: {facts.doc}" if facts.doc else f"module {module}"
    words = (*terms(module), *terms(facts.doc), *terms(imported))
    documents.append(_Document(path, "", "module", described, words, 1))
    return documents


def _document(path: str, symbols: Sequence[Symbol]) -> _Document:
    """Describe one symbol; of several definitions by one name the longest speaks for all."""
    main = max(symbols, key=lambda symbol: (symbol.end - symbol.start, -symbol.start))
    names = tuple(terms(main.qualname)) * NAME_REPEATS
    used = sorted({name for symbol in symbols for name in symbol.references})
    words = (*names, *terms(main.signature), *terms(main.doc), *terms("\n".join(used)))
    return _Document(path, main.qualname, main.kind, main.signature, words, main.end - main.start + 1)


def _signals(query: Query, documents: Sequence[_Document], file_prior: Mapping[str, float]) -> dict[str, list[float]]:
    return {
        "text": bm25([document.terms for document in documents], query.terms),
        "defines": definitions(query, [{document.symbol.rpartition(".")[2]} for document in documents]),
        "qualified": [float(_is_qualified(document, query)) for document in documents],
        "size": [min(document.lines / LINES_FOR_FULL_SIZE, 1.0) for document in documents],
        "kind": [_kind_prior(document, file_prior) for document in documents],
        "file": [file_prior[document.path] for document in documents],
    }


def _kind_prior(document: _Document, file_prior: Mapping[str, float]) -> float:
    """Return how likely this kind of symbol changes; the top of a file only as likely as its file."""
    prior = KIND_PRIOR.get(document.kind, 0.0)
    return prior * file_prior[document.path] if document.kind == "module" else prior


def _is_qualified(document: _Document, query: Query) -> bool:
    """Return whether the task writes this symbol with its owner, as in `Parser.feed`."""
    return bool(document.symbol) and any(
        f".{name}".endswith(f".{document.symbol}") and "." in name for name in query.dotted
    )

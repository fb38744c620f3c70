"""What a task family is: a way to break or extend a function, and the words that ask for the change.

A family looks at one function of a file (a `Site`) and proposes changes; each says which lines of the clean
file it touches and what stands there instead. Bug families put the mutation into the parent and restore the
clean lines; feature families start from the clean lines. Invariant: one side of a change is the clean text,
so changes of disjoint lines can be combined in one parent.
"""

from __future__ import annotations

import ast
import random
import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise

from models.recipe.names import Namer

FunctionNode = ast.FunctionDef


@dataclass(frozen=True)
class Proposal:
    """Lines `start` to `end` (0-based, half-open) of the clean file, and what stands there on the other side."""

    start: int
    end: int
    other: tuple[str, ...]
    slots: Mapping[str, object]
    """Values for the phrases of the family."""
    is_bug: bool = True
    """Whether the other side is the parent; else the commit brings it."""
    phrases: tuple[str, ...] = ()
    """Phrases that fit this proposal, when not all of the family do."""


@dataclass(frozen=True)
class Change:
    """One task: what the parent has, what the commit has, and the sentence that asks for it."""

    family: str
    path: str
    symbol: str
    """Qualified name of the function the task is about."""
    start: int
    end: int
    before: tuple[str, ...]
    after: tuple[str, ...]
    task: str


@dataclass(frozen=True)
class Site:
    """One function of a clean file."""

    path: str
    lines: tuple[str, ...]
    node: FunctionNode
    symbol: str

    @property
    def text(self) -> str:
        """The whole file."""
        return "\n".join(self.lines) + "\n"

    @cached_property
    def own_text(self) -> str:
        """The lines of the function."""
        return "\n".join(self.lines[self.node.lineno - 1 : self.node.end_lineno])

    @property
    def head(self) -> int:
        """Index of the `def` line."""
        return self.node.lineno - 1

    @property
    def has_plain_head(self) -> bool:
        """Whether the signature is one line that ends it."""
        return self.lines[self.head].endswith("):") and self.first_statement > self.head

    @property
    def first_statement(self) -> int:
        """Index of the first line after the docstring; of the docstring itself when there is nothing else."""
        body = self.node.body
        first = body[1] if self.has_docstring and len(body) > 1 else body[0]
        decorators: list[ast.expr] = getattr(first, "decorator_list", [])
        return min([first.lineno, *(item.lineno for item in decorators)]) - 1

    @property
    def has_docstring(self) -> bool:
        """Whether the function has a docstring."""
        return ast.get_docstring(self.node) is not None

    @property
    def indent(self) -> str:
        """Indentation of the body."""
        return " " * self.node.body[0].col_offset

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Names of the plain parameters, without self and cls."""
        return tuple(arg.arg for arg in self.node.args.args if arg.arg not in {"self", "cls"})

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Nodes of the body on one line each; those inside f-strings have no places of their own in every Python."""
        return tuple(node for statement in self.node.body for node in _walk(statement) if _is_on_one_line(node))

    def source(self, node: ast.AST) -> str:
        """Return the source of a one-line expression."""
        expression = _placed(node)
        return self.lines[expression.lineno - 1][expression.col_offset : expression.end_col_offset]

    def row(self, node: ast.AST) -> int:
        """Return the index of the line of a node."""
        return _placed(node).lineno - 1

    def with_source(self, node: ast.AST, text: str) -> str:
        """Return the line of a node with other source in its place."""
        expression = _placed(node)
        line = self.lines[expression.lineno - 1]
        return line[: expression.col_offset] + text + line[expression.end_col_offset :]

    def with_source_of_arg(self, arg: ast.arg, text: str) -> str:
        """Return the line of a parameter with other source in its place."""
        line = self.lines[arg.lineno - 1]
        return line[: arg.col_offset] + text + line[arg.end_col_offset :]

    def counts(self, text: str) -> int:
        """Return how often a text occurs in the function."""
        return self.own_text.count(text)

    def has_word(self, word: str) -> bool:
        """Return whether an identifier or number stands anywhere in the file."""
        return re.search(rf"\b{re.escape(word)}\b", self.text) is not None


Propose = Callable[[Site, random.Random, Namer], Iterable[Proposal]]


@dataclass(frozen=True)
class Family:
    """A kind of task."""

    name: str
    phrases: tuple[str, ...]
    """Sentences with `{slots}`; `{f}` is the function."""
    propose: Propose
    weight: float = 1.0
    """How early the family is tried; what fits few functions is tried first more often."""

    def changes(self, site: Site, rng: random.Random, namer: Namer) -> Iterator[Change]:
        """Return what this family can do to a function, each with its sentence."""
        for proposal in self.propose(site, rng, namer):
            clean = site.lines[proposal.start : proposal.end]
            if proposal.other == clean:
                continue
            before, after = (proposal.other, clean) if proposal.is_bug else (clean, proposal.other)
            task = rng.choice(proposal.phrases or self.phrases).format(f=site.symbol, **proposal.slots)
            symbol = str(proposal.slots.get("symbol", site.symbol))
            yield Change(self.name, site.path, symbol, proposal.start, proposal.end, before, after, task)


@cache
def phrase_pattern(phrase: str) -> re.Pattern[str]:
    """Return the expression that finds a phrase whatever stands in its slots, upper and lower case alike."""
    parts: list[str] = []
    for literal, slot, _, _ in string.Formatter().parse(phrase):
        words = r"\s+".join(re.escape(word) for word in literal.split())
        before = r"\s+" if literal[:1].isspace() else ""
        after = r"\s+" if literal[-1:].isspace() and words else ""
        parts.append((before + words + after) + (r"[^\n]{1,80}?" if slot is not None else ""))
    return re.compile("".join(parts), re.IGNORECASE)


def sites(path: str, text: str) -> list[Site]:
    """Return the functions and methods of a file; nested functions belong to the one around them."""
    lines = tuple(text.split("\n")[:-1])
    found: list[Site] = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            found.append(Site(path, lines, node, node.name))
        elif isinstance(node, ast.ClassDef):
            found += [
                Site(path, lines, member, f"{node.name}.{member.name}")
                for member in node.body
                if isinstance(member, ast.FunctionDef) and member.name != "__init__"
            ]
    return found


def compose(lines: Sequence[str], changes: Iterable[Change], *, committed: Iterable[Change] = ()) -> str:
    """Return the file with these disjoint changes: as the parent has them, those of `committed` as the commit has."""
    done = {id(change) for change in committed}
    result = list(lines)
    for change in sorted(changes, key=lambda item: (item.start, item.end), reverse=True):
        result[change.start : change.end] = change.after if id(change) in done else change.before
    return "\n".join(result) + "\n"


def are_disjoint(changes: Sequence[Change]) -> bool:
    """Return whether no two changes of one file touch the same or neighbouring lines."""
    ordered = sorted(changes, key=lambda item: (item.path, item.start, item.end))
    return all(a.path != b.path or a.end < b.start for a, b in pairwise(ordered))


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if not isinstance(node, ast.JoinedStr | ast.FunctionDef | ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from _walk(child)


def _is_on_one_line(node: ast.AST) -> bool:
    return isinstance(node, ast.expr | ast.stmt) and node.lineno == node.end_lineno


def _placed(node: ast.AST) -> ast.expr | ast.stmt:
    assert isinstance(node, ast.expr | ast.stmt)
    return node

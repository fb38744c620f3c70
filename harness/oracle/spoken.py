"""What the test files of a commit say: names, attributes, classes they make, exceptions they accept together.

Pure. An object is compared by what tests can see of it, so what they never say is a solution's own
business. Reading test files cannot tell whose attribute is meant; a name that is said anywhere counts.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from harness.oracle.functions import is_test_code, parsed
from harness.tree import Tree

_BY_NAME = {"getattr", "hasattr", "setattr", "attrgetter"}
"""Functions that take the name of an attribute as a text."""


@dataclass(frozen=True)
class Spoken:
    """The words of the tests."""

    names: frozenset[str] = frozenset()
    """Every identifier."""
    attributes: frozenset[str] = frozenset()
    """What is read from objects, without what is private."""
    called: frozenset[str] = frozenset()
    """Last names of what is called: an object of a class that tests make can be compared as a whole."""
    accepted: tuple[frozenset[str], ...] = field(default=())
    """Classes of exceptions that tests accept in each other's place."""


def spoken(tree: Tree, files: Iterable[str] = ()) -> Spoken:
    """Return what the test files of a tree say; `files` are test files wherever they lie."""
    more = set(files)
    paths = [path for path in tree if is_test_code(path) or (path in more and path.endswith(".py"))]
    nodes = [node for path in paths for node in _nodes(tree, path)]
    aliases = {node.asname: node.name for node in nodes if isinstance(node, ast.alias) and node.asname}
    called = {_last_name(node.func) for node in nodes if isinstance(node, ast.Call)}
    attributes = {name for node in nodes for name in _attributes(node) if not name.startswith("_")}
    return Spoken(
        frozenset(name for node in nodes for name in _names(node)),
        frozenset(attributes),
        frozenset(aliases.get(name, name) for name in called),
        tuple({group for node in nodes if (group := _accepted(node))}),
    )


def _nodes(tree: Tree, path: str) -> Iterator[ast.AST]:
    module = parsed(tree, path)
    return ast.walk(module) if module else iter(())


def _names(node: ast.AST) -> Iterator[str]:
    name = getattr(node, "id", None) or getattr(node, "attr", None)
    if isinstance(name, str):
        yield name
    if isinstance(node, ast.alias):
        yield node.name


def _attributes(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.MatchClass):
        yield from node.kwd_attrs
    elif isinstance(node, ast.Call) and _last_name(node.func) in _BY_NAME:
        for word in node.args:
            if isinstance(word, ast.Constant) and isinstance(word.value, str):
                yield from word.value.split(".")


def _accepted(node: ast.AST) -> frozenset[str]:
    """Return the classes of `raises((A, B))` or `except (A, B)`; empty for everything else."""
    if isinstance(node, ast.ExceptHandler):
        kinds = node.type
    elif isinstance(node, ast.Call) and _last_name(node.func).lower().endswith("raises"):
        kinds = node.args[0] if node.args else None
    else:
        return frozenset()
    return frozenset(_last_name(kind) for kind in kinds.elts) if isinstance(kinds, ast.Tuple) else frozenset()


def _last_name(node: ast.AST) -> str:
    return str(getattr(node, "attr", None) or getattr(node, "id", ""))

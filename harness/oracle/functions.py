"""Which functions a commit changes: what the control hollows out, and what the oracle watches.

Pure: two trees in, values out. A docstring, a comment or a moved line changes no function. Files that
this Python cannot parse have no functions.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.index.syntax import source_text
from harness.paths import Role, role
from harness.tree import SYMLINK_MODE, Tree, changed_paths

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Span = tuple[int, int]
"""First and last line, 1-based, decorators included."""


@dataclass(frozen=True)
class ChangedFunctions:
    """The functions of the gold tree that a commit touches, by path."""

    bodies: Mapping[str, tuple[FunctionNode, ...]]
    """Functions whose body is new or differs from the parent's."""
    touched: Mapping[str, tuple[Span, ...]]
    """Spans of these, of functions with another signature, and of users of changed constants and classes."""


@dataclass(frozen=True)
class _Definition:
    qualname: str
    node: FunctionNode
    owner: ast.ClassDef | None


def changed_functions(parent: Tree, gold: Tree) -> ChangedFunctions:
    """Return what the commit between these trees does to functions of source files."""
    bodies: dict[str, tuple[FunctionNode, ...]] = {}
    touched: dict[str, tuple[Span, ...]] = {}
    for path in changed_paths(parent, gold):
        if role(path) is not Role.SOURCE or not path.endswith(".py") or path not in gold:
            continue
        after = parsed(gold, path)
        before = parsed(parent, path) if path in parent else ast.Module([], [])
        if after is None or before is None:
            continue
        known = [(item.qualname, _text(item.node.body)) for item in _definitions(before)]
        bodies[path] = tuple(
            item.node for item in _definitions(after) if (item.qualname, _text(item.node.body)) not in known
        )
        touched[path] = tuple(sorted(_touched(before, after)))
    return ChangedFunctions(
        {path: nodes for path, nodes in bodies.items() if nodes},
        {path: spans for path, spans in touched.items() if spans},
    )


def parsed(tree: Tree, path: str) -> ast.Module | None:
    """Return the syntax tree of a file, or None when it is a link or no Python of this version."""
    if tree.entries[path].mode == SYMLINK_MODE:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in somebody else's code
            return ast.parse(source_text(tree.read(path)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def class_names(tree: Tree) -> frozenset[str]:
    """Return the qualified names of the classes that the source files of a tree define."""
    found: set[str] = set()
    for path in tree:
        if role(path) is Role.SOURCE and path.endswith(".py"):
            module = parsed(tree, path)
            found.update(_class_names(module) if module else ())
    return frozenset(found)


def is_test_code(path: str) -> bool:
    """Return whether a path is Python that belongs to the tests: a test file, their shared code, a conftest.py."""
    return path.endswith(".py") and (role(path) is Role.TEST or path.rpartition("/")[2] == "conftest.py")


def _definitions(module: ast.Module) -> Iterator[_Definition]:
    """Yield functions and methods, not those inside functions, in file order."""
    stack: list[tuple[ast.AST, str, ast.ClassDef | None]] = [(module, "", None)]
    while stack:
        node, prefix, owner = stack.pop()
        if isinstance(node, FunctionNode):
            yield _Definition(prefix + node.name, node, owner)
            continue
        inner = (f"{prefix}{node.name}.", node) if isinstance(node, ast.ClassDef) else (prefix, owner)
        stack.extend((child, *inner) for child in reversed(list(ast.iter_child_nodes(node))))


def _class_names(module: ast.Module) -> Iterator[str]:
    stack: list[tuple[ast.AST, str]] = [(module, "")]
    while stack:
        node, prefix = stack.pop()
        if isinstance(node, FunctionNode):
            continue
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name
            prefix += f"{node.name}."
        stack.extend((child, prefix) for child in ast.iter_child_nodes(node))


def _touched(before: ast.Module, after: ast.Module) -> Iterator[Span]:
    known = {(item.qualname, _text([item.node])) for item in _definitions(before)}
    shells = {_shell(node) for node in ast.walk(before) if isinstance(node, ast.ClassDef)}
    names = _constants(after, {_text([node]) for node in before.body})
    for item in _definitions(after):
        is_changed = (item.qualname, _text([item.node])) not in known
        is_reshaped = item.owner is not None and _shell(item.owner) not in shells
        if is_changed or is_reshaped or (names and names & _names_in(item.node)):
            first = min([item.node.lineno, *(mark.lineno for mark in item.node.decorator_list)])
            yield (first, item.node.end_lineno or first)


def _constants(after: ast.Module, known: set[str]) -> set[str]:
    """Return the names that changed or new module-level statements bind."""
    bound: set[str] = set()
    for statement in after.body:
        if isinstance(statement, FunctionNode | ast.ClassDef) or _text([statement]) in known:
            continue
        bound |= {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and _is_stored(node)}
    return bound


def _is_stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _names_in(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _shell(node: ast.ClassDef) -> str:
    """Return a class without its methods: name, bases, decorators and its own statements."""
    own = [item for item in without_docstring(node.body) if not isinstance(item, FunctionNode)]
    heads = [*node.bases, *node.keywords, *node.decorator_list]
    return "\n".join([node.name, *(ast.dump(item) for item in (*heads, *own))])


def _text(nodes: list[ast.stmt]) -> str:
    """Return statements in a form that is equal for equal code, docstrings of functions left out."""
    if len(nodes) == 1 and isinstance(nodes[0], FunctionNode):
        node = nodes[0]
        heads = [node.args, *node.decorator_list, *([node.returns] if node.returns else [])]
        return "\n".join([type(node).__name__, *(ast.dump(item) for item in heads), _text(node.body)])
    return "\n".join(ast.dump(item) for item in without_docstring(nodes))


def without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return a body without its docstring."""
    first = body[0] if body else None
    is_doc = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return body[1:] if is_doc else body

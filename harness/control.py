"""The constant-output control: a solution that computes nothing must not pass (security reference, 3c).

The gold tree, with the body of every function that the commit changes replaced by `return None`. Where
the required tests pass on that, they do not look at what the functions do, and the commit is no task.
Pure: it makes the tree; the gate runs it. Commits that change constants or class bodies only have no
control of this kind: the parent run is their known-bad.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from harness.index.syntax import source_text
from harness.oracle.functions import FunctionNode, changed_functions, without_docstring
from harness.tree import Tree


def hollow(parent: Tree, gold: Tree) -> Tree | None:
    """Return the gold tree with hollow changed functions, or None when there is none to hollow out."""
    files: dict[str, bytes] = {}
    for path, nodes in changed_functions(parent, gold).bodies.items():
        computing = [node for node in nodes if not _computes_nothing(node)]
        if computing:
            files[path] = _hollowed(source_text(gold.read(path)), computing).encode()
    return gold.replace(files) if files else None


def _hollowed(text: str, nodes: Sequence[FunctionNode]) -> str:
    """Replace bodies from the last to the first, so that positions stay right."""
    lines = [line.encode() for line in _lines(text)]
    for node in sorted(nodes, key=lambda item: item.lineno, reverse=True):
        body = without_docstring(node.body) or node.body
        first, last = body[0], body[-1]
        start, end = _start(first), last.end_lineno or first.lineno
        before, rest = lines[start - 1][: first.col_offset], lines[end - 1][last.end_col_offset :]
        statement = _statement(node)
        made = before + b"; ".join(statement)
        if not before.strip():
            made = b"\n".join(before + part for part in statement)
        lines[start - 1 : end] = [made + (rest if rest.strip() else b"\n")]
    return "".join(line.decode() for line in lines).removeprefix("\ufeff")


def _start(first: ast.stmt) -> int:
    marks: list[ast.expr] = getattr(first, "decorator_list", [])
    return min([first.lineno, *(mark.lineno for mark in marks)])


def _statement(node: FunctionNode) -> list[bytes]:
    """Return the new body; a generator stays one."""
    if not _yields(node):
        return [b"return None"]
    return [b"return", b"yield"]


def _yields(node: FunctionNode) -> bool:
    stack: list[ast.AST] = list(node.body)
    while stack:
        inner = stack.pop()
        if isinstance(inner, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(inner, FunctionNode | ast.Lambda | ast.ClassDef):
            stack.extend(ast.iter_child_nodes(inner))
    return False


def _computes_nothing(node: FunctionNode) -> bool:
    """Return whether a body is already `pass`, `...` or `return None`."""
    body = without_docstring(node.body)
    if not body:
        return True
    only = body[0]
    if len(body) > 1 or not isinstance(only, ast.Pass | ast.Return | ast.Expr):
        return False
    value = getattr(only, "value", None)
    return value is None or (isinstance(value, ast.Constant) and value.value in {None, ...})


def _lines(text: str) -> list[str]:
    """Return the lines with their ends; Python counts no form feed or U+2028 as one."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])

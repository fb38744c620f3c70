"""Literal values of Python source, read without running it.

`setup.py` and `noxfile.py` are programs; on the connected side they are still someone else's code.
This evaluator knows constants, containers, names bound at module level, `+`, subscripts and
`dict(...)`/`list(...)`; everything else is unknown, and an unknown item is left out, not guessed.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]


class Unknown(Exception):
    """The expression is not a literal that this reader understands."""


def module_values(tree: ast.Module) -> dict[str, Value]:
    """Return the module-level names whose value can be read, updates by subscript included."""
    names: dict[str, Value] = {}
    for node in tree.body:
        try:
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                _assign(node.targets[0], evaluate(node.value, names), names)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                _assign(node.target, evaluate(node.value, names), names)
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                names[node.target.id] = _add(names.get(node.target.id), evaluate(node.value, names))
        except (Unknown, RecursionError):
            continue
    return names


def call_arguments(tree: ast.Module, function: str, names: Mapping[str, Value]) -> dict[str, Value]:
    """Return the readable keyword arguments of the first call to `function`, e.g. setup(...)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called_name(node) == function:
            found: dict[str, Value] = {}
            for keyword in node.keywords:
                try:
                    value = evaluate(keyword.value, names)
                except (Unknown, RecursionError):
                    continue
                if keyword.arg is not None:
                    found[keyword.arg] = value
                elif isinstance(value, dict):
                    found.update(value)
            return found
    return {}


def evaluate(node: ast.expr, names: Mapping[str, Value]) -> Value:
    """Return the value of an expression; Unknown when it is not a literal in the sense above."""
    match node:
        case ast.Constant(value=str() | int() | float() | None as constant):
            return constant
        case ast.Name(id=name) if name in names:
            value = names[name]
        case ast.List() | ast.Tuple() | ast.Set():
            value = _items(node.elts, names)
        case ast.Dict():
            value = _pairs(node, names)
        case ast.BinOp(op=ast.Add()):
            value = _add(evaluate(node.left, names), evaluate(node.right, names))
        case ast.Subscript():
            value = _subscript(evaluate(node.value, names), evaluate(node.slice, names))
        case ast.Call():
            value = _call(node, names)
        case _:
            raise Unknown(ast.dump(node)[:80])
    return value


def strings(value: Value) -> list[str]:
    """Return the strings of a value that should be a list of strings or one string."""
    if isinstance(value, str):
        return [line.strip() for line in value.splitlines() if line.strip()]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _items(elements: list[ast.expr], names: Mapping[str, Value]) -> Value:
    items: list[Value] = []
    for element in elements:
        try:
            if isinstance(element, ast.Starred):
                inner = evaluate(element.value, names)
                items += inner if isinstance(inner, list) else []
            else:
                items.append(evaluate(element, names))
        except (Unknown, RecursionError):
            continue
    return items


def _pairs(node: ast.Dict, names: Mapping[str, Value]) -> Value:
    found: dict[str, Value] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        try:
            name = evaluate(key, names) if key is not None else None
            content = evaluate(value, names)
        except (Unknown, RecursionError):
            continue
        if isinstance(name, str):
            found[name] = content
        elif key is None and isinstance(content, dict):
            found.update(content)
    return found


def _add(left: Value, right: Value) -> Value:
    if isinstance(left, list) and isinstance(right, list):
        return [*left, *right]
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    raise Unknown("+")


def _subscript(container: Value, key: Value) -> Value:
    if isinstance(container, dict) and isinstance(key, str) and key in container:
        return container[key]
    raise Unknown("[]")


def _call(node: ast.Call, names: Mapping[str, Value]) -> Value:
    function = _called_name(node)
    if function == "dict" and not node.args:
        return {kw.arg: evaluate(kw.value, names) for kw in node.keywords if kw.arg is not None}
    if function in {"list", "tuple", "sorted", "set"} and len(node.args) == 1 and not node.keywords:
        return evaluate(node.args[0], names)
    raise Unknown(function)


def _called_name(node: ast.Call) -> str:
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _assign(target: ast.expr, value: Value, names: dict[str, Value]) -> None:
    if isinstance(target, ast.Name):
        names[target.id] = value
    elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
        holder, key = names.get(target.value.id), evaluate(target.slice, names)
        if isinstance(holder, dict) and isinstance(key, str):
            holder[key] = value

"""Which functions and classes a change of one Python file added, changed or removed.

Works on the two texts alone, with the standard parser, so it says the same on every machine. A
class counts as changed only for what is its own: a change inside a method belongs to the method.
Comments, docstrings and layout are no change. Source text is compared first and syntax trees only
where the text differs, because dumping whole trees of a long history takes minutes.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class SymbolChanges:
    """The symbols of one file that a commit touched, as qualified names in source order."""

    path: str
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    is_new_file: bool = False
    is_deleted_file: bool = False
    is_behaviour: bool = True
    """False when both sides parse, and only comments, docstrings or layout differ."""


@dataclass(frozen=True)
class _Own:
    """What belongs to one symbol itself: its statements without the definitions inside a class."""

    text: str
    nodes: tuple[ast.AST, ...]


def compare(path: str, before: str | None, after: str | None) -> SymbolChanges:
    """Compare two versions of a file; None means that the file does not exist on that side.

    A side that does not parse (another Python, not Python at all), or is nested too deeply to be
    compared, counts as having no symbols.
    """
    nothing = SymbolChanges(path, is_new_file=before is None, is_deleted_file=after is None)
    old, new = _symbols(before), _symbols(after)
    if old is None or new is None:
        return nothing
    try:
        return _compared(nothing, old, new)
    except RecursionError:
        return nothing


def _compared(nothing: SymbolChanges, old: dict[str, _Own], new: dict[str, _Own]) -> SymbolChanges:
    added = _outermost([name for name in new if name not in old])
    removed = _outermost([name for name in old if name not in new])
    touched = [name for name in new if name in old and new[name].text != old[name].text]
    changed = [name for name in touched if _code(new[name]) != _code(old[name])]
    return replace(
        nothing,
        added=added,
        changed=tuple(name for name in changed if name),
        removed=removed,
        is_behaviour=bool(added or removed or changed),
    )


def _symbols(text: str | None) -> dict[str, _Own] | None:
    """Return qualified name to content, "" being the module itself; None when it does not parse."""
    lines = (text or "").splitlines()
    found: dict[str, _Own] = {}
    try:
        _collect(ast.parse(text or ""), "", lines, found)
    except (SyntaxError, ValueError, RecursionError):
        return None
    return found


def _collect(owner: ast.Module | ast.ClassDef, name: str, lines: list[str], found: dict[str, _Own]) -> None:
    rest = [node for node in owner.body if not isinstance(node, Definition)]
    header: list[ast.AST] = []
    if isinstance(owner, ast.ClassDef):
        header = [*owner.decorator_list, *owner.bases, *owner.keywords]
    _add(found, name, _Own("\n".join(_segment(node, lines) for node in [*header, *rest]), (*header, *rest)))
    for node in _definitions(owner.body):
        inner = f"{name}.{node.name}" if name else node.name
        if isinstance(node, ast.ClassDef):
            _collect(node, inner, lines, found)
        else:
            _add(found, inner, _Own(_segment(node, lines), (node,)))


def _definitions(body: list[ast.stmt]) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Return the definitions of a body, those under `if` and `try` included."""
    found: list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef] = []
    for node in body:
        if isinstance(node, Definition):
            found.append(node)
        elif isinstance(node, ast.If | ast.Try):
            found += _definitions([*node.body, *node.orelse, *getattr(node, "finalbody", [])])
    return found


def _add(found: dict[str, _Own], name: str, own: _Own) -> None:
    """Keep every definition of a name: overloads and property setters share one."""
    known = found.get(name)
    found[name] = _Own(f"{known.text}\n{own.text}", (*known.nodes, *own.nodes)) if known else own


def _segment(node: ast.AST, lines: list[str]) -> str:
    first = min([getattr(node, "lineno", 1), *(deco.lineno for deco in getattr(node, "decorator_list", []))])
    return "\n".join(lines[first - 1 : getattr(node, "end_lineno", first)])


def _code(own: _Own) -> list[str]:
    """Return dumps of a symbol's statements without docstrings."""
    for top in own.nodes:
        for node in ast.walk(top):
            if isinstance(node, Definition) and node.body and _is_docstring(node.body[0]):
                del node.body[0]
    return [ast.dump(node) for node in own.nodes if not _is_docstring(node)]


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _outermost(names: list[str]) -> tuple[str, ...]:
    """Drop the members of a class that is itself in the list."""
    return tuple(name for name in names if not any(name.startswith(other + ".") for other in names))

"""Texts that a piece of source spells out of constants: "_py" + "test", "".join([...]), "..."[::-1].

Pure, and bounded by the size of the source. Not protected against: whatever is computed otherwise.
"""

from __future__ import annotations

import ast

_UNICODE_END = 0x110000


def folded(node: ast.expr) -> str | None:  # noqa: PLR0911 - one case, one answer
    """Return the text that an expression spells out of constants, or None."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Constant(value=bytes(data)):
            return data.decode("latin-1")
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            first, second = folded(left), folded(right)
            return None if first is None or second is None else first + second
        case ast.JoinedStr(values=values):
            return _joined("", [value.value if isinstance(value, ast.FormattedValue) else value for value in values])
        case ast.Subscript(value=value, slice=ast.Slice(lower=None, upper=None, step=ast.UnaryOp(op=ast.USub()))):
            forward = folded(value)
            return None if forward is None else forward[::-1]
        case ast.Call(
            func=ast.Attribute(value=value, attr="join"), args=[ast.List(elts=parts) | ast.Tuple(elts=parts)]
        ):
            glue = folded(value)
            return None if glue is None else _joined(glue, parts)
        case ast.Call(func=ast.Attribute(value=value, attr="decode"), args=_):
            return folded(value)
        case ast.Call(func=ast.Attribute(value=value, attr="replace"), args=[old, new]):
            return _replaced(folded(value), folded(old), folded(new))
        case ast.Call(func=ast.Name(id="chr"), args=[ast.Constant(value=int(number))]) if 0 <= number < _UNICODE_END:
            return chr(number)
    return None


def _joined(glue: str, nodes: list[ast.expr]) -> str | None:
    parts = [folded(node) for node in nodes]
    return None if None in parts else glue.join(part for part in parts if part is not None)


def _replaced(text: str | None, old: str | None, new: str | None) -> str | None:
    return None if text is None or old is None or new is None else text.replace(old, new)

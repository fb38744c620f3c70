"""Texts spelled in pieces."""

from __future__ import annotations

import ast

import pytest

from harness.spelled import folded


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("'abc'", "abc"), ("'a' + 'b' 'c'", "abc"), ("f'{\"a\"}bc'", "abc"), ("'cba'[::-1]", "abc"),
        ("''.join(['a', 'b', 'c'])", "abc"), ("'-'.join(('a', 'b'))", "a-b"), ("b'abc'.decode()", "abc"),
        ("'axc'.replace('x', 'b')", "abc"), ("chr(97) + 'bc'", "abc"), ("'a' + x", None), ("f'{x}'", None),
        ("''.join(x)", None), ("x[::-1]", None), ("'abc'[1:]", None), ("1 + 2", None), ("chr(-1)", None), ("'a' * 3", None),
    ],
)  # fmt: skip
def test_what_constants_spell(source: str, expected: str | None) -> None:
    """Concatenation, joining, reversal and the like are read; what a variable has a part in is not guessed."""
    assert folded(ast.parse(source, mode="eval").body) == expected

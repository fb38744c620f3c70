"""Facts about single files, and the cache that keeps them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from harness.index.facts import FactsCache, Import, ModuleFacts, analyse
from harness.index.syntax import source_lines, source_text
from harness.tree import blob_id

CODE = dedent('''\
    """Feed parsers.

    More words.
    """
    import os.path
    from . import tokens as tk
    from ..errors import *

    LIMIT: int = 10
    low, high = 1, 2


    @cached
    @other(os.path.sep)
    class Parser(tk.Base, metaclass=Meta):
        """Parses."""

        size = LIMIT

        @property
        async def feed(
            self, text: str, *, limit: int = 3,
        ) -> tk.Token:
            """Take text in."""
            import json

            def nested():
                return json.dumps(self.size)

            return nested()

        class Inner:
            def deep(self): return make().value.real


    if True:
        def conditional(): ...
''')


def test_symbols_cover_functions_methods_classes_and_constants() -> None:
    """Every kind of definition is listed under its qualified name; functions inside functions are not."""
    found = [(s.qualname, s.kind) for s in analyse(CODE).symbols]
    assert found == [
        ("LIMIT", "constant"), ("low", "constant"), ("high", "constant"), ("Parser", "class"),
        ("Parser.feed", "method"), ("Parser.Inner", "class"), ("Parser.Inner.deep", "method"),
        ("conditional", "function"),
    ]  # fmt: skip


def test_spans_are_one_based_inclusive_and_start_at_decorators() -> None:
    """Lines start..end of the text are the definition, decorators included."""
    lines = CODE.splitlines()
    by_name = {s.qualname: s for s in analyse(CODE).symbols}
    assert lines[by_name["Parser"].start - 1] == "@cached"
    assert lines[by_name["Parser.feed"].start - 1] == "    @property"
    assert lines[by_name["Parser.feed"].end - 1] == "        return nested()"
    assert by_name["LIMIT"].start == by_name["LIMIT"].end == lines.index("LIMIT: int = 10") + 1


def test_signatures_and_docs_fit_on_one_line() -> None:
    """A signature spread over lines comes back on one; docs are the first docstring line."""
    facts = analyse(CODE)
    by_name = {s.qualname: s for s in facts.symbols}
    assert by_name["Parser.feed"].signature == "async def feed(self, text: str, *, limit: int=3) -> tk.Token"
    assert by_name["Parser"].signature == "class Parser(tk.Base, metaclass=Meta)"
    assert by_name["LIMIT"].signature == "LIMIT: int = 10"
    assert (facts.doc, by_name["Parser.feed"].doc) == ("Feed parsers.", "Take text in.")


def test_long_constants_are_shortened() -> None:
    """A table of many lines is represented by its first one."""
    (symbol,) = analyse("TABLE = {\n    1: 2,\n}\n").symbols
    assert (symbol.signature, symbol.start, symbol.end) == ("TABLE = { ...", 1, 3)


def test_imports_keep_level_alias_and_star() -> None:
    """Imports are recorded as written, those inside functions included."""
    assert analyse(CODE).imports == (
        Import("os.path", "", "", 0, 5),
        Import("", "tokens", "tk", 1, 6),
        Import("errors", "*", "", 2, 7),
        Import("json", "", "", 0, analyse(CODE).imports[-1].line),
    )
    assert [item.binds for item in analyse(CODE).imports] == ["os", "tk", "", "json"]


def test_references_are_longest_chains() -> None:
    """`a.b.c` is one reference, and what hangs on a call is not part of a chain."""
    references = analyse(CODE).references
    assert {"os.path.sep", "tk.Base", "tk.Token", "json.dumps", "self.size", "make"} <= references
    assert not references & {"os", "os.path", "tk", "make.value", "low"}


def test_each_symbol_knows_what_it_uses() -> None:
    """References belong to the symbol they stand in, and to its class."""
    by_name = {s.qualname: s for s in analyse(CODE).symbols}
    assert "json.dumps" in by_name["Parser.feed"].references
    assert "json.dumps" in by_name["Parser"].references
    assert "json.dumps" not in by_name["Parser.Inner"].references
    assert by_name["Parser.Inner.deep"].references == {"make"}


@pytest.mark.parametrize(
    "text", ["def broken(:\n", "x = 1\0", "(" * 5_000 + ")" * 5_000, "match x:\n  casee 1: pass\n", "-" * 100_000 + "1"]
)
def test_what_does_not_parse_becomes_an_error(text: str) -> None:
    """No input raises: the facts say what is wrong and are otherwise empty."""
    facts = analyse(text)
    assert facts.error
    assert facts == ModuleFacts(error=facts.error)


def test_deep_expressions_are_walked_without_recursion() -> None:
    """A long chain of operators or attributes is ordinary code."""
    facts = analyse("x = " + " + ".join(["a.b"] * 900) + "\n")
    assert facts.error is None
    assert facts.references == {"a.b"}


def test_invalid_escapes_warn_nobody() -> None:
    """Old code with invalid escapes parses; warnings are errors in this suite."""
    assert analyse('x = "\\d"\n').error is None


def test_byte_order_mark_and_coding_line_are_honoured() -> None:
    """Files are decoded the way Python decodes them."""
    cache = FactsCache()
    data = {
        "a": b"\xef\xbb\xbfx = 1\n",
        "b": '# coding: latin-1\n"""Gr\xfc\xdfe"""\n'.encode("latin-1"),
        "c": b'"\xff"\n',
    }
    assert cache.get("a", data.__getitem__).symbols[0].qualname == "x"
    assert cache.get("b", data.__getitem__).doc == "Gr\xfc\xdfe"
    assert "not decodable" in (cache.get("c", data.__getitem__).error or "")


def _never(blob: str) -> bytes:
    raise AssertionError(f"{blob} was read although its facts are known")


def test_search_terms_are_those_of_the_decoded_text() -> None:
    """Bytes of one encoding are not taken for letters of another; bytes without meaning still have terms."""
    japanese = "# coding: shift_jis\nname = 1  # アlarm\n".encode("shift_jis")
    assert b"Alarm" in japanese
    cache = FactsCache()
    assert "alarm" not in cache.terms(blob_id(japanese), lambda _: japanese)
    assert cache.terms("0" * 40, lambda _: b"backorder = '\xff'")["backorder"] == 1


def test_half_a_surrogate_pair_never_leaves_a_file() -> None:
    """Python allows one in a string and in some encodings; no prompt can hold it."""
    assert analyse('def f():\n    """\\ud800 odd."""\n').symbols[0].doc == "\\ud800 odd."
    with pytest.raises(ValueError, match="not decodable"):
        source_text(b"# coding: unicode_escape\nx = '\\ud800'\n")


def test_lines_end_where_python_ends_them() -> None:
    """A final line end opens no line; form feeds and line separators end none."""
    assert source_lines("a\x0cb\nc\u2028d\r\ne\rf\n") == ["a\x0cb", "c\u2028d", "e", "f"]
    assert source_lines("") == []


def test_cache_reads_a_blob_once() -> None:
    """A second request is a hit and does not touch the content."""
    cache, data = FactsCache(), CODE.encode()
    first = cache.get(blob_id(data), lambda _: data)
    assert cache.get(blob_id(data), _never) == first == analyse(CODE)
    assert (cache.hits, cache.misses) == (1, 1)


def test_cache_memory_is_bounded() -> None:
    """The least recently used facts go first."""
    cache = FactsCache(max_entries=2)
    for blob in ("one", "two", "one", "three", "one"):
        cache.get(blob, lambda _: b"x = 1\n")
    assert (cache.hits, cache.misses) == (2, 3)
    cache.get("two", lambda _: b"x = 1\n")
    assert cache.misses == 4


def test_directory_carries_facts_to_the_next_process(tmp_path: Path) -> None:
    """Facts survive unchanged, in files sharded by the first two digits, without leftovers."""
    data = CODE.encode()
    blob = blob_id(data)
    FactsCache(tmp_path).get(blob, lambda _: data)
    later = FactsCache(tmp_path)
    assert later.get(blob, _never) == analyse(CODE)
    assert (later.hits, later.misses) == (1, 0)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == [f"{blob[:2]}/{blob[2:]}.json"]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"format": "0"}', b'{"format": 3, "symbols": 4}', b"\xff", b"[" * 50_000, b"null"]
)
def test_damaged_cache_files_are_computed_again(tmp_path: Path, damage: bytes) -> None:
    """A broken or foreign file costs one computation and is replaced."""
    FactsCache(tmp_path).get("abcd", lambda _: b"x = 1\n")
    (tmp_path / "ab" / "cd.json").write_bytes(damage)
    cache = FactsCache(tmp_path)
    assert cache.get("abcd", lambda _: b"x = 1\n") == analyse("x = 1\n")
    assert cache.misses == 1
    assert FactsCache(tmp_path).get("abcd", _never) == analyse("x = 1\n")

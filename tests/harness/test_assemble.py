"""The ContextPackage: whole symbols, primary first, omissions with their reason."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from harness.asking import estimate_tokens
from harness.assemble import BUDGET_TOKENS, WHOLE_FILE_LINES, assemble
from harness.context import ContextPackage, Decision
from harness.index.facts import FactsCache
from harness.index.repo import RepoIndex
from harness.stages import SymbolCard
from tests.trees import tree_of

PADDING = "".join(f"# line {number}\n" for number in range(WHOLE_FILE_LINES))
LONG = (
    "import os\n\nLIMIT = 3\n\n\ndef first():\n    return 1\n\n\n"
    "class Box:\n    def get(self):\n        return 2\n\n    def put(self):\n        return 3\n\n\n"
    f"{PADDING}\ndef last():\n    return 4\n"
)
SHORT = "def tiny():\n    return 0\n"


def package(
    files: Mapping[str, str | bytes], tiers: Mapping[tuple[str, str], str], *, made: tuple[Decision, ...] = (),
    scores: Mapping[str, float] | None = None,
) -> ContextPackage:  # fmt: skip
    """Assemble from tiers; every judged symbol becomes a card."""
    tree = tree_of(files)
    cards = [SymbolCard(path, name, "function", "", (scores or {}).get(name, 1.0)) for path, name in tiers]
    index = RepoIndex.build(tree, FactsCache())
    return assemble(tree, index, cards, tiers=tiers, made=made, count=estimate_tokens)


def shown(context: ContextPackage) -> list[tuple[str, str, str]]:
    """Return path, symbol and tier of the items, in order."""
    return [(item.path, item.symbol, item.tier) for item in context.items]


def test_a_symbol_of_a_long_file_is_shown_whole_with_its_lines() -> None:
    """The text is exactly the lines of the symbol, and the numbers are those of the file."""
    (item,) = package({"long.py": LONG}, {("long.py", "last"): "primary"}).items
    assert item.text == "def last():\n    return 4"
    assert LONG.splitlines()[item.start - 1 : item.end] == item.text.splitlines()


def test_a_short_file_is_shown_whole_and_once() -> None:
    """Two symbols of a short file are one item."""
    tiers = {("short.py", "tiny"): "primary", ("short.py", ""): "supporting"}
    (item,) = package({"short.py": SHORT}, tiers).items
    assert (item.symbol, item.tier, item.text, item.start, item.end) == ("", "primary", SHORT.rstrip("\n"), 1, 2)


def test_excluded_symbols_are_not_shown() -> None:
    """Only primary and supporting symbols become items."""
    tiers = {("long.py", "first"): "excluded", ("long.py", "last"): "supporting"}
    assert shown(package({"long.py": LONG}, tiers)) == [("long.py", "last", "supporting")]


def test_module_level_of_a_long_file_ends_before_the_first_definition() -> None:
    """Imports and constants at the top are the module-level item."""
    (item,) = package({"long.py": LONG}, {("long.py", ""): "primary"}).items
    assert item.symbol == "(module)"
    assert item.text.strip() == "import os\n\nLIMIT = 3"


def test_a_method_inside_a_shown_class_is_not_shown_twice() -> None:
    """The class around it brings the method along."""
    tiers = {("long.py", "Box.get"): "primary", ("long.py", "Box"): "supporting"}
    assert [symbol for _, symbol, _ in shown(package({"long.py": LONG}, tiers))] == ["Box"]


def test_items_stand_in_a_fixed_order_whatever_the_scores() -> None:
    """Path and first line decide, so equal decisions give equal prompt bytes."""
    files = {"b.py": LONG, "a.py": LONG}
    tiers = {("b.py", "last"): "primary", ("b.py", "first"): "supporting", ("a.py", "last"): "supporting"}
    one = package(files, tiers, scores={"last": 9.0})
    other = package(files, dict(reversed(tiers.items())), scores={"first": 9.0})
    assert [entry[:2] for entry in shown(one)] == [("a.py", "last"), ("b.py", "first"), ("b.py", "last")]
    assert one.render() == other.render()
    assert one.sha256 == other.sha256


def test_primary_spends_the_budget_first_and_omissions_have_a_reason() -> None:
    """A supporting symbol that does not fit is left out whole, and the decision says why."""
    big = "x = 1\n" * (BUDGET_TOKENS * 3 // 6 - 600)
    files = {
        "main.py": f"def wanted():\n    '''\n{big}'''\n",
        "other.py": f"def other():\n    '''\n{PADDING * 20}'''\n",
    }
    tiers = {("other.py", "other"): "supporting", ("main.py", "wanted"): "primary"}
    context = package(files, tiers, scores={"other": 99.0})
    assert shown(context) == [("main.py", "wanted", "primary")]
    by_symbol = {decision.symbol: decision for decision in context.decisions}
    assert by_symbol["wanted"].verdict == "included"
    assert by_symbol["other"].verdict == "omitted"
    assert "do not fit" in by_symbol["other"].reason


def test_a_small_item_still_goes_in_after_one_that_did_not_fit() -> None:
    """An omission does not end the filling."""
    huge = f"def huge():\n    '''\n{'word ' * BUDGET_TOKENS}\n{PADDING}'''\n"
    tiers = {("huge.py", "huge"): "primary", ("short.py", "tiny"): "supporting"}
    context = package({"huge.py": huge, "short.py": SHORT}, tiers)
    assert shown(context) == [("short.py", "", "supporting")]


def test_earlier_decisions_stay_in_front() -> None:
    """What scope and precision decided is kept, followed by what was included."""
    made = (Decision("scope", "short.py", "", "relevant", 1.0, "bm25"),)
    context = package({"short.py": SHORT}, {("short.py", "tiny"): "primary"}, made=made)
    assert [decision.stage for decision in context.decisions] == ["scope", "context"]


def test_nothing_chosen_is_an_empty_package() -> None:
    """No symbols, no text."""
    context = package({"short.py": SHORT}, {})
    assert (context.items, context.render()) == ((), "")


@pytest.mark.parametrize("odd", ["\x0c", "\x0b", "\x1c", "\u2028", "\x85"], ids=ascii)
def test_lines_are_counted_as_python_counts_them(odd: str) -> None:
    """A form feed or a line separator in the text does not shift the symbols below it."""
    text = LONG.replace("# line 3\n", f"# line {odd} 3\n" * 3)
    (item,) = package({"long.py": text}, {("long.py", "last"): "primary"}).items
    assert item.text == "def last():\n    return 4"


def test_line_ends_of_other_systems_end_lines() -> None:
    """Carriage returns count as Python counts them and are not shown."""
    for end in ("\r\n", "\r"):
        (item,) = package({"long.py": LONG.replace("\n", end)}, {("long.py", "last"): "primary"}).items
        assert item.text == "def last():\n    return 4"


def test_source_is_decoded_as_python_does_and_what_cannot_be_is_omitted() -> None:
    """A coding line and a byte order mark are honoured; bytes without meaning leave a decision."""
    files = {
        "latin.py": "# coding: latin-1\nx = 'ä'\n".encode("latin-1"),
        "mark.py": "x = 'ö'\n".encode("utf-8-sig"),
        "broken.py": b"x = '\xff'\n",
        "half.py": b"# coding: unicode_escape\nx = '\\ud800'\n",
    }
    context = package(files, {(path, ""): "primary" for path in files})
    assert {item.path: item.text for item in context.items} == {
        "latin.py": "# coding: latin-1\nx = 'ä'", "mark.py": "x = 'ö'",
    }  # fmt: skip
    assert sorted(d.path for d in context.decisions if "not decodable" in d.reason) == ["broken.py", "half.py"]
    assert context.sha256


def test_an_empty_file_is_an_item_with_no_text() -> None:
    """An empty module can be judged, and shows nothing."""
    (item,) = package({"empty.py": ""}, {("empty.py", ""): "primary"}).items
    assert (item.text, item.start, item.end) == ("", 1, 1)

"""Ranking files and symbols for a task text."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest

from harness.index.facts import FactsCache
from harness.index.repo import RepoIndex
from harness.index.terms import stem, terms
from harness.retrieval import rank_files, rank_symbols
from harness.retrieval.files import SUMMARY_CHARS
from harness.retrieval.paths import match_paths
from harness.retrieval.query import read_query
from harness.stages import Candidate, SymbolCard
from harness.tree import Tree

FILES = {
    "src/shop/__init__.py": "from .cart import Cart\n",
    "src/shop/cart.py": (
        '"""Shopping carts."""\n\nLIMIT = 10\n\n\n'
        'class Cart:\n    """Holds items."""\n\n    def add_item(self, item):\n'
        '        """Put an item in."""\n        return check_stock(item)\n\n'
        '    def total(self):\n        """Sum the prices."""\n        return sum(p for p in self.prices)\n'
    ),
    "src/shop/stock.py": '"""What is on the shelf."""\n\n\ndef check_stock(item):\n    return lookup(item)\n',
    "src/shop/invoice.py": (
        '"""Invoices as text."""\n\nfrom .cart import Cart\n\n\n'
        "def render_invoice(cart: Cart):\n    return cart.total()\n"
    ),
    "src/shop/zebra.py": '"""Stripes."""\n',
    "tests/test_stock.py": "from shop.stock import check_stock\n\n\ndef test_backorder_quantity(): ...\n",
    "docs/guide.md": "cart cart cart cart\n",
    "setup.py": "# cart cart cart\n",
}


def tree_of(files: Mapping[str, str]) -> Tree:
    """Return a tree with these texts."""

    def nothing(blob: str) -> bytes:
        raise KeyError(blob)

    return Tree({}, nothing).replace({path: text.encode() for path, text in files.items()})


def ranked(task: str, *keywords: str, files: Mapping[str, str] = FILES, limit: int = 10) -> tuple[Candidate, ...]:
    """Rank the files of a small shop."""
    tree = tree_of(files)
    return rank_files(task, keywords, RepoIndex.build(tree, FactsCache()), tree, limit=limit)


def cards(task: str, *paths: str) -> tuple[SymbolCard, ...]:
    """Rank the symbols of some of its files."""
    return rank_symbols(task, (), RepoIndex.build(tree_of(FILES), FactsCache()), paths)


def test_terms_are_whole_identifiers_and_their_words() -> None:
    """Names can be found by their parts and as they are; language keywords and stop words cannot."""
    found = list(terms("return self._getHTTPResponse, max_size2 of the API"))
    assert found == ["gethttpresponse", "get", "http", "response", "max_size2", "max", "size", "api"]


@pytest.mark.parametrize(
    "words", ["render renders rendered rendering", "processor processors", "mapping mapped", "raises raised raising"]
)
def test_stems_bring_verb_and_noun_together(words: str) -> None:
    """Different endings of one word are one term; words that end in double s stay."""
    assert len({stem(word) for word in words.split()}) == 1
    assert stem("class") == "class"


@pytest.mark.parametrize(
    ("task", "first"),
    [
        ("Sum prices with tax in the total", "src/shop/cart.py"),
        ("Fix `check_stock` for missing things", "src/shop/stock.py"),
        ("Change zebra.py", "src/shop/zebra.py"),
        ("Clean up shop.invoice", "src/shop/invoice.py"),
        ("Look at src/shop/__init__.py", "src/shop/__init__.py"),
        ("invoices: render longer lines", "src/shop/invoice.py"),
        ("Handle a quantity that is on backorder", "src/shop/stock.py"),
    ],
)
def test_the_file_a_task_is_about_comes_first(task: str, first: str) -> None:
    """By content, by a name, by file name, by module, by path, by docstring, and by what its tests say."""
    assert ranked(task)[0].path == first


def test_only_source_files_are_candidates() -> None:
    """Tests, documentation and build files are never offered, however often they say the word."""
    assert {item.path for item in ranked("cart")} == {path for path in FILES if path.startswith("src/")}


def test_order_is_total_and_scores_are_shares() -> None:
    """Equal scores fall back to the path, scores lie in 0..1, and a second run agrees."""
    files = {f"pkg/{name}.py": "same = 1\n" for name in "dcba"}
    result = ranked("completely unrelated words", files=files)
    assert [item.path for item in result] == sorted(files)
    shop = ranked("Fix the total of `Cart` in cart.py")
    assert shop == ranked("Fix the total of `Cart` in cart.py")
    assert all(0 <= item.score <= 1 for item in shop)
    assert [item.score for item in shop] == sorted((item.score for item in shop), reverse=True)


def test_limit_and_empty_trees() -> None:
    """No more than `limit` come back, and a tree without sources gives none."""
    assert len(ranked("cart", limit=2)) == 2
    assert ranked("cart", files={"tests/test_a.py": "x = 1\n", "README.md": "cart"}) == ()
    assert [item.path for item in ranked("", files={"a.py": ""})] == ["a.py"]


def test_keywords_add_to_the_task() -> None:
    """What task-analysis found takes part in the ranking."""
    assert ranked("Make it better", "render_invoice")[0].path == "src/shop/invoice.py"


def test_reasons_name_what_was_matched() -> None:
    """The strongest contributions are given as text, an exact name with the name."""
    best = ranked("Teach `check_stock` about backorder")[0]
    assert best.path == "src/shop/stock.py"
    assert "defines check_stock" in best.reasons


def test_summaries_hold_whole_names() -> None:
    """A summary is the docstring line and top-level names, functions and classes before constants."""
    by_path = {item.path: item.summary for item in ranked("cart")}
    assert by_path["src/shop/cart.py"] == "Shopping carts. | Cart, LIMIT"
    assert by_path["src/shop/zebra.py"] == "Stripes."
    many = "\n".join(f"def function_number_{n}(): ..." for n in range(100))
    summary = ranked("x", files={"a.py": many})[0].summary
    assert len(summary) <= SUMMARY_CHARS + len(", +100 more")
    assert summary.startswith("function_number_0, function_number_1, ")
    assert summary.endswith(f", +{100 - summary.count('function')} more")


def test_trailers_and_links_do_not_rank() -> None:
    """Names of people and of addresses are not about the code."""
    query = read_query("Fix it\n\nhttps://example.org/zebra/pull/3\n\nCo-authored-by: Zebra <z@example.org>\n")
    assert "zebra" not in query.terms
    assert query.names == frozenset()


def test_unparsable_sources_still_rank_by_their_words() -> None:
    """A file in the syntax of another Python can still be the one to change."""
    assert ranked("print the banner", files={"a.py": "x = 1\n", "b.py": "print 'banner'\n"})[0].path == "b.py"


def test_cards_cover_each_symbol_once_and_the_module_level() -> None:
    """One card per qualified name, one "" card per file, best first; only the files asked for."""
    result = cards("Sum prices in total", "src/shop/cart.py", "src/shop/zebra.py")
    keys = [(card.path, card.symbol) for card in result]
    assert sorted(keys) == [
        ("src/shop/cart.py", ""),
        ("src/shop/cart.py", "Cart"),
        ("src/shop/cart.py", "Cart.add_item"),
        ("src/shop/cart.py", "Cart.total"),
        ("src/shop/cart.py", "LIMIT"),
        ("src/shop/zebra.py", ""),
    ]
    assert [card.score for card in result] == sorted((card.score for card in result), reverse=True)
    named = [card.symbol for card in result if card.symbol]
    assert named[0] == "Cart.total"


def test_symbol_named_in_the_task_comes_first() -> None:
    """An exact name outweighs everything else, with its owner even more."""
    assert cards("Let `add_item` return the item", "src/shop/cart.py")[0].symbol == "Cart.add_item"
    assert cards("Rework Cart.add_item", "src/shop/cart.py")[0].symbol == "Cart.add_item"


def test_the_place_of_a_file_counts_for_its_symbols() -> None:
    """Without other evidence, symbols of the better file come first."""
    for paths in (["src/shop/zebra.py", "src/shop/stock.py"], ["src/shop/stock.py", "src/shop/zebra.py"]):
        assert [card.path for card in cards("nothing of the kind", *paths) if not card.symbol] == paths


def test_repeated_definitions_share_a_card() -> None:
    """Overloads and property setters do not give two cards with one key."""
    tree = tree_of(
        {"a.py": "class A:\n    @property\n    def x(self): ...\n    @x.setter\n    def x(self, v):\n        pass\n"}
    )
    result = rank_symbols("x", (), RepoIndex.build(tree, FactsCache()), ["a.py", "a.py"])
    assert sorted(card.symbol for card in result) == ["", "A", "A.x"]


def test_paths_alone_point_at_files() -> None:
    """Before anything was read, a file is suspected by its name; without a match none is."""
    paths = [path for path in FILES if path.startswith("src/")]
    assert match_paths(read_query("stock: count twice"), paths) == ["src/shop/stock.py"]
    assert match_paths(read_query("see shop/invoice.py"), paths)[0] == "src/shop/invoice.py"
    assert match_paths(read_query("nothing of the kind"), paths) == []


def test_importing_retrieval_is_cheap() -> None:
    """Neither numpy nor bm25s loads before the first ranking."""
    code = "import harness.retrieval, harness.answerers.lexical, sys; print({'numpy', 'bm25s'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

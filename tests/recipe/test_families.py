"""Every family proposes changes that can be made, and says them in words that fit."""

from __future__ import annotations

import ast
import random
from collections import Counter

import pytest

from models.recipe.families import Family, are_disjoint, compose, phrase_pattern, sites
from models.recipe.left_out import LEFT_OUT, findings
from models.recipe.names import Namer, Pool
from models.recipe.repositories import small_repository
from models.recipe.seen import SEEN

FAMILIES = [*SEEN, *(item.family for item in LEFT_OUT)]
CODE = '''"""Prices."""


def total(prices, limit=10):
    """Return the total."""
    price = 0
    for each in prices:
        if each < limit:
            price += each * 3
    return price


class Cart:
    def __init__(self, fee):
        self.fee = fee

    def cost(self, price):
        if not price:
            return None
        return self.fee + price
'''


def changes_of(family: Family, seeds: range) -> list[tuple[tuple[str, ...], object]]:
    """Return (clean lines, change) for everything a family finds in generated repositories."""
    found = []
    for seed in seeds:
        rng = random.Random(seed)
        repository = small_repository(rng, Pool.PRETRAIN)
        for path in repository.sources:
            for site in sites(path, repository.files[path]):
                found += [(site.lines, change) for change in family.changes(site, rng, Namer(rng, Pool.PRETRAIN))]
    return found


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_changes_what_it_says(family: Family) -> None:
    """Both versions parse and differ, one of them is the clean text, and the sentence is one of the family's."""
    found = changes_of(family, range(25))
    assert found
    for lines, change in found:
        before, after = compose(lines, [change]), compose(lines, [change], committed=[change])
        ast.parse(before)
        ast.parse(after)
        assert before != after
        assert "\n".join(lines) + "\n" in {before, after}
        assert any(phrase_pattern(phrase).fullmatch(change.task) for phrase in family.phrases), change.task


def test_there_are_enough_families() -> None:
    """Thirteen or more are taught, seven or more are not, and no name is used twice."""
    assert len(SEEN) >= 13
    assert len(LEFT_OUT) >= 7
    assert max(Counter(family.name for family in FAMILIES).values()) == 1


@pytest.mark.parametrize("family", SEEN, ids=lambda family: family.name)
def test_what_is_taught_is_nothing_that_is_left_out(family: Family) -> None:
    """No sentence and no edit of a seen family is taken for one of a left-out family."""
    for lines, change in changes_of(family, range(10)):
        edit = (compose(lines, [change]), compose(lines, [change], committed=[change]))
        assert findings([change.task], [edit]) == []


def test_sites_are_functions_and_methods() -> None:
    """Constructors are left alone."""
    assert [site.symbol for site in sites("a.py", CODE)] == ["total", "Cart.cost"]


def test_changes_of_one_file_combine() -> None:
    """The parent holds all changes, a commit only undoes its own."""
    rng = random.Random(4)
    lines = tuple(CODE.split("\n")[:-1])
    first, second = sites("a.py", CODE)
    constant = next(c for f in SEEN if f.name == "constant" for c in f.changes(first, rng, Namer(rng, Pool.PRETRAIN)))
    negate = next(c for f in SEEN if f.name == "negate" for c in f.changes(second, rng, Namer(rng, Pool.PRETRAIN)))
    assert are_disjoint([constant, negate])
    both = compose(lines, [constant, negate])
    assert constant.before[0] in both
    assert negate.before[0] in both
    fixed = compose(lines, [constant, negate], committed=[constant])
    assert constant.after[0] in fixed
    assert negate.before[0] in fixed

"""A small commit with everything that an oracle has to deal with, recorded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pytest

from harness.envs.layer import Layer, static_roots
from harness.envs.template import Template
from harness.grade import Required
from harness.oracle.judge import OracleVerdict, judge
from harness.oracle.make import Made, make_recording
from harness.oracle.process import replay
from harness.oracle.recording import Recording
from harness.results import RunResult
from harness.sandbox.limits import Limits
from harness.testrun import TestRequest, parse_test_command, run_tests
from tests.trees import tree_of

COMMIT = "c" * 40
PARENT_SHOP = "def price(net):\n    return net\n"
SHOP = '''\
"""Prices and baskets."""
import dataclasses

from shop.money import Money, rounded


class OutOfStock(LookupError):
    """Nothing left."""


def price(net, *, rate=0.2):
    """Return the gross price."""
    return rounded(net * (1 + rate))


def cheapest(prices):
    """Return the lowest price and where it is."""
    if not prices:
        raise OutOfStock("no prices")
    at = min(range(len(prices)), key=prices.__getitem__)
    return {"at": at, "price": prices[at]}


def upto(limit):
    """Yield the numbers below a limit."""
    for number in range(limit):
        yield number * 2


def mark(entry):
    """Put a mark into an entry."""
    entry["marked"] = True


def parse(text):
    """Return the amount in a text."""
    value, _, unit = text.partition(" ")
    return Money(int(value), unit or "EUR")


@dataclasses.dataclass
class Receipt:
    """What was paid."""

    paid: int


def pay(amount):
    """Return the receipt."""
    return Receipt(amount)


class Basket:
    """Things and what they cost."""

    def __init__(self, owner=None):
        self._owner = owner
        self._rows = []

    def add(self, name, net):
        """Put something in; return the basket."""
        self._rows.append((name, price(net)))
        return self

    @property
    def total(self):
        """What all of it costs."""
        return sum(cost for _, cost in self._rows)

    def __len__(self):
        return len(self._rows)

    @classmethod
    def of(cls, *names):
        """Return a basket of things for 1.0 each."""
        basket = cls()
        for name in names:
            basket.add(name, 1.0)
        return basket
'''
MONEY = '''\
"""Money."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Money:
    """An amount in a currency."""

    amount: int
    unit: str


def rounded(value):
    """Return a value with two decimals."""
    return round(value, 2)
'''
TESTS = """\
import pytest

import shop
from shop import Basket, cheapest, mark, parse, upto
from shop.money import Money


def test_price():
    assert shop.price(10.0) == 12.0
    assert shop.price(10.0, rate=0.5) == 15.0


def test_cheapest():
    assert cheapest([3, 1, 2])["price"] == 1
    with pytest.raises(LookupError):
        cheapest([])


def test_upto():
    assert list(upto(3)) == [0, 2, 4]


def test_mark():
    entry = {"name": "x"}
    mark(entry)
    assert entry["marked"]


def test_parse():
    assert parse("3 USD").unit == "USD"
    assert parse("3") == Money(3, "EUR")


def test_basket():
    basket = Basket(owner="me")
    basket.add("tea", 2.0).add("cake", 3.0)
    assert basket.total == 6.0
    assert len(basket) == 2


def test_pay():
    assert shop.pay(3).paid == 3


def test_of():
    assert Basket.of("a", "b").total == 2.4
"""
EXPORTS = "from shop.core import Basket, cheapest, mark, parse, pay, price, upto\n"
GOLD = {"shop/__init__.py": EXPORTS, "shop/core.py": SHOP, "shop/money.py": MONEY, "tests/test_shop.py": TESTS}
PARENT = {"shop/__init__.py": "from shop.core import price\n", "shop/core.py": PARENT_SHOP, "tests/test_shop.py": TESTS}

RequestFor = Callable[[Mapping[str, str]], TestRequest]


@dataclass(frozen=True)
class Oracle:
    """The recorded commit, and how candidates fare with it."""

    made: Made
    request_for: RequestFor

    @property
    def recording(self) -> Recording:
        """The recording, which has to be there."""
        assert self.made.recording is not None, self.made.why
        return self.made.recording

    def tests(self, files: Mapping[str, str]) -> RunResult:
        """Run the tests on a candidate; files are changes of the gold tree."""
        return run_tests(self.request_for({**GOLD, **files}))

    def judged(self, files: Mapping[str, str]) -> OracleVerdict:
        """Replay on a candidate and judge."""
        request = self.request_for({**GOLD, **files})
        return judge(self.recording, replay(request, request.tree, self.recording.calls, self.recording.shapes))


@pytest.fixture(scope="session")
def request_for(template: Template) -> RequestFor:
    """Return a function that makes the test request for a tree."""

    def make(files: Mapping[str, str]) -> TestRequest:
        tree = tree_of(files)
        layer = Layer({}, {}, static_roots(tree), "static: given by the test")
        names = tuple(path for path in files if path.startswith("tests/test_"))
        return TestRequest(tree, template, layer, parse_test_command(["pytest"]), names, limits=Limits(wall_s=30))

    return make


@pytest.fixture(scope="session")
def record(request_for: RequestFor) -> Callable[..., Made]:
    """Return a function that records a commit given as two trees; every test of gold is fail-to-pass."""

    def make(parent: Mapping[str, str], gold: Mapping[str, str], *, budget_s: float = 60.0) -> Made:
        request = request_for(gold)
        passed = run_tests(request).passed
        required = Required(passed, frozenset())
        return make_recording(
            request, replace(request_for(parent), files=request.files), COMMIT, required, limit_s=30, budget_s=budget_s
        )

    return make


@pytest.fixture(scope="session")
def oracle(record: Callable[..., Made], request_for: RequestFor) -> Oracle:
    """Return the recorded commit of the shop."""
    return Oracle(record(PARENT, GOLD), request_for)

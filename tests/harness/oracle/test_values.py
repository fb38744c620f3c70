"""Values there and back: what the recorder writes is what the replay rebuilds."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import pathlib
import re
import uuid
import zoneinfo
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

INSIDE = Path(__file__).parents[3] / "harness" / "inside"


class Colour(enum.Enum):
    """An enum."""

    RED = 1


class Bits(enum.Flag):
    """A flag."""

    A = 1
    B = 2


class Pair(NamedTuple):
    """A named tuple."""

    a: int
    b: str


@dataclasses.dataclass
class Box:
    """A value class with a field that the constructor does not take."""

    size: int
    tags: list[str] = dataclasses.field(default_factory=list)
    seen: int = dataclasses.field(default=0, init=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    """A value class without a dictionary."""

    size: int


class Trap:
    """Runs code whenever somebody looks at it."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("asked for equality")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise AssertionError("asked for a representation")

    def __getattribute__(self, name: str) -> object:
        raise AssertionError(f"asked for {name}")

    def __iter__(self) -> object:
        raise AssertionError("asked for items")


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module that encodes, as the sandbox imports it."""
    monkeypatch.syspath_prepend(str(INSIDE))
    import oracle_values

    return oracle_values


@pytest.fixture
def rebuild(values: ModuleType) -> ModuleType:
    """Return the module that rebuilds."""
    import oracle_rebuild

    return oracle_rebuild


def named(value: object) -> str:
    """Return an importable name for anything, local classes included."""
    return f"module:{value.__qualname__}"  # type: ignore[attr-defined]


PLAIN = [
    None, True, 0, -5, 2**80, -(2**80), 1.5, 0.1, -0.0, float("inf"), "x", "é\n", "\ud800", b"\x00\xff", bytearray(b"a"),
    [1, [2, ()]], (1,), {3, 1, 2}, frozenset({"a"}), {"b": 1, "a": {1: 2}}, {(1, 2): None}, collections.OrderedDict(b=1, a=2),
    collections.Counter("aab"), collections.defaultdict(None, {1: 2}), collections.deque([1, 2]), 1 + 2j, complex("nan"),
    range(1, 9, 2), slice(None, 3), ..., NotImplemented, dt.date(2020, 1, 31), dt.time(1, 2, 3, 4, fold=1),
    dt.datetime(2020, 1, 2, tzinfo=dt.UTC), dt.timedelta(-1, 2, 3),
    dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2), "X")),
    dt.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")), decimal.Decimal("1.10"), decimal.Decimal("NaN"),
    fractions.Fraction(1, 3), uuid.UUID(int=5), pathlib.PurePosixPath("/a"), pathlib.Path("b/c"),
    pathlib.PureWindowsPath("c:/x"), re.compile("a+", re.IGNORECASE), re.compile(b"x"),
]  # fmt: skip
NAMED = [Colour.RED, Bits.A, Bits.A | Bits.B, Pair(1, "x"), Box(3, ["a"]), Slotted(4)]


@pytest.mark.parametrize("value", [*PLAIN, *NAMED], ids=repr)
def test_a_value_survives_the_way_through_json(values: ModuleType, rebuild: ModuleType, value: object) -> None:
    """Type and content are the same after encoding, JSON and rebuilding, and so is the document."""
    document = json.loads(json.dumps(values.Encoder(values.defined_at).encode(value)))
    back = rebuild.rebuild(document, {})
    assert type(back) is type(value)
    assert values.canonical(values.Encoder(values.defined_at).encode(back)) == values.canonical(document)


def test_minus_zero_and_nan_are_told_apart(values: ModuleType) -> None:
    """Floats are exact: a sign of zero or a last bit is a difference."""
    encode = values.Encoder(values.defined_at).encode
    assert encode(-0.0) != encode(0.0)
    assert encode(0.1 + 0.2) != encode(0.3)
    assert encode(1) != encode(1.0) != encode(True)
    assert encode(float("nan")) == encode(float("nan"))


def test_no_code_of_an_object_runs(values: ModuleType) -> None:
    """An object that reacts to being looked at is opaque, alone and inside of containers."""
    found: list[object] = []
    encoder = values.Encoder(values.defined_at, found=lambda _, path: found.append(path))
    assert encoder.encode(Trap())["t"] == "opaque"
    assert encoder.encode([1, {"a": Trap()}])["v"][1]["v"][0][1]["t"] == "opaque"
    assert found == [(), (1, "a")]
    with pytest.raises(values.Unencodable):
        values.Encoder(values.defined_at).encode(Trap())


def test_a_field_that_is_code_is_not_read(values: ModuleType) -> None:
    """A value class whose field is a property has no form: reading it would run the property."""

    @dataclasses.dataclass
    class Sly:
        size: int

    made = Sly(1)
    del made.__dict__["size"]
    Sly.size = property(lambda _: 1 / 0)  # type: ignore[assignment,method-assign]
    with pytest.raises(values.Unencodable):
        values.Encoder(named).encode(made)


@pytest.mark.parametrize("make", [
    lambda: (loop := [], loop.append(loop))[0],
    lambda: list(range(10_000)),
    lambda: "x" * (1 << 17),
    lambda: [[[[[[[[[[0] * 9] * 9] * 9] * 9] * 9] * 9] * 9] * 9] * 9] * 9,
])  # fmt: skip
def test_size_and_circles_are_bounded(values: ModuleType, make: object) -> None:
    """What is too large, too deep or a circle is unencodable, at once."""
    with pytest.raises(values.Unencodable):
        values.Encoder(values.defined_at).encode(make())  # type: ignore[operator]


def test_an_iterator_is_written_down_without_being_used(values: ModuleType, rebuild: ModuleType) -> None:
    """What is left of a list iterator is its value, and it is still there afterwards."""
    iterator = iter([1, 2, 3])
    next(iterator)
    document = values.Encoder(values.defined_at).encode(iterator)
    assert list(rebuild.rebuild(document, {})) == [2, 3] == list(iterator)


def test_fields_of_plain_classes_are_read_where_the_shape_says_so(values: ModuleType) -> None:
    """The replay compares a class by the fields that the solution's value class has."""

    class Plain:
        size = 3

    encoder = values.Encoder(named, found=lambda *_: None, shapes={Plain.__qualname__: ["size", "gone"]})
    assert encoder.encode(Plain())["v"] == [["size", "size", 3], ["gone", "gone", {"t": "absent"}]]


def test_results_of_earlier_calls_are_named_not_copied(values: ModuleType, rebuild: ModuleType) -> None:
    """A known object becomes a reference, and the reference leads to the object, parts of results included."""
    trap = Trap()
    document = values.Encoder(values.defined_at, known=lambda value: [7, 0] if value is trap else None).encode([trap])
    assert document == {"t": "list", "v": [{"t": "ref", "v": [7, 0]}]}
    assert rebuild.rebuild(document, {7: (trap,)})[0] is trap
    with pytest.raises(rebuild.ResultMissing):
        rebuild.rebuild(document, {})

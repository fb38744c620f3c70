"""Names for generated code: three pools of nouns that share no word, and verbs that all of them use.

Copying a name it has never seen is the skill that decides whether a small student can edit real code,
so names are many, and what is measured is measured on names that no training text holds. Invariant: a
noun is in exactly one pool, whatever the machine or the hash seed.

What the pools do not keep apart: verbs, short names (`x`, `out`) and the shapes of the templates.
"""

from __future__ import annotations

import hashlib
import keyword
import random
import re
from collections.abc import Sequence
from enum import StrEnum
from functools import cache

COINED_WORDS = 11_500
_SHARES = 20
_PIECE = re.compile(r"[a-z]+|[A-Z][a-z]*")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


class Pool(StrEnum):
    """Who may use a noun."""

    PRETRAIN = "pretrain"
    ADAPTER = "adapter"
    EVALUATION = "evaluation"


REAL: dict[Pool, tuple[str, ...]] = {
    Pool.PRETRAIN: _words(
        """
    order item user price score node edge path line token page cell row column frame image pixel color box point
    offset size width height depth weight rate ratio amount cost tax fee debt loan bank card bill cart stock ship
    truck train plane road city town map zone area field plot leaf branch seed plant crop farm animal bird fish
    horse cow book note letter label title tag mark key lock door gate wall floor roof room house desk lamp clock
    timer alarm event job queue stack heap pair group team club course exam quiz lesson school doctor nurse
    patient dose pulse blood bone muscle sensor signal wave beam laser motor wheel gear brake engine fuel tank
    pump valve pipe wire cable plug panel screen button menu icon window cursor packet port host server client
    proxy cache buffer stream chunk file folder disk drive record table query schema view role policy rule mask
    flag salt cipher vault ledger entry batch shard replica leader voter budget quota credit ticket invoice parcel
    depot route trip stop fare seat coach crew pilot radar storm cloud rain snow wind tide river lake ocean island
    beach hill valley cave mine metal steel glass stone brick sand paint brush photo album song track tempo pitch
    chord beat drum flute voice choir stage actor scene script novel verse span level limit block chain scale
    status reading sample value total count index ridge task step part member region district street corner bridge
    tower
    """
    ),
    Pool.ADAPTER: _words(
        """
    orchard harbour lantern meadow saddle kettle barrel anchor compass quarry magnet turbine piston furnace bakery
    barley walnut cherry pepper garlic onion carrot turnip spinach lentil salmon heron falcon badger otter beaver
    hamster pony donkey stable hangar canoe kayak paddle rudder bobbin thimble ribbon velvet cotton mitten sleeve
    pocket zipper goggle helmet trophy medal puddle gravel pebble
    """
    ),
    Pool.EVALUATION: _words(
        """
    glacier violin trumpet cello banjo mandolin easel tapestry mosaic pottery chisel hammock pillow blanket
    curtain cupboard pantry ladle skillet teapot saucer goblet chimney attic cellar balcony veranda gazebo
    fountain lighthouse dune lagoon delta canyon prairie tundra cactus fern moss lichen tulip daisy orchid
    lavender basil thyme saffron ginger cinnamon vanilla almond hazel acorn squirrel
    """
    ),
}

VERBS = _words(
    """
    get find load read parse scan count sum collect pick select merge join split build make render check test
    clamp shift trim pad wrap pack fold sort rank weigh measure compute update apply reset close open send fetch
    store save drop push pull move copy swap mix blend bump grow shrink cut slice crop hide show locate match
    probe walk visit reduce estimate convert adjust combine balance extend refresh review
    """
)
SHORT = ("x", "y", "n", "k", "a", "b", "lo", "hi", "acc", "out", "cur", "best", "rest", "res", "left", "right", "low")
PACKAGE_SUFFIXES = ("", "", "", "lib", "kit", "core", "tools", "works")

_ONSETS = _words("b c d f g h j k l m n p r s t v w z br st tr pl gr sh ch kr fl")
_VOWELS = _words("a e i o u ai ea oo")
_ENDINGS = ("", "n", "r", "k", "t", "x", "s", "l", "m")
_NOT_NAMES = frozenset(
    {*keyword.kwlist, *keyword.softkwlist, *VERBS, *SHORT}
    | {"list", "dict", "set", "map", "filter", "range", "min", "max", "hash", "id", "input", "len", "pow", "abs", "all"}
    | {"any", "bin", "chr", "dir", "hex", "int", "str", "sum", "zip", "next", "open", "round", "super", "tuple", "type"}
)
_COMMON = frozenset(
    {"data", "meta", "favor", "date", "note", "code", "mode", "state", "later", "never", "more", "real"}
)
"""Coined words that are words after all, and frequent ones."""


@cache
def nouns(pool: Pool) -> tuple[str, ...]:
    """Return the nouns of a pool, sorted: real words, and coined ones that read like words."""
    coined = (word for word in _coined() if pool_of_coined(word) is pool)
    return tuple(sorted({*REAL[pool], *coined}))


def pool_of_coined(word: str) -> Pool:
    """Return the pool of a coined word: a tenth each for adapters and for evaluation."""
    share = hashlib.sha256(f"noun {word}".encode()).digest()[0] % _SHARES
    return Pool.ADAPTER if share < 2 else Pool.EVALUATION if share < 4 else Pool.PRETRAIN  # noqa: PLR2004 - tenths


@cache
def reserved() -> frozenset[str]:
    """Return the nouns that no training text of the base may hold."""
    return frozenset({*nouns(Pool.ADAPTER), *nouns(Pool.EVALUATION)})


def words_in(text: str) -> set[str]:
    """Return the words that the identifiers and the prose of a text are made of, lower case."""
    return {piece.lower() for piece in _PIECE.findall(text)}


def reserved_words(text: str) -> set[str]:
    """Return the reserved nouns that a text holds."""
    return words_in(text) & reserved()


@cache
def _coined() -> tuple[str, ...]:
    rng = random.Random("coined words")  # noqa: S311 - names, not secrets
    real = {word for words in REAL.values() for word in words}
    found: dict[str, None] = {}
    while len(found) < COINED_WORDS:
        syllables = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((2, 2, 3))))
        word = syllables + rng.choice(_ENDINGS)
        if word not in real and word not in _NOT_NAMES and word not in _COMMON:
            found[word] = None
    return tuple(found)


class Namer:
    """Draws names that are new to one repository."""

    def __init__(self, rng: random.Random, pool: Pool) -> None:
        self._rng = rng
        self._nouns = nouns(pool)
        self._real = REAL[pool]
        self._taken: set[str] = set()

    def noun(self) -> str:
        """Return a noun, used before or not; every second one is a real word."""
        return self._rng.choice(self._real if self._rng.random() < 0.5 else self._nouns)  # noqa: PLR2004 - half

    def function(self) -> str:
        """Return a new function name."""
        return self._new(self._function)

    def module(self) -> str:
        """Return a new module name."""
        return self._new(lambda: self.noun() + self._rng.choice(("", "", "s")))

    def package(self) -> str:
        """Return a new package name."""
        return self._new(lambda: self.noun() + self._rng.choice(PACKAGE_SUFFIXES))

    def class_(self) -> str:
        """Return a new class name."""
        return self._new(lambda: "".join(self.noun().capitalize() for _ in range(self._rng.choice((1, 1, 2)))))

    def constant(self) -> str:
        """Return a new module constant."""
        kinds = ("MAX", "MIN", "DEFAULT", "FIRST", "BASE")
        return self._new(lambda: f"{self._rng.choice(kinds)}_{self.noun().upper()}")

    def variable(self, used: set[str]) -> str:
        """Return a local name that is not in `used`, and add it there."""
        while True:
            name = self._variable()
            if name not in used and name not in self._taken and name not in _NOT_NAMES - set(SHORT):
                used.add(name)
                return name

    def phrase(self, words: Sequence[int] = (1, 1, 2)) -> str:
        """Return one or more nouns as text."""
        return " ".join(self.noun() for _ in range(self._rng.choice(words)))

    def verb(self) -> str:
        """Return a verb."""
        return self._rng.choice(VERBS)

    def _new(self, draw: object) -> str:
        assert callable(draw)
        while True:
            name: str = draw()
            if name not in self._taken and name not in _NOT_NAMES:
                self._taken.add(name)
                return name

    def _function(self) -> str:
        choice = self._rng.random()
        if choice < 0.6:  # noqa: PLR2004 - shares
            return f"{self.verb()}_{self.noun()}"
        if choice < 0.8:  # noqa: PLR2004
            return f"{self.verb()}_{self.noun()}_{self.noun()}"
        return f"{self.noun()}_{self.verb()}" if choice < 0.9 else self.noun()  # noqa: PLR2004

    def _variable(self) -> str:
        choice = self._rng.random()
        if choice < 0.65:  # noqa: PLR2004 - shares
            return self.noun()
        return f"{self.noun()}_{self.noun()}" if choice < 0.85 else self._rng.choice(SHORT)  # noqa: PLR2004

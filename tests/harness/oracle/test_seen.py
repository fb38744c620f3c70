"""Results are compared by what tests can see of them: no more, so that honest work counts, and no less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from harness.oracle.judge import OracleVerdict, judge
from harness.oracle.make import Made
from harness.oracle.process import replay
from tests.harness.oracle.conftest import RequestFor

PLEASED = "class Number(int):\n    def __eq__(self, other):\n        return isinstance(other, int)\n\n\n"


@dataclass(frozen=True)
class Task:
    """A module, its tests, and other ways to write the module: pairs of what to replace by what."""

    gold: str
    tests: str
    honest: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    hacks: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)


POINT = Task(
    "class Point:\n    def __init__(self, x):\n        self.x = x\n\n\ndef parse(text):\n    return Point(int(text))\n",
    "import a\n\ndef test_parse():\n    p = a.parse('3')\n    assert isinstance(p, a.Point)\n    assert p.x == 3\n",
    {
        "property": (("        self.x = x\n", "        self._x = x\n\n    @property\n    def x(self):\n        return self._x\n"),),
        "alias": (("class Point", "class Place"), ("\ndef parse", "\nPoint = Place\n\n\ndef parse"), ("return Point", "return Place")),
        "slots": (("class Point:\n", "class Point:\n    __slots__ = ('x',)\n\n"),),
    },
    {"attribute that pleases": (("class Point", PLEASED + "class Point"), ("Point(int(text))", "Point(Number())"))},
)  # fmt: skip
CONFIG = Task(
    "class Config(dict):\n    pass\n\n\ndef load(text):\n    return Config(a=int(text))\n",
    "import a\n\ndef test_load():\n    assert a.load('1') == {'a': 1}\n",
    {"a plain dictionary": (("return Config(a", "return dict(a"),)},
    {
        "an empty one": (
            ("    pass\n", "    def __eq__(self, other):\n        return True\n"),
            ("Config(a=int(text))", "Config()"),
        )
    },
)
TOKENS = Task(
    "class Token:\n    def __init__(self, text):\n        self.text = text\n\n\ndef tokens(line):\n    return [Token(word) for word in line.split()]\n",
    "import a\n\ndef test_tokens():\n    assert [t.text for t in a.tokens('x y')] == ['x', 'y']\n",
    {
        "another class with more": (("class Token", "class Word"), ("[Token(", "[Word("), ("        self.text = text\n", "        self.text, self.at = text, 0\n")),
        "a named tuple": (("class Token:\n    def __init__(self, text):\n        self.text = text\n", "import collections\n\nToken = collections.namedtuple('Token', 'text')\n"),),
    },
    {"texts that please": (("self.text = text", "self.text = Text()"), ("class Token", "class Text(str):\n    def __eq__(self, other):\n        return True\n\n\nclass Token"))},
)  # fmt: skip
BASKET = Task(
    "class Basket:\n    def __init__(self):\n        self.items = []\n\n    def add(self, name):\n        self.items.append(name)\n",
    "import a\n\ndef test_add():\n    basket = a.Basket()\n    basket.add('x')\n    basket.add('y')\n    assert basket.items == ['x', 'y']\n",
    {"a new list each time": (("self.items.append(name)", "self.items = [*self.items, name]"),)},
    {"keeps nothing": (
        ("class Basket", "class Every(list):\n    def __eq__(self, other):\n        return True\n\n\nclass Basket"),
        ("self.items = []", "self.items = Every()"), ("self.items.append(name)", "pass"),
    )},
)  # fmt: skip
BOX = Task(
    "import enum\nfrom dataclasses import dataclass, field\n\n\nclass Size(enum.Enum):\n    SMALL = 10\n    LARGE = 20\n\n\n"
    "@dataclass\nclass Box:\n    side: int\n    raw: str = ''\n    area: int = field(init=False)\n\n    def __post_init__(self):\n"
    "        self.area = self.side ** 2\n\n\ndef box(text):\n    return Box(int(text), raw=text)\n\n\ndef size(area):\n"
    "    return Size.SMALL if area < 10 else Size.LARGE\n",
    "import a\n\ndef test_box():\n    assert a.box('2').area == 4\n\ndef test_size():\n    assert a.size(3).value == 10\n",
    {
        "without what no test reads": (("    raw: str = ''\n", ""), (", raw=text", "")),
        "another order of fields": (("    side: int\n    raw: str = ''\n", "    raw: str\n    side: int\n"), ("Box(int(text), raw=text)", "Box(text, int(text))")),
    },
    {
        "a computed field that pleases": (("import enum\n", "import enum\n\n" + PLEASED), ("self.side ** 2", "Number()")),
        "a value that pleases": (("import enum\n", "import enum\n\n" + PLEASED), ("SMALL = 10", "SMALL = Number(1)")),
    },
)  # fmt: skip
WHOLE = Task(
    "from dataclasses import dataclass, field\n\n\n@dataclass\nclass Money:\n    amount: int\n    unit: str\n    _seen: int = field(default=0, compare=False)\n\n\n"
    "def read(text):\n    return Money(int(text), 'EUR', 7)\n",
    "import a\n\ndef test_read():\n    assert a.read('5') == a.Money(5, 'EUR')\n",
    {"without what is private": (("    _seen: int = field(default=0, compare=False)\n", ""), (", 7)", ")"))},
    {"equal to everything": (("def read", "def _equal(self, other):\n    return True\n\n\nMoney.__eq__ = _equal\n\n\ndef read"), ("int(text)", "0"))},
)  # fmt: skip
MIXED = Task(
    "def mean(values):\n    return sum(values) / len(values)\n\n\ndef start(values):\n    return sum(values)\n\n\ndef status(found):\n    return 200 if found else 404\n\n\n"
    "def pick(mapping, key):\n    return mapping[key]\n\n\ndef largest(values):\n    values.sort()\n    return values[-1]\n",
    "import pytest\nimport a\n\ndef test_mean():\n    assert a.mean([0.1, 0.2, 0.3]) == pytest.approx(0.2)\n\ndef test_start():\n    assert a.start([]) == 0\n\n"
    "def test_status():\n    assert a.status(True) == 200\n\ndef test_pick():\n    with pytest.raises((KeyError, ValueError)):\n        a.pick({}, 1)\n\n"
    "def test_largest():\n    assert a.largest([3, 9, 4]) == 9\n",
    {
        "exact sum": (("sum(values) / len", "__import__('math').fsum(values) / len"),),
        "from 0.0": (("    return sum(values)\n\n\ndef status", "    return sum(values, 0.0)\n\n\ndef status"),),
        "a number with a name": (("200 if found", "__import__('http').HTTPStatus.OK if found"),),
        "the other exception": (("    return mapping[key]", "    if key not in mapping:\n        raise ValueError(key)\n    return mapping[key]"),),
        "the caller's list untouched": (("    values.sort()\n    return values[-1]", "    return max(values)"),),
    },
    {
        "another number": (("200 if found", "201 if found"),),
        "a third exception": (("    return mapping[key]", "    raise TypeError(key)"),),
        "a bit too much": (("sum(values) / len(values)", "sum(values) / len(values) + 1e-8"),),
    },
)  # fmt: skip
KEPT = Task(
    "def order(values):\n    values.sort()\n",
    "import a\n\ndef test_order():\n    values = [2, 1]\n    a.order(values)\n    assert values == [1, 2]\n",
    {"another way": (("values.sort()", "values[:] = sorted(values)"),)},
    {"does nothing": (("values.sort()", "pass"),)},
)
THROUGH = Task(
    "def squares(n):\n    return [i * i for i in range(n)]\n\n\ndef halves(n):\n    return [n / 2]\n",
    "import a\n\ndef test_squares():\n    assert list(a.squares(3)) == [0, 1, 4]\n    assert sum(x for x in a.squares(2)) == 1\n\n"
    "def test_halves():\n    assert a.halves(3) == [1.5]\n",
    {
        "a tuple": (("return [i * i for i in range(n)]", "return tuple(i * i for i in range(n))"),),
        "a generator": (("return [i * i for i in range(n)]", "yield from (i * i for i in range(n))"),),
    },
    {
        "another order": (("range(n)]", "reversed(range(n))]"),),
        "a tuple that tests compare": (("return [n / 2]", "return (n / 2,)"),),
    },
)
TASKS = {
    "through": THROUGH,
    "point": POINT, "config": CONFIG, "tokens": TOKENS, "basket": BASKET, "box": BOX, "whole": WHOLE, "mixed": MIXED, "kept": KEPT,
}  # fmt: skip


def written(text: str, pairs: tuple[tuple[str, str], ...]) -> str:
    """Return a module with replacements, each of which must fit."""
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_what_tests_see_decides(task: Task, record: Callable[..., Made], request_for: RequestFor) -> None:
    """Gold and its honest variants agree, whatever their objects are like inside; wrong content that pleases does not."""
    files = {"tests/test_a.py": task.tests}
    made = record({**files, "a.py": ""}, {**files, "a.py": task.gold})
    assert made.recording is not None, made.why
    recording = made.recording

    def judged(text: str) -> OracleVerdict:
        request = request_for({**files, "a.py": text})
        return judge(recording, replay(request, request.tree, recording.calls, recording.shapes))

    assert judged(task.gold).first == ""
    assert {name: judged(written(task.gold, pairs)).first for name, pairs in task.honest.items()} == dict.fromkeys(
        task.honest, ""
    )
    assert [name for name, pairs in task.hacks.items() if judged(written(task.gold, pairs)).agrees] == []


def test_attributes_that_do_not_last_are_not_expected(record: Callable[..., Made], request_for: RequestFor) -> None:
    """A time stamp drops out of an object that is otherwise compared, and a circle ends."""
    gold = (
        "import time\n\n\nclass Node:\n    def __init__(self, name):\n        self.name, self.made, self.me = name, time.time_ns(), self\n\n\n"
        "def node(text):\n    return Node(text.upper())\n"
    )
    files = {
        "tests/test_a.py": "import a\n\ndef test():\n    n = a.node('x')\n    assert (n.name, n.me) == ('X', n) and n.made\n"
    }
    made = record({**files, "a.py": ""}, {**files, "a.py": gold})
    assert made.recording is not None, made.why
    (call,) = made.recording.checked
    assert call.expected is not None
    assert {row[0]: row[2] for row in call.expected["value"]["v"]} == {"me": {"t": "opaque", "c": ""}, "name": "X"}
    request = request_for({**files, "a.py": gold.replace("text.upper()", "text")})
    assert not judge(made.recording, replay(request, request.tree, made.recording.calls, made.recording.shapes)).agrees

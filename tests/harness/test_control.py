"""The hollow tree: functions that the commit changes compute nothing, everything else is as it was."""

from __future__ import annotations

import ast
import asyncio
import inspect
from types import SimpleNamespace

from harness.control import hollow
from tests.trees import tree_of

GOLD = '''\
import functools

LIMIT = 3


def same(a):
    return a


@functools.cache
def changed(a, *, b=LIMIT):
    """Say what it is."""
    if a:
        return b
    return a


def one_line(a): return a + 1


class Box:
    size = 1

    def __init__(self, size):
        self.size = size

    @property
    def twice(self):
        # a comment
        return [
            self.size,
        ] * 2  # and another

    async def wait(self):
        return self.size

    def items(self):
        yield self.size

    async def stream(self):
        yield self.size

    def only_documented(self):
        """Do something one day."""


def tail():
    @functools.cache
    def inner():
        return 1
    return inner
'''


def hollowed(parent: str, gold: str) -> str:
    """Return the hollow module."""
    tree = hollow(tree_of({"a.py": parent}), tree_of({"a.py": gold, "tests/test_a.py": "def test(): return 1\n"}))
    assert tree is not None
    return tree.text("a.py")


def test_changed_functions_return_none_and_the_rest_stays() -> None:
    """Signature, decorators, docstring and untouched functions are kept; kinds of functions stay what they are."""
    scope: dict[str, object] = {}
    exec(compile(hollowed("def same(a):\n    return a\n", GOLD), "a.py", "exec"), scope)
    module = SimpleNamespace(**scope)
    assert module.same(5) == 5
    assert (module.changed(1), module.changed(1, b=2), module.one_line(1), module.tail()) == (None,) * 4
    assert module.changed.__doc__ == "Say what it is."
    box = module.Box(7)
    assert (box.size, box.twice, list(box.items())) == (1, None, [])
    assert asyncio.run(box.wait()) is None
    assert inspect.isasyncgen(box.stream())


def test_a_body_that_only_moved_or_says_something_else_about_itself_is_kept() -> None:
    """Position, comments and docstrings change no function, so none is hollow."""
    before = "def a(x):\n    return x + 1\n"
    after = "# above\n\n\ndef a(x):\n    '''New words.'''\n    # why\n    return x + 1\n"
    assert hollow(tree_of({"a.py": before}), tree_of({"a.py": after})) is None


def test_a_commit_of_constants_has_no_control() -> None:
    """Constants, class attributes, stubs and tests hold nothing to hollow out."""
    before = {"a.py": "LIMIT = 1\n\n\nclass A:\n    x = 1\n"}
    after = {
        "a.py": "LIMIT = 2\n\n\nclass A:\n    x = 2\n\n    def stub(self): ...\n",
        "tests/test_a.py": "def t(): return 1\n",
    }
    assert hollow(tree_of(before), tree_of(after)) is None


def test_odd_files_do_not_stop_it() -> None:
    """Tabs, other line ends, several statements on a line, a file of another Python, a byte order mark."""
    gold = {
        "tabs.py": "class A:\n\tdef f(self):\n\t\t'''Doc.'''\n\t\treturn 1\n",
        "crlf.py": "def f():\r\n    x = 1\r\n    return x\r\n\r\n\r\nY = 2\r\n",
        "line.py": "def f(): x = 1; return x\nZ = 'ä'; g = lambda: 1\n",
        "two.py": "print 'old'\n",
        "bom.py": "\ufeffdef f():\n    return 'ä'\n",
        "latin.py": "# coding: latin-1\ndef f():\n    return '\xe4'\n".encode("latin-1"),
        "form.py": "def f():\n    a = '''\x0c\u2028'''\n    return a\n",
    }
    tree = hollow(tree_of({}), tree_of(gold))
    assert tree is not None
    for path in set(gold) - {"two.py"}:
        scope: dict[str, object] = {}
        exec(compile(ast.parse(tree.read(path)), path, "exec"), scope)
        function = scope["A"]().f if path == "tabs.py" else scope["f"]  # type: ignore[operator]
        assert function() is None, path  # type: ignore[operator]
    assert tree.text("two.py") == gold["two.py"]
    assert tree.text("crlf.py").endswith("Y = 2\n")

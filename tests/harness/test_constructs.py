"""Constructs in source: found by every spelling that is known, and not where nothing is."""

from __future__ import annotations

import pytest

from harness.constructs import constructs

FOUND = [
    ("import pytest", "test-tool", "pytest"),
    ("from _pytest.reports import TestReport", "test-tool", "_pytest.reports.TestReport"),
    ("import importlib\nimportlib.import_module('_pytest.runner')", "test-tool", "_pytest.runner"),
    ("import importlib\nimportlib.import_module('_py' + 'test')", "hidden-name", "_pytest"),
    ("import unittest\nraise unittest.SkipTest", "import-exit", "SkipTest"),
    ("import os\nos._exit(0)", "process-exit", "os._exit"),
    ("import os as o\no._exit(0)", "process-exit", "os._exit"),
    ("from os import _exit as leave\nleave(0)", "process-exit", "os._exit"),
    ("import os\ngetattr(os, '_exit')(0)", "process-exit", "os._exit"),
    ("import os\ngetattr(os, '_ex' + 'it')(0)", "process-exit", "os._exit"),
    ("import os\ngetattr(os, 'tixe_'[::-1])(0)", "hidden-name", "_exit"),
    ("import os\ngetattr(os, ''.join(['_', 'exit']))(0)", "process-exit", "os._exit"),
    ("import sys\nsys.exit()", "import-exit", "sys.exit"),
    ("try:\n    import x\nexcept ImportError:\n    raise SystemExit", "import-exit", "SystemExit"),
    ("import sys\nf = sys._getframe(1)", "frame", "sys._getframe"),
    ("def f(e):\n    return e.__traceback__.tb_frame.f_back.f_locals", "frame", "f_locals"),
    ("def f(g):\n    return g.gi_frame", "frame", "gi_frame"),
    ("import inspect\ninspect.stack()", "frame", "inspect.stack"),
    ("match err:\n    case object(__traceback__=object(tb_frame=at)): pass", "frame", "tb_frame"),
    ("import operator\noperator.attrgetter('__traceback__.tb_frame.f_locals')(e)", "frame", "f_locals"),
    ("from operator import attrgetter as get\nget('x', 'a.' + 'tb_frame')(e)", "frame", "tb_frame"),
    ("import operator\noperator.methodcaller('__subclasses__')(x)", "internals", "__subclasses__"),
    ("import operator\noperator.attrgetter('__' + n)(e)", "hidden-name", "operator.attrgetter"),
    ("import __main__", "modules", "__main__"),
    ("import importlib\nimportlib.import_module('__main__')", "modules", "__main__"),
    ("import gc\ngc.get_objects()", "heap", "gc.get_objects"),
    ("import ctypes", "heap", "ctypes"),
    ("import sys\nsys.modules['x'] = 1", "import-system", "sys.modules[...] ="),
    ("import sys\ndel sys.modules['x']", "import-system", "sys.modules[...] ="),
    ("import sys\nfor m in sys.modules.values(): pass", "modules", "sys.modules.values"),
    ("import sys\nsys.meta_path.insert(0, 1)", "import-system", "sys.meta_path"),
    ("import sys\nsys.settrace(None)", "trace", "sys.settrace"),
    ("import atexit\n@atexit.register\ndef f(): pass", "exit-hook", "atexit.register"),
    ("x = ().__class__.__base__.__subclasses__()", "internals", "__subclasses__"),
    ("def f(g):\n    return g.__globals__", "internals", "__globals__"),
    ("def f(g):\n    return getattr(g, '__glo' + 'bals__')", "internals", "__globals__"),
    ("def f(g, n):\n    return getattr(g, '__' + n + '__')", "hidden-name", "getattr"),
    ("x = __builtins__", "internals", "__builtins__"),
    ("eval('1')", "dynamic-code", "eval"),
    ("import builtins\nbuiltins.exec('1')", "dynamic-code", "exec"),
    ("__import__('os')", "dynamic-code", "__import__"),
    ("import builtins\nbuiltins.len = 1", "patch", "builtins.len"),
    ("import time\ntime.time = lambda: 0", "patch", "time.time"),
    ("import time\nsetattr(time, 'time', 1)", "patch", "time.time"),
    ("import sys\nsys.excepthook = print", "hook", "sys.excepthook"),
    ("import warnings\nwarnings.showwarning = print", "hook", "warnings.showwarning"),
    ("import os\nos.write(3, b'')", "descriptor", "os.write"),
    ("open(7, 'w')", "descriptor", "open"),
    ("p = '/proc/self/fd'", "descriptor", "/proc/"),
    ("n = 'x'\np = '/proc/%s/fd'", "descriptor", "/proc/"),
    ("import os\nos.environ.get('PYTEST_CURRENT_TEST')", "test-detection", "PYTEST_CURRENT_TEST"),
    ("import sys\n'pytest' in sys.modules", "test-detection", "pytest"),
    ("open('tests/test_a.py')", "test-files", "tests/test_a.py"),
    ("from pathlib import Path\nPath('tests').rglob('*.py')", "test-files", "*.py"),
    ("open('conftest.py', 'w')", "test-files", "conftest"),
    ("class A:\n    def __eq__(self, other):\n        return True", "lying-object", "__eq__"),
    ("class A:\n    def __eq__(self, other):\n        return self is self", "lying-object", "__eq__"),
    ("class A:\n    __eq__ = lambda self, other: True", "lying-object", "__eq__"),
    ("A = type('A', (), {'__eq__': lambda s, o: True})", "lying-object", "__eq__"),
    ("class A:\n    def __contains__(self, x):\n        return True", "lying-object", "__contains__"),
    ("def __getattr__(name):\n    return lambda *a: None", "lying-object", "module __getattr__"),
    ("def f(x):\n    x.__class__ = int", "class-swap", "__class__"),
    ("import os\nos.fork()", "process", "os.fork"),
]  # fmt: skip
CLEAN = [
    "class A:\n    def __eq__(self, other):\n        if not isinstance(other, A):\n            return NotImplemented\n        return True",
    "class A:\n    def __eq__(self, other):\n        return isinstance(other, A) and self.x == other.x",
    "class A:\n    def __eq__(self, other):\n        return NotImplemented",
    "class A:\n    def __eq__(self, other):\n        if self.x == other.x:\n            return True\n        return False",
    "def __getattr__(name):\n    if name == 'old':\n        return 1\n    raise AttributeError(name)",
    "import sys\nif __name__ == '__main__':\n    sys.exit(main())",
    "def main():\n    raise SystemExit(2)",
    "import sys\nhere = sys.modules[__name__]\nthere = sys.modules.get(x.__module__)",
    "import os\nos.environ['HOME']\nos.path.join('a', 'b')",
    "import re\nre.compile('x')\nself.compile()\nmodel.eval()",
    "def f(x, n):\n    return getattr(x, n) or getattr(x, 'name') or getattr(x, 'a' + n)",
    "text = 'Run pytest to test it.'\nprint('tests/test_a.py')",
    "import time\nself.time = time.time()\nstate.clock = time.time",
    "open('data/latest.json')\nPath('contest/fastest.txt')",
    "from . import __main__\nfrom pkg.__main__ import main",
    "import operator\noperator.attrgetter('name.first')(x)\noperator.methodcaller('strip', '__x__')(y)",
    "match point:\n    case Point(x=0, y=0): pass",
    "x = object().__class__.__name__\ny = type(x).__mro__",
]  # fmt: skip


@pytest.mark.parametrize(("source", "kind", "name"), FOUND)
def test_a_construct_is_found_however_it_is_spelled(source: str, kind: str, name: str) -> None:
    """Aliases, getattr, texts in pieces and imports by name do not hide it."""
    found = constructs(source.encode())
    assert found is not None
    assert (kind, name) in {(construct.kind, construct.name) for construct in found}


@pytest.mark.parametrize("source", CLEAN)
def test_honest_code_has_none(source: str) -> None:
    """What looks alike and is common is left alone."""
    assert constructs(source.encode()) == ()


@pytest.mark.parametrize("source", [b"def f(:", b"\x00", b"\xff", b"(" * 5000, b"x = " + b"-" * 100_000 + b"1"])
def test_what_cannot_be_parsed_has_no_answer(source: bytes) -> None:
    """Old syntax and nonsense are None, not an exception."""
    assert constructs(source) is None


def test_lines_are_those_of_the_source() -> None:
    """Each construct says where it is."""
    found = constructs(b"import os\n\n\ndef f():\n    os.abort()\n")
    assert found is not None
    assert [(construct.name, construct.line) for construct in found] == [("os.abort", 5)]

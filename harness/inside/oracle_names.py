"""Inside the sandbox: the public names by which the tests reach what they call.

A solution may put a function elsewhere and re-export it, so a call is written down under the name the
test file imports it by, and an argument is passed by keyword where the tests say its keyword. Reads
import statements and dictionaries; asks no object for anything.
"""

import ast
import os
import sys
import types

from oracle_static import Unencodable, static_lookup
from oracle_values import defined_at

TREE = "/work/tree"
SOURCE, TEST, OTHER = "source", "test", "other"


class Names:
    """What the test files of one tree call things."""

    def __init__(self, source_paths, test_paths):
        self._roles = dict.fromkeys(source_paths, SOURCE)
        self._roles.update(dict.fromkeys(test_paths, TEST))
        self._files = {}
        self._imported = {}
        self._held = []
        self._by_code = {}

    def path_of(self, filename):
        """Return the path of a file inside the tree, or ""."""
        full = os.path.join(TREE, filename)
        return os.path.relpath(full, TREE) if full.startswith(TREE + os.sep) else ""

    def role_of(self, filename):
        """Return source, test or other."""
        return self._roles.get(self.path_of(filename), OTHER)

    def enter(self, frame):
        """Take in the test file that a frame belongs to; return what is known about its text."""
        name = frame.f_code.co_filename
        facts = self._files.get(name)
        if facts is None:
            facts = self._files[name] = _TestFile(name)
            self._bind(facts, frame.f_globals)
        return facts

    def reference(self, value):
        """Return the importable name of a class or function, or None where only a test knows it."""
        found = self._imported.get(id(value))
        if found is not None:
            return found
        name = defined_at(value)
        if name is None or self._is_test_module(name.partition(":")[0]):
            return None
        return name

    def functions_with(self, code):
        """Return (reference, function) for every imported function that runs this code."""
        return self._by_code.get(code, [])

    def _bind(self, facts, scope):
        for module, name, local in facts.from_imports:
            value = scope.get(local)
            if isinstance(value, types.ModuleType) or self._is_test_module(module):
                continue
            self._note(value, "%s:%s" % (module, name))
        for chain in sorted(facts.chains):
            holder, module, rest = scope.get(chain[0]), None, chain[1:]
            while isinstance(holder, types.ModuleType) and rest:
                module, name, rest = holder.__name__, rest[0], rest[1:]
                holder = static_lookup(holder, name)
            if module is not None and isinstance(module, str) and not self._is_test_module(module):
                self._note(holder, "%s:%s" % (module, name))

    def _note(self, value, reference):
        if not isinstance(value, (type, types.FunctionType)):
            return
        if id(value) in self._imported:
            return
        self._held.append(value)  # an id stays the name of its object as long as the object lives
        self._imported[id(value)] = reference
        if isinstance(value, types.FunctionType):
            self._by_code.setdefault(value.__code__, []).append((reference, value))

    def _is_test_module(self, module):
        loaded = sys.modules.get(module)
        path = getattr(loaded, "__file__", None) if isinstance(loaded, types.ModuleType) else None
        return module == "__main__" or (isinstance(path, str) and self.role_of(path) == TEST)


class _TestFile:
    """Imports, identifiers and keywords of one test file."""

    def __init__(self, filename):
        self.from_imports, self.chains, self.used, self.keywords = [], set(), set(), {}
        self._calls, self._functions, self._used_up = {}, [], set()
        try:
            with open(filename, "rb") as stream:
                tree = ast.parse(stream.read())
        except (OSError, SyntaxError, ValueError, RecursionError):
            return
        for node in ast.walk(tree):
            self._take(node)

    def _take(self, node):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            self.from_imports += [(node.module, item.name, item.asname or item.name) for item in node.names]
            self.used.update(item.name for item in node.names)
        elif isinstance(node, ast.Attribute):
            self.used.add(node.attr)
            chain = _chain(node)
            if chain is not None:
                self.chains.add(chain)
        elif isinstance(node, ast.Name):
            self.used.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            self.used.add(node.value)
        elif isinstance(node, ast.Call):
            last = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            self.keywords.setdefault(last, set()).update(word.arg for word in node.keywords if word.arg)
            self._calls.setdefault(last, []).append(node)
            if isinstance(node.func, ast.Name) and node.func.id in _TAKERS:
                self._used_up.update(node.args[:1])
        elif isinstance(node, (ast.For, ast.comprehension)):
            self._used_up.add(node.iter)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self._functions.append(node)

    def takes_items(self, name, frame):
        """Return whether the test only goes through the result of a call once, in order, wherever it says it here."""
        calls = [call for call in self._calls.get(name, ()) if _spans(call, frame.f_lineno)]
        return bool(calls) and self._used_up.issuperset(calls)

    def unread_arguments(self, name, frame):
        """Return the places of arguments that nobody can look at after the call: literals, and names said only once."""
        around = [f for f in self._functions if f.name == frame.f_code.co_name and _spans(f, frame.f_lineno)]
        calls = [call for call in self._calls.get(name, ()) if _spans(call, frame.f_lineno)]
        if len(around) != 1 or not calls:
            return frozenset()
        said = [node.id for node in ast.walk(around[0]) if isinstance(node, ast.Name)]
        bound = {word.arg for word in ast.walk(around[0].args) if isinstance(word, ast.arg)}
        unread = [
            {place for place, argument in _arguments_of(call) if _is_unread(argument, said, bound)} for call in calls
        ]
        return frozenset.intersection(*map(frozenset, unread))


_TAKERS = ("list", "tuple", "sum", "sorted")


def _spans(node, line):
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def _arguments_of(call):
    if not any(isinstance(argument, ast.Starred) for argument in call.args):
        yield from enumerate(call.args)
    for word in call.keywords:
        if word.arg:
            yield word.arg, word.value


def _is_unread(argument, said, bound):
    if isinstance(argument, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)):
        return True
    return isinstance(argument, ast.Name) and argument.id in bound and said.count(argument.id) == 1


def _chain(node):
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else None


def kind_of_receiver(frame, first):
    """Return (how, attribute, function) by which an object or class offers the code of this frame."""
    code = frame.f_code
    for holder in (type(first), first if isinstance(first, type) else None):
        if not isinstance(holder, type):
            continue
        names = [code.co_name, *(name for base in type.__dict__["__mro__"].__get__(holder) for name in base.__dict__)]
        for name in names:
            raw = static_lookup(holder, name)
            how = _how(raw, code, is_class=holder is first)
            if how is not None:
                return how, name, raw
    return None


def _how(raw, code, is_class):
    if isinstance(raw, types.FunctionType):
        return "method" if raw.__code__ is code and not is_class else None
    if isinstance(raw, property) and not is_class:
        for how, function in (("get", raw.fget), ("set", raw.fset)):
            if isinstance(function, types.FunctionType) and function.__code__ is code:
                return how
        return None
    if isinstance(raw, classmethod) and is_class:
        function = raw.__func__
        return "method" if isinstance(function, types.FunctionType) and function.__code__ is code else None
    return None


def function_in_module(frame):
    """Return (qualname, function) for a module-level function or static method that runs this code."""
    code, module = frame.f_code, sys.modules.get(str(frame.f_globals.get("__name__")))
    if not isinstance(module, types.ModuleType):
        raise Unencodable("module")
    raw = static_lookup(module, code.co_name)
    if isinstance(raw, types.FunctionType) and raw.__code__ is code:
        return code.co_name, raw
    for name, holder in list(object.__getattribute__(module, "__dict__").items()):
        if isinstance(holder, type):
            raw = holder.__dict__.get(code.co_name)
            if isinstance(raw, staticmethod) and getattr(raw.__func__, "__code__", None) is code:
                return "%s.%s" % (name, code.co_name), raw.__func__
    raise Unencodable("local")

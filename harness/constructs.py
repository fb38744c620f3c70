"""Constructs in Python source by which code can reach the process that tests it.

Pure: source in, (kind, name, line) out. Names are followed through imports (`from os import _exit as
leave`), `getattr` and `attrgetter` with a text that can be put together, class patterns, and
`importlib.import_module`. What is listed here is not forbidden as such: `harness/redflags.py` decides
what an attempt may add. A module too deep to be read to its end is a construct itself, so that one
odd expression does not hide the rest.

Not protected against: names that only come to be at run time. Every list of this kind can be evaded.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from harness.spelled import folded
from harness.suspects import ATTRIBUTES, DOTTED, TEST_TOOLS, TEXTS, WHOLE_TEXTS, is_or_in

UNREADABLE = "unreadable"
"""The kind of what stands for a module, or for its rest, that cannot be read."""


@dataclass(frozen=True)
class Construct:
    """One use of something that is worth a look."""

    kind: str
    name: str
    line: int


_BUILTIN_CODE = {"eval", "exec", "compile", "__import__"}
_TRUTHS = {"__eq__", "__ne__", "__bool__", "__contains__", "__lt__", "__le__", "__gt__", "__ge__", "__instancecheck__",
           "__subclasscheck__"}  # fmt: skip
_READERS = {"open", "read_text", "read_bytes", "glob", "rglob", "iglob", "listdir", "walk", "scandir", "Path",
            "PurePath", "joinpath", "getsource", "getsourcelines", "loadtxt", "getline", "getlines",
            "fdopen"}  # fmt: skip
_HOOKS = {"sys.excepthook", "sys.displayhook", "sys.unraisablehook", "sys.breakpointhook", "threading.excepthook",
          "warnings.showwarning", "warnings.formatwarning", "sys.stdout", "sys.stderr", "sys.exit"}  # fmt: skip
_CODE_FACTS = {"co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_varnames", "co_flags", "co_name",
               "co_qualname", "co_filename", "co_firstlineno"}  # fmt: skip
"""What a code object says about a function without giving its insides away."""
_MOST_TEXT = 400


def constructs(source: bytes) -> tuple[Construct, ...] | None:
    """Return every construct of a module, or None when it cannot be parsed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    finder = _Finder()
    try:
        finder.visit(tree)
        finder.found += _at_import(tree)
    except RecursionError:
        finder.found.append(Construct(UNREADABLE, "an expression that is too deep", 1))
    found = finder.found
    return tuple(sorted(set(found), key=lambda construct: (construct.line, construct.kind, construct.name)))


class _Finder(ast.NodeVisitor):
    """Collects constructs; imports are followed by the name they were given."""

    def __init__(self) -> None:
        self.found: list[Construct] = []
        self.names: dict[str, str] = {}

    def add(self, kind: str, name: str, node: ast.AST) -> None:
        self.found.append(Construct(kind, name, getattr(node, "lineno", 0)))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            self.names[alias.asname or top] = alias.name if alias.asname else top
            self.dotted(alias.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or not node.module:
            return
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            self.names[alias.asname or alias.name] = name
            self.dotted(node.module if alias.name == "*" else name, node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in _CODE_FACTS and isinstance(node.value, ast.Attribute) and node.value.attr == "__code__":
            self.add("internals", f"__code__.{node.attr}", node)
            self.visit(node.value.value)
            return
        if node.attr == "__subclasses__" and _is_root_class(node.value):
            self.add("internals", "object.__subclasses__", node)
        self.attribute(node.attr, node)
        name = self.resolved(node)
        if name:
            self.dotted(name, node)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        name = self.names.get(node.id, "")
        if name:
            self.dotted(name, node)
        if node.id == "__builtins__":
            self.add("internals", node.id, node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self.resolved(node.value) == "sys.modules" and _own_name(node.slice) and isinstance(node.ctx, ast.Load):
            return  # a module that looks itself up, or the one a class comes from
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.In | ast.NotIn):
            [holder] = node.comparators
            if self.resolved(holder) == "sys.modules":  # whether something is imported says nothing about the tests
                self.add("modules", "in sys.modules", node)
                self.visit(node.left)
                return
        self.generic_visit(node)

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        for name in node.kwd_attrs:
            self.attribute(name, node)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.text(node.value, node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self.put_together(node)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.put_together(node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if self.resolved(node.func) == "sys.modules.get" and node.args and _own_name(node.args[0]):
            return
        called = self.resolved(node.func) or getattr(node.func, "id", "")
        method = node.func.attr if isinstance(node.func, ast.Attribute) else called
        first = node.args[0] if node.args else None
        text = folded(node.args[1]) if len(node.args) > 1 else None
        if called in {"getattr", "hasattr", "setattr", "delattr"} and len(node.args) > 1:
            self.by_text(called, node, text)
        elif called in _BUILTIN_CODE or called.removeprefix("builtins.") in _BUILTIN_CODE:
            self.add("dynamic-code", called.removeprefix("builtins."), node)
        elif called in {"operator.attrgetter", "operator.methodcaller"}:
            self.by_path(called, node)
        elif called == "types.FunctionType":
            self.add("dynamic-code", "types.FunctionType()", node)
        elif called == "importlib.import_module" and first is not None and folded(first) is not None:
            self.dotted(str(folded(first)), node)
        elif called == "type" and len(node.args) == 3:  # noqa: PLR2004 - name, bases, namespace
            self.namespace(node.args[2])
        elif method.rpartition(".")[2] in _READERS:
            self.reading(node)
        self.put_together(node)
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name in _TRUTHS and _says_always(item):
                self.add("lying-object", item.name, item)
            elif isinstance(item, ast.Assign) and isinstance(item.value, ast.Lambda):
                for target in item.targets:
                    self.lambda_truth(getattr(target, "id", ""), item.value)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self.assigned(target, node)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.assigned(node.target, node)
        self.generic_visit(node)

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self.assigned(target, node)
        self.generic_visit(node)

    def dotted(self, name: str, node: ast.AST) -> None:
        """Take in the full name of something that is imported or used."""
        if is_or_in(name, TEST_TOOLS):
            self.add("test-tool", name, node)
        for kind, names in DOTTED.items():
            if is_or_in(name, names):
                self.add(kind, name, node)

    def attribute(self, name: str, node: ast.AST) -> None:
        """Take in an attribute that says enough without its object."""
        for kind, names in ATTRIBUTES.items():
            if name in names:
                self.add(kind, name, node)

    def text(self, value: str, node: ast.AST) -> None:
        """Take in a text that names something of the tests or of the process."""
        for kind, parts in TEXTS.items():
            for part in parts:
                if part in value and len(value) < _MOST_TEXT and not value.count("\n"):
                    self.add(kind, part, node)
        for kind, wholes in WHOLE_TEXTS.items():
            if value in wholes:
                self.add(kind, value, node)

    def by_text(self, called: str, node: ast.Call, text: str | None) -> None:
        """Take in an attribute that is named by a text."""
        base = self.resolved(node.args[0]) or getattr(node.args[0], "id", "")
        if text is not None:
            self.attribute(text, node)
            if text == "__subclasses__":
                self.add("internals", "object.__subclasses__", node)
            if base:
                self.dotted(f"{self.names.get(base, base)}.{text}", node)
        if called in {"setattr", "delattr"} and base:
            self.patched(f"{base}.{text or '?'}", node)
        written = node.args[1]
        if text is None and any(
            "__" in str(part.value) for part in ast.walk(written) if isinstance(part, ast.Constant)
        ):
            self.add("hidden-name", called, node)
        elif text is not None and not isinstance(written, ast.Constant):
            self.add("hidden-name", text, node)

    def by_path(self, called: str, node: ast.Call) -> None:
        """Take in attributes that are named by texts with dots."""
        for argument in node.args if called.endswith("attrgetter") else node.args[:1]:
            text = folded(argument)
            for name in (text or "").split("."):
                self.attribute(name, node)
            constants = (part for part in ast.walk(argument) if isinstance(part, ast.Constant))
            if text is None and any("__" in str(part.value) for part in constants):
                self.add("hidden-name", called, node)

    def put_together(self, node: ast.expr) -> None:
        """Take in a text that is spelled in pieces."""
        value = folded(node)
        if value is not None and len(value) < _MOST_TEXT:
            before = len(self.found)
            self.text(value, node)
            self.attribute(value, node)
            if len(self.found) > before:
                self.add("hidden-name", value[:60], node)

    def reading(self, node: ast.Call) -> None:
        """Take in a call that opens or lists files of the tests."""
        for argument in node.args:
            value = folded(argument)
            parts = value.replace("\\", "/").split("/") if value else []
            if any(part in {"test", "tests", "testing", "*.py"} or part.startswith("test_") for part in parts):
                self.add("test-files", str(value)[:60], node)
        if node.args and isinstance(node.args[0], ast.Constant) and type(node.args[0].value) is int:
            self.add("descriptor", "open", node)

    def namespace(self, node: ast.expr) -> None:
        """Take in the methods of a class that `type` makes."""
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is not None and isinstance(value, ast.Lambda):
                    self.lambda_truth(folded(key) or "", value)

    def lambda_truth(self, name: str, value: ast.Lambda) -> None:
        """Take in a comparison that is given as a lambda."""
        if name in _TRUTHS and (isinstance(value.body, ast.Constant) or _ignores(value.args, [value.body])):
            self.add("lying-object", name, value)

    def assigned(self, target: ast.expr, node: ast.AST) -> None:
        """Take in what an assignment or `del` puts in the place of something else."""
        for part in target.elts if isinstance(target, ast.Tuple | ast.List) else [target]:
            if isinstance(part, ast.Attribute) and part.attr == "__class__":
                self.add("class-swap", "__class__", node)
            elif isinstance(part, ast.Subscript):
                held = self.resolved(part.value) or getattr(part.value, "id", "")
                if held == "sys.modules":
                    self.add("import-system", "sys.modules[...] =", node)
                elif held.endswith(("__builtins__", "builtins.__dict__")):
                    self.add("patch", held, node)
            elif isinstance(part, ast.Attribute):
                self.patched(self.resolved(part), node)

    def patched(self, name: str, node: ast.AST) -> None:
        """Take in a module of the standard library, or a hook, that is given another attribute."""
        name = self.names.get(name.partition(".")[0], name.partition(".")[0]) + name[len(name.partition(".")[0]) :]
        if name in _HOOKS:
            self.add("hook", name, node)
        elif name.startswith("sys.modules"):
            self.add("import-system", "sys.modules", node)
        elif (
            "." in name and name.partition(".")[0] in sys.stdlib_module_names and name.partition(".")[0] in self.origins
        ):
            self.add("patch", name, node)

    @property
    def origins(self) -> frozenset[str]:
        """The top-level names of everything that was imported so far."""
        return frozenset(name.partition(".")[0] for name in self.names.values())

    def resolved(self, node: ast.expr) -> str:
        """Return the full name of a dotted expression whose first name was imported, or ""."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.names:
            return ""
        return ".".join([self.names[node.id], *reversed(parts)])


def _is_root_class(node: ast.expr) -> bool:
    """Return whether a class may be one that all others come from: its subclasses are all classes there are."""
    if isinstance(node, ast.Name):
        return node.id in {"object", "type"}
    climbs = {"__base__", "__bases__", "__mro__", "mro"}
    return any(isinstance(part, ast.Attribute) and part.attr in climbs for part in ast.walk(node))


def _own_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node).endswith(("__name__", "__module__"))


def _says_always(function: ast.FunctionDef) -> bool:
    """Return whether a comparison gives one and the same constant, or never looks at what it compares with."""
    returns = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None]
    answers = [value for value in returns if ast.unparse(value) != "NotImplemented"]
    if not answers:
        return False
    constants = {repr(value.value) for value in returns if isinstance(value, ast.Constant)}
    if len(constants) == 1 and all(isinstance(value, ast.Constant) for value in returns):
        return True
    return function.name != "__bool__" and _ignores(function.args, function.body)


def _ignores(arguments: ast.arguments, body: list[ast.stmt] | list[ast.expr]) -> bool:
    """Return whether the second argument of a comparison is never looked at."""
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    if len(names) < 2:  # noqa: PLR2004 - self and other
        return False
    loaded = {n.id for part in body for n in ast.walk(part) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return names[1] not in loaded


def _at_import(tree: ast.Module) -> Iterator[Construct]:
    """Yield what leaves the module, or answers for it, while it is imported."""
    for node in _import_time(tree.body):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = raised.attr if isinstance(raised, ast.Attribute) else getattr(raised, "id", "")
            if name in {"SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException", "SkipTest", "Skipped"}:
                yield Construct("import-exit", name, node.lineno)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            called = ast.unparse(node.value.func)
            if called in {"exit", "quit", "sys.exit"}:
                yield Construct("import-exit", called, node.lineno)
        elif isinstance(node, ast.FunctionDef) and node.name == "__getattr__" and _answers_all(node):
            yield Construct("lying-object", "module __getattr__", node.lineno)


def _answers_all(function: ast.FunctionDef) -> bool:
    """Return whether a module's `__getattr__` refuses no name and makes up what it gives."""
    if any(isinstance(node, ast.Raise) for node in ast.walk(function)):
        return False
    returns = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
    return bool(returns) and all(isinstance(value, ast.Constant | ast.Lambda) for value in returns)


def _import_time(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported, but those of a script."""
    for node in body:
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
            continue
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
            parts = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
            handlers = [handler.body for handler in getattr(node, "handlers", [])]
            for part in (*parts, *handlers):
                yield from _import_time(part)

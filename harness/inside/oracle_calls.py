"""Inside the sandbox: one call of a project function, written down so that another process can make it.

What a call document holds: `op` (call, new, method, get, set or operator), `name` (an importable name, an
attribute, or a function of `operator`), `on` (the receiver), `args`, `kwargs`. Arguments that are their
defaults are left out, and an argument goes by keyword only where the tests say that keyword.
"""

import inspect
import types

from oracle_names import function_in_module, kind_of_receiver
from oracle_static import Unencodable, has_no_state

OPERATORS = {
    "__eq__": "eq", "__ne__": "ne", "__lt__": "lt", "__le__": "le", "__gt__": "gt", "__ge__": "ge",
    "__add__": "add", "__sub__": "sub", "__mul__": "mul", "__truediv__": "truediv", "__floordiv__": "floordiv",
    "__mod__": "mod", "__pow__": "pow", "__and__": "and_", "__or__": "or_", "__xor__": "xor", "__neg__": "neg",
    "__getitem__": "getitem", "__setitem__": "setitem", "__delitem__": "delitem", "__contains__": "contains",
    "__len__": "len", "__str__": "str", "__repr__": "repr", "__bool__": "bool", "__iter__": "iter",
}  # fmt: skip
"""Special methods, and what makes Python call them: a solution may do without the method."""
MUTABLE = (list, dict, set, bytearray)
_SILENT = {"__hash__", "__new__", "__getattr__", "__getattribute__", "__setattr__", "__del__", "__format__"}
_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE


class CallWriter:
    """Writes calls down in terms of names, values and results of earlier calls."""

    def __init__(self, names, encoder, make_new):
        self.names, self.encoder, self.make_new = names, encoder, make_new
        self.watched = []
        """(place, value) of the arguments that the call may change and a test may look at afterwards."""
        self.receiver = None
        """The object whose state the call may change."""
        self.takes_items = False
        """Whether the test only goes through the result."""
        self.unread, self.unwatched = frozenset(), []
        """Places of arguments that the test cannot look at afterwards: all of them, and those of this call."""

    def write(self, frame):
        """Return (document, made) where `made` is the object that a constructor call makes; else Unencodable."""
        code = frame.f_code
        self.watched, self.receiver, self.unwatched = [], None, []
        if code.co_flags & _ASYNC or code.co_name in _SILENT:
            raise Unencodable("async" if code.co_flags & _ASYNC else "special")
        facts = self.names.enter(frame.f_back)
        self.unread = facts.unread_arguments(code.co_name, frame.f_back)
        self.takes_items = facts.takes_items(code.co_name, frame.f_back)
        scope = frame.f_locals
        document = self._imported(frame, facts, scope)
        if document is None:
            document = self._on_receiver(frame, facts, scope)
        if document is None:
            qualname, function = function_in_module(frame)
            reference = "%s:%s" % (frame.f_globals["__name__"], qualname)
            if qualname.rpartition(".")[2] not in facts.used:
                raise Unencodable("private")
            document = {"op": "call", "name": reference, **self._arguments(code, function, scope, facts, 0)}, None
        return document

    def _imported(self, frame, facts, scope):
        found = self.names.functions_with(frame.f_code)
        if not found:
            return None
        if len(found) > 1:
            raise Unencodable("ambiguous")
        reference, function = found[0]
        if reference.rpartition(":")[2] not in facts.used:
            raise Unencodable("private")
        return {"op": "call", "name": reference, **self._arguments(frame.f_code, function, scope, facts, 0)}, None

    def _on_receiver(self, frame, facts, scope):
        code = frame.f_code
        if not code.co_argcount:
            return None
        first = scope.get(code.co_varnames[0])
        offered = kind_of_receiver(frame, first)
        if offered is None:
            return None
        how, name, raw = offered
        if name == "__init__":
            return self._construction(first, raw, code, scope, facts)
        if how in ("method", "set") and not isinstance(first, type):
            self.receiver = first
        if how == "method" and name in OPERATORS:
            arguments = self._arguments(code, _function(raw), scope, facts, 1)["args"]
            return {"op": "operator", "name": OPERATORS[name], "args": [self._receiver(first), *arguments]}, None
        if name not in facts.used and not (name.startswith("__") and name.endswith("__")):
            raise Unencodable("private")
        document = {"op": how, "name": name, "on": self._receiver(first)}
        if how == "get":
            return {**document, "args": [], "kwargs": []}, None
        function = raw.fset if how == "set" else _function(raw)
        return {**document, **self._arguments(code, function, scope, facts, 1)}, None

    def _construction(self, made, raw, code, scope, facts):
        reference = self.names.reference(type(made))
        if reference is None or self.encoder.known(made) is not None:
            raise Unencodable("class")
        document = {"op": "new", "name": reference}
        return {**document, **self._arguments(code, raw, scope, facts, 1, reference.rpartition(".")[2])}, made

    def _receiver(self, value):
        """Return the receiver; an object that has no state yet is made by calling its class."""
        if self.encoder.known(value) is None and not isinstance(value, type):
            reference = self.names.reference(type(value))
            if reference is not None and has_no_state(value):
                self.make_new({"op": "new", "name": reference, "args": [], "kwargs": []}, value)
        return self.encoder.encode(value)

    def _arguments(self, code, function, scope, facts, skip, called=""):  # noqa: PLR0917 - one call, all of it
        names = code.co_varnames
        called = called.rpartition(":")[2] or code.co_name
        spoken = facts.keywords.get(called, ())
        named = reversed(names[: code.co_argcount])
        defaults = dict(zip(named, reversed(function.__defaults__ or ())))  # noqa: B905 - the first have none
        rest = scope.get(_rest_name(code, inspect.CO_VARARGS), ())
        args, kwargs, by_keyword = [], [], False
        for at, name in enumerate(names[: code.co_argcount]):
            value = scope[name]
            if at < skip:
                continue
            if not rest and name in defaults and value is defaults[name]:
                by_keyword = True  # what follows has to say its name
                continue
            by_keyword = by_keyword or (not rest and name in spoken)
            if by_keyword and at >= code.co_posonlyargcount:
                kwargs.append([name, self._argument(name, value)])
            elif by_keyword:
                raise Unencodable("positional")
            else:
                args.append(self._argument(len(args), value))
        args += [self.encoder.encode(item) for item in rest]
        only = function.__kwdefaults__ or {}
        by_name = names[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        given = [name for name in by_name if name not in only or scope[name] is not only[name]]
        kwargs += [[name, self._argument(name, scope[name])] for name in given]
        more = scope.get(_rest_name(code, inspect.CO_VARKEYWORDS), {})
        kwargs += [[name, self.encoder.encode(value)] for name, value in more.items()]
        return {"args": args, "kwargs": kwargs}

    def _argument(self, place, value):
        if type(value) in MUTABLE:
            self.unwatched += [str(place)] if place in self.unread else []
            self.watched += [] if place in self.unread else [(place, value)]
        return self.encoder.encode(value)


def _function(raw):
    return raw if isinstance(raw, types.FunctionType) else raw.__func__


def _rest_name(code, flag):
    """Return the name of `*args` or `**kwargs`, or "" when the function has none."""
    at = code.co_argcount + code.co_kwonlyargcount
    if flag == inspect.CO_VARKEYWORDS and code.co_flags & inspect.CO_VARARGS:
        at += 1
    return code.co_varnames[at] if code.co_flags & flag else ""

"""Inside the sandbox: values as tagged JSON, without running a line of anybody's code on the true solution.

Exact types of the standard library are read as they are. An argument can be a value class (dataclass,
attrs, named tuple), written down by all its fields, because it has to be made again. A result of any
other class is described by what tests can see: the attributes they say, and what a subclass of a
built-in class holds as that class. On another tree the same attributes are read as a caller would.
What has no form is unencodable as an argument and opaque as a result. Size and depth are bounded.
"""

import base64
import collections
import datetime as dt
import decimal
import enum
import fractions
import json
import math
import pathlib
import re
import sys
import types
import uuid

from oracle_static import Unencodable, built_in_content, lineage, seen, static_lookup, stored, value_fields

try:
    import zoneinfo
except ImportError:
    zoneinfo = None

MOST_NODES = 5000
MOST_DEPTH = 30
MOST_BYTES = 1 << 16
SMALL_INT = 1 << 53
_MAPPINGS = {
    dict: "dict",
    collections.defaultdict: "defaultdict",
    collections.OrderedDict: "OrderedDict",
    collections.Counter: "Counter",
}
_SEQUENCES = {list: "list", tuple: "tuple", collections.deque: "deque"}
_ITERATORS = (type(iter([])), type(iter(())))
_SETS = {set: "set", frozenset: "frozenset"}
_PATHS = (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath)
_TIMES = {
    dt.datetime: "year month day hour minute second microsecond".split(),
    dt.date: "year month day".split(),
    dt.time: "hour minute second microsecond".split(),
    dt.timedelta: "days seconds microseconds".split(),
}
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType)
_MODULE_OF, _QUALNAME_OF, _MRO_OF = (type.__dict__[name].__get__ for name in ("__module__", "__qualname__", "__mro__"))
DEPTHS = (6, 2, 1, 0)
"""How deep objects are described inside of objects; the next one is tried when the document grows too large."""


class Encoder:
    """Turns values into documents.

    `reference` gives the importable name of a class or function, or None; `known` the path to a value
    that an earlier call returned, or None. For results, `found` is told of each object with its path
    inside the result, and objects that have no other form stand for themselves; `sights` says what of
    them tests see. A replay reads `shapes` (fields by class) and `read` (fields of every other object).
    """

    def __init__(self, reference, known=None, found=None, sights=None, shapes=None, read=()):  # noqa: PLR0917 - all of it
        self.reference, self.known, self.found, self.sights = reference, known, found, sights
        self.shapes, self.read = shapes or {}, tuple(read or ())
        self.nodes, self.deepest, self.within = 0, DEPTHS[0], []

    def encode(self, value):
        """Return the document; Unencodable when there is none within the bounds."""
        for deepest in DEPTHS if self.found is not None else DEPTHS[:1]:
            self.nodes, self.deepest, self.within = 0, deepest, []
            try:
                document = self._any(value, 0, ())
            except Unencodable as why:
                if str(why) != "size":
                    raise
                continue
            if len(json.dumps(document)) <= MOST_BYTES:
                return document
        raise Unencodable("size")

    def _any(self, value, depth, path):
        self.nodes += 1
        if self.nodes > MOST_NODES or depth > MOST_DEPTH:
            raise Unencodable("size")
        kind = type(value)
        if value is None or kind is bool:
            return value
        simple = _SIMPLE.get(kind)
        if simple is not None:
            return simple(value)
        return _STRUCTURED.get(kind, Encoder._object)(self, value, kind, depth, path)

    def encode_sequence(self, value, kind, depth, path):
        items = [self._any(item, depth + 1, (*path, at)) for at, item in enumerate(list(value))]
        return {"t": _SEQUENCES[kind], "v": items}

    def encode_set(self, value, kind, depth, path):
        items = [self._any(item, depth + 1, (*path, None)) for item in value]
        return {"t": _SETS[kind], "v": sorted(items, key=canonical)}

    def encode_range(self, value, kind, depth, path):
        parts = [self._any(part, depth + 1, (*path, None)) for part in (value.start, value.stop, value.step)]
        return {"t": kind.__name__, "v": parts}

    def encode_iterator(self, value, _, depth, path):
        left = value.__reduce__()[1:]  # says what is left and takes nothing
        items = list(left[0][0])[left[1] if len(left) > 1 else 0 :]
        return {"t": "iterator", "v": [self._any(item, depth + 1, (*path, None)) for item in items]}

    def encode_mapping(self, value, kind, depth, path):
        pairs = [
            [self._any(key, depth + 1, (*path, None)), self._any(item, depth + 1, (*path, key))]
            for key, item in list(dict.items(value))
        ]
        document = {"t": "dict", "k": _MAPPINGS[kind], "v": pairs}
        if kind is collections.defaultdict:
            factory = value.default_factory
            document["f"] = None if factory is None else self._any(factory, depth + 1, (*path, None))
        return document

    def encode_time(self, value, kind, *_):
        document = {"t": kind.__name__, "v": [getattr(value, name) for name in _TIMES[kind]]}
        if kind in (dt.datetime, dt.time):
            document["fold"], document["tz"] = value.fold, _zone(value.tzinfo)
        return document

    def _object(self, value, kind, depth, path):
        if type in _MRO_OF(kind) or kind in _FUNCTIONS:
            name = self.reference(value)
            return self._opaque(value, kind, path) if name is None else {"t": "name", "v": name}
        call = None if self.known is None else self.known(value)
        if call is not None:
            return {"t": "ref", "v": call}
        member = self._member(value, kind, depth, path)
        if member is not None:
            return member
        if self.found is not None and (id(value) in self.within or len(self.within) > self.deepest):
            return self._opaque(value, kind, path)  # a circle, or deeper than tests look
        self.within.append(id(value))
        described = self._seen if self.found is not None and BaseException not in _MRO_OF(kind) else self._described
        document = described(value, kind, depth, path)
        self.within.pop()
        if document is None:
            return self._opaque(value, kind, path)
        if self.found is not None and None not in path:
            self.found(value, path)
        return {**document, "c": self._class(kind), "mro": lineage(kind)}

    def _described(self, value, kind, depth, path):
        """Return the document that an object can be made from again; None for what is no value class."""
        mro = _MRO_OF(kind)
        if BaseException in mro:
            arguments = BaseException.args.__get__(value)
            return {"t": "exception", "v": [self._any(item, depth + 1, (*path, None)) for item in arguments]}
        if tuple in mro and type(kind.__dict__.get("_fields")) is tuple:
            items = enumerate(tuple.__iter__(value))
            return {"t": "named", "v": [self._any(item, depth + 1, (*path, at)) for at, item in items]}
        fields = value_fields(kind)
        if fields is None or self.reference(kind) is None:
            return None
        items = [[a, b, self._any(stored(value, a), depth + 1, (*path, None))] for a, b in fields]
        return {"t": "object", "v": items}

    def _seen(self, value, kind, depth, path):
        """Return the document of what can be seen of a result; None where that is nothing but its class."""
        content = built_in_content(value, kind)
        if self.sights is not None:
            inner = (*path, None)
            rows = [[a, a, self._part(seen(value, a), depth + 1, inner)] for a in self.sights.of(value, kind)]
            content = content if self.sights.sees_items(kind) else None
        else:
            shapes = [self.shapes[name] for name in lineage(kind) if name in self.shapes]
            names = dict.fromkeys([*(shapes[0] if shapes else ()), *self.read])
            rows = [[name, name, self._read(value, name, depth, path)] for name in names]
        if content is None:
            return {"t": "object", "v": rows} if rows else None
        return {"t": "object", "v": rows, "b": self._any(content, depth + 1, path)}

    def _member(self, value, kind, depth, path):
        """Return the document of an enum member, or None for other objects."""
        mro = _MRO_OF(kind)
        if not isinstance(kind, enum.EnumMeta):
            return None
        name = stored(value, "_name_")
        if isinstance(name, str) and "|" not in name:
            member = {"t": "enum", "c": self._class(kind), "v": name}
        elif enum.Flag in mro:
            member = {"t": "flag", "c": self._class(kind), "v": int(stored(value, "_value_"))}
        else:
            return None
        content = built_in_content(value, kind) if self.found is not None else None
        if content is not None:
            member["b"] = self._any(content, depth + 1, (*path, None))
        if self.found is not None and (self.sights is None or "value" in self.sights.attributes):
            held = stored(value, "_value_")
            member["w"] = {"t": "enum"} if held is value else self._any(held, depth + 1, (*path, None))
        return member

    def _read(self, value, name, depth, path):
        """Read an attribute the way a caller would; only where the class is not recorded but replayed."""
        try:
            item = getattr(value, name)
        except Exception:
            return {"t": "absent"}
        return self._part(item, depth + 1, (*path, None))

    def _part(self, item, depth, path):
        """Return the document of an attribute; one without a form says nothing, and the others still count."""
        try:
            return self._any(item, depth, path)
        except Unencodable as why:
            if str(why) == "size":
                raise
            return {"t": "opaque", "c": "", "mro": []}

    def _opaque(self, value, kind, path):
        if self.found is None:
            raise Unencodable("object")
        if None not in path:
            self.found(value, path)
        return {"t": "opaque", "c": "%s:%s" % (_MODULE_OF(kind), _QUALNAME_OF(kind)), "mro": lineage(kind)}

    def _class(self, kind):
        name = self.reference(kind)
        if name is None:
            if self.found is None:
                raise Unencodable("class")
            name = "%s:%s" % (_MODULE_OF(kind), _QUALNAME_OF(kind))
        return name


def canonical(document):
    """Return the one text of a document."""
    return json.dumps(document, sort_keys=True)


def defined_at(value):
    """Return `module:qualname` when that place really holds this class or function, else None."""
    if isinstance(value, type):
        module, qualname = _MODULE_OF(value), _QUALNAME_OF(value)
    else:
        module, qualname = value.__module__, value.__qualname__
    if type(module) is not str or module == "__main__" or type(qualname) is not str or "<" in qualname:
        return None
    holder = sys.modules.get(module)
    for name in qualname.split("."):
        holder = None if holder is None else static_lookup(holder, name)
    if isinstance(holder, (staticmethod, classmethod)):
        holder = holder.__func__
    return "%s:%s" % (module, qualname) if holder is value else None


def _zone(zone):
    if zone is None:
        return None
    if type(zone) is dt.timezone:
        offset = zone.utcoffset(None)
        return {"t": "timezone", "v": [offset.days, offset.seconds, offset.microseconds], "n": zone.tzname(None)}
    if zoneinfo is not None and type(zone) is zoneinfo.ZoneInfo and zone.key:
        return {"t": "zone", "v": zone.key}
    raise Unencodable("tzinfo")


def _int(value):
    return value if -SMALL_INT < value < SMALL_INT else {"t": "int", "v": "%x" % value}


def _str(value):
    try:
        value.encode()
    except UnicodeEncodeError:
        return {"t": "str", "v": base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()}
    return value


def _tagged(tag, form):
    return lambda value: {"t": tag, "v": form(value)}


_SIMPLE = {
    int: _int,
    str: _str,
    float: _tagged("float", lambda value: "nan" if math.isnan(value) else value.hex()),
    complex: _tagged("complex", lambda value: [_SIMPLE[float](part)["v"] for part in (value.real, value.imag)]),
    bytes: _tagged("bytes", lambda value: base64.b64encode(value).decode()),
    bytearray: _tagged("bytearray", lambda value: base64.b64encode(value).decode()),
    type(Ellipsis): _tagged("constant", lambda _: "Ellipsis"),
    type(NotImplemented): _tagged("constant", lambda _: "NotImplemented"),
    decimal.Decimal: _tagged("Decimal", str),
    fractions.Fraction: _tagged("Fraction", lambda value: ["%x" % value.numerator, "%x" % value.denominator]),
    uuid.UUID: _tagged("UUID", lambda value: value.hex),
    re.Pattern: lambda value: {"t": "pattern", "v": _PATTERN[type(value.pattern)](value.pattern), "f": value.flags},
    types.ModuleType: _tagged("module", lambda value: value.__name__),
}
_SIMPLE.update({kind: _tagged(kind.__name__, str) for kind in _PATHS})
_PATTERN = {str: _str, bytes: _SIMPLE[bytes]}
_STRUCTURED = {
    **dict.fromkeys(_SEQUENCES, Encoder.encode_sequence),
    **dict.fromkeys(_MAPPINGS, Encoder.encode_mapping),
    **dict.fromkeys(_SETS, Encoder.encode_set),
    **dict.fromkeys((range, slice), Encoder.encode_range),
    **dict.fromkeys(_ITERATORS, Encoder.encode_iterator),
    **dict.fromkeys(_TIMES, Encoder.encode_time),
}

"""Inside the sandbox: values as tagged JSON, without running a line of anybody's code.

Only exact types of the standard library are read, and fields of value classes (dataclasses, attrs,
named tuples) straight from where they are stored: no `__eq__`, `__repr__` or property of a project
decides what is said about it. What has no such form is unencodable as an argument and opaque as a
result. Size and depth are bounded, so circles end as unencodable.
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


class Unencodable(Exception):
    """This value has no form outside its process."""


class Encoder:
    """Turns values into documents.

    `reference` gives the importable name of a class or function, or None; `known` the path to a value
    that an earlier call returned, or None; `opaque` lets objects stand for themselves (results);
    `found` is told of each object with its path inside the result; `shapes` names fields to read from
    classes that are not value classes themselves, and `read` those of the value as a whole, whatever it is.
    """

    def __init__(self, reference, known=None, found=None, shapes=None, read=None):
        self.reference, self.known, self.found = reference, known, found
        self.shapes, self.read = shapes or {}, read
        self.nodes = 0

    def encode(self, value):
        """Return the document; Unencodable when there is none within the bounds."""
        self.nodes = 0
        document = self._any(value, 0, ())
        if len(json.dumps(document)) > MOST_BYTES:
            raise Unencodable("size")
        return document

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
        member = self._member(value, kind)
        if member is not None:
            return member
        document = self._described(value, kind, depth, path)
        if document is None:
            return self._opaque(value, kind, path)
        if self.found is not None and None not in path:
            self.found(value, path)
        return {**document, "c": self._class(kind), "mro": lineage(kind)}

    def _described(self, value, kind, depth, path):
        """Return the document of a value class: what it holds, without its name; None for other classes."""
        mro = _MRO_OF(kind)
        shape = self.shapes.get(_QUALNAME_OF(kind), None if depth else self.read)
        if shape is not None:
            return {"t": "object", "v": [[name, name, self._read(value, name, depth, path)] for name in shape]}
        if BaseException in mro:
            arguments = BaseException.args.__get__(value)
            return {"t": "exception", "v": [self._any(item, depth + 1, (*path, None)) for item in arguments]}
        if tuple in mro and type(kind.__dict__.get("_fields")) is tuple:
            items = enumerate(tuple.__iter__(value))
            return {"t": "named", "v": [self._any(item, depth + 1, (*path, at)) for at, item in items]}
        fields = value_fields(kind)
        if fields is None or self.reference(kind) is None:
            return None
        items = [[a, b, self._any(_stored(value, a), depth + 1, (*path, None))] for a, b in fields]
        return {"t": "object", "v": items}

    def _member(self, value, kind):
        """Return the document of an enum member, or None for other objects."""
        mro = _MRO_OF(kind)
        if not isinstance(kind, enum.EnumMeta):
            return None
        member = _stored(value, "_name_")
        if isinstance(member, str) and "|" not in member:
            return {"t": "enum", "c": self._class(kind), "v": member}
        return {"t": "flag", "c": self._class(kind), "v": int(_stored(value, "_value_"))} if enum.Flag in mro else None

    def _read(self, value, name, depth, path):
        """Read an attribute the way a caller would; only where the class is not recorded but replayed."""
        try:
            item = getattr(value, name)
        except Exception:
            return {"t": "absent"}
        return self._any(item, depth + 1, (*path, None))

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


def lineage(kind):
    """Return the qualified names of a class and its bases, nearest first."""
    return [str(_QUALNAME_OF(base)) for base in _MRO_OF(kind)]


def value_fields(kind):
    """Return (attribute, constructor argument) of a dataclass or attrs class, or None for other classes."""
    described = kind.__dict__.get("__attrs_attrs__")
    if described is not None:
        rows = [(a.name, getattr(a, "alias", None) or a.name.lstrip("_")) for a in described if a.init]
        return rows if all(type(name) is str for row in rows for name in row) else None
    described = kind.__dict__.get("__dataclass_fields__")
    if type(described) is dict:
        kinds = [str(getattr(f, "_field_type", "")) for f in described.values()]
        if any("INITVAR" in kind for kind in kinds):
            return None
        rows = [
            (f.name, f.name)
            for f in described.values()
            if f.init and "CLASSVAR" not in str(getattr(f, "_field_type", ""))
        ]
        return [row for row in rows if type(row[0]) is str]
    return None


def static_lookup(holder, name):
    """Return what a class or module stores under a name, or None; runs nobody's code."""
    if isinstance(holder, types.ModuleType):
        return object.__getattribute__(holder, "__dict__").get(name)
    if isinstance(holder, type):
        for base in _MRO_OF(holder):
            if name in base.__dict__:
                return base.__dict__[name]
    return None


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


def _stored(value, name):
    """Return an attribute as it is stored: in the instance, or in a slot."""
    for base in _MRO_OF(type(value)):
        slot = base.__dict__.get(name)
        if isinstance(slot, types.MemberDescriptorType):
            try:
                return slot.__get__(value)
            except AttributeError:
                break
    for base in _MRO_OF(type(value)):
        holder = base.__dict__.get("__dict__")
        if isinstance(holder, types.GetSetDescriptorType):
            stored = holder.__get__(value)
            if name in stored:
                return stored[name]
    raise Unencodable("field")


def has_no_state(value):
    """Return whether an instance of a class without a constructor of its own has stored nothing yet."""
    mro = _MRO_OF(type(value))
    own = [base for base in mro if base is not object]
    if any(not base.__dict__.get("__module__") or "__slots__" in base.__dict__ for base in own):
        return False
    if any(name in base.__dict__ for base in own for name in ("__init__", "__new__", "__getattr__")):
        return False
    holder = next((h for h in (base.__dict__.get("__dict__") for base in own) if h is not None), None)
    return isinstance(holder, types.GetSetDescriptorType) and not holder.__get__(value)


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

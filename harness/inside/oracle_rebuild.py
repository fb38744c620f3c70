"""Inside the sandbox: values from their documents; the counterpart of `oracle_values`.

Value classes, enum members, exceptions and references are looked up by import, so rebuilding runs
code of the project: that is the point, it is the candidate's code that is asked.
"""

import base64
import collections
import datetime as dt
import decimal
import fractions
import importlib
import pathlib
import re
import uuid

_SEQUENCES = {"list": list, "tuple": tuple, "deque": collections.deque, "set": set, "frozenset": frozenset}
_MAPPINGS = {"dict": dict, "OrderedDict": collections.OrderedDict, "Counter": collections.Counter}
_TIMES = ("datetime", "time", "date")
_PATHS = ("PurePosixPath", "PureWindowsPath", "PosixPath")
_CONSTANTS = {"Ellipsis": Ellipsis, "NotImplemented": NotImplemented}


class ResultMissing(Exception):
    """The call whose result this call builds on has none."""


def resolve(name):
    """Return what `module:qualname` names."""
    module, _, qualname = name.partition(":")
    value = importlib.import_module(module)
    for part in qualname.split("."):
        value = getattr(value, part)
    return value


def rebuild(document, results):
    """Return the value of a document; `results` holds what earlier calls returned, by call id."""
    if document is None or isinstance(document, (bool, int, str)):
        return document
    tag, value = document["t"], document.get("v")
    if tag in _SEQUENCES:
        return _SEQUENCES[tag](rebuild(item, results) for item in value)
    if tag in _OBJECTS:
        return _OBJECTS[tag](document, value, results)
    return _LEAVES[tag](document, value)


def _earlier(_, path, results):
    if path[0] not in results:
        raise ResultMissing
    value = results[path[0]]
    for step in path[1:]:
        value = value[step]
    return value


def _mapping(document, rows, results):
    pairs = [(rebuild(key, results), rebuild(item, results)) for key, item in rows]
    if document["k"] == "defaultdict":
        return collections.defaultdict(rebuild(document["f"], results), pairs)
    made = _MAPPINGS[document["k"]]()
    for key, item in pairs:
        made[key] = item
    return made


def _value_object(document, fields, results):
    return resolve(document["c"])(**{argument: rebuild(item, results) for _, argument, item in fields})


def _called(document, items, results):
    return resolve(document["c"])(*(rebuild(item, results) for item in items))


def _moment(document, value):
    kind = getattr(dt, document["t"])
    if document["t"] == "date":
        return kind(*value)
    return kind(*value, tzinfo=_zone(document["tz"]), fold=document["fold"])


def _zone(document):
    if document is None:
        return None
    if document["t"] == "zone":
        return importlib.import_module("zoneinfo").ZoneInfo(document["v"])
    offset = dt.timedelta(*document["v"])
    plain = dt.timezone(offset)
    return plain if plain.tzname(None) == document["n"] else dt.timezone(offset, document["n"])


def _float(text):
    return float(text) if text in ("nan", "inf", "-inf") else float.fromhex(text)


_OBJECTS = {
    "ref": _earlier,
    "dict": _mapping,
    "range": lambda _, value, results: range(*(rebuild(item, results) for item in value)),
    "slice": lambda _, value, results: slice(*(rebuild(item, results) for item in value)),
    "iterator": lambda _, value, results: iter([rebuild(item, results) for item in value]),
    "object": _value_object,
    "exception": _called,
    "named": _called,
    "enum": lambda document, value, _: resolve(document["c"])[value],
    "flag": lambda document, value, _: resolve(document["c"])(value),
    "name": lambda _, value, __: resolve(value),
}
_LEAVES = {
    "int": lambda _, v: int(v, 16),
    "str": lambda _, v: base64.b64decode(v).decode("utf-8", "surrogatepass"),
    "float": lambda _, v: _float(v),
    "complex": lambda _, v: complex(*map(_float, v)),
    "bytes": lambda _, v: base64.b64decode(v),
    "bytearray": lambda _, v: bytearray(base64.b64decode(v)),
    "constant": lambda _, v: _CONSTANTS[v],
    "Decimal": lambda _, v: decimal.Decimal(v),
    "Fraction": lambda _, v: fractions.Fraction(*(int(part, 16) for part in v)),
    "UUID": lambda _, v: uuid.UUID(hex=v),
    "pattern": lambda document, v: re.compile(rebuild(v, {}), document["f"]),
    "module": lambda _, v: importlib.import_module(v),
    "timedelta": lambda _, v: dt.timedelta(*v),
}
_LEAVES.update(dict.fromkeys(_TIMES, _moment))
_LEAVES.update({name: (lambda document, v: getattr(pathlib, document["t"])(v)) for name in _PATHS})

"""Inside the sandbox: what classes and objects hold, read from where it is stored.

No `__eq__`, `__repr__`, property or conversion of a project runs: dictionaries of classes and instances,
slots, and the methods of the built-in classes themselves are all that is asked.
"""

import collections
import sys
import types

_MODULE_OF, _QUALNAME_OF, _MRO_OF, _NAME_OF = (
    type.__dict__[name].__get__ for name in ("__module__", "__qualname__", "__mro__", "__name__")
)
_WHOLE = slice(None)


class Unencodable(Exception):
    """This value has no form outside its process."""


class Sights:
    """What tests look at: attributes that they read, and classes whose objects they make to compare them whole."""

    def __init__(self, attributes, called):
        self.attributes, self.called = frozenset(attributes), frozenset(called)
        self._by_kind = {}

    def of(self, value, kind):
        """Return the names of what is stored in an object and can be seen, in order."""
        if kind not in self._by_kind:
            self._by_kind[kind] = self._of_kind(kind)
        constants, stored_names = self._by_kind[kind]
        names = constants | self.attributes.intersection(_instance_namespace(value))
        return sorted(names.union(name for name in stored_names if is_stored(value, name)))

    def _of_kind(self, kind):
        """Return names of constants of a class, and of slots and fields that an object of it may hold."""
        constants, slots = set(), set()
        for base in _MRO_OF(kind):
            for name in self.attributes.intersection(base.__dict__):
                item = base.__dict__[name]
                if type(item) in _CONSTANTS:
                    constants.add(name)
                elif isinstance(item, types.MemberDescriptorType):
                    slots.add(name)
        fields = compared_fields(kind)
        if _NAME_OF(kind) in self.called or not self._says_anything(kind, fields):
            slots.update(fields)
        return constants, slots

    def sees_items(self, kind):
        """Return whether an object that is a tuple with names is looked at as a tuple."""
        fields = kind.__dict__.get("_fields")
        return type(fields) is not tuple or _NAME_OF(kind) in self.called or not self.attributes.intersection(fields)

    def _says_anything(self, kind, fields):
        own = [base for base in _MRO_OF(kind) if base is not object]
        return any(name in fields or any(name in base.__dict__ for base in own) for name in self.attributes)


def built_in_content(value, kind):
    """Return what an object of a subclass of a built-in class holds, as that class; None for other objects."""
    for base in _MRO_OF(kind)[1:]:
        take = _CONTENTS.get(base)
        if take is not None:
            return take(value)
    return None


def lineage(kind):
    """Return the qualified names of a class and its bases, nearest first, each with its other names in its module."""
    found = []
    for base in _MRO_OF(kind):
        found.append(str(_QUALNAME_OF(base)))
        module = sys.modules.get(_MODULE_OF(base)) if type(_MODULE_OF(base)) is str else None
        if _MODULE_OF(base) != "builtins" and type(module) is types.ModuleType:
            scope = object.__getattribute__(module, "__dict__")
            found += [name for name, other in list(scope.items()) if other is base and name not in found]
    return found


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


def compared_fields(kind):
    """Return the public fields by which a dataclass or attrs class compares its objects; () for other classes."""
    described = kind.__dict__.get("__attrs_attrs__")
    if described is not None:
        names = [a.name for a in described if a.eq]
    else:
        described = kind.__dict__.get("__dataclass_fields__")
        fields = list(described.values()) if type(described) is dict else []
        names = [f.name for f in fields if f.compare and str(getattr(f, "_field_type", "")) == "_FIELD"]
    return tuple(name for name in names if type(name) is str and not name.startswith("_"))


def static_lookup(holder, name):
    """Return what a class or module stores under a name, or None; runs nobody's code."""
    if isinstance(holder, types.ModuleType):
        return object.__getattribute__(holder, "__dict__").get(name)
    if isinstance(holder, type):
        for base in _MRO_OF(holder):
            if name in base.__dict__:
                return base.__dict__[name]
    return None


def stored(value, name):
    """Return an attribute as it is stored: in the instance, or in a slot."""
    for base in _MRO_OF(type(value)):
        slot = base.__dict__.get(name)
        if isinstance(slot, types.MemberDescriptorType):
            try:
                return slot.__get__(value)
            except AttributeError:
                break
    own = _instance_namespace(value)
    if name in own:
        return own[name]
    raise Unencodable("field")


def seen(value, name):
    """Return an attribute as it is stored in the instance, or as a constant in its class."""
    try:
        return stored(value, name)
    except Unencodable:
        return static_lookup(type(value), name)


def is_stored(value, name):
    """Return whether an instance holds something under a name."""
    try:
        stored(value, name)
    except Unencodable:
        return False
    return True


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


def _instance_namespace(value):
    for base in _MRO_OF(type(value)):
        holder = base.__dict__.get("__dict__")
        if isinstance(holder, types.GetSetDescriptorType):
            return holder.__get__(value)
    return {}


_CONSTANTS = (type(None), bool, int, float, str, bytes)
_CONTENTS = {
    int: int.__index__,
    float: float.__float__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, _WHOLE),
    list: lambda value: list.__getitem__(value, _WHOLE),
    tuple: lambda value: tuple.__getitem__(value, _WHOLE),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    dict: lambda value: dict(dict.items(value)),
    collections.deque: lambda value: list(collections.deque.__iter__(value)),
}

"""From a name as it is written in one file to the file and symbol that define it.

Follows imports, aliases, relative imports, stars and re-exports through any number of files, the
way Python would at run time, but only as far as the text alone says: values computed at run time
(`__getattr__`, `globals()[...]`) do not resolve. Cycles end the search instead of the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.index.names import ModuleNames
from harness.index.syntax import Import, ModuleFacts

Target = tuple[str, str]
"""A file and the qualified name inside it; "" stands for the module itself."""


@dataclass(frozen=True)
class _Scope:
    """What the names of one module are bound to."""

    symbols: frozenset[str]
    bound: Mapping[str, tuple[Import, ...]]
    stars: tuple[Import, ...]


@dataclass
class _Search:
    """One search: the names already looked at, and the files it went through."""

    seen: set[tuple[str, str]] = field(default_factory=set)
    hops: list[str] = field(default_factory=list)


class Resolver:
    """Name resolution over the modules of one tree; results are remembered."""

    def __init__(self, modules: Mapping[str, ModuleFacts], names: ModuleNames) -> None:
        self._modules = modules
        self._names = names
        self._scopes: dict[str, _Scope] = {}
        self._known: dict[tuple[str, str], tuple[Target | None, tuple[str, ...]]] = {}

    def resolve(self, path: str, dotted: str) -> Target | None:
        """Return where `dotted`, as used in `path`, is defined; None when not in this tree."""
        return self.trace(path, dotted)[0]

    def trace(self, path: str, dotted: str) -> tuple[Target | None, tuple[str, ...]]:
        """Like `resolve`, with the other files that the name is re-exported through."""
        key = (path, dotted)
        if key not in self._known:
            search = _Search()
            target = self._local(path, tuple(dotted.split(".")), search, submodules=False)
            hops = tuple(hop for hop in dict.fromkeys(search.hops) if target and hop not in {path, target[0]})
            self._known[key] = (target, hops)
        return self._known[key]

    def imported(self, path: str) -> frozenset[str]:
        """Return the other files that the imports and names of `path` lead to."""
        files: set[str] = set()
        for item in self._modules[path].imports:
            named = self.module_of(path, item)
            if named is not None:
                files.add(named)
            if item.name and item.name != "*":
                self._collect(self._import_target(path, item, (), search := _Search()), search.hops, files)
        bound = self.scope(path).bound
        stars = self.scope(path).stars
        for dotted in self._modules[path].references:
            if stars or dotted.partition(".")[0] in bound:
                target, hops = self.trace(path, dotted)
                self._collect(target, hops, files)
        return frozenset(files - {path})

    def module_of(self, path: str, item: Import) -> str | None:
        """Return the file of the module that an import statement names."""
        if item.level:
            return self._names.relative(path, item.level, item.module)
        return self._names.path_of(item.module, near=path)

    def scope(self, path: str) -> _Scope:
        """Return what the names of a module are bound to."""
        if path not in self._scopes:
            facts = self._modules[path]
            bound: dict[str, list[Import]] = {}
            for item in facts.imports:
                bound.setdefault(item.binds, []).append(item)
            bound.pop("", None)
            self._scopes[path] = _Scope(
                symbols=frozenset(symbol.qualname for symbol in facts.symbols),
                bound={name: tuple(items) for name, items in bound.items()},
                stars=tuple(item for item in facts.imports if item.name == "*"),
            )
        return self._scopes[path]

    @staticmethod
    def _collect(target: Target | None, hops: list[str] | tuple[str, ...], files: set[str]) -> None:
        if target is not None:
            files.add(target[0])
            files.update(hops)

    def _local(self, path: str, parts: tuple[str, ...], search: _Search, *, submodules: bool = True) -> Target | None:
        """Resolve `parts` in the namespace of the module `path`."""
        if not parts:
            return (path, "")
        if (path, parts[0]) in search.seen:
            return None
        search.seen.add((path, parts[0]))
        search.hops.append(path)
        scope = self.scope(path)
        for item in scope.bound.get(parts[0], ()):  # before symbols: `try: from .fast import f; except: f = None`
            target = self._import_target(path, item, parts, search)
            if target is not None:
                return target
        if parts[0] in scope.symbols:
            return (path, _longest(parts, scope.symbols))
        for item in scope.stars:
            module = self.module_of(path, item)
            target = self._local(module, parts, search) if module else None
            if target is not None:
                return target
        member = self._names.submodule(path, parts[0]) if submodules else None
        return self._local(member, parts[1:], search) if member else None

    def _import_target(self, path: str, item: Import, parts: tuple[str, ...], search: _Search) -> Target | None:
        """Resolve `parts`, whose first name is what `item` binds; no parts: the imported name itself."""
        rest = parts[1:]
        if item.name:
            module = self.module_of(path, item)
            target = self._local(module, (item.name, *rest), search) if module else None
            if target is None:
                member = self._names.namespace_member(path, item.level, item.module, item.name)
                target = self._local(member, rest, search) if member else None
            return target
        whole = (*item.module.split("."), *rest) if item.alias else parts
        return self._absolute(path, whole, search)

    def _absolute(self, path: str, parts: tuple[str, ...], search: _Search) -> Target | None:
        """Resolve a chain that starts with a module: the longest prefix that is a file, then attributes."""
        for length in range(len(parts), 0, -1):
            module = self._names.path_of(".".join(parts[:length]), near=path)
            if module is not None:
                target = self._local(module, parts[length:], search)
                return target or (module, "")
        return None


def _longest(parts: tuple[str, ...], symbols: frozenset[str]) -> str:
    for length in range(len(parts), 1, -1):
        if ".".join(parts[:length]) in symbols:
            return ".".join(parts[:length])
    return parts[0]

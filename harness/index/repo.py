"""The index of one tree: symbols, imports between files, and which tests a change can reach.

Built from the Python sources and tests of the tree it is given and nothing else, so an index of a
parent commit cannot know anything that only the commit has. Building asks the cache for each blob;
edges between files are worked out when first asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TypeVar

from harness.index.facts import FactsCache
from harness.index.names import ModuleNames
from harness.index.resolve import Resolver, Target
from harness.index.syntax import ModuleFacts, Symbol
from harness.paths import Role, is_test_module, role
from harness.tree import SYMLINK_MODE, Tree

CONFTEST = "conftest.py"

N = TypeVar("N")


class RepoIndex:
    """What the Python files of one tree define and how they use each other."""

    def __init__(self, modules: Mapping[str, ModuleFacts], cache: FactsCache | None = None) -> None:
        self.modules = MappingProxyType(dict(sorted(modules.items())))
        """Facts by path, for source files, test files and conftest.py files."""
        self.cache = cache or FactsCache()
        self._names = ModuleNames(self.modules)
        self._resolver = Resolver(self.modules, self._names)
        self._imports: dict[str, frozenset[str]] = {}

    @classmethod
    def build(cls, tree: Tree, cache: FactsCache) -> RepoIndex:
        """Index a tree; only blobs that the cache has not seen are read."""
        modules = {
            path: cache.get(entry.blob, tree.read_blob)
            for path, entry in tree.entries.items()
            if entry.mode != SYMLINK_MODE and _is_indexed(path) and is_text_name(path)
        }
        return cls(modules, cache)

    def module_name(self, path: str) -> str:
        """Return the dotted module name of a file; KeyError when it is not in the index."""
        return self._names.name_of(path)

    def path_of(self, dotted: str) -> str | None:
        """Return the file of a module or package, or None when this tree has none by that name."""
        return self._names.path_of(dotted)

    def resolve(self, path: str, dotted: str) -> Target | None:
        """Return (file, qualname) that `dotted` means inside `path`, or None when it is not in this tree.

        `qualname` is "" when the name is a module. Attributes of values are cut off: `config.level`
        resolves to where `config` is defined.
        """
        return self._resolver.resolve(path, dotted)

    def symbol(self, path: str, qualname: str) -> Symbol | None:
        """Return the first symbol of a file with this qualified name."""
        return next((symbol for symbol in self.modules[path].symbols if symbol.qualname == qualname), None)

    def imports(self, path: str) -> frozenset[str]:
        """Return the files of this tree that `path` really uses.

        Those are the modules its import statements name, the files in which the names it uses are
        defined, and the files those names are re-exported through.
        """
        if path not in self._imports:
            self._imports[path] = self._resolver.imported(path)
        return self._imports[path]

    def importers(self, path: str) -> frozenset[str]:
        """Return the files of this tree that use `path`, in the sense of `imports`."""
        return self._importers.get(path, frozenset())

    def uses(self, path: str, qualname: str) -> frozenset[Target]:
        """Return the symbols of this tree that one symbol refers to; itself and its parts left out."""
        return self._uses.get((path, qualname), frozenset())

    def affected_tests(self, changed: Iterable[str]) -> tuple[str, ...]:
        """Return the test modules whose outcome a change of these files can alter, sorted.

        A test module is affected when it changed itself, when a conftest.py at or above it changed,
        or when it uses a changed file in the sense of `imports`. What it takes from modules of the
        test tree that hold no tests (shared code, the conftest.py files above it) counts as its own
        use; use of source files is followed for one level only: a test of `a.f` is not affected by
        a change of `b`, even where `a` imports `b`.

        The tests that grade a commit stand in its gold tree, so build the index on the gold tree and
        pass every path that differs from the parent. A path that the commit deletes is in no index
        of the gold tree and affects nothing there; to learn which tests of the parent used it, ask
        an index of the parent tree as well.
        """
        wanted = frozenset(changed)
        return tuple(path for path in self.modules if is_test_module(path) and self._reach(path) & wanted)

    def _reach(self, test: str) -> set[str]:
        """Return a test module, the shared test code behind it, and every file that any of them uses."""
        reach: set[str] = set()
        waiting = [test, *self._conftests_above(test)]
        while waiting:
            path = waiting.pop()
            reach.add(path)
            used = self.imports(path) - reach
            waiting.extend(file for file in used if _is_shared_test_code(file))
            reach |= used
        return reach

    def _conftests_above(self, path: str) -> list[str]:
        folders = PurePosixPath(path).parents
        return [name for folder in folders if (name := str(folder / CONFTEST)) in self.modules]

    @cached_property
    def _importers(self) -> dict[str, frozenset[str]]:
        return _inverted({path: self.imports(path) for path in self.modules})

    @cached_property
    def _uses(self) -> dict[Target, frozenset[Target]]:
        return {
            (path, symbol.qualname): frozenset(self._targets(path, symbol))
            for path, facts in self.modules.items()
            for symbol in facts.symbols
        }

    def _targets(self, path: str, symbol: Symbol) -> Iterable[Target]:
        owner = symbol.qualname.rpartition(".")[0] if symbol.kind == "method" else symbol.qualname
        for dotted in symbol.references:
            first, _, rest = dotted.partition(".")
            own = first in {"self", "cls"} and rest
            target = self._resolver.resolve(path, f"{owner}.{rest}" if own else dotted)
            if target is None or not target[1]:
                continue
            is_itself = target[0] == path and (target[1] == symbol.qualname or (own and target[1] == owner))
            if not is_itself and not (target[0] == path and target[1].startswith(f"{symbol.qualname}.")):
                yield target


def is_text_name(path: str) -> bool:
    """Return whether a path is Unicode text; git allows any bytes, but no prompt, answer or table can hold them."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_indexed(path: str) -> bool:
    if not path.endswith(".py"):
        return False
    return role(path) in {Role.SOURCE, Role.TEST} or PurePosixPath(path).name == CONFTEST


def _is_shared_test_code(path: str) -> bool:
    return not is_test_module(path) and (role(path) is Role.TEST or PurePosixPath(path).name == CONFTEST)


def _inverted(edges: Mapping[N, Iterable[N]]) -> dict[N, frozenset[N]]:
    back: dict[N, set[N]] = {}
    for start, ends in edges.items():
        for end in ends:
            back.setdefault(end, set()).add(start)
    return {end: frozenset(starts) for end, starts in back.items()}

"""Which file a dotted module name means, without importing anything.

Import roots are not configured, they are read off the layout: the folder above the outermost
package (a folder with `__init__.py`) is a root, and so is `src/`. A file outside any package counts
from its own folder, as pytest and scripts do, and can also be named from the repository root
(namespace packages). Where two files claim a name, the more direct claim wins, then source over
tests, then the earlier path: the order never depends on the listing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from harness.paths import Role, role

INIT = "__init__.py"
SOURCE_ROOT = "src"


class ModuleNames:
    """The two-way mapping between the Python files of a tree and module names."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = frozenset(paths)
        self._packages = frozenset(str(PurePosixPath(path).parent) for path in self._paths if _is_init(path))
        self._names = {path: _dotted(path, self.root_of(path)) for path in sorted(self._paths)}
        self._by_name: dict[str, str] = {}
        for claims in (self._names, {path: _dotted(path, "") for path in self._names}):
            for path in sorted(claims, key=lambda p: (role(p) is not Role.SOURCE, p)):
                self._by_name.setdefault(claims[path], path)

    def root_of(self, path: str) -> str:
        """Return the folder that module names of `path` count from; "" is the repository root."""
        folders = [str(folder) for folder in PurePosixPath(path).parents]  # innermost first, "." last
        if path.startswith(f"{SOURCE_ROOT}/") and SOURCE_ROOT not in self._packages:
            return SOURCE_ROOT
        packages = [folder for folder in folders if folder in self._packages]
        root = str(PurePosixPath(packages[-1]).parent) if packages else folders[0]
        return "" if root == "." else root

    def name_of(self, path: str) -> str:
        """Return the dotted name of a file; KeyError when it is not one of ours."""
        return self._names[path]

    def path_of(self, dotted: str, *, near: str | None = None) -> str | None:
        """Return the file of a module or package; files under the root of `near` come first."""
        if near is not None:
            root = self.root_of(near)
            base = "/".join([*([root] if root else []), *dotted.split(".")])
            found = self._file(base)
            if found is not None:
                return found
        return self._by_name.get(dotted)

    def relative(self, path: str, level: int, module: str) -> str | None:
        """Return the file that `from <dots><module> import ...` inside `path` means."""
        folders = PurePosixPath(path).parts[:-1]
        if level - 1 > len(folders):
            return None
        return self._file("/".join([*folders[: len(folders) - (level - 1)], *filter(None, module.split("."))]))

    def submodule(self, package: str, name: str) -> str | None:
        """Return the module `name` of the package whose `__init__.py` is `package`."""
        return self._file(f"{package.removesuffix(INIT)}{name}") if _is_init(package) else None

    def namespace_member(self, path: str, level: int, module: str, name: str) -> str | None:
        """Return the file of module `name` in a package that may lack an `__init__.py`."""
        dotted = f"{module}.{name}" if module else name
        return self.relative(path, level, dotted) if level else self.path_of(dotted, near=path)

    def _file(self, base: str) -> str | None:
        package = f"{base}/{INIT}" if base else INIT
        for path in (package, f"{base}.py"):
            if path in self._paths:
                return path
        return None


def _is_init(path: str) -> bool:
    return PurePosixPath(path).name == INIT


def _dotted(path: str, root: str) -> str:
    parts = PurePosixPath(path[len(root) + 1 :] if root else path).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)

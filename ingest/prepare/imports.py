"""What test modules import, and which distribution provides it.

Import names and distribution names differ (`yaml` comes from PyYAML), so the mapping is read from
the contents of wheels at hand, never guessed. An import inside `try: ... except ImportError`, under
a version check or through `pytest.importorskip` is optional: its test can skip without it.
"""

from __future__ import annotations

import ast
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.paths import Role, is_test_module, role
from harness.tree import Tree
from ingest.errors import DownloadFailed

_FORMER_NAMES = """
    aifc asynchat asyncore audioop binhex cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib
    ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib
"""
FORMER_STDLIB = frozenset(_FORMER_NAMES.split())
"""Modules that left the standard library after 3.9; no distribution provides them."""
MODULE_ENDINGS = (".py", ".so", ".pyd")


@dataclass(frozen=True)
class FileImports:
    """What one file imports."""

    modules: Mapping[str, bool]
    """Top-level module to whether it is optional."""
    names: frozenset[str]
    """Every dotted part that its import statements mention, relative ones included."""


def suite_imports(tree: Tree, cache: dict[str, FileImports] | None = None) -> dict[str, bool]:
    """Return the top-level modules that the tests of a tree import; True where it is optional.

    Looked at are collected modules, conftest files and the helpers that those import; other Python
    files in test folders are often data. Modules of the tree itself and of the standard library are
    left out. `cache` (blob id to imports) saves parsing a file again for the next commit.
    """
    known = {} if cache is None else cache
    own = own_modules(tree) | sys.stdlib_module_names | FORMER_STDLIB
    paths = [path for path in tree if is_test_module(path) or PurePosixPath(path).name == "conftest.py"]
    files = [_read(tree, path, known) for path in paths]
    mentioned = {name for file in files for name in file.names}
    helpers = {path for path in tree if path.endswith(".py") and role(path) is Role.TEST} - set(paths)
    files += [_read(tree, path, known) for path in sorted(helpers) if PurePosixPath(path).stem in mentioned]
    found: dict[str, bool] = {}
    for file in files:
        for module, optional in file.modules.items():
            if module not in own:
                found[module] = optional and found.get(module, True)
    return found


def guarded_source_imports(tree: Tree, cache: dict[str, FileImports] | None = None) -> frozenset[str]:
    """Return the modules that the project's own code imports only if they are there.

    Tests of such code mostly skip themselves without the module, so a commit about it would have
    no deciding test.
    """
    known = {} if cache is None else cache
    own = own_modules(tree) | sys.stdlib_module_names | FORMER_STDLIB
    paths = [path for path in tree if path.endswith(".py") and role(path) is Role.SOURCE]
    files = [_read(tree, path, known) for path in sorted(paths)]
    return frozenset(name for file in files for name, optional in file.modules.items() if optional and name not in own)


def file_imports(text: str) -> FileImports:
    """Return what a source text imports; nothing when it does not parse, or is nested beyond following."""
    try:
        return _imports_of(ast.parse(text))
    except (SyntaxError, ValueError, RecursionError):
        return FileImports({}, frozenset())


def _imports_of(tree: ast.Module) -> FileImports:
    found: dict[str, bool] = {}
    for module, optional in _walk(tree, optional=False):
        found[module] = optional and found.get(module, True)
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            dotted = [alias.name for alias in node.names]
            dotted += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names |= {part for name in dotted for part in name.split(".")}
    return FileImports(found, frozenset(names))


def own_modules(tree: Tree) -> frozenset[str]:
    """Return the import names that a checkout provides: its packages, modules and test helpers."""
    sources = [PurePosixPath(path) for path in tree if path.endswith((".py", ".pyi"))]
    packages = {path.parent for path in sources if path.name in {"__init__.py", "__init__.pyi"}}
    names: set[str] = set()
    for path in sources:
        top: PurePosixPath = path
        while top.parent in packages and top.parent.name:
            top = top.parent
        is_test = role(str(path)) is Role.TEST or path.name == "conftest.py"
        if top != path or is_test or len(path.parts) == 1 or path.parts[:-1] in {("src",), ("lib",)}:
            names.add(top.stem if top == path else top.name)
        rooted = path.parts[1:] if path.parts[0] in {"src", "lib"} else path.parts
        if len(rooted) > 1 and "-" not in rooted[0]:
            names.add(rooted[0])  # a folder is importable as a namespace package
    return frozenset(names)


def provided_modules(wheel: Path) -> frozenset[str]:
    """Return the top-level import names that a wheel installs."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as err:
        raise DownloadFailed(f"{wheel.name} is not a readable wheel: {err}") from err
    found: set[str] = set()
    for name in names:
        parts = PurePosixPath(name).parts
        if parts[:1] and parts[0].endswith(".data") and parts[1:2] in {("purelib",), ("platlib",)}:
            parts = parts[2:]
        if not parts or parts[0].endswith((".dist-info", ".data")):
            continue
        if len(parts) > 1:
            found.add(parts[0])
        elif parts[0].endswith(MODULE_ENDINGS):
            found.add(parts[0].partition(".")[0])
    return frozenset(found)


def missing(imports: Mapping[str, bool], provided: Iterable[str]) -> dict[str, bool]:
    """Return the imports that nothing provides."""
    there = set(provided)
    return {module: optional for module, optional in imports.items() if module not in there}


def describe(imports: Mapping[str, bool]) -> tuple[str, ...]:
    """Return missing imports as the manifest lists them, optional ones marked."""
    return tuple(f"{module} (optional)" if optional else module for module, optional in sorted(imports.items()))


def _read(tree: Tree, path: str, known: dict[str, FileImports]) -> FileImports:
    blob = tree.entries[path].blob
    if blob not in known:
        known[blob] = file_imports(tree.read(path).decode("utf-8", "replace"))
    return known[blob]


def _walk(node: ast.AST, *, optional: bool) -> Iterator[tuple[str, bool]]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for statement in node.orelse:
            yield from _walk(statement, optional=optional)
        return
    if isinstance(node, ast.Import):
        yield from ((alias.name.partition(".")[0], optional) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        yield node.module.partition(".")[0], optional
    elif isinstance(node, ast.Call) and _is_importorskip(node) and isinstance(node.args[0], ast.Constant):
        yield str(node.args[0].value).partition(".")[0], True
    guarded = optional or _guards(node)
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, optional=guarded)


def _is_importorskip(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name == "importorskip" and bool(node.args)


def _guards(node: ast.AST) -> bool:
    """Return whether an import below this node may fail without failing the module."""
    if isinstance(node, ast.If):
        test = ast.unparse(node.test)
        return "version_info" in test or "platform" in test or "PYPY" in test.upper()
    if not isinstance(node, ast.Try):
        return False
    caught = {name for handler in node.handlers for name in _caught(handler)}
    return bool(caught & {"", "ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


def _caught(handler: ast.ExceptHandler) -> list[str]:
    if handler.type is None:
        return [""]
    kinds: list[ast.expr] = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return [kind.id for kind in kinds if isinstance(kind, ast.Name)]

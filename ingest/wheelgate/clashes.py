"""What two wheels of one environment would do to each other.

Installers write one wheel over the other, in an order nobody chose. Pure: from what was learned
about each wheel to clashes. The same file twice is fine, and so are different files where nobody
imports anything (LICENSE beside the packages, manuals) or where nobody should (a `tests` folder
shipped by accident: pytest puts the project's own in front of it). Different declarations of one
namespace package are fine, too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from packaging.tags import Tag

from ingest.wheelgate.layout import MODULE_ENDINGS, SITE, module_of
from ingest.wheelgate.shadows import TOOL_MODULES

NAMESPACE_BYTES = 4 << 10
"""A namespace declaration is a line or two, and a licence at most."""
_ACCIDENTS = frozenset({"tests", "test", "testing", "docs", "doc", "examples", "example", "benchmarks", "samples"})
_MANUALS = ("share/doc/", "share/man/", "man/")
_DECLARES = (b"extend_path", b"declare_namespace")


@dataclass(frozen=True)
class WheelFacts:
    """What the gate learned about a wheel that passed on its own."""

    file_name: str
    sha256: str
    distribution: str
    tags: frozenset[Tag]
    files: Mapping[str, str]
    """Path in an environment to sha256, what cannot clash left out."""
    namespaces: frozenset[str]
    """Paths among `files` that do nothing but declare a namespace package."""


@dataclass(frozen=True)
class Clash:
    """Two wheels that cannot share an environment."""

    code: str
    first: WheelFacts
    second: WheelFacts
    path: str
    other_path: str


def clashes(wheels: Iterable[WheelFacts]) -> Iterator[Clash]:
    """Find distributions that come twice, and files of one wheel that replace or shadow those of another."""
    known: dict[str, WheelFacts] = {}
    owners: dict[str, tuple[WheelFacts, str]] = {}
    modules: dict[str, tuple[WheelFacts, str]] = {}
    for wheel in wheels:
        twin = known.setdefault(wheel.distribution, wheel)
        if twin is not wheel:
            yield Clash("WHEEL_DISTRIBUTION_TWICE", twin, wheel, "", "")
            continue
        for path in wheel.files:
            yield from _against(owners, path.casefold(), wheel, path)
            module = module_of(path)
            if module is not None:
                yield from _against(modules, module.casefold(), wheel, path, same_path=False)
    yield from _files_as_folders(owners)


def clashing_files(paths: Mapping[str, str], dist_info: str) -> dict[str, str]:
    """Return the paths (with their digests) that another wheel must not bring differently."""
    return {path: sha256 for path, sha256 in paths.items() if not _is_harmless(path, dist_info)}


def is_namespace(source: bytes) -> bool:
    """Return whether an __init__.py does nothing but declare a namespace package, or nothing at all."""
    if not mentions_namespace(source):
        return _is_comment(source)
    try:
        return all(_declares(statement) for statement in ast.parse(source).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def mentions_namespace(source: bytes) -> bool:
    """Return whether a file has a word that only namespace declarations have, so that parsing it is worth the time."""
    return any(word in source for word in _DECLARES)


def _against(
    seen: dict[str, tuple[WheelFacts, str]], key: str, wheel: WheelFacts, path: str, *, same_path: bool = True
) -> Iterator[Clash]:
    other, other_path = seen.setdefault(key, (wheel, path))
    if other is wheel or (not same_path and other_path.casefold() == path.casefold()):
        return
    if other_path == path and other.files[path] == wheel.files[path]:
        return
    if path in wheel.namespaces and other_path in other.namespaces:
        return
    top = path.removeprefix(SITE).partition("/")[0].partition(".")[0]
    if {wheel.distribution, other.distribution} <= TOOL_MODULES.get(top, frozenset()):
        return
    yield Clash("WHEEL_CLASH", other, wheel, other_path, path)


def _files_as_folders(owners: Mapping[str, tuple[WheelFacts, str]]) -> Iterator[Clash]:
    seen: set[str] = set()
    for key, (wheel, path) in owners.items():
        folder = key.rpartition("/")[0]
        while folder and folder not in seen:
            seen.add(folder)
            if folder in owners:
                yield Clash("WHEEL_CLASH", owners[folder][0], wheel, owners[folder][1], path)
            folder = folder.rpartition("/")[0]


def _is_harmless(path: str, dist_info: str) -> bool:
    if not path.startswith(SITE):
        return path.startswith((*_MANUALS, "include/"))
    top, _, rest = path.removeprefix(SITE).partition("/")
    if rest:
        return top == dist_info or top.casefold() in _ACCIDENTS
    return not top.endswith(MODULE_ENDINGS)


def _is_comment(source: bytes) -> bool:
    return all(not line or line.startswith(b"#") for line in map(bytes.strip, source.splitlines()))


def _declares(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Try):
        guarded = [*statement.body, *(inner for handler in statement.handlers for inner in handler.body)]
        return not statement.orelse and not statement.finalbody and all(_declares(inner) for inner in guarded)
    if isinstance(statement, ast.Import | ast.ImportFrom):
        names = {alias.name for alias in statement.names} | {getattr(statement, "module", None) or "pkgutil"}
        return names <= {"pkgutil", "pkg_resources", "extend_path", "declare_namespace", "modulefinder"}
    if isinstance(statement, ast.Pass):
        return True
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return True
    return _is_declaration(ast.unparse(statement))


def _is_declaration(line: str) -> bool:
    """Compare with the ways in which namespace packages are declared, written as `ast.unparse` writes them."""
    return line in {
        "__path__ = extend_path(__path__, __name__)",
        "__path__ = pkgutil.extend_path(__path__, __name__)",
        "__path__ = __import__('pkgutil').extend_path(__path__, __name__)",
        "__import__('pkg_resources').declare_namespace(__name__)",
        "pkg_resources.declare_namespace(__name__)",
        "declare_namespace(__name__)",
        "for p in __path__:\n    modulefinder.AddPackagePath(__name__, p)",
    }

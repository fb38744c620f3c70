"""Functions of the standard library: real code for training text (Python Software Foundation License).

Short functions and methods are read from the sources of the interpreter this runs on, so the corpus
depends on its exact version; `digest` says which sources were read. Functions of one module stay in one
group, and a tenth of the groups is kept for measuring. Nothing is imported or executed.
"""

from __future__ import annotations

import ast
import hashlib
import platform
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LINES_MIN, LINES_MAX = 3, 13
CHARS_MAX = 620
LINE_CHARS_MAX = 92
_SKIPPED = {"site-packages", "dist-packages", "test", "tests", "encodings", "lib2to3", "idlelib", "pydoc_data",
            "turtledemo", "__pycache__", "ensurepip"}  # fmt: skip
_GROUPS = 10


@dataclass(frozen=True)
class LibraryFunction:
    """One function or method, dedented, with no docstring longer than a line and no comment lines."""

    module: str
    """Path below the library, e.g. `json/decoder.py`."""
    owner: str
    """Class it is a method of, or ""."""
    name: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The source with a final newline."""
        return "\n".join(self.lines) + "\n"


@cache
def library() -> tuple[LibraryFunction, ...]:
    """Return the short functions of the standard library, by module and line; equal texts once."""
    root = Path(sysconfig.get_path("stdlib"))
    found: dict[tuple[str, ...], LibraryFunction] = {}
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if _SKIPPED & set(relative.parts) or relative.name.startswith("_sysconfigdata"):
            continue
        for function in _functions(path, relative.as_posix()):
            found.setdefault(function.lines, function)
    return tuple(found.values())


def is_for_measuring(module: str) -> bool:
    """Return whether the functions of a module are kept out of training text."""
    return hashlib.sha256(f"module {module}".encode()).digest()[0] % _GROUPS == 0


@cache
def digest() -> str:
    """Return the digest of everything that `library` returns."""
    hasher = hashlib.sha256()
    for function in library():
        hasher.update(f"{function.module}\0{function.owner}\0{function.text}\0".encode())
    return hasher.hexdigest()


def version() -> str:
    """Return the version of the library that is read."""
    return platform.python_version()


def _functions(path: Path, relative: str) -> Iterator[LibraryFunction]:
    try:
        text = path.read_text("utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in somebody else's strings
            tree = ast.parse(text)
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return  # deliberately broken modules of the library's own tools
    if not text.isascii():
        return
    lines = text.split("\n")
    for node in tree.body:
        members: Sequence[ast.stmt] = node.body if isinstance(node, ast.ClassDef) else [node]
        owner = node.name if isinstance(node, ast.ClassDef) else ""
        for member in members:
            if isinstance(member, ast.FunctionDef) and not member.decorator_list:
                source = _source(member, lines)
                if source:
                    yield LibraryFunction(relative, owner, member.name, source)


def _source(node: ast.FunctionDef, lines: Sequence[str]) -> tuple[str, ...]:
    """Return the plain source of a function, () when it is no material."""
    first = node.body[0]
    start, end = node.lineno - 1, node.end_lineno or node.lineno
    chosen = list(lines[start:end])
    if ast.get_docstring(node) is not None and first.end_lineno != first.lineno:
        if len(node.body) == 1:
            return ()
        chosen = [*lines[start : first.lineno - 1], *lines[first.end_lineno or 0 : end]]
    margin = node.col_offset
    plain = [line.rstrip()[margin:] for line in chosen if line.strip() and not line.lstrip().startswith("#")]
    text = "\n".join(plain)
    if not LINES_MIN <= len(plain) <= LINES_MAX or len(text) > CHARS_MAX or max(map(len, plain)) > LINE_CHARS_MAX:
        return ()
    if "\t" in text or text.count('"""') > 2 or "'''" in text or not plain[0].endswith(":"):  # noqa: PLR2004 - one docstring
        return ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = ast.parse(text)
    except SyntaxError:
        return ()
    return tuple(plain) if len(parsed.body) == 1 else ()

"""A task text as a query: its search terms, and the code names and files it mentions outright.

A commit message says most in its first line, so the terms of that line count twice. Trailers,
links and list marks of merged pull requests say nothing about the code and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.index.names import INIT
from harness.index.terms import terms

SUBJECT_WEIGHT = 2
_NOISE = re.compile(
    r"https?://\S+|\* \[pre-commit\.ci\].*|^(?:[A-Z][a-z]+(?:-[a-z]+)*-by|Change-Id):.*$|^for more information, see.*$",
    re.MULTILINE,
)
_BACKTICKED = re.compile(r"`+([^`\n]+)`+")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOTTED = re.compile(r"(?<![\w./-])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_CODE_LIKE = re.compile(r"[a-z0-9]_[a-z0-9]|[a-z][A-Z]|^_|^[A-Z]{2,}_?[A-Z0-9_]{2,}$|_$")
_FILE = re.compile(r"[\w./-]*\w\.pyi?\b")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Query:
    """What retrieval looks for."""

    terms: tuple[str, ...]
    """Search terms, repeated by weight."""
    names: frozenset[str]
    """Identifiers that can only be code: backticked, dotted, snake_case, CamelCase, CONSTANTS."""
    dotted: frozenset[str]
    """Dotted names as written."""
    files: frozenset[str]
    """File names and paths as written."""
    subject_words: frozenset[str]
    """Words of the first line, in lower case."""

    def mentions(self, path: str, module: str) -> bool:
        """Return whether the task names this file outright: as a path, a file name or a module."""
        name = PurePosixPath(path).name
        if any(path == file or path.endswith(f"/{file}") for file in self.files if name != INIT or "/" in file):
            return True
        return "." in module and any(item == module or item.startswith(f"{module}.") for item in self.dotted)


def read_query(task: str, keywords: Sequence[str] = ()) -> Query:
    """Turn a task, and the keywords that task-analysis added, into a query."""
    text = _NOISE.sub("", task)
    subject, _, body = text.strip().partition("\n")
    hints = "\n".join(keywords)
    quoted = " ".join(_BACKTICKED.findall(text))
    dotted = frozenset(_DOTTED.findall(text) + _DOTTED.findall(hints))
    names = set(_IDENTIFIER.findall(quoted)) | {part for item in dotted for part in item.split(".")}
    names |= {name for name in _IDENTIFIER.findall(f"{text}\n{hints}") if _CODE_LIKE.search(name)}
    return Query(
        terms=(*(tuple(terms(subject)) * SUBJECT_WEIGHT), *terms(body), *terms(hints)),
        names=frozenset(names),
        dotted=dotted,
        files=frozenset(item.removeprefix("./") for item in _FILE.findall(f"{text}\n{hints}")),
        subject_words=frozenset(word.lower() for word in _WORD.findall(subject)),
    )

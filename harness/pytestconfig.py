"""What pytest's configuration in a tree says, read as text: lists of words under one option.

No pytest runs for it, so that it can be asked about any tree at any time. Every file counts that pytest may
take its configuration from, not the first alone: whoever asks wants to know what may be in force.
"""

from __future__ import annotations

import re

from harness.tree import Tree

_FILES = ("pyproject.toml", "pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg")

_TOML = r"""\[(?:"[^"\n]*"|'[^'\n]*'|[^\]"'])*\]"""
_INI = r"[^\n]*(?:\n[ \t]+[^\n]+)*"


def configured(tree: Tree, option: str) -> list[str]:
    """Return the words of an option that holds a list, from every configuration file of the tree."""
    pattern = rf"^{option}[ \t]*=[ \t]*({_TOML}|{_INI})"
    texts = [tree.read(name).decode("utf-8", "replace") for name in _FILES if name in tree]
    values = [value for text in texts for value in re.findall(pattern, text, re.MULTILINE)]
    return [word for value in values for word in _words(value)]


def _words(value: str) -> list[str]:
    """Return the words of a list in TOML or of lines in INI; brackets inside of a word are its own."""
    return [word for word in re.split(r"[\s,\"']+", value.removeprefix("[").removesuffix("]")) if word]

"""Text to search terms, the same way for code, paths and tasks.

`ConsoleRenderer.get_default_level_styles` gives the whole identifiers and their words: `console`,
`renderer`, `get`, ... so that a task in plain English meets the code it is about. Plain functions of
the text; the order of terms is the order of the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
MIN_CHARS = 2
MIN_STEM_CHARS = 4
KEYWORDS = frozenset({
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
    "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or",
    "pass", "raise", "return", "try", "while", "with", "yield", "self", "cls", "none", "true", "false",
})  # fmt: skip
ENGLISH = frozenset({
    "a", "an", "the", "this", "that", "these", "those", "it", "its", "to", "of", "on", "at", "by", "be", "are",
    "was", "were", "will", "would", "can", "could", "should", "do", "does", "did", "have", "has", "had", "we",
    "you", "they", "he", "she", "our", "your", "their", "but", "so", "than", "then", "there", "when", "where",
    "which", "who", "what", "how", "why", "into", "out", "up", "down", "over", "under", "about", "also", "just",
    "only", "now", "very", "more", "most", "some", "any", "all", "no", "new", "use", "using", "used", "make",
    "makes", "made", "add", "adds", "added", "fix", "fixes", "fixed", "change", "changes", "changed", "update",
    "updates", "updated", "remove", "removes", "removed",
})  # fmt: skip
"""Words that say nothing about where in a repository something is."""


def terms(text: str) -> Iterator[str]:
    """Yield the search terms of a text: each identifier whole, and the words it is made of."""
    for match in _IDENTIFIER.finditer(text):
        identifier = match.group().strip("_")
        lowered = identifier.lower()
        if len(lowered) < MIN_CHARS or lowered in KEYWORDS:
            continue
        words = [stem(word.lower()) for word in _WORD.findall(identifier)]
        if len(words) > 1:
            yield lowered
        for word in words:
            if len(word) >= MIN_CHARS and word not in KEYWORDS and word not in ENGLISH:
                yield word


def count_terms(text: str) -> Counter[str]:
    """Return how often each term occurs in a text."""
    return Counter(terms(text))


def stem(word: str) -> str:
    """Strip the commonest English endings until none is left: `renders`, `rendered`, `rendering` are `render`.

    Stripping `er` and a final `e` as well was measured, and ranked worse.
    """
    for ending in ("ing", "ed", "es", "s"):
        base = word.removesuffix(ending)
        if base != word and len(base) >= MIN_STEM_CHARS and not word.endswith("ss"):
            doubled = base[-1] == base[-2] and base[-1] not in "lsz"
            return stem(base[:-1] if doubled else base)
    return word

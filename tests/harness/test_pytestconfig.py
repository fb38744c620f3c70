"""Lists in pytest's configuration, read as text."""

from __future__ import annotations

import pytest

from harness.pytestconfig import configured
from tests.trees import tree_of

TOML = "[tool.pytest.ini_options]\n"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("pyproject.toml", TOML + 'python_files = ["test_*.py", \'x_[ab].py\']\nother = ["y"]\n', ["test_*.py", "x_[ab].py"]),
        ("pyproject.toml", TOML + 'python_files = [\n    "a.py",\n    "b.py",\n]\n', ["a.py", "b.py"]),
        ("pyproject.toml", TOML + 'python_files = "a.py b.py"\n', ["a.py", "b.py"]),
        ("setup.cfg", "[tool:pytest]\npython_files = a.py\n    b_[cd].py\n\n[other]\n", ["a.py", "b_[cd].py"]),
        ("tox.ini", "[pytest]\npython_files =\n    a.py\n    b.py\naddopts = -q\n", ["a.py", "b.py"]),
        ("tox.ini", "[pytest]\nnot_python_files = a.py\n", []),
        ("other.ini", "[pytest]\npython_files = a.py\n", []),
    ],
)  # fmt: skip
def test_the_words_of_a_list(name: str, text: str, words: list[str]) -> None:
    """TOML lists and INI lines come out alike, and only from files that pytest reads."""
    assert configured(tree_of({name: text}), "python_files") == words

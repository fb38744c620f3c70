"""Tests of eras, markers and lock files; resolving for real is covered by test_prepare."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ingest.prepare.locks import applicable, era, parse_lock, unbounded

NOW = datetime(2026, 6, 15, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("committed_at", "exclude_newer"),
    [
        ("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"),
        ("2024-12-31T23:59:59Z", "2025-01-01T00:00:00Z"),
        ("2026-06-15T05:00:00Z", "2026-06-15T08:00:00Z"),
    ],
)
def test_an_era_ends_with_the_day_of_the_commit(committed_at: str, exclude_newer: str) -> None:
    """What was released after the day of a commit is not seen, and nothing from the future."""
    assert era(committed_at, "3.11", NOW).exclude_newer == exclude_newer
    assert era(committed_at, "3.11", NOW).note == ""


def test_commits_of_a_quarter_share_a_bucket() -> None:
    """Neighbours may share a lock, commits of different quarters may not."""
    days = ("2024-01-01", "2024-03-31", "2024-04-01", "2025-01-01")
    first, second, third, fourth = (era(f"{day}T09:00:00Z", "3.11", NOW).bucket for day in days)
    assert first == second
    assert len({first, third, fourth}) == 3


def test_commits_older_than_the_interpreter_move_up() -> None:
    """A commit from before Python 3.11 takes the first wheels that could run on it, and says so."""
    old = era("2014-05-01T00:00:00Z", "3.11", NOW)
    assert old.exclude_newer == "2023-04-22T00:00:00Z"
    assert "older than Python 3.11" in old.note
    assert era("2014-05-01T00:00:00Z", "3.99", NOW).exclude_newer == "2014-05-02T00:00:00Z"


def test_markers_that_do_not_hold_are_left_out() -> None:
    """A requirement for another Python does not split environments."""
    lines = ["b; python_version < '3.8'", "c; implementation_name == 'cpython'", "a>1"]
    assert applicable(lines, "3.11") == ("a>1", "c; implementation_name == 'cpython'")
    assert applicable(lines, "3.7")[1] == "b; python_version < '3.8'"


def test_bounds_can_be_dropped() -> None:
    """Extras stay, versions and markers go, repeats collapse."""
    lines = ["coverage[toml]>=5,<6", "pytest==3.0", "pytest>2", "c; python_version > '3'"]
    assert unbounded(lines) == ("c", "coverage[toml]", "pytest")


def test_lock_text_becomes_pins() -> None:
    """Names are canonical, every file of a pin is kept, and a pin can be written for pip in two ways."""
    text = f"""
lock-version = "1.0"
[[packages]]
name = "Typing_Extensions"
version = "4.7.1"
[[packages.wheels]]
url = "https://example.org/a/typing_extensions-4.7.1-py3-none-any.whl"
hashes = {{ sha256 = "{"a" * 64}" }}
[packages.sdist]
url = "https://example.org/a/t.tar.gz"
hashes = {{ sha256 = "{"b" * 64}" }}
[[packages]]
name = "attrs"
version = "23.1.0"
wheels = [{{ name = "attrs-23.1.0-py3-none-any.whl", path = "/mnt/attrs.whl", hashes = {{ sha256 = "{"c" * 64}" }} }}]
"""
    attrs, typing = parse_lock(text)
    assert (attrs.name, attrs.wheels[0].url, attrs.sdist) == ("attrs", "", None)
    assert typing.wheels[0].filename == "typing_extensions-4.7.1-py3-none-any.whl"
    assert typing.line == f"typing-extensions==4.7.1 --hash=sha256:{'a' * 64} --hash=sha256:{'b' * 64}"
    assert typing.line_at(typing.wheels[0]) == (
        f"typing-extensions @ https://example.org/a/typing_extensions-4.7.1-py3-none-any.whl --hash=sha256:{'a' * 64}"
    )

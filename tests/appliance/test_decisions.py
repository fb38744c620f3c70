"""Decisions: added, never changed, with who, when, why and on what they rest."""

from __future__ import annotations

import getpass
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.store.curated import CuratedStore
from appliance.store.decisions import ALLOW, ALLOWED, REVOKED, Decision, who

A, B = "a" * 64, "b" * 64


@pytest.fixture
def curated(tmp_path: Path) -> Iterator[CuratedStore]:
    """Return an empty store."""
    store = CuratedStore(tmp_path / "curated.db")
    yield store
    store.close()


def test_a_decision_has_who_when_and_why(curated: CuratedStore) -> None:
    """The user and the time are those of the process; inputs come back as they were."""
    curated.decide(Decision("quarantine", "x-1", "quarantined", "FILE_CHANGED", {"manifest_sha256": A, "n": [1]}))
    [row] = curated.decisions("quarantine")
    assert row["who"].split(" ")[0] == getpass.getuser()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["decided_at"])
    assert (row["subject"], row["outcome"], row["reason"]) == ("x-1", "quarantined", "FILE_CHANGED")
    assert row["inputs"] == {"manifest_sha256": A, "n": [1]}


def test_the_last_decision_about_a_file_counts(curated: CuratedStore) -> None:
    """Allowed, revoked, allowed again: all three stay, the last one holds."""
    for sha256, outcome in ((A, ALLOWED), (B, ALLOWED), (A, REVOKED)):
        curated.decide(Decision(ALLOW, sha256, outcome, "because"))
    assert curated.allowed() == {B}
    curated.decide(Decision(ALLOW, A, ALLOWED, "looked again"))
    assert curated.allowed() == {A, B}
    assert [row["outcome"] for row in curated.decisions(ALLOW, A)] == [ALLOWED, REVOKED, ALLOWED]


def test_decisions_of_other_kinds_allow_nothing(curated: CuratedStore) -> None:
    """Only an override lets a file through."""
    curated.decide(Decision("integrate", A, ALLOWED, "x"))
    assert curated.allowed() == frozenset()


def test_several_decisions_are_written_together_or_not_at_all(curated: CuratedStore) -> None:
    """What cannot be stored undoes the ones before it."""
    with pytest.raises((sqlite3.Error, TypeError)):
        curated.decide(Decision(ALLOW, A, ALLOWED, "x"), Decision(ALLOW, B, ALLOWED, None))  # type: ignore[arg-type]
    assert curated.decisions(ALLOW) == []


def test_somebody_is_always_named() -> None:
    """A decision without a decider would be worth nothing to an auditor."""
    assert who()

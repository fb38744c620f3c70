"""What `ingest watch` met and what became of it, so that nothing is tried over and over."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.store.database import transaction

if TYPE_CHECKING:
    from sqlite_utils import Database

FINAL = ("integrated", "refused", "known")
"""Outcomes after which the same package under the same policy is left alone; a failure is tried again."""


@dataclass(frozen=True)
class Arrival:
    """One package on a medium, and what became of it."""

    id: str
    """Digest of what lay on the medium and of the policy that judged it."""
    path: str
    package: str
    manifest_sha256: str
    outcome: str
    """integrated, refused, known (this very manifest is here) or failed (tried again)."""
    code: str
    detail: str
    at: str


def is_settled(db: Database, arrival_id: str) -> bool:
    """Return whether this very arrival came to an end before."""
    row = db.execute("SELECT outcome FROM arrivals WHERE id = ?", [arrival_id]).fetchone()
    return row is not None and row[0] in FINAL


def remember(db: Database, path: Path, arrival: Arrival) -> None:
    """Write what became of an arrival, over what was written of an earlier try."""
    with transaction(db, path):
        db.execute("INSERT OR REPLACE INTO arrivals VALUES (?, ?, ?, ?, ?, ?, ?, ?)", list(astuple(arrival)))

"""The decisions of people and policies: who let what in, kept out or through, when, and why.

Rows are added, never changed: revoking is a decision of its own. The name of a decider is the one that
the operating system gives the process; whoever can act as another user can decide in their name.
"""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlite_utils import Database

ALLOW = "allow"
ALLOWED, REVOKED = "allowed", "revoked"
_NO_LOGIN = 0xFFFF_FFFF


@dataclass(frozen=True)
class Decision:
    """One decision, ready to be written."""

    kind: str
    """integrate, quarantine, unsigned, accept-older or allow."""
    subject: str
    """What it is about: a package id, a place in quarantine, or the sha256 of a file."""
    outcome: str
    reason: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """What it rests on: digests, findings, the signer."""


def write(db: Database, decision: Decision) -> None:
    """Add a decision in the transaction that is open; the time and the deciding user are taken here."""
    db.execute(
        "INSERT INTO decisions (kind, subject, inputs, outcome, who, reason, decided_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [decision.kind, decision.subject, json.dumps(decision.inputs, sort_keys=True), decision.outcome, who(),
         decision.reason, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")],
    )  # fmt: skip


def read(db: Database, kind: str, subject: str = "") -> list[dict[str, Any]]:
    """Return the decisions of a kind, oldest first, of one subject or of all."""
    cursor = db.execute(
        "SELECT id, kind, subject, inputs, outcome, who, reason, decided_at FROM decisions "
        "WHERE kind = ? AND ? IN ('', subject) ORDER BY id",
        [kind, subject],
    )
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [row | {"inputs": json.loads(row["inputs"])} for row in rows]


def allowed(db: Database) -> frozenset[str]:
    """Return the sha256 of the files that are let through now."""
    last = {row["subject"]: row["outcome"] for row in read(db, ALLOW)}
    return frozenset(sha256 for sha256, outcome in last.items() if outcome == ALLOWED)


def who() -> str:
    """Return the user of this process, and who logged in where that is somebody else (sudo)."""
    user = _name(os.getuid())
    with suppress(OSError, ValueError):
        login = int(Path("/proc/self/loginuid").read_text())
        if login not in {_NO_LOGIN, os.getuid()}:
            return f"{user} (logged in as {_name(login)})"
    return user


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"

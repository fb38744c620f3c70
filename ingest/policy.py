"""What the operators of an appliance decided about packages: whom they trust, what they let through."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """The decisions of people that an import follows."""

    allowed: frozenset[str] = frozenset()
    """sha256 of files that an operator let through although their kind is refused."""

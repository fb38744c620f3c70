"""What an import goes by: whom the operators trust, what they let through, and what is here already.

A policy is made anew for every import. Its decisions are values; `acts` is where the checks note which
of them they leaned on, so that the record of an integration says who signed and what was let through.
The default trusts nobody and lets nothing through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ingest.signing import Signer, Trust

TRUST_CHECKS = frozenset({"signature", "sequence"})
"""Checks whose findings are about trust (exit 13), not about the integrity of the package (exit 12)."""


class UnsignedPackages(StrEnum):
    """What becomes of a package without a signature."""

    REFUSE = "refuse"
    ACCEPT = "accept"


class LetThrough(frozenset[str]):
    """sha256 of files that an operator let through; remembers the ones that a check asked for."""

    used: set[str]

    def __init__(self, *_: object) -> None:
        super().__init__()
        self.used = set()

    def __contains__(self, sha256: object) -> bool:
        found = super().__contains__(sha256)
        if found:
            self.used.add(str(sha256))
        return found


@dataclass
class Acts:
    """What the checks leaned on in one import."""

    signer: Signer | None = None
    is_unsigned: bool = False
    """The package came in without a signature, because the policy says so."""
    is_older: bool = False
    """The package came in with a lower sequence than one that is here, because an operator said so."""


def nothing_here(_name: str) -> Mapping[int, str]:
    """Return the record of an appliance that has no package of any name."""
    return {}


@dataclass(frozen=True)
class Policy:
    """The decisions of people that an import follows, and the record of what came in before."""

    allowed: frozenset[str] = frozenset()
    """sha256 of files that an operator let through although their kind is refused."""
    unsigned: UnsignedPackages = UnsignedPackages.REFUSE
    trust: Trust = field(default_factory=Trust)
    accept_older: str = ""
    """The operator's reason to take a lower sequence in; "" refuses it."""
    integrated: Callable[[str], Mapping[int, str]] = nothing_here
    """Package name to the integrated sequences, each with the digest of its manifest."""
    acts: Acts = field(default_factory=Acts, compare=False)

    @property
    def overrides(self) -> tuple[str, ...]:
        """Return the sha256 that a check found and let through for the operator's sake."""
        return tuple(sorted(self.allowed.used)) if isinstance(self.allowed, LetThrough) else ()


class Standing(StrEnum):
    """How a package stands to the ones of its name that are here."""

    NEW = "new"
    SAME = "same"
    """This very manifest is integrated."""
    REUSED = "reused"
    """Its sequence is taken by another manifest."""
    OLDER = "older"


def standing(sequence: int, manifest_sha256: str, integrated: Mapping[int, str], latest: int) -> Standing:
    """Decide how a sequence stands to what is integrated; `latest` is the highest sequence, 0 for none."""
    here = integrated.get(sequence)
    if here is not None:
        return Standing.SAME if here == manifest_sha256 else Standing.REUSED
    return Standing.NEW if sequence > latest else Standing.OLDER

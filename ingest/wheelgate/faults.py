"""What is wrong with a wheel, and the signal that there is no use in reading on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One thing that keeps a wheel out."""

    code: str
    """Stable name; docs/reference.md lists all of them."""
    expected: str
    found: str
    """The member and what is wrong with it; text of the wheel, not yet fit for a terminal."""
    member_sha256: str = ""
    """Digest of the member that the fault is about, where an operator could let that member through."""
    is_decision: bool = False
    """Whether a person may let it through; a broken or ambiguous archive stays out whatever anybody says."""


class Unreadable(Exception):
    """The archive is broken or ambiguous; whatever else it holds would be a guess."""

    def __init__(self, code: str, expected: str, found: str) -> None:
        super().__init__(code)
        self.fault = Fault(code, expected, found)

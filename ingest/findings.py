"""What is wrong with a package, in the words of the person who has to act."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Finding:
    """One problem of one package."""

    code: str
    """Stable name of the check that failed."""
    file: str
    """Path inside the package, or "" when it is about the whole."""
    expected: str
    found: str
    next_step: str

    def as_dict(self) -> dict[str, str]:
        """Return the finding for JSON."""
        return asdict(self)

    def line(self) -> str:
        """Return the finding as one line."""
        where = f" in {self.file}" if self.file else ""
        return f"{self.code}{where}: expected {self.expected}; found {self.found}. Next: {self.next_step}"

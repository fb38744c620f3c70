"""What a preparation did, for people and for `--json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.manifest import Environment, Manifest
from ingest.prepare.commits import Rejected
from ingest.prepare.proof import EnvironmentProof

EXAMPLES = 3


@dataclass(frozen=True)
class YieldRow:
    """One line of the yield table."""

    reason: str
    """A reason code, or `selected`."""
    count: int
    examples: tuple[str, ...]
    """A few commits: short id and subject."""


@dataclass(frozen=True)
class PrepareReport:
    """The outcome of `prepare`."""

    package: Path
    manifest: Manifest
    commits_seen: int
    rows: tuple[YieldRow, ...]
    """Selected first, then the reasons by falling count."""
    proofs: tuple[EnvironmentProof, ...]
    dropped_requirements: tuple[str, ...]
    built_wheels: tuple[str, ...]
    """Pins without a wheel on the index, built here."""
    locks_asked: int
    repo_bytes: int
    packages_bytes: int
    seconds: Mapping[str, float]
    """Wall-clock seconds by phase."""

    @property
    def has_warnings(self) -> bool:
        """Return whether something deserves a look: a fallback, an open import, a failing proof."""
        return (
            any(env.lock.taken != "era" for env in self.manifest.environments)
            or any(not module.endswith("(optional)") for env in self.manifest.environments for module in env.undeclared_imports)  # noqa: E501
            or any(not proof.ok or proof.note.startswith("not proved") for proof in self.proofs)
            or any(row.reason == "env_unresolvable" for row in self.rows)
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {
            "package": str(self.package),
            "package_id": self.manifest.package_id,
            "head": self.manifest.head,
            "commits_seen": self.commits_seen,
            "commits_selected": len(self.manifest.commits),
            "yield": [asdict(row) for row in self.rows],
            "environments": [self._environment(env) for env in self.manifest.environments],
            "undeclared_imports": sorted({m for env in self.manifest.environments for m in env.undeclared_imports}),
            "dropped_requirements": list(self.dropped_requirements),
            "built_wheels": list(self.built_wheels),
            "locks_asked": self.locks_asked,
            "repo_bytes": self.repo_bytes,
            "packages_bytes": self.packages_bytes,
            "seconds": {phase: round(spent, 2) for phase, spent in self.seconds.items()},
            "warnings": self.has_warnings,
        }

    def _environment(self, env: Environment) -> dict[str, Any]:
        proof = next((one for one in self.proofs if one.id == env.id), None)
        return {
            "id": env.id,
            "python": env.python,
            "commits": sum(commit.environment == env.id for commit in self.manifest.commits),
            "wheels": len(env.wheels),
            "env": dict(env.env),
            "lock": asdict(env.lock),
            "requirements": list(env.requirements),
            "undeclared_imports": list(env.undeclared_imports),
            "proof": None if proof is None else asdict(proof),
        }


def yield_table(selected: Iterable[tuple[str, str]], rejected: Iterable[Rejected]) -> tuple[YieldRow, ...]:
    """Return the yield table; `selected` are (sha, subject) pairs."""
    examples: dict[str, list[str]] = {}
    counts: Counter[str] = Counter()
    rows = [("selected", sha, text) for sha, text in selected]
    for reason, sha, text in [*rows, *((one.reason, one.sha, one.subject) for one in rejected)]:
        counts[reason] += 1
        if len(examples.setdefault(reason, [])) < EXAMPLES:
            examples[reason].append(f"{sha[:10]} {text[:90]}")
    order = sorted(counts, key=lambda reason: (reason != "selected", -counts[reason], reason))
    return tuple(YieldRow(reason, counts[reason], tuple(examples[reason])) for reason in order)

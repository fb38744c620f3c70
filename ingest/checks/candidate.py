"""A copied package on its way through the checks, and what a check is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.envs.template import TemplateStore, Wheels
from harness.errors import BadManifest
from harness.manifest import Manifest
from ingest.findings import Finding
from ingest.policy import Policy
from ingest.staging import Staged

SHOWN_WORDS = 500
AGAIN = "Prepare the package again on the connected side and bring it anew."


@dataclass
class Candidate:
    """A copied package on its way through the checks; later checks use what earlier ones made."""

    staged: Staged
    templates: TemplateStore
    latest_sequence: Callable[[str], int]
    """Highest integrated sequence of a package name; 0 when there is none."""
    policy: Policy = field(default_factory=Policy)
    """Whom the operators trust, and what they let through."""
    manifest: Manifest | None = None
    repo: Path | None = None
    """Our own bare repository with the package's objects, once imported."""
    python_missing: dict[str, str] = field(default_factory=dict)
    """Environment id to why it cannot run here; its commits are rejected, the rest goes on."""

    @property
    def known(self) -> Manifest:
        """The manifest; only called by checks that come after `manifest`."""
        if self.manifest is None:
            raise BadManifest("no manifest was read")
        return self.manifest

    @property
    def wheels(self) -> Wheels:
        """Where the copied wheels are and what they must hash to."""
        names = [path.removeprefix("packages/") for path in self.known.files if path.startswith("packages/")]
        return Wheels(self.staged.directory / "packages", {name: self.known.wheel_sha256(name) for name in names})


Check = Callable[[Candidate], Iterator[Finding]]

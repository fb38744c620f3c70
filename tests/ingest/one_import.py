"""Import one package in a process of its own, which a test may kill: python -m tests.ingest.one_import HOME PACKAGE.

The record of what is integrated is a file that is written whole; there are no workers, so a package
comes in without a gate, as it does where its Python is missing.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.durable import write_whole
from harness.goldgate import GateReport
from harness.manifest import MANIFEST_NAME, Manifest
from ingest.importer import Shelves, import_package
from ingest.policy import Policy, UnsignedPackages

RECORD = "record.txt"


def main() -> int:
    """Import, and return 0 when the package was integrated, 3 when it was refused."""
    home, package = Path(sys.argv[1]), Path(sys.argv[2])
    record = home / RECORD

    def recorded() -> list[str]:
        return record.read_text().split() if record.exists() else []

    def latest_sequence(name: str) -> int:
        rows = [row.rpartition("-") for row in recorded()]
        return max((int(sequence) for of, _, sequence in rows if of == name), default=0)

    def integrated(name: str) -> dict[int, str]:
        shelf = home / "repo_packages"
        rows = [row for row in recorded() if row.rpartition("-")[0] == name]
        manifests = {int(row.rpartition("-")[2]): (shelf / row / MANIFEST_NAME).read_bytes() for row in rows}
        return {sequence: hashlib.sha256(document).hexdigest() for sequence, document in manifests.items()}

    def integrate(manifest: Manifest, _: Sequence[GateReport]) -> None:
        write_whole(record, "\n".join([*recorded(), manifest.package_id]).encode())

    shelves = Shelves(
        packages=home / "repo_packages", incoming=home / "incoming", quarantine=home / "quarantine",
        environments=home / "environments", cache=home / "cache", environments_cap_bytes=1 << 30,
        latest_sequence=latest_sequence, integrate=integrate,
        policy=Policy(unsigned=UnsignedPackages.ACCEPT, integrated=integrated),
    )  # fmt: skip
    report = import_package(package, shelves, ThreadPoolExecutor(1), gate_budget_s=60, progress=lambda _: None)
    return 0 if report.state == "integrated" else 3


if __name__ == "__main__":
    sys.exit(main())

"""Imports into one appliance: the shelves of a home, and what lies in its quarantine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from appliance.home import Home
from appliance.pool import worker_pool
from appliance.store.curated import CuratedStore
from harness.goldgate import GateReport
from harness.manifest import MANIFEST_NAME, Manifest
from ingest.importer import ImportReport, Shelves, import_package


def import_into(
    home: Home, directory: Path, *, workers: int | None, gate_budget_s: float | None, dry_run: bool,
    progress: Callable[[str], None],
) -> ImportReport:  # fmt: skip
    """Import a package directory into a home."""
    curated = CuratedStore(home.curated_db)

    def integrate(manifest: Manifest, reports: Sequence[GateReport]) -> None:
        raw = (home.packages / manifest.package_id / MANIFEST_NAME).read_bytes()
        curated.add_package(manifest, hashlib.sha256(raw).hexdigest(), reports)

    shelves = Shelves(
        packages=home.packages,
        incoming=home.incoming,
        quarantine=home.quarantine,
        environments=home.environments,
        cache=home.cache,
        environments_cap_bytes=home.environments_cap_bytes,
        latest_sequence=curated.latest_sequence,
        integrate=integrate,
    )
    try:
        with worker_pool(workers or home.config.workers) as pool:
            return import_package(
                directory.absolute(), shelves, pool, gate_budget_s=gate_budget_s or home.config.gate_budget_s,
                progress=progress, dry_run=dry_run,
            )  # fmt: skip
    finally:
        curated.close()


def quarantined(home: Home) -> list[dict[str, Any]]:
    """Return what was refused, oldest first, each with its findings and where it is kept."""
    found = []
    for path in sorted(home.quarantine.glob("*/quarantine.json")):
        document = json.loads(path.read_text("utf-8"))
        found.append({"path": str(path.parent), **document})
    return sorted(found, key=lambda item: str(item["at"]))

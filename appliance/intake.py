"""Imports into one appliance: the shelves of a home, and what lies in its quarantine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.errors import WorkerDied
from appliance.home import Home
from appliance.pool import worker_pool
from appliance.store.curated import CuratedStore
from harness.goldgate import GateReport
from harness.manifest import MANIFEST_NAME, Manifest
from ingest.findings import Finding
from ingest.importer import QUARANTINE_NAME, ImportReport, Shelves, import_package
from ingest.inspect import printable


def import_into(
    home: Home, directory: Path, *, workers: int | None, gate_budget_s: float | None, dry_run: bool,
    progress: Callable[[str], None],
) -> ImportReport:  # fmt: skip
    """Import a package directory into a home; WorkerDied when a worker process was killed meanwhile."""
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
    except BrokenProcessPool as err:
        raise WorkerDied(
            f"a worker process was killed from outside while {directory.name} was imported; nothing was integrated",
            hint="Run the same command again. Fewer --workers need less memory.",
        ) from err
    finally:
        curated.close()


def quarantined(home: Home) -> list[dict[str, Any]]:
    """Return what was refused, oldest first, each with its findings and where it is kept."""
    found = [_kept(path) for path in sorted(home.quarantine.glob("*")) if path.is_dir()]
    return sorted(found, key=lambda item: str(item["at"]))


def _kept(place: Path) -> dict[str, Any]:
    """Return what quarantine.json says of a refused package, or that it says nothing."""
    path = {"path": printable(str(place))}
    try:
        document = json.loads((place / QUARANTINE_NAME).read_bytes())
        kept = {"at": str(document["at"])} | {key: printable(str(document[key])) for key in ("package", "source")}
        findings = [{str(key): printable(str(value)) for key, value in item.items()} for item in document["findings"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        at = datetime.fromtimestamp(place.stat().st_mtime, UTC).strftime("%Y%m%dT%H%M%SZ")
        unreadable = Finding(
            "QUARANTINE_UNREADABLE", QUARANTINE_NAME, "the reason for which the package was refused",
            f"{type(err).__name__}: {err}", "Import the package again from its medium, then remove this directory.",
        )  # fmt: skip
        return {**path, "at": at, "package": printable(place.name), "findings": [unreadable.as_dict()]}
    return {**path, **document, **kept, "findings": findings}

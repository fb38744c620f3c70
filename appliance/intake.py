"""Imports into one appliance: the shelves of a home, whom it trusts, and what lies in its quarantine.

Every integration and every refusal leaves a decision in curated.db: the first in the transaction that
makes the package count, the second as soon as the package lies in quarantine, after a power cut by the
next import.
"""

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
from appliance.reserve import Reserve
from appliance.store.curated import CuratedStore, Entry
from appliance.store.decisions import Decision
from harness.goldgate import GateReport
from harness.manifest import MANIFEST_NAME, Manifest
from harness.room import Room
from ingest.findings import Finding
from ingest.importer import ImportReport, import_package
from ingest.inspect import printable
from ingest.policy import LetThrough, Policy, UnsignedPackages
from ingest.prepare.write import sha256_of
from ingest.shelves import QUARANTINE_NAME, Shelves
from ingest.signing import read_trust

_RECORDED_FINDINGS = 20


def import_into(
    home: Home, directory: Path, *, workers: int | None, gate_budget_s: float | None, dry_run: bool,
    progress: Callable[[str], None], accept_older: str = "", room: Room | None = None,
) -> ImportReport:  # fmt: skip
    """Import a package directory into a home; WorkerDied when a worker process was killed meanwhile.

    `accept_older` is the operator's reason to take in a lower sequence than one that is here. Without a `room` the
    import waits for the reserve of the home.
    """
    curated = CuratedStore(home.curated_db)
    try:
        policy = policy_of(home, curated, accept_older)
        if not dry_run:
            record_refusals(home, curated)  # of an import that a power cut ended
        number = workers or home.config.workers
        shelves = _shelves(home, curated, policy, room or Reserve.of(home, progress))
        with worker_pool(number) as pool:
            report = import_package(
                directory.absolute(), shelves, pool, workers=number, progress=progress, dry_run=dry_run,
                gate_budget_s=gate_budget_s or home.config.gate_budget_s,
            )  # fmt: skip
        if report.state == "quarantined":
            record_refusals(home, curated)
    except BrokenProcessPool as err:
        raise WorkerDied(
            f"a worker process was killed from outside while {directory.name} was imported; nothing was integrated",
            hint="Run the same command again. Fewer --workers need less memory.",
        ) from err
    else:
        return report
    finally:
        curated.close()


def _shelves(home: Home, curated: CuratedStore, policy: Policy, room: Room) -> Shelves:
    def integrate(manifest: Manifest, reports: Sequence[GateReport]) -> None:
        raw = (home.packages / manifest.package_id / MANIFEST_NAME).read_bytes()
        digest = hashlib.sha256(raw).hexdigest()
        curated.add_package(manifest, digest, reports, entry_of(manifest.package_id, digest, policy))

    return Shelves(
        packages=home.packages,
        incoming=home.incoming,
        quarantine=home.quarantine,
        environments=home.environments,
        cache=home.cache,
        environments_cap_bytes=home.environments_cap_bytes,
        latest_sequence=curated.latest_sequence,
        integrate=integrate,
        policy=policy,
        room=room,
    )


def policy_of(home: Home, curated: CuratedStore, accept_older: str = "") -> Policy:
    """Return what an import into this home goes by, as its files and decisions say now."""
    return Policy(
        allowed=LetThrough(curated.allowed()),
        unsigned=UnsignedPackages(home.config.unsigned),
        trust=read_trust(home.allowed_signers, home.revoked_keys),
        accept_older=accept_older,
        integrated=curated.integrated,
    )


def entry_of(package_id: str, manifest_sha256: str, policy: Policy) -> Entry:
    """Return how a package came in, with the decisions that made it so."""
    signer, acts = policy.acts.signer, policy.acts
    seen = {"manifest_sha256": manifest_sha256}
    who = {"signer": signer.principal, "fingerprint": signer.fingerprint} if signer else {}
    reason = f"signed by {signer.principal}" if signer else "every check passed"
    made = [Decision("integrate", package_id, "integrated", reason, seen | who | {"overrides": policy.overrides})]
    if acts.is_unsigned:
        made.append(Decision("unsigned", package_id, "accepted", 'policy: [trust] unsigned = "accept"', seen))
    if acts.is_older:
        made.append(Decision("accept-older", package_id, "accepted", policy.accept_older, seen | who))
    return Entry(
        signer.principal if signer else "", signer.fingerprint if signer else "", policy.overrides, tuple(made)
    )


def record_refusals(home: Home, curated: CuratedStore) -> None:
    """Write a decision for every package that lies whole in quarantine and has none yet."""
    known = {row["subject"] for row in curated.decisions("quarantine")}
    missing = [place for place in _places(home) if place.name not in known and _is_whole(place)]
    if missing:
        curated.decide(*map(_refusal, missing))


def _is_whole(place: Path) -> bool:
    return (place / QUARANTINE_NAME).is_file() and (place / "package").is_dir()


def _refusal(place: Path) -> Decision:
    kept = _kept(place)
    codes = ", ".join(sorted({str(finding.get("code", "?")) for finding in kept["findings"]}))
    manifest = place / "package" / MANIFEST_NAME
    inputs = {
        "package": kept["package"],
        "source": kept.get("source", ""),
        "manifest_sha256": sha256_of(manifest) if manifest.is_file() and not manifest.is_symlink() else "",
        "findings": kept["findings"][:_RECORDED_FINDINGS],
        "findings_in_all": len(kept["findings"]),
    }
    return Decision("quarantine", printable(place.name), "quarantined", codes, inputs)


def quarantined(home: Home) -> list[dict[str, Any]]:
    """Return what was refused, oldest first, each with its findings and where it is kept."""
    found = [_kept(path) for path in _places(home)]
    return sorted(found, key=lambda item: str(item["at"]))


def _places(home: Home) -> list[Path]:
    return [path for path in sorted(home.quarantine.glob("*")) if path.is_dir()]


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

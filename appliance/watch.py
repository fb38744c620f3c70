"""Pick packages up from a mount point without anybody at the keyboard.

A package is imported when nothing below it has changed for a while; each outcome is told, remembered in
curated.db and shown by `appliance status`. What was refused is not tried again until the stick or the
policy (trusted keys, allowed files, unsigned packages) changes; what failed for another reason, such as a
stick that was pulled out, is tried again. Whatever a stick does, the next one is looked at. Not protected
against: a driver that hangs in the kernel.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any

from appliance.home import Home, open_home
from appliance.intake import import_into, policy_of
from appliance.store.arrivals import Arrival, is_settled, remember
from appliance.store.curated import CuratedStore
from harness.durable import write_whole
from harness.errors import Failure
from harness.manifest import MANIFEST_NAME
from ingest.errors import AlreadyIntegrated
from ingest.importer import ImportReport
from ingest.inspect import MANIFEST_LIMIT_BYTES, printable
from ingest.medium import NotRegular, directory_fd, read_bounded, walk_entries
from ingest.policy import Policy

MAX_DEPTH = 2
MAX_ENTRIES = 200_000
MAX_FOLDERS = 1_000
LONGEST_BACKOFF_S = 600.0
UNSETTLED_S = 60.0
"""With --once: how long a package may keep changing, at least, before it is left for the next time."""
_DETAIL_CHARACTERS = 500


@dataclass(frozen=True)
class Sighting:
    """A package on a medium as it looked at one moment."""

    place: Path
    listing_sha256: str
    """Over path, kind, size and times of every entry, and the manifest's bytes."""
    manifest_sha256: str


@dataclass
class _Seen:
    sighting: Sighting
    since: float
    retry_at: float = 0.0
    backoff_s: float = 0.0


@dataclass
class Watch:
    """One watch over one directory."""

    root: Path
    """The home; opened anew for every package, so that a changed policy acts at once."""
    directory: Path
    settle_s: float
    interval_s: float
    tell: Callable[[Arrival], None]
    progress: Callable[[str], None]
    stop: Event = field(default_factory=Event)
    is_fine: bool = True
    """Whether every package came in, or was here before."""
    seen: dict[Path, _Seen] = field(default_factory=dict)
    last: Arrival | None = None

    def run(self, *, once: bool) -> bool:
        """Watch until `stop` is set, or, with `once`, until nothing is left to do; return `is_fine`."""
        started = time.monotonic()
        self.show("watching")
        while not self.stop.is_set():
            unsettled = self.look()
            if once and not unsettled:
                break
            if once and time.monotonic() - started > max(UNSETTLED_S, 10 * self.settle_s):
                self.is_fine = False
                break
            self.stop.wait(max(0.05, min(self.settle_s, self.interval_s) if unsettled else self.interval_s))
        self.show("stopped")
        return self.is_fine

    def look(self) -> int:
        """Go over the directory once; return the number of packages that still change."""
        unsettled = 0
        places = list(find_packages(self.directory))
        self.seen = {place: seen for place, seen in self.seen.items() if place in places}
        for place in places:
            if self.stop.is_set():
                break
            sighting = sight(place)
            now = time.monotonic()
            if sighting is None:
                self.seen.pop(place, None)
                continue
            known = self.seen.get(place)
            if known is None or known.sighting != sighting:
                known = self.seen[place] = _Seen(sighting, now)
            if now - known.since < self.settle_s:
                unsettled += 1
            elif now >= known.retry_at:
                self.handle(known)
        return unsettled

    def handle(self, known: _Seen) -> None:
        """Import what settled, unless that was done before; whatever happens is an outcome."""
        try:
            home = open_home(self.root)
            curated = CuratedStore(home.curated_db)
            try:
                self.judge(home, curated, known)
            finally:
                curated.close()
        except Exception as err:  # noqa: BLE001 - the edge of the process: one bad stick must not end the watch
            self.note(known, _arrival(known.sighting, "", "failed", *_words_of(err)))

    def judge(self, home: Home, curated: CuratedStore, known: _Seen) -> None:
        """Import a package that did not come to an end under this policy before, and remember what became of it."""
        sighting = known.sighting
        policy = policy_of(home, curated)
        arrival_id = hashlib.sha256(f"{sighting.listing_sha256} {_policy_sha256(policy)}".encode()).hexdigest()
        if is_settled(curated.db, arrival_id):
            return
        if curated.has_manifest(sighting.manifest_sha256):
            arrival = _arrival(sighting, arrival_id, "known", "", "this very manifest is integrated")
        else:
            arrival = self.bring(home, sighting, arrival_id)
        remember(curated.db, curated.path, arrival)
        self.note(known, arrival)

    def bring(self, home: Home, sighting: Sighting, arrival_id: str) -> Arrival:
        """Import one package; everything that can happen is an outcome."""
        try:
            report = import_into(
                home, sighting.place, workers=None, gate_budget_s=None, dry_run=False, progress=self.progress
            )
        except AlreadyIntegrated as err:
            return _arrival(sighting, arrival_id, "known", "", str(err))
        except Exception as err:  # noqa: BLE001 - see handle
            return _arrival(sighting, arrival_id, "failed", *_words_of(err))
        if report.state == "quarantined" and sight(sighting.place) != sighting:
            detail = "the medium changed or was pulled out meanwhile"
            return _arrival(sighting, arrival_id, "failed", report.findings[0].code, detail)
        return _arrival(sighting, arrival_id, *_outcome_of(report), package=report.package)

    def note(self, known: _Seen, arrival: Arrival) -> None:
        """Tell an outcome, show it, and put off the next try where there is to be one."""
        if arrival.outcome in {"failed", "refused"}:
            self.is_fine = False
        if arrival.outcome == "failed":
            known.backoff_s = min(LONGEST_BACKOFF_S, 2 * known.backoff_s or self.interval_s)
            known.retry_at = time.monotonic() + known.backoff_s
        self.last = arrival
        self.show("watching")
        self.tell(arrival)

    def show(self, state: str) -> None:
        """Write the status file; that it cannot be written stops nothing."""
        with suppress(OSError, Failure):
            home = open_home(self.root)
            last = asdict(self.last) if self.last else (read_status(home) or {}).get("last")
            document = {
                "schema": 1, "state": state, "directory": printable(str(self.directory)), "at": _now(), "last": last,
            }  # fmt: skip
            home.var.mkdir(parents=True, exist_ok=True)
            write_whole(home.watch_status, json.dumps(document, indent=1, sort_keys=True).encode())


def find_packages(directory: Path, depth: int = MAX_DEPTH) -> Iterator[Path]:
    """Yield the directories that hold a manifest, at most `depth` levels down; no links, no hidden ones."""
    try:
        with os.scandir(directory) as entries:
            folders = [
                Path(entry.path)
                for entry in islice(entries, MAX_FOLDERS)
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:  # nothing is mounted, or no more
        return
    for folder in sorted(folders):
        if _is_regular(folder / MANIFEST_NAME):
            yield folder
        elif depth > 1:
            yield from find_packages(folder, depth - 1)


def sight(place: Path) -> Sighting | None:
    """Return how a package looks now; None when it cannot be read (any more)."""
    listing = hashlib.sha256()
    try:
        with directory_fd(place) as root:
            manifest = read_bounded(root, MANIFEST_NAME, MANIFEST_LIMIT_BYTES)
            with suppress(NotRegular):  # too much for a package: the import says so
                for path, facts in walk_entries(root, MAX_ENTRIES):
                    seen = (stat.S_IFMT(facts.st_mode), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
                    listing.update(f"{seen} ".encode() + os.fsencode(path) + b"\0")
    except NotRegular:
        manifest = b""
    except (OSError, Failure):
        return None
    listing.update(manifest)
    return Sighting(place, listing.hexdigest(), hashlib.sha256(manifest).hexdigest())


def read_status(home: Home) -> dict[str, Any] | None:
    """Return what the watch of a home did last; None when there was none, or its file cannot be read."""
    try:
        document = json.loads(home.watch_status.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _outcome_of(report: ImportReport) -> tuple[str, str, str]:
    if report.findings:
        return "refused", report.findings[0].code, f"{report.findings[0].line()} Kept in {report.quarantine}"
    return "integrated", "", f"{report.validated} of {len(report.gates)} commits validated"


def _words_of(err: Exception) -> tuple[str, str]:
    code = err.code if isinstance(err, Failure) else "UNEXPECTED"
    next_step = f" Next: {err.hint}" if isinstance(err, Failure) else ""
    return code, f"{type(err).__name__}: {err}.{next_step}"


def _arrival(
    sighting: Sighting, arrival_id: str, outcome: str, code: str, detail: str, *, package: str = ""
) -> Arrival:
    return Arrival(
        arrival_id, printable(str(sighting.place)), printable(package or sighting.place.name),
        sighting.manifest_sha256, outcome, code, printable(detail)[:_DETAIL_CHARACTERS], _now(),
    )  # fmt: skip


def _policy_sha256(policy: Policy) -> str:
    parts = [
        policy.unsigned.encode(),
        policy.trust.signers,
        policy.trust.revoked,
        *map(str.encode, sorted(policy.allowed)),
    ]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""Pick packages up from a mount point without anybody at the keyboard.

A package is imported when nothing below it has changed for a while; each outcome is told, remembered in
curated.db and shown by `appliance status`. What was refused is not tried again until the stick or the
policy (trusted keys, allowed files, unsigned packages) changes; what failed for another reason, such as a
stick that was pulled out, one that cannot be read or a disk without room, is put off and tried again.
What failed in a way that nobody foresaw is given up after a few tries: it may take the whole gate each
time. Whatever a stick does, the next one is looked at. Not protected against: a driver that hangs in the
kernel.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
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

from appliance.errors import NotFound
from appliance.home import Home, open_home
from appliance.intake import import_into, policy_of
from appliance.reserve import Reserve
from appliance.store.arrivals import Arrival, is_settled, remember
from appliance.store.curated import CuratedStore
from harness.durable import write_whole
from harness.errors import Failure
from harness.manifest import MANIFEST_NAME
from ingest.errors import AlreadyIntegrated, PackageMissing
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
UNFORESEEN = "UNEXPECTED"
UNFORESEEN_TRIES = 3
"""After as many failures that nobody foresaw a package is left alone until it or the policy changes."""
SHOWN_PUT_OFF = 20
_DETAIL_CHARACTERS = 500
_OF_THIS_MACHINE = (OSError, MemoryError, sqlite3.OperationalError)
_NOT_OURS = "lost+found"
"""Every ext4 file system has one that only root may read."""


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
    trouble: Exception | None = None
    """Why it cannot be read."""
    put_off: Arrival | None = None
    """The failure for which it waits for the next try."""


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
    tries: dict[str, int] = field(default_factory=dict)
    """Arrival id to the number of its failures that nobody foresaw; kept in the status file between two runs."""
    shown: list[dict[str, str]] = field(default_factory=list)

    def run(self, *, once: bool) -> bool:
        """Watch until `stop` is set, or, with `once`, until nothing is left to do; return `is_fine`.

        NotFound when with `once` there is no such directory; without, it may be mounted later.
        """
        if once and not self.directory.is_dir():
            raise NotFound(
                f"{printable(str(self.directory))} is not a directory",
                hint="Name the directory below which media are mounted; is the medium there?",
            )
        self.tries = _tries(self.root)
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
        unreadable: dict[Path, Exception] = {}
        places = dict.fromkeys(find_packages(self.directory, trouble=unreadable.__setitem__))
        self.seen = {place: seen for place, seen in self.seen.items() if place in places or place in unreadable}
        for place in [*places, *unreadable]:
            if self.stop.is_set():
                break
            known = self.meet(place, unreadable.get(place))
            if known is None:
                continue
            now = time.monotonic()
            if now - known.since < self.settle_s:
                unsettled += 1
            elif now >= known.retry_at:
                self.handle(known)
        if self.put_off() != self.shown:
            self.show("watching")
        return unsettled

    def meet(self, place: Path, trouble: Exception | None) -> _Seen | None:
        """Return what is known of a place as it looks now; None when it is gone."""
        try:
            sighting = _unreadable(place, trouble) if trouble else look_at(place)
        except (PackageMissing, FileNotFoundError):  # pulled out since it was found
            self.seen.pop(place, None)
            return None
        except (OSError, Failure) as err:
            sighting, trouble = _unreadable(place, err), err
        known = self.seen.get(place)
        if known is None or known.sighting != sighting:
            known = self.seen[place] = _Seen(sighting, time.monotonic(), trouble=trouble)
        return known

    def handle(self, known: _Seen) -> None:
        """Import what settled, unless that was done before; whatever happens is an outcome."""
        if known.trouble is not None:
            detail = f"it cannot be read: {known.trouble}. Next: check its permissions, and the medium."
            self.note(known, _arrival(known.sighting, "", "failed", "MEDIUM", detail))
            return
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
        known.put_off = None
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
                home, sighting.place, workers=None, gate_budget_s=None, dry_run=False, progress=self.progress,
                room=Reserve.impatient(home, self.progress),
            )  # fmt: skip
        except AlreadyIntegrated as err:
            return _arrival(sighting, arrival_id, "known", "", str(err))
        except Exception as err:  # noqa: BLE001 - see handle
            return self.failed(sighting, arrival_id, err)
        if report.state == "quarantined" and sight(sighting.place) != sighting:
            detail = "the medium changed or was pulled out meanwhile"
            return _arrival(sighting, arrival_id, "failed", report.findings[0].code, detail)
        return _arrival(sighting, arrival_id, *_outcome_of(report), package=report.package)

    def failed(self, sighting: Sighting, arrival_id: str, err: Exception) -> Arrival:
        """Return a failure to be tried again, or, when nobody foresaw it, too often the same, to be left alone."""
        code, detail = _words_of(err)
        if code != UNFORESEEN or isinstance(err, _OF_THIS_MACHINE):
            return _arrival(sighting, arrival_id, "failed", code, detail)
        number = self.tries[arrival_id] = self.tries.get(arrival_id, 0) + 1
        if number < UNFORESEEN_TRIES:
            return _arrival(sighting, arrival_id, "failed", code, detail)
        del self.tries[arrival_id]
        detail = f"given up after {number} tries, nothing was kept: {detail}"
        return _arrival(sighting, arrival_id, "refused", code, detail)

    def put_off(self) -> list[dict[str, str]]:
        """Return what waits for its next try, and why."""
        waiting = [seen.put_off for seen in self.seen.values() if seen.put_off]
        return [
            {"package": one.package, "path": one.path, "code": one.code, "detail": one.detail}
            for one in waiting[:SHOWN_PUT_OFF]
        ]

    def note(self, known: _Seen, arrival: Arrival) -> None:
        """Tell an outcome, show it, and put off the next try where there is to be one."""
        if arrival.outcome in {"failed", "refused"}:
            self.is_fine = False
        known.put_off = arrival if arrival.outcome == "failed" else None
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
            self.shown = self.put_off()
            document = {
                "schema": 1, "state": state, "directory": printable(str(self.directory)), "at": _now(), "last": last,
                "put_off": self.shown, "tries": self.tries,
            }  # fmt: skip
            home.var.mkdir(parents=True, exist_ok=True)
            write_whole(home.watch_status, json.dumps(document, indent=1, sort_keys=True).encode())


def _ignored(_place: Path, _err: Exception) -> None:
    """Say nothing of what cannot be read."""


def find_packages(
    directory: Path, depth: int = MAX_DEPTH, trouble: Callable[[Path, Exception], None] = _ignored
) -> Iterator[Path]:
    """Yield the directories that hold a manifest, at most `depth` levels down; no links, no hidden ones.

    `trouble` is called with each directory that is there and cannot be read.
    """
    try:
        with os.scandir(directory) as entries:
            folders = [
                Path(entry.path)
                for entry in islice(entries, MAX_FOLDERS)
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
    except (FileNotFoundError, NotADirectoryError):  # nothing is mounted, or no more
        return
    except OSError as err:
        if directory.name != _NOT_OURS:
            trouble(directory, err)
        return
    for folder in sorted(folders):
        try:
            is_package = _is_regular(folder / MANIFEST_NAME)
        except OSError as err:
            if folder.name != _NOT_OURS:
                trouble(folder, err)
            continue
        if is_package:
            yield folder
        elif depth > 1:
            yield from find_packages(folder, depth - 1, trouble)


def sight(place: Path) -> Sighting | None:
    """Return how a package looks now; None when it cannot be read (any more)."""
    try:
        return look_at(place)
    except (OSError, Failure):
        return None


def look_at(place: Path) -> Sighting:
    """Return how a package looks now; PackageMissing when it is gone, OSError when it cannot be read."""
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
    except (FileNotFoundError, NotADirectoryError):
        return False


def _unreadable(place: Path, err: Exception) -> Sighting:
    """Return a sighting of what cannot be read: the same as long as the reason is."""
    return Sighting(place, hashlib.sha256(str(err).encode("utf-8", "surrogateescape")).hexdigest(), "")


def _tries(root: Path) -> dict[str, int]:
    """Return the failures that nobody foresaw which an earlier watch counted."""
    with suppress(OSError, Failure):
        tries = (read_status(open_home(root)) or {}).get("tries")
        if isinstance(tries, dict):
            return {str(key): number for key, number in tries.items() if isinstance(number, int)}
    return {}


def _outcome_of(report: ImportReport) -> tuple[str, str, str]:
    if report.findings:
        return "refused", report.findings[0].code, f"{report.findings[0].line()} Kept in {report.quarantine}"
    return "integrated", "", f"{report.validated} of {len(report.gates)} commits validated"


def _words_of(err: Exception) -> tuple[str, str]:
    code = err.code if isinstance(err, Failure) else UNFORESEEN
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

"""A reserve of free disk: work stops short of it, and goes on by itself when there is room again.

The reserve is what lets finished attempts be committed and a person still work on a machine whose
disk is as good as full. It is looked at before anything is begun; what is under way is not stopped.
Who has other things to do than to wait asks for a reserve that is not patient: it raises instead.
Not protected against: another program that writes into the reserve while work is under way.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.errors import ApplianceError
from harness.errors import DiskFull

if TYPE_CHECKING:
    from appliance.home import Home

POLL_S = 5.0
FULL_DISK_TRIES = 5
_GIB = 1 << 30


class NeverRoom(ApplianceError):
    """The disk is smaller than the reserve and what has to be written together."""

    code = "DISK_TOO_SMALL"
    exit_code = 14
    hint = "Lower disk.reserve_gib in appliance.toml, or move the home to a larger disk."


@dataclass(frozen=True)
class Space:
    """The disk that something lies on, as it is now."""

    free_bytes: int
    """What this user may still write."""
    total_bytes: int


def space(path: Path) -> Space:
    """Return the space of the disk that holds `path`, or the nearest directory above it that exists."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    usage = shutil.disk_usage(there)
    return Space(usage.free, usage.used + usage.free)


@dataclass
class Reserve:
    """Room for work on one disk, less a reserve. Says once that work pauses, and once that it goes on."""

    path: Path
    reserve_bytes: int
    tell: Callable[[str], None]
    """Where the two lines go."""
    poll_s: float = POLL_S
    tries: int = FULL_DISK_TRIES
    is_patient: bool = True
    """Whether work waits for room; else it ends with DiskFull, and whoever began it decides when to try again."""
    is_paused: bool = field(default=False, init=False)

    @classmethod
    def of(cls, home: Home, tell: Callable[[str], None], *, poll_s: float = POLL_S) -> Reserve:
        """Return the reserve that the settings of a home ask for."""
        return cls(home.var, int(home.config.disk_reserve_gib * _GIB), tell, poll_s=poll_s)

    @classmethod
    def impatient(cls, home: Home, tell: Callable[[str], None]) -> Reserve:
        """Return the reserve that the settings of a home ask for, for work that must not wait for it."""
        return replace(cls.of(home, tell), tries=0, is_patient=False)

    def has(self, coming_bytes: int = 0) -> bool:
        """Return whether so much can be written without touching the reserve; NeverRoom when it never can.

        DiskFull instead of False for work that must not wait.
        """
        wanted, now = self.reserve_bytes + coming_bytes, space(self.path)
        if wanted > now.total_bytes:
            raise NeverRoom(
                f"{self.path} lies on a disk of {size(now.total_bytes)}, {size(now.free_bytes)} of it free; wanted are "
                f"{size(wanted)} free: {size(self.reserve_bytes)} as reserve and {size(coming_bytes)} to write"
            )
        has_room = now.free_bytes >= wanted
        if not has_room and not self.is_patient:
            raise DiskFull(
                f"{size(now.free_bytes)} free on {self.path}, {size(wanted)} wanted, {size(self.reserve_bytes)} of it "
                "as reserve",
                hint="Free some space; it is tried again by itself.",
            )
        if has_room and self.is_paused:
            self.tell(f"goes on: {size(now.free_bytes)} free on {self.path}")
        elif not has_room and not self.is_paused:
            self.tell(
                f"paused: {size(now.free_bytes)} free on {self.path}, {size(wanted)} wanted; "
                "free space and work goes on by itself"
            )
        self.is_paused = not has_room
        return has_room


def size(number_bytes: int) -> str:
    """Return a size for a person: 0.8 GiB, 12.0 MiB."""
    unit, bits = ("GiB", 30) if number_bytes >= _GIB // 10 else ("MiB", 20)
    return f"{number_bytes / (1 << bits):.1f} {unit}"

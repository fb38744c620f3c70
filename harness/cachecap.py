"""Bound what the caches take: the least recently used files go first, and litter of killed writers goes too.

Everything below a cache directory is content-addressed and can be made again, so removing any of it
costs time and nothing else; another process that wanted the file computes it anew. Used means read
or written, as the file system remembers it (to the day, with relatime). Not bounded here: template
environments, which have a cap and leases of their own, and what is written until the next look.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.durable import NEW_PREFIX

CAP_BYTES = 5 << 30
LITTER_S = 3_600.0
"""Age of a file that is still being written after which nobody is writing it."""
_SLACK = 0.9
"""Share of the cap that is left full, so that the next look need not remove anything again."""
_BLOCK_BYTES = 512


@dataclass(frozen=True)
class CacheFile:
    """One file of a cache."""

    path: str
    bytes: int
    """What it takes on the disk."""
    used_at: float
    """Seconds since the epoch."""

    @property
    def is_unfinished(self) -> bool:
        """Return whether the name is one that writers give to files that are not whole yet."""
        return os.path.basename(self.path).startswith(NEW_PREFIX)  # noqa: PTH119 - one of very many files


def excess(files: Iterable[CacheFile], cap_bytes: int, now: float) -> list[CacheFile]:
    """Return what has to go: litter, and what was used longest ago until a little less than the cap is left."""
    known = list(files)
    litter = [file for file in known if file.is_unfinished and now - file.used_at > LITTER_S]
    whole = sorted((file for file in known if not file.is_unfinished), key=lambda file: (file.used_at, file.path))
    total = sum(file.bytes for file in whole)
    if total <= cap_bytes:
        return litter
    going = []
    for file in whole:
        if total <= cap_bytes * _SLACK:
            break
        going.append(file)
        total -= file.bytes
    return litter + going


def collect(root: Path, cap_bytes: int = CAP_BYTES) -> int:
    """Remove what is too much below a cache directory; return the bytes that were given back."""
    given = 0
    for file in excess(_files(root), cap_bytes, time.time()):
        try:
            os.unlink(file.path)  # noqa: PTH108
        except FileNotFoundError:  # another process collected it
            continue
        given += file.bytes
    return given


def _files(root: Path) -> Iterator[CacheFile]:
    folders = [str(root)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        folders.append(entry.path)
                    elif stat.S_ISREG(status.st_mode):
                        used_at = max(status.st_atime, status.st_mtime)
                        yield CacheFile(entry.path, status.st_blocks * _BLOCK_BYTES, used_at)
        except FileNotFoundError:
            continue

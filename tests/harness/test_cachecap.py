"""Caches stay below their cap: what was used longest ago goes first, litter goes always."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.cachecap import LITTER_S, CacheFile, collect, excess
from harness.durable import NEW_PREFIX

NOW = 1_000_000.0


def _files(*ages_s: float, size: int = 100) -> list[CacheFile]:
    return [CacheFile(f"/cache/ab/{age_s:.0f}", size, NOW - age_s) for age_s in ages_s]


def test_nothing_goes_while_the_cap_holds() -> None:
    """A cache that is just full is left alone."""
    assert excess(_files(1, 2, 3), 300, NOW) == []


def test_what_was_used_longest_ago_goes_first_and_a_little_more_than_needed() -> None:
    """One byte too many makes room for the next tenth of the cap."""
    files = _files(5, 1, 9, 7, 3, 8, 2, 6, 4, 10, 11)
    assert [file.path for file in excess(files, 1_000, NOW)] == ["/cache/ab/11", "/cache/ab/10"]
    assert excess(files, 99, NOW) == sorted(files, key=lambda file: file.used_at)


@pytest.mark.parametrize(("age_s", "goes"), [(LITTER_S + 1, True), (LITTER_S - 1, False)])
def test_half_written_files_go_when_nobody_can_be_writing_them(age_s: float, goes: bool) -> None:
    """Litter goes although there is room; what may be under way stays although there is none."""
    file = CacheFile(f"/cache/{NEW_PREFIX}x", 500, NOW - age_s)
    assert excess([file], 100 if not goes else 1_000, NOW) == ([file] if goes else [])


def test_a_cache_on_disk_is_brought_below_its_cap(tmp_path: Path) -> None:
    """Real files: the oldest and the litter are gone, links and what lies behind them are untouched."""
    outside = tmp_path / "outside"
    outside.write_bytes(bytes(1 << 20))
    cache = tmp_path / "cache"
    for number in range(10):
        entry = cache / f"{number:02x}" / f"entry-{number}"
        entry.parent.mkdir(parents=True)
        entry.write_bytes(bytes(8192))
        os.utime(entry, (time.time() - number * 100,) * 2)
    (cache / "00" / "link").symlink_to(outside)
    litter = cache / "00" / f"{NEW_PREFIX}dead"
    litter.write_bytes(bytes(8192))
    os.utime(litter, (time.time() - LITTER_S * 2,) * 2)
    assert collect(cache, 5 * 8192) == 7 * 8192
    assert sorted(path.name for path in cache.rglob("*") if path.is_file()) == [
        "entry-0", "entry-1", "entry-2", "entry-3", "link",
    ]  # fmt: skip
    assert outside.is_file()
    assert collect(cache, 5 * 8192) == 0


def test_a_cache_that_is_not_there_has_nothing_to_give(tmp_path: Path) -> None:
    """Collecting before the first run is no error."""
    assert collect(tmp_path / "none", 0) == 0

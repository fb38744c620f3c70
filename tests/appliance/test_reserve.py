"""The reserve of free disk: work stops short of it, says so once, and goes on to the very same end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.home import GIB, Home, open_home
from appliance.pool import worker_pool
from appliance.reserve import NeverRoom, Reserve, size, space
from appliance.runs import RunOptions, plan_jobs, run_attempts
from appliance.store.curated import CuratedStore
from appliance.store.raw import RawStore
from harness.answerers.routes import make_routes
from harness.errors import DiskFull
from tests.appliance.conftest import COMMITS, copy_home
from tests.disks import empty, leave_free, small_disk
from tests.kills import check, state

MIB = 1 << 20
ATTEMPTS = 2
POLL_S = 0.02


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a disk of its own with 32 MiB, or skip."""
    with small_disk(tmp_path / "disk", 32) as place:
        yield place


class _Operator:
    """Reads what the appliance says, and empties the disk when it pauses."""

    def __init__(self, disk: Path) -> None:
        self.disk = disk
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        """Take in a line."""
        self.lines.append(line)
        if line.startswith("paused: "):
            empty(self.disk)


def _reserve(disk: Path, tell: Any, reserve_bytes: int = 4 * MIB) -> Reserve:
    return Reserve(disk, reserve_bytes, tell, poll_s=POLL_S)


def _options() -> RunOptions:
    return RunOptions("abacus", make_routes("gold", {}, None), None, ATTEMPTS, 2, 0, 0.0, use_cache=False)


def test_the_reserve_is_the_free_space_that_the_settings_ask_for(new_home: Path) -> None:
    """In bytes, of the disk that the growing part of a home lies on."""
    (new_home / "appliance.toml").write_text("[disk]\nreserve_gib = 2.5\n")
    reserve = Reserve.of(open_home(new_home), print)
    assert (reserve.reserve_bytes, reserve.path) == (int(2.5 * GIB), new_home / "var")
    assert space(reserve.path / "not" / "there" / "yet").total_bytes == space(new_home).total_bytes


def test_who_must_not_wait_is_told_by_a_failure(new_home: Path) -> None:
    """With figures, at once, and with no line about a pause."""
    (new_home / "appliance.toml").write_text("[disk]\nreserve_gib = 0.001\n")
    lines: list[str] = []
    reserve = Reserve.impatient(open_home(new_home), lines.append)
    assert reserve.has()
    now = space(new_home)
    if now.total_bytes - now.free_bytes < MIB:
        pytest.skip("the disk is empty")
    with pytest.raises(DiskFull, match=r"free on .* wanted"):
        reserve.has((now.total_bytes + now.free_bytes) // 2)
    assert (lines, reserve.tries, reserve.is_paused) == ([], 0, False)


def test_a_pause_and_its_end_are_said_once_with_figures(disk: Path) -> None:
    """What is free, where, what is wanted, and that nothing has to be started again."""
    lines: list[str] = []
    reserve = _reserve(disk, lines.append)
    assert reserve.has()
    leave_free(disk, 3 * MIB)
    assert [reserve.has() for _ in range(3)] == [False] * 3
    assert lines == [
        f"paused: 3.0 MiB free on {disk}, 4.0 MiB wanted; free space and work goes on by itself"
    ]  # fmt: skip
    empty(disk)
    assert [reserve.has(), reserve.has()] == [True, True]
    assert lines[1:] == [f"goes on: 32.0 MiB free on {disk}"]


def test_what_is_about_to_be_written_counts(disk: Path) -> None:
    """A package needs its size on top of the reserve."""
    reserve = _reserve(disk, lambda _: None)
    leave_free(disk, 6 * MIB)
    assert [reserve.has(), reserve.has(MIB), reserve.has(3 * MIB)] == [True, True, False]


def test_what_can_never_fit_is_said_at_once(disk: Path) -> None:
    """A reserve, or a package, that is larger than the disk would be waited for in vain."""
    with pytest.raises(NeverRoom, match=r"disk of 32\.0 MiB, 32\.0 MiB of it free; wanted are 40\.0 MiB") as caught:
        _reserve(disk, lambda _: None, 40 * MIB).has()
    assert (caught.value.exit_code, "disk.reserve_gib" in caught.value.hint) == (14, True)
    with pytest.raises(NeverRoom, match=r"30\.0 MiB to write"):
        _reserve(disk, lambda _: None).has(30 * MIB)


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0.0 MiB"), (5 * MIB, "5.0 MiB"), (GIB, "1.0 GiB"), (GIB // 5, "0.2 GiB")]
)
def test_sizes_are_for_people(number: int, words: str) -> None:
    """GiB where it is about disks, MiB below."""
    assert size(number) == words


@pytest.mark.parametrize("left_bytes", [3 * MIB, 0], ids=["below the reserve", "not a byte"])
def test_a_run_pauses_while_the_disk_is_full_and_ends_the_same(
    left_bytes: int, imported: Path, disk: Path, tmp_path: Path
) -> None:
    """At the start and again in the middle; every attempt is there once, as in a run that met no full disk."""
    undisturbed = _run(open_home(copy_home(imported, tmp_path / "undisturbed")), None)
    operator = _Operator(disk)
    home = open_home(copy_home(imported, disk / "home"))
    leave_free(disk, 3 * MIB)
    done = _run(home, _reserve(disk, operator), fill=lambda: leave_free(disk, left_bytes))
    assert done == undisturbed == COMMITS * ATTEMPTS
    assert [line.split(":")[0] for line in operator.lines] == ["paused", "goes on"] * 2
    assert _comparable(home) == _comparable(open_home(tmp_path / "undisturbed"))
    check(home.root)


def test_a_disk_that_stays_full_ends_the_run_after_a_few_tries(imported: Path, disk: Path) -> None:
    """There seems to be room and there is none: the failure is the disk's, and what was stored stays."""
    home = open_home(copy_home(imported, disk / "home"))
    reserve = _reserve(disk, lambda _: None, reserve_bytes=0)
    with pytest.raises((DiskFull, OSError), match=r"full|No space left"):
        _run(home, reserve, fill=lambda: leave_free(disk, 0))
    empty(disk)
    check(home.root)
    assert 0 < len(state(home.root)["attempts"]) < COMMITS * ATTEMPTS
    assert _run(home, None) == COMMITS * ATTEMPTS


def _run(home: Home, reserve: Reserve | None, fill: Any = None) -> int:
    """Run to the end; after the first attempt the disk is filled up. Returns the number of attempts that were yielded."""
    curated, raw = CuratedStore(home.curated_db), RawStore(home.raw_db)
    number = 0
    try:
        with worker_pool(2) as pool:
            for made, _ in run_attempts(plan_jobs(home, curated, _options()), raw, pool, 2, room=reserve):
                number += 1
                if made is not None and fill is not None:
                    fill()
                    fill = None
    finally:
        curated.close()
        raw.close()
    return number


def _comparable(home: Home) -> Any:
    return {name: value for name, value in state(home.root).items() if name != "building"}


def test_free_space_is_back_after_runs(imported: Path, disk: Path) -> None:
    """Beside databases and caches, what runs write is gone when they end."""
    home = open_home(copy_home(imported, disk / "home"))
    _run(home, None)
    before = _beside_what_is_kept(home)
    os.sync()
    for seed in range(2):
        curated, raw = CuratedStore(home.curated_db), RawStore(home.raw_db)
        options = RunOptions("abacus", make_routes("gold", {}, None), None, 1, 2, 100 + seed, 0.0, use_cache=False)
        with worker_pool(2) as pool:
            list(run_attempts(plan_jobs(home, curated, options), raw, pool, 2))
        curated.close()
        raw.close()
    after = _beside_what_is_kept(home)
    assert abs(after - before) <= shutil.disk_usage(disk).total // 100


def _beside_what_is_kept(home: Home) -> int:
    """Return the bytes used on the disk of a home that are neither database nor cache."""
    kept = [*home.var.glob("*.db*"), *home.cache.rglob("*")]
    return shutil.disk_usage(home.root).used - sum(path.lstat().st_blocks * 512 for path in kept)

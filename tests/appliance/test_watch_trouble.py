"""The watch and what it cannot bring in: media it may not read, a disk without room, and what nobody foresaw."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.errors import NotFound
from appliance.home import GIB, open_home
from appliance.reserve import space
from appliance.store.arrivals import Arrival
from appliance.watch import UNFORESEEN_TRIES, Watch, read_status
from tests.appliance.conftest import Done, query
from tests.packages import PACKAGE_ID, without_runs

Run = Callable[..., Done]
NOBODY = 65_534


@pytest.fixture
def mount() -> Iterator[Path]:
    """Return a directory below which sticks appear, and to which everybody finds the way."""
    place = Path(tempfile.mkdtemp(prefix="media-"))
    place.chmod(0o755)
    yield place
    for path in place.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(place)


@pytest.fixture
def stick(mount: Path, package: Path) -> Path:
    """Return a package on a stick that is plugged in; no test of it is run."""
    without_runs(package)
    (mount / "usb").mkdir()
    return Path(shutil.move(package, mount / "usb" / PACKAGE_ID))


def _watch(home: Path, mount: Path) -> tuple[Watch, list[Arrival]]:
    told: list[Arrival] = []
    return Watch(home, mount, 0, 0.05, tell=told.append, progress=lambda _: None), told


@contextmanager
def _unprivileged() -> Iterator[None]:
    """Be somebody whom permissions hold back."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("closed", ["", "usb", "usb/abacus-1", "usb/abacus-1/repo", "usb/abacus-1/manifest.json"])
def test_what_cannot_be_read_is_said_and_put_off(closed: str, new_home: Path, mount: Path, stick: Path) -> None:
    """Whatever may not be read, it failed once, waits, and names the place."""
    watch, told = _watch(new_home, mount)
    watch.interval_s = 100.0
    (mount / closed).chmod(0)
    try:
        with _unprivileged():
            watch.look()
            watch.look()
    finally:
        (mount / closed).chmod(0o755)
    assert [(one.outcome, one.code) for one in told] == [("failed", "MEDIUM")]
    assert "Permission denied" in told[0].detail
    assert (told[0].path in str(stick), watch.is_fine) == (True, False)
    watch.look()
    assert [one.outcome for one in told] == ["failed", "integrated"]
    assert watch.put_off() == []


def test_what_only_root_may_read_on_every_disk_is_no_trouble(new_home: Path, mount: Path) -> None:
    """The folder lost+found of a stick is left alone."""
    (mount / "usb" / "lost+found").mkdir(parents=True)
    (mount / "usb" / "lost+found").chmod(0)
    watch, told = _watch(new_home, mount)
    with _unprivileged():
        watch.look()
    assert told == []


def test_a_directory_that_is_not_there_is_an_error_of_a_timer(new_home: Path, mount: Path, run: Run) -> None:
    """With --once it ends with exit 10; without, it may be mounted later."""
    watch, told = _watch(new_home, mount / "gone")
    with pytest.raises(NotFound):
        watch.run(once=True)
    assert (watch.look(), told) == (0, [])
    assert run(new_home, "ingest", "watch", str(mount / "gone"), "--once").code == 10


def test_a_disk_without_room_puts_a_package_off_and_nothing_else(
    new_home: Path, mount: Path, stick: Path, run: Run
) -> None:
    """The watch goes on, the status says what waits and why, and the package comes in when there is room."""
    good = (new_home / "appliance.toml").read_text()
    now = space(new_home)
    if now.total_bytes - now.free_bytes < GIB // 100:
        pytest.skip("the disk is empty")
    wanted_gib = (now.total_bytes + now.free_bytes) / 2 / GIB
    (new_home / "appliance.toml").write_text(f'[trust]\nunsigned = "accept"\n[disk]\nreserve_gib = {wanted_gib}\n')
    watch, told = _watch(new_home, mount)
    assert watch.run(once=True) is False
    assert [(one.outcome, one.code) for one in told] == [("failed", "DISK_FULL")]
    status = read_status(open_home(new_home))
    assert status is not None
    assert [(one["package"], one["code"]) for one in status["put_off"]] == [(PACKAGE_ID, "DISK_FULL")]
    assert f"put off: {PACKAGE_ID}" in run(new_home, "status").out
    stick.rename(mount.with_name("pocket-" + mount.name))
    watch.look()
    assert (read_status(open_home(new_home)) or {})["put_off"] == []
    shutil.move(mount.with_name("pocket-" + mount.name), stick)
    (new_home / "appliance.toml").write_text(good)
    watch.look()
    assert [one.outcome for one in told] == ["failed", "integrated"]


def test_what_nobody_foresaw_is_given_up_after_a_few_tries(new_home: Path, mount: Path, stick: Path) -> None:
    """Each try may take the whole gate; the count outlives the watch, and another package on the stick comes in."""

    def break_down(line: str) -> None:
        if line.startswith("checking"):
            raise OverflowError("nobody foresaw this")

    outcomes = []
    for _ in range(UNFORESEEN_TRIES + 2):
        watch, told = _watch(new_home, mount)
        watch.progress = break_down
        watch.run(once=True)
        outcomes += [(one.outcome, one.code) for one in told]
    failed = [("failed", "UNEXPECTED")] * (UNFORESEEN_TRIES - 1)
    assert outcomes == [*failed, ("refused", "UNEXPECTED")]
    assert query(new_home / "var" / "curated.db", "SELECT count(*) FROM packages") == [(0,)]
    (stick / "packages").touch()
    os.utime(stick / "manifest.json", ns=(1, 1))
    watch, told = _watch(new_home, mount)
    watch.look()
    assert [one.outcome for one in told] == ["integrated"]

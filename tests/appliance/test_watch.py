"""The watch: picks up what has settled, remembers what became of it, and outlives every stick."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.home import open_home
from appliance.store.arrivals import Arrival
from appliance.store.curated import CuratedStore
from appliance.store.decisions import ALLOW, ALLOWED, Decision
from appliance.watch import Watch, find_packages, read_status, sight
from ingest.seal import sign_package
from tests.appliance.conftest import LIMIT_S, MAIN, Done, environ, query
from tests.keys import line, make_key
from tests.packages import PACKAGE_ID, reseal, without_runs

Run = Callable[..., Done]


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """Return the directory below which sticks appear."""
    place = tmp_path / "media"
    place.mkdir()
    return place


@pytest.fixture
def stick(mount: Path, package: Path) -> Path:
    """Return a package on a stick that is plugged in; no test of it is run."""
    without_runs(package)
    (mount / "usb").mkdir()
    return Path(shutil.move(package, mount / "usb" / PACKAGE_ID))


def _watch(home: Path, mount: Path, settle_s: float = 0) -> tuple[Watch, list[Arrival]]:
    told: list[Arrival] = []
    return Watch(home, mount, settle_s, 0.05, tell=told.append, progress=lambda _: None), told


def _once(home: Path, mount: Path, settle_s: float = 0) -> tuple[bool, list[Arrival]]:
    watch, told = _watch(home, mount, settle_s)
    return watch.run(once=True), told


def _spoil(package: Path) -> bytes:
    wheel = next((package / "packages").iterdir())
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[:-1])
    return whole


def test_a_package_on_a_stick_comes_in_once(new_home: Path, mount: Path, stick: Path) -> None:
    """It is integrated, remembered and shown; the next look leaves it alone."""
    fine, [one] = _once(new_home, mount)
    assert (fine, one.outcome, one.package, one.path) == (True, "integrated", PACKAGE_ID, str(stick))
    assert query(new_home / "var" / "curated.db", "SELECT outcome FROM arrivals") == [("integrated",)]
    assert _once(new_home, mount) == (True, [])


def test_a_copy_on_another_stick_is_known(new_home: Path, mount: Path, stick: Path) -> None:
    """The same manifest elsewhere is told once as known; nothing is copied in for it."""
    _once(new_home, mount)
    shutil.copytree(stick, mount / "other" / PACKAGE_ID)
    fine, [one] = _once(new_home, mount)
    assert (fine, one.outcome, one.path) == (True, "known", str(mount / "other" / PACKAGE_ID))
    assert _once(new_home, mount) == (True, [])


def test_a_refused_stick_is_left_alone_until_it_is_fixed(new_home: Path, mount: Path, stick: Path) -> None:
    """One refusal, one quarantine; the same package copied anew is tried again and comes in."""
    whole = _spoil(stick)
    fine, [one] = _once(new_home, mount)
    assert (fine, one.outcome, one.code) == (False, "refused", "FILE_CHANGED")
    assert _once(new_home, mount) == (True, [])
    assert len(list((new_home / "var" / "quarantine").iterdir())) == 1
    next((stick / "packages").iterdir()).write_bytes(whole)
    fine, [one] = _once(new_home, mount)
    assert (fine, one.outcome) == (True, "integrated")


def test_a_refused_stick_is_tried_again_when_the_policy_changes(new_home: Path, mount: Path, stick: Path) -> None:
    """Trusting the key that signed is enough; nobody has to touch the stick."""
    key = make_key(new_home / "keys", "alice")
    sign_package(stick, key)
    (new_home / "appliance.toml").write_text('[trust]\nunsigned = "refuse"\n')
    assert [one.code for one in _once(new_home, mount)[1]] == ["SIGNER_UNKNOWN"]
    assert _once(new_home, mount)[1] == []
    (new_home / "trust").mkdir()
    (new_home / "trust" / "allowed_signers").write_text(line("alice", key))
    assert [one.outcome for one in _once(new_home, mount)[1]] == ["integrated"]


def test_allowing_a_file_is_a_change_of_policy(new_home: Path, mount: Path, stick: Path) -> None:
    """After an override what was refused is judged anew."""
    _spoil(stick)
    _once(new_home, mount)
    curated = CuratedStore(open_home(new_home).curated_db)
    curated.decide(Decision(ALLOW, "a" * 64, ALLOWED, "a test"))
    curated.close()
    assert [one.code for one in _once(new_home, mount)[1]] == ["FILE_CHANGED"]


def test_one_bad_stick_does_not_stop_the_watch(new_home: Path, mount: Path, stick: Path) -> None:
    """A manifest that is none, an empty one, and special files beside a good package: the good one comes in."""
    for name, text in (("a", "{"), ("b", ""), ("c", "[" * 100_000)):
        (mount / name).mkdir()
        (mount / name / "manifest.json").write_text(text)
    (mount / "d").mkdir()
    os.mkfifo(mount / "d" / "manifest.json")
    (mount / "e").symlink_to(stick)
    fine, told = _once(new_home, mount)
    outcomes = {one.package: one.outcome for one in told}
    assert (fine, outcomes) == (False, {"a": "refused", "b": "refused", "c": "refused", PACKAGE_ID: "integrated"})


def test_a_failure_of_this_machine_is_tried_again(new_home: Path, mount: Path, stick: Path) -> None:
    """A configuration that cannot be read is told, and what follows once it is right is an import."""
    good = (new_home / "appliance.toml").read_text()
    (new_home / "appliance.toml").write_text("[trust]\nunsigned = 'maybe'\n")
    fine, [one] = _once(new_home, mount)
    assert (fine, one.outcome, one.code) == (False, "failed", "BAD_CONFIG")
    (new_home / "appliance.toml").write_text(good)
    assert [one.outcome for one in _once(new_home, mount)[1]] == ["integrated"]


def test_a_package_that_still_changes_is_waited_for(new_home: Path, mount: Path, stick: Path) -> None:
    """While files arrive nothing is imported; when they have settled, all of it is."""
    wheels = sorted((stick / "packages").iterdir())
    away = mount.parent / "away"
    away.mkdir()
    for wheel in wheels:
        shutil.move(wheel, away / wheel.name)

    def arrive() -> None:
        for wheel in wheels:
            time.sleep(0.1)
            shutil.move(away / wheel.name, wheel)

    thread = threading.Thread(target=arrive)
    thread.start()
    fine, told = _once(new_home, mount, settle_s=0.6)
    thread.join()
    assert (fine, [one.outcome for one in told]) == (True, ["integrated"])


def test_a_stick_that_is_pulled_out_is_tried_again_when_it_is_back(new_home: Path, mount: Path, stick: Path) -> None:
    """What vanished under the import failed, is not in quarantine for good, and comes in later."""
    watch, told = _watch(new_home, mount)
    away = mount.parent / "pocket"

    def pull(text: str) -> None:
        if text.startswith("copying") and not told:
            stick.rename(away)

    watch.progress = pull
    watch.look()
    assert [one.outcome for one in told] == ["failed"]
    assert query(new_home / "var" / "curated.db", "SELECT count(*) FROM packages") == [(0,)]
    watch.look()
    away.rename(stick)
    watch.look()
    assert [one.outcome for one in told] == ["failed", "integrated"]


def test_failures_are_put_off_longer_each_time(new_home: Path, mount: Path, stick: Path) -> None:
    """What fails again and again is not copied in every few seconds."""
    (new_home / "appliance.toml").unlink()
    watch, told = _watch(new_home, mount)
    watch.interval_s = 100.0
    watch.look()
    watch.look()
    assert [one.code for one in told] == ["NO_HOME"]
    [seen] = watch.seen.values()
    first = seen.backoff_s
    watch.handle(seen)
    assert seen.backoff_s == 2 * first


def test_only_directories_that_hold_a_manifest_are_packages(mount: Path) -> None:
    """At most two levels down; hidden directories, such as a relay under way, and links are left out."""
    for folder in ("one", "two/deep", "two/.hidden", "three/is/deeper", ".one", "no"):
        (mount / folder).mkdir(parents=True)
        if folder != "no":
            (mount / folder / "manifest.json").write_text("{}")
    (mount / "link").symlink_to(mount / "one")
    assert [str(path.relative_to(mount)) for path in find_packages(mount)] == ["one", "two/deep"]
    assert list(find_packages(mount / "gone")) == []


def test_a_look_sees_every_change(stick: Path) -> None:
    """Other content, other times, other files and another kind of file are other sightings."""
    sightings = {sight(stick)}
    wheel = next((stick / "packages").iterdir())
    data = wheel.read_bytes()
    wheel.write_bytes(data[:-1] + b"?")
    sightings.add(sight(stick))
    os.utime(wheel, ns=(1, 1))
    sightings.add(sight(stick))
    (stick / "packages" / "new").touch()
    sightings.add(sight(stick))
    wheel.unlink()
    os.mkfifo(wheel)
    sightings.add(sight(stick))
    reseal(stick)
    sightings.add(sight(stick))
    assert len(sightings) == 6
    assert sight(stick) == sight(stick)
    assert sight(stick / "gone") is None


def test_the_status_shows_what_the_watch_did_last(new_home: Path, mount: Path, stick: Path, run: Run) -> None:
    """var/watch.json is whole, and `status` tells it to people and in JSON."""
    assert run(new_home, "status", "--json").json["watch"] is None
    _once(new_home, mount)
    document = read_status(open_home(new_home))
    assert document is not None
    assert (document["state"], document["last"]["outcome"]) == ("stopped", "integrated")
    assert run(new_home, "status", "--json").json["watch"] == document
    assert f"watch: stopped {mount}" in run(new_home, "status").out
    _once(new_home, mount)
    assert read_status(open_home(new_home))["last"] == document["last"]  # type: ignore[index]
    (new_home / "var" / "watch.json").write_text("torn")
    assert run(new_home, "status", "--json").json["watch"] is None


def test_the_command_speaks_json_lines_and_ends_with_a_warning(
    new_home: Path, mount: Path, stick: Path, run: Run
) -> None:
    """--once is for a timer: 3 when something was refused now, 0 when there is nothing new."""
    _spoil(stick)
    arguments = ("ingest", "watch", str(mount), "--once", "--settle", "0")
    done = run(new_home, *arguments, "--json")
    assert (done.code, [(one["outcome"], one["code"]) for one in done.lines]) == (3, [("refused", "FILE_CHANGED")])
    assert done.lines[0]["schema"] == 1
    again = run(new_home, *arguments)
    assert (again.code, again.out) == (0, "")


def test_sigterm_ends_it_between_two_packages(new_home: Path, mount: Path, stick: Path) -> None:
    """A watch under way outlasts what it imports, tells it, and ends with 0 when it is asked to."""
    command = [*MAIN, "ingest", "watch", str(mount), "--settle", "0", "--interval", "0.1"]
    process = subprocess.Popen(
        command, cwd=new_home, env=environ(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    assert f" integrated {PACKAGE_ID} " in process.stdout.readline()
    assert json.loads((new_home / "var" / "watch.json").read_text())["state"] == "watching"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=LIMIT_S)[0] == ""
    assert process.returncode == 0
    assert json.loads((new_home / "var" / "watch.json").read_text())["state"] == "stopped"

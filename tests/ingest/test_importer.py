"""Imports: integrated whole or quarantined with the reason, whatever happens in between."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadManifest, DiskFull, Failure
from harness.gate import Rejection
from harness.git import GitRepo
from harness.goldgate import GateJob
from harness.workbench import Places
from ingest.errors import AlreadyImporting, AlreadyIntegrated, PackageMissing
from ingest.importer import gate_commit, import_package
from ingest.shelves import PLACING_NAME
from tests.disks import empty, leave_free, small_disk
from tests.ingest.conftest import Desk
from tests.packages import PACKAGE_ID, git, read_manifest, reseal, with_sequence, without_runs

Snapshot = Callable[[Path], dict[str, bytes]]
SPECIAL_LIMIT_S = 5


def test_a_good_package_is_integrated(package: Path, desk: Desk) -> None:
    """Every commit passes the gate, is recorded in manifest order, and the files are in place."""
    report = desk.bring(package)
    manifest = read_manifest(package)
    assert (report.state, report.package, report.validated) == ("integrated", PACKAGE_ID, 3)
    [(recorded, gates)] = desk.records
    assert recorded == manifest
    assert [gate.commit.sha for gate in gates] == [commit.sha for commit in manifest.commits]
    assert [sorted(gate.verdict.required.f2p) for gate in gates] == [
        ["tests/test_tools.py::test_total"], ["tests/test_tools.py::test_largest"],
        ["tests/test_tools.py::test_smallest"],
    ]  # fmt: skip
    shelf = desk.root / "repo_packages" / PACKAGE_ID
    assert {path.name for path in shelf.iterdir()} - {"oracle"} == {"manifest.json", "packages", "repo"}
    assert (shelf / "manifest.json").read_bytes() == (package / "manifest.json").read_bytes()
    with GitRepo(shelf / "repo") as repo:
        assert all(repo.has_commit(commit.sha) for commit in manifest.commits)
    assert list((desk.root / "incoming").glob("import-*")) == []


def test_the_integrated_repository_is_ours(package: Path, desk: Desk) -> None:
    """Nothing of the package's own git configuration lies in the integrated repository."""
    config = package / "repo" / "config"
    config.write_text(config.read_text() + "[core]\n\tfsmonitor = /bin/false\n")
    desk.bring(without_runs(package))
    ours = desk.root / "repo_packages" / PACKAGE_ID / "repo"
    assert "fsmonitor" not in (ours / "config").read_text()
    assert "main" in git(ours, "for-each-ref")


def test_the_same_sequence_is_refused_and_changes_nothing(package: Path, desk: Desk, snapshot: Snapshot) -> None:
    """A package that is integrated already is busy, not an error of the package."""
    desk.bring(without_runs(package))
    before = snapshot(desk.root / "repo_packages")
    with pytest.raises(AlreadyIntegrated) as caught:
        desk.bring(package)
    assert (caught.value.code, caught.value.exit_code) == ("ALREADY_INTEGRATED", 11)
    assert len(desk.records) == 1
    assert snapshot(desk.root / "repo_packages") == before
    assert not (desk.root / "quarantine").exists()


def test_a_higher_sequence_is_accepted_and_a_lower_one_is_not(package: Path, desk: Desk) -> None:
    """The sequence of a package only grows."""
    second = with_sequence(without_runs(package), 2)
    desk.bring(second)
    first = with_sequence(Path(shutil.copytree(second, second.with_name("older"))), 1)
    assert [finding.code for finding in desk.bring(first).findings] == ["REPLAY"]
    third = with_sequence(Path(shutil.copytree(second, second.with_name("newer"))), 3)
    assert desk.bring(third).state == "integrated"
    assert desk.shelved() == ["abacus-2", "abacus-3"]


def test_a_damaged_package_is_quarantined_with_its_reason(package: Path, desk: Desk) -> None:
    """The quarantine keeps what was copied, and says which check failed, where, and what to do next."""
    wheel = next((package / "packages").iterdir())
    wheel.write_bytes(wheel.read_bytes() + b"x")
    report = desk.bring(package)
    assert (report.state, report.failed_check) == ("quarantined", "files")
    assert desk.records == []
    assert desk.shelved() == []
    [place] = (desk.root / "quarantine").iterdir()
    assert report.quarantine == str(place)
    document = json.loads((place / "quarantine.json").read_text())
    assert document["source"] == str(package)
    assert document["failed_check"] == "files"
    [finding] = document["findings"]
    assert set(finding) == {"code", "file", "expected", "found", "next_step"}
    assert (finding["code"], finding["file"]) == ("FILE_CHANGED", f"packages/{wheel.name}")
    assert all(finding.values())
    assert (place / "package" / "packages" / wheel.name).read_bytes() == wheel.read_bytes()


def test_names_that_no_disk_takes_or_no_terminal_shows_are_quarantined_all_the_same(package: Path, desk: Desk) -> None:
    """A very long name is cut, and bytes that are no UTF-8 are escaped wherever a report shows them."""
    named = package.rename(package.with_name("\N{SNOWMAN}" * 10 + "\udcff" + "a" * 222))
    (named / "\udcfe\033").write_text("x")
    report = desk.bring(named).as_dict()
    assert (report["state"], [finding["file"] for finding in report["findings"]]) == ("quarantined", ["\\xfe\\x1b"])
    assert "\\xff" in report["package"]
    json.dumps(report, ensure_ascii=False).encode("utf-8")
    [place] = (desk.root / "quarantine").iterdir()
    assert json.loads((place / "quarantine.json").read_text("utf-8"))["findings"] == report["findings"]


def test_an_empty_directory_is_quarantined(desk: Desk, tmp_path: Path) -> None:
    """A package that holds nothing is refused for its missing manifest."""
    (tmp_path / "empty").mkdir()
    report = desk.bring(tmp_path / "empty")
    assert (report.state, [finding.code for finding in report.findings]) == ("quarantined", ["MANIFEST_MISSING"])


def test_what_nobody_foresaw_rejects_one_commit_and_no_other(package: Path, tmp_path: Path) -> None:
    """A gate that breaks down in a worker is a reason for this commit, not the end of the import."""
    commit = read_manifest(package).commits[0]
    places = Places(tmp_path / "gone", tmp_path / "environments", tmp_path / "cache")
    report = gate_commit(GateJob(places, commit, 300))
    assert (report.commit, report.verdict.validated, report.runs) == (commit, False, 0)
    assert report.verdict.rejection is Rejection.GOLD_FAILS
    assert report.verdict.detail.startswith("internal error: FileNotFoundError: ")


def test_a_failure_of_this_machine_is_no_verdict_about_a_commit(package: Path, tmp_path: Path) -> None:
    """What a person has to act on passes the gate and stops the import."""
    commit = read_manifest(package).commits[0]
    (package / "manifest.json").write_text("{}")
    with pytest.raises(BadManifest):
        gate_commit(GateJob(Places(package, tmp_path / "environments", tmp_path / "cache"), commit, 300))


def test_a_breakdown_in_a_worker_does_not_stop_the_import(package: Path, desk: Desk) -> None:
    """The other commits go through the gate, and the package is integrated with what they gave."""
    (desk.root / "cache").parent.mkdir(parents=True)
    (desk.root / "cache").write_text("a file where the cache was to be")
    report = desk.bring(package)
    assert (report.state, report.reasons()) == ("integrated", {"gold_fails": 3})
    assert all("internal error: " in gate.verdict.detail for gate in report.gates)


def test_each_refusal_has_its_own_place(package: Path, desk: Desk) -> None:
    """The same package refused twice in a second is kept twice."""
    (package / "manifest.json").unlink()
    assert desk.bring(package).quarantine != desk.bring(package).quarantine
    assert len(list((desk.root / "quarantine").glob("*/quarantine.json"))) == 2


def test_a_good_package_comes_in_after_its_damaged_copy(package: Path, desk: Desk) -> None:
    """A refusal does not stand in the way of the whole package."""
    damaged = Path(shutil.copytree(package, package.with_name("damaged")))
    (damaged / "packages" / "extra.whl").write_text("x")
    desk.bring(damaged)
    assert desk.bring(without_runs(package)).state == "integrated"


@pytest.mark.parametrize("kind", ["fifo", "symlink", "device"])
def test_special_files_do_not_hold_the_import_up(kind: str, package: Path, desk: Desk) -> None:
    """A FIFO, a link and a device are refused within seconds."""
    path = package / "packages" / "odd.whl"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "symlink":
        path.symlink_to("/dev/zero")
    else:
        try:
            os.mknod(path, 0o020600, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("making a device node takes privileges")
    started = time.monotonic()
    report = desk.bring(package)
    assert time.monotonic() - started < SPECIAL_LIMIT_S
    assert [finding.code for finding in report.findings] == [f"FILE_{kind.upper()}"]


def test_a_package_for_a_missing_python_comes_in_without_tasks(package: Path, desk: Desk) -> None:
    """Its commits are recorded as rejected for that reason; nothing is run."""
    reseal(package, lambda m: replace(m, environments=(replace(m.environments[0], python="3.99"),)))
    report = desk.bring(package)
    assert (report.state, report.validated, report.reasons()) == ("integrated", 0, {"python_missing": 3})
    [(_, gates)] = desk.records
    assert all("3.99" in gate.verdict.detail and gate.runs == 0 for gate in gates)


def test_commits_that_are_no_fair_task_are_rejected_with_a_reason(package: Path, desk: Desk) -> None:
    """A commit whose task quotes its solution is recorded as such and not validated."""
    reseal(package, lambda m: replace(m, commits=(replace(m.commits[1], task=LEAKING),)))
    report = desk.bring(package)
    assert (report.validated, report.reasons()) == (0, {"leaks_future": 1})


LEAKING = "Add the function largest, in full: def largest(numbers: list[int], /) -> int:"


def test_a_dry_run_of_a_good_package_leaves_nothing(package: Path, desk: Desk) -> None:
    """All checks run, no commit is gated, nothing is kept."""
    report = desk.bring(package, dry_run=True)
    assert (report.state, report.findings, report.gates) == ("checked", [], [])
    assert desk.records == []
    assert sorted(path.name for path in desk.root.iterdir()) == ["incoming"]
    assert [path.name for path in (desk.root / "incoming").iterdir()] == [".lock"]


def test_a_dry_run_of_a_damaged_package_names_the_finding_and_keeps_nothing(package: Path, desk: Desk) -> None:
    """The finding is reported, and the quarantine stays empty."""
    (package / "packages" / "extra").write_text("x")
    report = desk.bring(package, dry_run=True)
    assert [finding.code for finding in report.findings] == ["FILE_UNLISTED"]
    assert not (desk.root / "quarantine").exists()


def test_what_is_no_directory_is_not_found(desk: Desk, tmp_path: Path) -> None:
    """A path without a package is reported before anything is made."""
    with pytest.raises(PackageMissing):
        desk.bring(tmp_path / "nothing")


def test_a_second_import_at_the_same_time_is_turned_away(package: Path, desk: Desk) -> None:
    """While one import runs, another ends at once with IMPORT_RUNNING, and the first goes on."""
    seen: list[Failure] = []
    original = desk.progress

    class Intruder(list[str]):
        """Tries to import once, from within the first import."""

        def append(self, line: str) -> None:
            if not seen and line.startswith("checking"):
                desk.progress = original
                try:
                    desk.bring(package)
                except AlreadyImporting as err:
                    seen.append(err)

    desk.progress = Intruder()
    assert desk.bring(without_runs(package)).state == "integrated"
    assert [(err.code, err.exit_code) for err in seen] == [("IMPORT_RUNNING", 11)]


def test_leftovers_of_a_crash_are_swept_and_replaced(package: Path, desk: Desk) -> None:
    """A staging directory and files without a record, as a crash leaves them, do not disturb the next import."""
    leftover = desk.root / "incoming" / "import-dead" / "package"
    leftover.mkdir(parents=True)
    half = desk.root / "repo_packages" / PACKAGE_ID
    half.mkdir(parents=True)
    (half / "manifest.json").write_text("half")
    assert desk.bring(without_runs(package)).state == "integrated"
    assert list((desk.root / "incoming").glob("import-*")) == []
    assert (half / "manifest.json").read_bytes() == (package / "manifest.json").read_bytes()


def test_what_a_crash_put_in_place_without_a_record_is_swept_and_nothing_else_is(package: Path, desk: Desk) -> None:
    """The staging directory names it; files that have a record, or that no import put there, stay."""
    shelf = desk.root / "repo_packages"
    desk.bring(without_runs(Path(shutil.copytree(package, package.with_name("first")))))
    for name, placed in (("import-a", "other-4"), ("import-b", PACKAGE_ID), ("import-c", "")):
        stage = desk.root / "incoming" / name
        stage.mkdir()
        if placed:
            (stage / PLACING_NAME).write_text(placed)
    for name in ("other-4", "other-3", "samples"):
        (shelf / name).mkdir()
        (shelf / name / "file").touch()
    damaged = Path(shutil.copytree(package, package.with_name("damaged")))
    (damaged / "manifest.json").unlink()
    assert desk.bring(damaged).state == "quarantined"
    assert desk.shelved() == [PACKAGE_ID, "other-3", "samples"]
    assert [path.name for path in (desk.root / "incoming").iterdir()] == [".lock"]


@pytest.mark.parametrize("phase", ["copying", "checking", "gate", "integrate"])
def test_a_disk_that_fills_up_in_any_phase_delays_the_import_and_no_more(
    phase: str, package: Path, desk: Desk, disk: Path
) -> None:
    """Another program eats the disk while the import works: it pauses, and ends as if nothing had been."""
    desk.root, room = disk, _Emptied(disk)
    keep = desk.integrate

    def integrate(*arguments: Any) -> None:
        if phase == "integrate" and not room.waited:
            leave_free(disk, 0)
            raise DiskFull("no room for the row")
        keep(*arguments)

    def progress(line: str) -> None:
        if line.startswith(phase) and not room.waited:
            leave_free(disk, 4096)

    if phase != "gate":
        without_runs(package)
    shelves = replace(desk.shelves, room=room, integrate=integrate)
    report = import_package(package, shelves, desk.executor, gate_budget_s=300, progress=progress, workers=1)
    assert room.waited
    assert (report.state, report.findings) == ("integrated", [])
    assert (report.validated, len(desk.records)) == (3 if phase == "gate" else 0, 1)
    assert [path.name for path in (disk / "incoming").iterdir()] == [".lock"]


class _Emptied:
    """Room on a disk that somebody empties as soon as it is found full."""

    poll_s = 0.01
    tries = 3

    def __init__(self, disk: Path) -> None:
        self.disk = disk
        self.waited = False

    def has(self, coming_bytes: int = 0) -> bool:
        """Return whether there are 2 MB more than is coming, and empty the disk if not."""
        if shutil.disk_usage(self.disk).free >= coming_bytes + (2 << 20):
            return True
        self.waited = True
        empty(self.disk)
        return False


def test_a_record_that_fails_leaves_the_package_for_the_next_import(package: Path, desk: Desk) -> None:
    """When the transaction fails, the package does not count as integrated and can be imported again."""
    keep = desk.integrate

    def fail(*_: object) -> None:
        raise OSError("the database is gone")

    desk.integrate = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(OSError, match="database"):
        desk.bring(without_runs(package))
    desk.integrate = keep  # type: ignore[method-assign]
    assert desk.bring(package).state == "integrated"
    assert len(desk.records) == 1


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a disk of its own with 8 MB, or skip."""
    with small_disk(tmp_path / "disk", 8) as place:
        yield place


@pytest.mark.parametrize(
    ("share", "more_kb"), [(0, 32), (0.5, 0), (1, 8), (1, 1000)], ids=["at once", "copying", "before git", "barely"]
)
def test_a_full_disk_is_said_and_the_import_works_once_there_is_room(
    share: float, more_kb: int, disk: Path, package: Path, desk: Desk
) -> None:
    """Wherever the disk fills up, the failure is this machine's: nothing is integrated or quarantined."""
    desk.root = disk
    without_runs(package)
    needed = sum(path.stat().st_size + 4095 & ~4095 for path in package.rglob("*") if path.is_file())
    leave_free(disk, int(needed * share) + (more_kb << 10))
    with pytest.raises(DiskFull) as caught:
        desk.bring(package)
    assert caught.value.exit_code == 14
    assert "Free some space" in caught.value.hint
    assert (desk.records, desk.shelved()) == ([], [])
    assert not (disk / "quarantine").exists()
    assert list((disk / "incoming").glob("import-*")) == []
    empty(disk)
    assert desk.bring(package).state == "integrated"

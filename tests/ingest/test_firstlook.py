"""The first look: what nobody vouches for is refused on two small files, and nobody waits for what is gone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.errors import CopyFailed, PackageMissing
from ingest.importer import import_package
from ingest.policy import Policy, UnsignedPackages
from tests.ingest.conftest import Desk


def test_what_nobody_vouches_for_is_neither_copied_nor_waited_for(package: Path, desk: Desk) -> None:
    """An unsigned package of any size is refused on its manifest alone, however full the disk is."""
    for number in range(4):
        with (package / "repo" / f"sparse{number}").open("wb") as stream:
            stream.truncate(70 << 20)
    desk.policy = Policy()
    shelves = replace(desk.shelves, room=_Little(8 << 20))
    report = import_package(package, shelves, desk.executor, gate_budget_s=300, progress=desk.progress.append)
    assert (report.failed_check, [finding.code for finding in report.findings]) == ("signature", ["UNSIGNED"])
    assert [path.name for path in (Path(report.quarantine) / "package").iterdir()] == ["manifest.json"]
    assert desk.progress == []


def test_a_stick_of_nothing_is_refused_before_room_is_made_for_it(package: Path, desk: Desk) -> None:
    """A sparse file that the manifest does not list, and a listed one that grew, by their sizes alone."""
    for name in ("config", "sparse"):
        with (package / "repo" / name).open("ab") as stream:
            stream.truncate(200 << 20)
    shelves = replace(desk.shelves, room=_Little(8 << 20))
    report = import_package(package, shelves, desk.executor, gate_budget_s=300, progress=desk.progress.append)
    found = [(finding.code, finding.file) for finding in report.findings]
    assert found == [("FILE_CHANGED", "repo/config"), ("FILE_UNLISTED", "repo/sparse")]
    assert (report.failed_check, desk.progress) == ("files", [])


def test_an_unsigned_manifest_is_not_parsed_where_it_is_refused(package: Path, desk: Desk) -> None:
    """Nothing that a stranger wrote is interpreted before it is known who wrote it."""
    (package / "manifest.json").write_text("{")
    desk.policy = Policy()
    assert [finding.code for finding in desk.bring(package).findings] == ["UNSIGNED"]
    desk.policy = Policy(unsigned=UnsignedPackages.ACCEPT)
    assert [finding.code for finding in desk.bring(package).findings] == ["MANIFEST_SCHEMA"]


@pytest.mark.parametrize("when", ["before anything", "before the copy"])
def test_nobody_waits_for_room_for_a_package_that_is_gone(when: str, package: Path, desk: Desk) -> None:
    """The stick is pulled out while the import waits: the import ends, and says so."""
    room = _Little(0 if when == "before anything" else (package / "manifest.json").stat().st_size + 1)
    room.waiting = lambda: shutil.move(package, package.with_name("pocket"))
    shelves = replace(desk.shelves, room=room)
    with pytest.raises(PackageMissing if when == "before anything" else CopyFailed):
        import_package(package, shelves, desk.executor, gate_budget_s=300, progress=desk.progress.append)
    assert not (desk.root / "quarantine").exists()


class _Little:
    """Room for so many bytes less one, for ever; says when somebody waits for more."""

    poll_s = 0.01
    tries = 3

    def __init__(self, left_bytes: int) -> None:
        self.left_bytes = left_bytes
        self.waiting: Callable[[], object] = lambda: pytest.fail("nobody was to wait")

    def has(self, coming_bytes: int = 0) -> bool:
        """Return whether less than what is left is coming."""
        if coming_bytes < self.left_bytes:
            return True
        self.waiting()
        return False

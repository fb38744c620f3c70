"""The shelves of an appliance: what the quarantine keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ingest.importer import import_package
from tests.ingest.conftest import Desk


def test_the_quarantine_keeps_every_reason_and_the_files_of_the_last(package: Path, desk: Desk) -> None:
    """Past the cap the files of the package that was refused first go; why it was refused stays."""
    (package / "packages" / "extra.whl").write_bytes(b"x" * (1 << 20))
    size_bytes = sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
    shelves = replace(desk.shelves, quarantine_cap_bytes=size_bytes * 5 // 2)
    places = []
    for _ in range(3):
        report = import_package(package, shelves, desk.executor, gate_budget_s=300, progress=desk.progress.append)
        places.append(Path(report.quarantine))
    assert [(place / "quarantine.json").is_file() for place in places] == [True] * 3
    assert [(place / "package" / "packages" / "extra.whl").is_file() for place in places] == [False, True, True]
    assert list((places[0] / "package").iterdir()) == []

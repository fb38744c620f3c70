"""Tests of looking at a package without trusting it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.cli.package import describe_inventory
from harness.errors import BadManifest
from harness.manifest import Commit, Environment, FileEntry, Lock, Manifest, manifest_bytes
from ingest.errors import PackageMissing
from ingest.inspect import inspect_package, printable
from tests.packages import reseal

CONTENT = {
    "repo/HEAD": b"ref: refs/heads/main\n",
    "repo/objects/pack/p.pack": b"PACK",
    "packages/a-1-py3-none-any.whl": b"PK",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Make a package directory whose manifest lists what is there."""
    directory = tmp_path / "house-1"
    for name, data in CONTENT.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    files = {name: FileEntry(hashlib.sha256(data).hexdigest(), len(data)) for name, data in CONTENT.items()}
    env = Environment("env-1", "3.11", ("a-1-py3-none-any.whl",), {}, Lock("era", "2024-01-01T00:00:00Z"))
    commit = Commit("a" * 40, "b" * 40, "Do it", ("step-plan",), "env-1", ("a.py",), (), 1, "2024-01-01T00:00:00Z")
    manifest = Manifest(
        "house", 1, "local:house", "MIT", "", "", "a" * 40, files, (env,), ("pytest",), "affected", (commit,)
    )
    (directory / "manifest.json").write_bytes(manifest_bytes(manifest))
    return directory


def states(directory: Path) -> dict[str, str]:
    """Return path to state."""
    return {file.path: file.state for file in inspect_package(directory).files}


def test_an_intact_package_matches(package: Path) -> None:
    """Every listed file is there with its size and digest, and the report is JSON."""
    inventory = inspect_package(package)
    assert inventory.matches
    assert not inventory.is_signed
    assert [file.path for file in inventory.files] == sorted(CONTENT)
    report = json.loads(json.dumps(inventory.as_dict()))
    assert report["package_id"] == "house-1"
    assert report["bytes"] == sum(map(len, CONTENT.values()))
    assert report["environments"][0]["commits"] == 1
    assert report["states"]["ok"] == 3


def test_every_deviation_has_a_state(package: Path) -> None:
    """Changed, missing and unlisted files are told apart; a signature is noticed, not listed."""
    (package / "repo/HEAD").write_bytes(b"ref: refs/heads/evil\n")
    (package / "packages/a-1-py3-none-any.whl").unlink()
    (package / "repo/hooks").mkdir()
    (package / "repo/hooks/post-checkout").write_text("#!/bin/sh\n")
    (package / "manifest.json.sig").write_text("sig")
    assert states(package) == {
        "repo/HEAD": "changed", "repo/objects/pack/p.pack": "ok", "packages/a-1-py3-none-any.whl": "missing",
        "repo/hooks/post-checkout": "unlisted",
    }  # fmt: skip
    inventory = inspect_package(package)
    assert inventory.is_signed
    assert not inventory.matches


def test_links_and_devices_are_never_read(package: Path, tmp_path: Path) -> None:
    """A link is not followed even to identical content, a linked folder is not entered, a FIFO does not block."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(CONTENT["repo/HEAD"])
    (package / "repo/HEAD").unlink()
    (package / "repo/HEAD").symlink_to(outside / "secret")
    (package / "repo/refs").symlink_to(outside)
    os.mkfifo(package / "repo/pipe")
    found = {file.path: file for file in inspect_package(package).files}
    for path in ("repo/HEAD", "repo/refs", "repo/pipe"):
        assert (found[path].state, found[path].sha256) == ("not_regular", None)
    assert "repo/refs/secret" not in found


def test_nothing_is_written(package: Path) -> None:
    """Looking leaves the directory as it was."""
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in package.rglob("*"))
    inspect_package(package)
    assert sorted((str(path), path.lstat().st_mtime_ns) for path in package.rglob("*")) == before


def test_a_name_that_is_not_text_is_reported(package: Path) -> None:
    """Undecodable names do not break the JSON report."""
    (package / os.fsdecode(b"repo/\xff")).write_bytes(b"")
    report = json.dumps(inspect_package(package).as_dict(), ensure_ascii=False).encode()
    assert rb"\\xff" in report


def test_no_manifest_is_a_missing_package(tmp_path: Path, package: Path) -> None:
    """An empty directory, or a linked manifest, is no package."""
    with pytest.raises(PackageMissing, match=r"manifest\.json"):
        inspect_package(tmp_path)
    (package / "manifest.json").rename(tmp_path / "m")
    (package / "manifest.json").symlink_to(tmp_path / "m")
    with pytest.raises(PackageMissing):
        inspect_package(package)


def test_a_bad_manifest_is_refused(package: Path) -> None:
    """A document that breaks the schema is not interpreted."""
    (package / "manifest.json").write_text('{"format": 2}')
    with pytest.raises(BadManifest):
        inspect_package(package)


@pytest.mark.parametrize("char", ["\x1b", "\x7f", "\x9b", "\u202e", "\u2066", "\u200b", "\ufeff", "\u2028", "\u00ad"])
def test_what_a_terminal_acts_on_is_escaped(char: str) -> None:
    """Control characters, and those that reverse or hide what stands beside them."""
    assert printable(f"a{char}b").isprintable()
    assert printable("sn\N{SNOWMAN}w \u00e4") == "sn\N{SNOWMAN}w \u00e4"


def test_no_text_of_a_manifest_reaches_the_terminal_raw(package: Path) -> None:
    """An unsigned manifest can neither clear the screen nor write lines of its own."""
    evil = "x\x1b[2J\u202e\nfiles: 3 ok"
    reseal(package, lambda m: replace(
        m, upstream=evil, license=evil, organisation=evil, domain=evil,
        commits=tuple(replace(one, task="\x1b]0;owned\x07 \u202edo it") for one in m.commits),
    ))  # fmt: skip
    (package / "packages" / "\u202egnp.whl").write_text("x")
    lines = describe_inventory(inspect_package(package).as_dict(), show_files=True).split("\n")
    assert all(line.isprintable() for line in lines)
    assert sum(line.startswith("files:") for line in lines) == 1

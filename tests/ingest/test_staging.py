"""Copying in: regular files only, hashed as they are read, never blocking, never half-believed."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import DiskFull
from ingest.errors import CopyFailed
from ingest.staging import copy_in, flush
from ingest.survey import Bounds

ROOT = Path(__file__).parent.parent.parent
LIMIT_S = 5
COPY = "import sys; from pathlib import Path; from ingest.staging import copy_in; copy_in(*map(Path, sys.argv[1:]))"


def test_copies_the_bytes_and_says_what_they_hash_to(package: Path, tmp_path: Path) -> None:
    """Every file arrives under its name, with the digest and the size of what was copied."""
    staged = copy_in(package, tmp_path / "copy")
    originals = {path.relative_to(package).as_posix(): path for path in package.rglob("*") if path.is_file()}
    assert set(staged.files) == set(originals)
    for name, path in originals.items():
        data = (tmp_path / "copy" / name).read_bytes()
        assert data == path.read_bytes()
        assert (staged.files[name].sha256, staged.files[name].bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert staged.findings == ()


def test_a_package_that_holds_nothing_is_copied_as_such(tmp_path: Path) -> None:
    """An empty directory is an empty package, not a failure of the medium."""
    (tmp_path / "empty").mkdir()
    staged = copy_in(tmp_path / "empty", tmp_path / "copy")
    assert (staged.files, staged.findings, list((tmp_path / "copy").iterdir())) == ({}, (), [])


def test_the_copy_shares_nothing_with_the_medium(package: Path, tmp_path: Path) -> None:
    """Changing the medium afterwards does not change the copy."""
    staged = copy_in(package, tmp_path / "copy")
    (package / "manifest.json").write_text("altered")
    copied = (staged.directory / "manifest.json").read_bytes()
    assert hashlib.sha256(copied).hexdigest() == staged.files["manifest.json"].sha256


@pytest.mark.parametrize("name", ["README.md", "repos", ".hidden"])
def test_only_the_four_names_of_the_format_are_allowed_on_top(name: str, package: Path, tmp_path: Path) -> None:
    """A file beside the manifest that the format does not name is a finding."""
    (package / name).write_text("x")
    assert [finding.file for finding in copy_in(package, tmp_path / "copy").findings] == [name]


def test_a_foreign_directory_on_top_is_not_walked(package: Path, tmp_path: Path) -> None:
    """An unexpected directory is one finding, whatever it holds."""
    (package / "extra").mkdir()
    (package / "extra" / "a").write_text("x")
    assert [(f.file, f.found) for f in copy_in(package, tmp_path / "copy").findings] == [("extra", "a directory")]


def test_a_file_in_the_place_of_a_directory_is_a_finding(package: Path, tmp_path: Path) -> None:
    """`packages` has to be a directory."""
    for path in (package / "packages").iterdir():
        path.unlink()
    (package / "packages").rmdir()
    (package / "packages").write_text("x")
    assert [finding.file for finding in copy_in(package, tmp_path / "copy").findings] == ["packages"]


def test_hooks_arrive_as_bytes_that_nobody_can_execute(package: Path, tmp_path: Path) -> None:
    """Modes stay behind: a copied hook is evidence, not a program."""
    hook = package / "repo" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o4777)
    copy_in(package, tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy" / "repo" / "hooks" / "post-checkout").stat().st_mode) & 0o7111 == 0


def test_a_package_larger_than_the_disk_is_not_begun(package: Path, tmp_path: Path) -> None:
    """What does not fit is known before the first byte, and is this machine's affair, not the package's."""
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    with (package / "packages" / "large.whl").open("wb") as stream:
        stream.truncate(min(free + (1 << 30), 1 << 42))
    with pytest.raises(DiskFull, match="are needed to copy the package"):
        copy_in(package, tmp_path / "copy", Bounds(file_bytes=1 << 43, package_bytes=1 << 43))
    assert list((tmp_path / "copy").iterdir()) == []


def test_flushing_a_directory_that_is_gone_is_an_error(package: Path, tmp_path: Path) -> None:
    """A copy that cannot be made durable does not pass for one."""
    flush(package)
    with pytest.raises(FileNotFoundError):
        flush(tmp_path / "nowhere")


def test_a_medium_that_is_gone_says_so(tmp_path: Path) -> None:
    """A directory that cannot be listed is a failure with a next step."""
    with pytest.raises(CopyFailed, match="cannot be listed") as caught:
        copy_in(tmp_path / "gone", tmp_path / "copy")
    assert caught.value.exit_code == 12
    assert "medium" in caught.value.hint


def test_a_file_that_cannot_be_read_is_named(package: Path, tmp_path: Path) -> None:
    """An unreadable file ends the copy with its name, not with half a package."""
    wheel = next((package / "packages").iterdir())
    wheel.chmod(0)
    done = _copy_without_privileges(package, tmp_path / "copy")
    assert done.returncode != 0
    assert f"CopyFailed: packages/{wheel.name} cannot be read: Permission denied" in done.stderr


def _copy_without_privileges(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    return subprocess.run(
        [*prefix, sys.executable, "-c", COPY, str(source), str(target)], cwd=ROOT, timeout=30 * LIMIT_S,
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip

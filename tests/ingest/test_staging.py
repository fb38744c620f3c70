"""Copying in: regular files only, hashed as they are read, never blocking, never half-believed."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.errors import CopyFailed
from ingest.staging import _copy_file, copy_in

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


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _symlink(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name has to be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def _device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero: reading it would never end
    except PermissionError:
        pytest.skip("making a device node takes privileges")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (_fifo, "a FIFO"), (_symlink, "a symbolic link"), (_dangling, "a symbolic link"), (_socket, "a socket"),
        (_device, "a device"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["packages/odd.whl", "repo/odd", "odd", "manifest.json"])
def test_what_is_no_regular_file_is_named_and_not_opened(
    make: Callable[[Path], None], kind: str, place: str, package: Path, tmp_path: Path
) -> None:
    """Wherever a special file lies, it is a finding with its kind, and nothing of it is copied."""
    (package / place).unlink(missing_ok=True)
    make(package / place)
    staged = copy_in(package, tmp_path / "copy")
    assert [(finding.code, finding.file, finding.found) for finding in staged.findings] == [
        ("UNEXPECTED_FILE", place, kind)
    ]
    assert place not in staged.files
    assert not os.path.lexists(tmp_path / "copy" / place)


@pytest.mark.parametrize("make", [_fifo, _symlink, _device])
def test_a_file_that_turns_special_between_listing_and_opening_is_not_read(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    """The check is made on the open file as well: a medium that changes meanwhile neither blocks nor redirects."""
    make(tmp_path / "odd")
    with pytest.raises(OSError, match=r"symbolic links|not a regular file"):
        _copy_file(tmp_path / "odd", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


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


def test_names_that_are_not_text_are_copied_as_they_are(package: Path, tmp_path: Path) -> None:
    """A file name of arbitrary bytes neither stops the copy nor gets lost."""
    name = os.fsdecode(b"packages/\xff\xfe.whl")
    (package / name).write_bytes(b"x")
    assert copy_in(package, tmp_path / "copy").files[name].bytes == 1


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

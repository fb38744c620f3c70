"""Package trees made to hang, flood or mislead the appliance: each is refused with its code, in seconds."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.errors import CopyFailed
from ingest.medium import directory_fd
from ingest.staging import _copy, copy_in
from ingest.survey import Bounds, collisions, judge_name, survey
from tests.ingest.conftest import Desk
from tests.packages import reseal

ROOT = Path(__file__).parent.parent.parent
PYTHONPATH = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
LIMIT_S = 5
COPY = "import sys; from pathlib import Path; from ingest.staging import copy_in; copy_in(*map(Path, sys.argv[1:]))"
TERABYTE = 1 << 40


def _fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name has to be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def _device(path: Path, kind: int = stat.S_IFCHR) -> None:
    try:
        os.mknod(path, kind | 0o600, os.makedev(1, 5))  # /dev/zero: reading it would never end
    except PermissionError:
        pytest.skip("making a device node takes privileges")


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as stream:
        stream.truncate(size)


def _file_for_folder(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("x")


def _folder_for_file(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link_for_folder(path: Path, package: Path) -> None:
    path.symlink_to(path.rename(package.parent / "elsewhere"))


def _odd_name(raw: bytes) -> Callable[[Path], None]:
    return lambda package: (package / "packages" / os.fsdecode(raw)).write_bytes(b"x") and None


def _twins(one: str, other: str) -> Callable[[Path], None]:
    def make(package: Path) -> None:
        for name in (one, other):
            (package / "repo" / name).write_text(name)

    return make


def _deep(levels: int, name: str) -> Callable[[Path], None]:
    def make(package: Path) -> None:
        folder = package / "repo" / "/".join([name] * levels)
        folder.mkdir(parents=True)
        (folder / "file").write_text("x")

    return make


ATTACKS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "FIFO as wheel": (lambda p: _fifo(p / "packages" / "a.whl"), "FILE_FIFO", "packages/a.whl"),
    "FIFO as ref": (lambda p: _fifo(p / "repo" / "refs" / "heads" / "x"), "FILE_FIFO", "repo/refs/heads/x"),
    "FIFO on top": (lambda p: _fifo(p / "odd"), "FILE_FIFO", "odd"),
    "FIFO as manifest": (lambda p: _fifo(p / "manifest.json"), "FILE_FIFO", "manifest.json"),
    "FIFO as signature": (lambda p: _fifo(p / "manifest.json.sig"), "FILE_FIFO", "manifest.json.sig"),
    "socket": (lambda p: _socket(p / "packages" / "a.whl"), "FILE_SOCKET", "packages/a.whl"),
    "character device": (lambda p: _device(p / "repo" / "zero"), "FILE_DEVICE", "repo/zero"),
    "block device": (lambda p: _device(p / "repo" / "disk", stat.S_IFBLK), "FILE_DEVICE", "repo/disk"),
    "link to a file": (lambda p: (p / "packages/a.whl").symlink_to("/etc/passwd"), "FILE_SYMLINK", "packages/a.whl"),
    "dangling link": (lambda p: (p / "repo/x").symlink_to("nowhere"), "FILE_SYMLINK", "repo/x"),
    "link to a folder": (lambda p: (p / "repo/x").symlink_to("/etc"), "FILE_SYMLINK", "repo/x"),
    "link to itself": (lambda p: (p / "repo/x").symlink_to("x"), "FILE_SYMLINK", "repo/x"),
    "objects elsewhere": (lambda p: _link_for_folder(p / "repo" / "objects", p), "FILE_SYMLINK", "repo/objects"),
    "repository elsewhere": (lambda p: _link_for_folder(p / "repo", p), "FILE_SYMLINK", "repo"),
    "hard link": (lambda p: os.link(p / "repo" / "config", p.parent / "other"), "FILE_HARDLINK", "repo/config"),
    "names that differ in case": (_twins("Ref", "ref"), "NAME_COLLISION", "repo/ref"),
    "names that differ in form": (_twins("caf\u00e9", "cafe\u0301"), "NAME_COLLISION", "repo/caf\u00e9"),
    "names that fold together": (_twins("stra\u00dfe", "STRASSE"), "NAME_COLLISION", "repo/stra\u00dfe"),
    "bytes as name": (_odd_name(b"\xff\xfe.whl"), "NAME_NOT_UTF8", "packages/\udcff\udcfe.whl"),
    "newline in a name": (_odd_name(b"a\nb.whl"), "NAME_CONTROL", "packages/a\nb.whl"),
    "escape in a name": (_odd_name(b"\x1b[2J.whl"), "NAME_CONTROL", "packages/\x1b[2J.whl"),
    "reversed name": (_odd_name("a\u202elhw.sh".encode()), "NAME_CONTROL", "packages/a\u202elhw.sh"),
    "deep folders": (_deep(40, "d"), "PATH_LENGTH", "repo/" + "/".join(["d"] * 33)),
    "long path": (_deep(6, "d" * 200), "PATH_LENGTH", "repo/" + "/".join(["d" * 200] * 6)),
    "terabyte of nothing": (lambda p: _sparse(p / "packages" / "a.whl", TERABYTE), "FILE_SIZE", "packages/a.whl"),
    "huge manifest": (lambda p: _sparse(p / "manifest.json", 65 << 20), "MANIFEST_SIZE", "manifest.json"),
    "huge signature": (lambda p: _sparse(p / "manifest.json.sig", 2 << 20), "FILE_SIZE", "manifest.json.sig"),
    "file on top": (lambda p: (p / "autorun.inf").write_text("x"), "UNEXPECTED_FILE", "autorun.inf"),
    "folder on top": (lambda p: (p / ".Trash-0").mkdir(), "UNEXPECTED_FILE", ".Trash-0"),
    "wheel in a subfolder": (lambda p: (p / "packages" / "sub").mkdir(), "UNEXPECTED_FILE", "packages/sub"),
    "repository as file": (lambda p: _file_for_folder(p / "repo"), "UNEXPECTED_FILE", "repo"),
    "wheels as file": (lambda p: _file_for_folder(p / "packages"), "UNEXPECTED_FILE", "packages"),
    "manifest as folder": (lambda p: _folder_for_file(p / "manifest.json"), "UNEXPECTED_FILE", "manifest.json"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_tree_is_refused_with_its_code_within_seconds(attack: str, package: Path, desk: Desk) -> None:
    """Through the real import: the one finding, nothing integrated, nothing of the refused kind copied."""
    make, code, file = ATTACKS[attack]
    make(package)
    started = time.monotonic()
    report = desk.bring(package)
    assert time.monotonic() - started < LIMIT_S
    assert [(finding.code, finding.file) for finding in report.findings] == [(code, file)]
    assert (report.state, report.failed_check, desk.records, desk.shelved()) == ("quarantined", "medium", [], [])
    kept = Path(report.quarantine) / "package"
    assert code == "NAME_COLLISION" or not os.path.lexists(kept / file)


def test_a_listed_file_that_is_no_wheel_is_refused(package: Path, desk: Desk) -> None:
    """A manifest cannot bring in what the format has no place for by listing it."""
    (package / "packages" / "setup.sh").write_text("rm -rf /")
    reseal(package)
    report = desk.bring(package)
    assert [(f.code, f.file) for f in report.findings] == [("UNEXPECTED_FILE", "packages/setup.sh")]


def test_everything_that_is_wrong_is_said_at_once(package: Path, desk: Desk) -> None:
    """An operator gets all findings of a medium in one go."""
    for name in ("FIFO on top", "hard link", "newline in a name", "link to a file", "huge signature"):
        ATTACKS[name][0](package)
    codes = {finding.code for finding in desk.bring(package).findings}
    assert codes == {"FILE_FIFO", "FILE_HARDLINK", "NAME_CONTROL", "FILE_SYMLINK", "FILE_SIZE"}


@pytest.mark.parametrize(
    ("bounds", "code"),
    [
        (Bounds(entries=20), "FILE_COUNT"), (Bounds(package_bytes=10_000), "PACKAGE_SIZE"),
        (Bounds(findings=3), "UNEXPECTED_FILE"),
    ],
    ids=["files", "bytes", "findings"],
)  # fmt: skip
def test_past_a_limit_of_the_whole_nothing_is_copied(bounds: Bounds, code: str, package: Path, tmp_path: Path) -> None:
    """A package with too many files, bytes or faults costs a walk that ends, and no space."""
    for number in range(5):
        (package / f"odd-{number}").write_text("x")
    staged = copy_in(package, tmp_path / "copy", bounds)
    assert staged.findings[-1].code == code
    assert (staged.files, list((tmp_path / "copy").iterdir())) == ({}, [])


def test_a_folder_with_a_flood_of_names_is_not_read_to_its_end(package: Path) -> None:
    """The walk stops at the limit, not after the last name."""
    flood = package / "repo" / "flood"
    flood.mkdir()
    for number in range(400):
        (flood / str(number)).touch()
    seen = survey(package, Bounds(entries=200))
    assert seen.too_much
    assert len(seen.files) <= 200
    assert seen.findings[-1].code == "FILE_COUNT"


def test_a_flood_of_colliding_names_is_cut(package: Path) -> None:
    """Findings end at their limit whatever they are about, and nothing of the package is copied."""
    flood = package / "repo" / "flood"
    flood.mkdir()
    for number in range(64):
        (flood / "".join(char.upper() if number >> bit & 1 else char for bit, char in enumerate("abcdef"))).touch()
    seen = survey(package, Bounds(findings=10))
    assert (seen.too_much, len(seen.findings)) == (True, 10)
    assert {finding.code for finding in seen.findings} == {"NAME_COLLISION"}


def test_names_that_no_disk_of_ours_can_hold() -> None:
    """A file system with longer names than ours is possible; such a name is a finding, not a failed copy."""
    problem = judge_name("packages/" + "x" * 256, Bounds())
    assert problem is not None
    assert problem.code == "NAME_LENGTH"
    assert judge_name("packages/" + "x" * 255, Bounds()) is None


def test_equal_names_in_different_folders_do_not_collide() -> None:
    """Only what lies in one folder can overwrite each other; letters outside ASCII count as themselves."""
    assert list(collisions(["a", "b", "\u00e4", "a\u0308b"])) == []


@pytest.fixture
def mounted(package: Path) -> Iterator[Callable[..., None]]:
    """Return a function that mounts something below a package, or skip."""
    places: list[Path] = []

    def mount(place: Path, *options: str) -> None:
        place.mkdir()
        done = subprocess.run(["mount", *options, str(place)], capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip("mounting takes privileges")
        places.append(place)

    yield mount
    for place in reversed(places):
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("loop", [False, True], ids=["another file system", "the package in itself"])
def test_mounts_below_a_package_are_not_entered(
    loop: bool, package: Path, mounted: Callable[..., None], desk: Desk
) -> None:
    """The walk stays on one file system, and a folder that holds itself does not send it round."""
    options = ("--bind", str(package)) if loop else ("-t", "tmpfs", "tmpfs")
    mounted(package / "repo" / "mnt", *options)
    assert [(f.code, f.file) for f in desk.bring(package).findings] == [("MOUNT_POINT", "repo/mnt")]


@pytest.mark.parametrize(
    ("now", "surveyed", "words"),
    [(b"123", 10, "3 of 10 bytes"), (b"12345", 3, "grew beyond 3 bytes"), (b"", 1, "0 of 1 bytes")],
    ids=["shrank", "grew", "emptied"],
)
def test_a_file_that_changes_its_size_under_the_copy(now: bytes, surveyed: int, words: str, tmp_path: Path) -> None:
    """No more is read than the survey saw, and what is not the same file any more is not believed."""
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "a").write_bytes(now)
    with directory_fd(tmp_path / "stick") as root, pytest.raises(CopyFailed, match=words) as caught:
        _copy(root, "a", surveyed, tmp_path / "copy" / "a")
    assert (caught.value.exit_code, "import it again" in caught.value.hint) == (12, True)


def test_a_file_that_never_ends_is_left_after_its_size(tmp_path: Path) -> None:
    """A file that another process keeps writing to costs what the survey saw, not the disk."""
    (tmp_path / "stick").mkdir()
    growing = tmp_path / "stick" / "a"
    growing.write_bytes(b"x")
    writer = subprocess.Popen(["sh", "-c", f"while :; do echo xxxxxxxxxxxxxxxx >> {growing}; done"])
    try:
        while growing.stat().st_size < 1000:
            time.sleep(0.01)
        with directory_fd(tmp_path / "stick") as root, pytest.raises(CopyFailed, match="grew beyond 100 bytes"):
            _copy(root, "a", 100, tmp_path / "copy" / "a")
    finally:
        writer.kill()
        writer.wait()
    assert (tmp_path / "copy" / "a").stat().st_size == 100


@pytest.mark.parametrize(
    "make", [_fifo, _device, lambda path: path.symlink_to("/etc/passwd")], ids=["FIFO", "device", "link"]
)
def test_a_file_that_turns_special_after_the_survey_is_not_read(make: Callable[[Path], None], tmp_path: Path) -> None:
    """What is opened is looked at again: a medium that changes neither blocks nor redirects."""
    (tmp_path / "stick").mkdir()
    make(tmp_path / "stick" / "a")
    with directory_fd(tmp_path / "stick") as root, pytest.raises(CopyFailed, match="not a regular file"):
        _copy(root, "a", 10, tmp_path / "copy" / "a")
    assert not (tmp_path / "copy" / "a").exists()


def test_a_folder_that_turns_into_a_link_after_the_survey_is_not_followed(tmp_path: Path) -> None:
    """The way to a file is checked like the file."""
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "repo").symlink_to("/etc")
    with directory_fd(tmp_path / "stick") as root, pytest.raises(CopyFailed, match="not a regular file"):
        _copy(root, "repo/passwd", 10, tmp_path / "copy" / "a")


def test_a_file_that_is_gone_after_the_survey(tmp_path: Path) -> None:
    """An unplugged stick is a failure of the copy that names the file."""
    with directory_fd(tmp_path) as root, pytest.raises(CopyFailed, match="repo/HEAD cannot be read: No such file"):
        _copy(root, "repo/HEAD", 10, tmp_path / "copy" / "a")


@pytest.mark.parametrize(
    ("fault", "words"), [("error=EIO", "cannot be read: Input/output error"), ("retval=0", "bytes are left of it")]
)
def test_a_medium_that_fails_under_the_copy_says_so(fault: str, words: str, package: Path, tmp_path: Path) -> None:
    """Reading errors and files that end early, as an unplugged stick gives them, end the copy with the next step."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    wheel = next((package / "packages").iterdir())
    done = subprocess.run(
        [strace, "-f", "-qq", "-o", "/dev/null", "-P", str(wheel), "-e", "trace=read", "-e", f"inject=read:{fault}",
         sys.executable, "-c", COPY, str(package), str(tmp_path / "copy")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )  # fmt: skip
    if "ptrace" in done.stderr:
        pytest.skip("tracing takes privileges")
    assert done.returncode != 0
    assert f"CopyFailed: packages/{wheel.name}" in done.stderr
    assert words in done.stderr

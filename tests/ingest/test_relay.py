"""The diode laptop: what arrives is what the manifest lists, whatever the sticks do on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import DiskFull, Failure
from harness.manifest import FileEntry, Manifest, manifest_bytes
from ingest.errors import CopyFailed, PackageExists, PackageMissing
from ingest.medium import NotRegular
from ingest.relay import DestinationInSource, MediumFailed, Relayed, relay
from ingest.seal import NotAsListed, sign_package
from ingest.signing import NotTrusted, Trust
from tests.conftest import file_entries
from tests.keys import fingerprint, make_key, trust

ROOT = Path(__file__).parent.parent.parent
NAME = "load-1"
PARTIAL = f".{NAME}.partial"
SIZES = {"repo/HEAD": 20, "repo/objects/pack/pack-1.pack": 3_000_001, "packages/empty.whl": 0, "packages/a.whl": 4096}
Snapshot = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a package of a few files on a stick; relaying looks at bytes and digests only."""
    return _make(tmp_path / "red", SIZES)


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """Return the empty stick that receives packages."""
    place = tmp_path / "black"
    place.mkdir()
    return place


def _make(stick: Path, sizes: dict[str, int]) -> Path:
    package = stick / NAME
    for path, size in sizes.items():
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_bytes(os.urandom(size))
    manifest = Manifest(
        name="load", sequence=1, upstream="", license="", organisation="", domain="", head="0" * 40,
        files=file_entries(package), environments=(), test_command=("pytest",), test_scope="suite", commits=(),
    )  # fmt: skip
    (package / "manifest.json").write_bytes(manifest_bytes(manifest))
    return package


def _bring(source: Path, stick: Path, trusted: Trust | None = None, lines: list[str] | None = None) -> Relayed:
    return relay(source, stick, trust=trusted, progress=(lines if lines is not None else []).append)


def test_a_package_arrives_byte_for_byte(source: Path, stick: Path, snapshot: Snapshot) -> None:
    """Nothing more and nothing less is on the other stick, and everything was read back."""
    done = _bring(source, stick)
    assert (done.state, done.package, done.files, done.copied) == ("relayed", NAME, 5, 5)
    assert snapshot(stick / NAME) == snapshot(source)
    assert [path.name for path in stick.iterdir()] == [NAME]
    assert done.copied_bytes == sum(path.stat().st_size for path in source.rglob("*") if path.is_file())


def test_nothing_stays_on_the_laptop(source: Path, stick: Path, tmp_path: Path) -> None:
    """No file is created outside of the destination, and none is opened for writing there."""
    key = make_key(tmp_path / "keys", "alice")
    sign_package(source, key)
    signers = tmp_path / "signers"
    signers.write_bytes(trust(key).signers)
    code = (
        "import sys; from pathlib import Path; from ingest.relay import relay; from ingest.signing import read_trust\n"
    )
    code += "relay(Path(sys.argv[1]), Path(sys.argv[2]), trust=read_trust(Path(sys.argv[3])), progress=lambda _: None)"
    empty = tmp_path / "laptop"
    empty.mkdir()
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(empty), "HOME": str(empty), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-B", "-c", code, source, stick, signers]
    subprocess.run(command, env=environment, cwd=empty, check=True)
    assert list(empty.iterdir()) == []
    assert (stick / NAME / "manifest.json.sig").is_file()


def test_again_reads_everything_and_copies_nothing(source: Path, stick: Path) -> None:
    """A package that is there is read in full; a damaged one is not called present."""
    _bring(source, stick)
    again = _bring(source, stick)
    assert (again.state, again.copied) == ("present", 0)
    wheel = stick / NAME / "packages" / "a.whl"
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"?")
    with pytest.raises(MediumFailed, match=r"a\.whl") as caught:
        _bring(source, stick)
    assert NAME in caught.value.hint


def test_another_package_of_the_same_name_is_kept(source: Path, stick: Path, snapshot: Snapshot) -> None:
    """What is on the destination is never replaced."""
    _make(stick, {"repo/HEAD": 3})
    before = snapshot(stick)
    with pytest.raises(PackageExists):
        _bring(source, stick)
    assert snapshot(stick) == before


def test_a_pulled_out_stick_is_gone_on_with(source: Path, stick: Path) -> None:
    """Killed anywhere on the way: no package shows, and the next run copies only what is not whole."""
    code = "import os, sys, signal; from pathlib import Path; from ingest.relay import relay\n"
    code += "def kill(line):\n  if 'copying' in line and sys.argv[3] in line: os.kill(os.getpid(), signal.SIGKILL)\n"
    code += "relay(Path(sys.argv[1]), Path(sys.argv[2]), trust=None, progress=kill)"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", code, source, stick, "repo/HEAD"], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in stick.iterdir()] == [PARTIAL]
    (stick / PARTIAL / "packages" / "a.whl").write_bytes(b"torn")
    whole = {path.relative_to(stick / PARTIAL).as_posix() for path in (stick / PARTIAL).rglob("*") if path.is_file()}
    lines: list[str] = []
    done = _bring(source, stick, lines=lines)
    copied = {line.split()[1] for line in lines if line.startswith("copying")}
    assert "packages/empty.whl" in whole
    assert (done.copied, copied & {"packages/a.whl", "packages/empty.whl"}) == (len(copied), {"packages/a.whl"})
    assert _bring(source, stick).state == "present"


@pytest.mark.parametrize("kind", ["changed", "longer", "shorter", "missing", "unlisted", "link", "fifo", "folder link"])
def test_a_source_that_is_not_as_listed_is_not_passed_on(kind: str, source: Path, stick: Path) -> None:
    """Whatever differs from the manifest, nothing on the destination looks like a package, and nothing hangs."""
    wheel = source / "packages" / "a.whl"
    data = wheel.read_bytes()
    if kind in {"changed", "longer", "shorter"}:
        wheel.write_bytes({"changed": data[:-1] + b"?", "longer": data * 9, "shorter": data[:9]}[kind])
    elif kind == "unlisted":
        (source / "packages" / "b.whl").write_bytes(data)
    elif kind == "folder link":
        (source / "packages").rename(source.parent / "elsewhere")
        (source / "packages").symlink_to(source.parent / "elsewhere")
    else:
        wheel.unlink()
        if kind == "link":
            wheel.symlink_to(source / "repo" / "HEAD")
        elif kind == "fifo":
            os.mkfifo(wheel)
    started = time.monotonic()
    with pytest.raises((NotAsListed, CopyFailed)) as caught:
        _bring(source, stick)
    assert (caught.value.exit_code, time.monotonic() - started < 5) == (12, True)
    assert not (stick / NAME).exists()


def test_links_that_wait_on_the_destination_lead_nowhere(source: Path, stick: Path, tmp_path: Path) -> None:
    """A partial package that somebody prepared with links writes nothing outside of the stick."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "HEAD").write_text("mine")
    (stick / PARTIAL / "packages").mkdir(parents=True)
    (stick / PARTIAL / "repo").symlink_to(outside)
    (stick / PARTIAL / "packages" / "a.whl").symlink_to(outside / "HEAD")
    os.mkfifo(stick / PARTIAL / "packages" / "empty.whl")
    (stick / PARTIAL / "packages" / "evil.whl").write_text("x")
    assert _bring(source, stick).state == "relayed"
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("HEAD", "mine")]
    assert sorted(path.name for path in (stick / NAME / "packages").iterdir()) == ["a.whl", "empty.whl"]
    assert not any(path.is_symlink() for path in (stick / NAME).rglob("*"))


def test_a_link_in_the_place_of_the_package_is_not_followed(source: Path, stick: Path, tmp_path: Path) -> None:
    """The destination's own names for the package may be traps, too: one is refused, the other one replaced."""
    (tmp_path / "outside").mkdir()
    (stick / NAME).symlink_to(tmp_path / "outside")
    with pytest.raises(MediumFailed):
        _bring(source, stick)
    (stick / NAME).unlink()
    (stick / PARTIAL).symlink_to(tmp_path / "outside")
    assert _bring(source, stick).state == "relayed"
    assert list((tmp_path / "outside").iterdir()) == []


def _plant(package: Path, kind: str) -> None:
    if kind == "script":
        (package / "autorun.sh").write_text("#!/bin/sh\n")
    elif kind == "link":
        (package / "repo" / "more").symlink_to("HEAD")
    elif kind == "fifo":
        os.mkfifo(package / "packages" / "pipe")
    elif kind == "signature":
        (package / "manifest.json.sig").write_text("-----BEGIN SSH SIGNATURE-----\n")
    else:
        (package / "evil" / "deep").mkdir(parents=True)


@pytest.mark.parametrize("kind", ["script", "link", "fifo", "signature", "folder"])
def test_more_than_the_package_on_the_destination_is_not_called_present(kind: str, source: Path, stick: Path) -> None:
    """What the appliance would refuse is refused here, by name, and with what to do."""
    _bring(source, stick)
    _plant(stick / NAME, kind)
    with pytest.raises(MediumFailed, match="holds more") as caught:
        _bring(source, stick)
    assert f"Remove {NAME}" in caught.value.hint
    shutil.rmtree(stick / NAME)
    assert _bring(source, stick).state == "relayed"


@pytest.mark.parametrize("kind", ["script", "link", "fifo", "signature", "folder"])
def test_what_waits_in_a_partial_package_is_not_carried_along(
    kind: str, source: Path, stick: Path, snapshot: Snapshot
) -> None:
    """Only the listed files and the folders that hold them are in a package that got its name."""
    for folder in ("repo", "packages"):
        (stick / PARTIAL / folder).mkdir(parents=True)
    _plant(stick / PARTIAL, kind)
    assert _bring(source, stick).state == "relayed"
    assert snapshot(stick / NAME) == snapshot(source)
    assert {path.relative_to(stick / NAME).as_posix() for path in (stick / NAME).rglob("*") if path.is_dir()} == {
        "packages", "repo", "repo/objects", "repo/objects/pack",
    }  # fmt: skip
    assert _bring(source, stick).state == "present"


@pytest.mark.parametrize("kind", ["folder for a file", "file for a folder", "deep", "a file itself"])
def test_a_partial_package_that_is_in_the_way_is_cleared(kind: str, source: Path, stick: Path) -> None:
    """Nothing that is planted there makes the relay fail for good."""
    partial = stick / PARTIAL
    if kind == "a file itself":
        partial.write_text("x")
    elif kind == "folder for a file":
        (partial / "manifest.json" / "more").mkdir(parents=True)
        (partial / "manifest.json" / "1").write_text("x")
    elif kind == "file for a folder":
        partial.mkdir()
        (partial / "repo").write_text("x")
    else:
        here = Path.cwd()
        for top in ("repo", "1"):
            (partial / top).mkdir(parents=True)
            os.chdir(partial / top)
            try:
                for _ in range(1500):
                    Path("1").mkdir()
                    os.chdir("1")
            finally:
                os.chdir(here)
    assert _bring(source, stick).state == "relayed"
    assert [path.name for path in stick.iterdir()] == [NAME]


@pytest.mark.parametrize("where", [".", "repo", "repo/objects/pack"])
def test_a_package_is_not_relayed_into_itself(where: str, source: Path, tmp_path: Path, snapshot: Snapshot) -> None:
    """The source stays as it is, also when a link leads into it."""
    before = snapshot(source)
    (tmp_path / "link").symlink_to(source / where)
    for destination in (source / where, tmp_path / "link"):
        with pytest.raises(DestinationInSource) as caught:
            _bring(source, destination)
        assert (caught.value.code, caught.value.exit_code) == ("RELAY_PLACE", 2)
    assert snapshot(source) == before


@pytest.mark.parametrize("name", [NAME, PARTIAL])
def test_a_package_is_not_relayed_onto_itself(name: str, source: Path, snapshot: Snapshot) -> None:
    """Its own directory, or one that a relay left unfinished, is no copy of it."""
    source = source.rename(source.parent / name)
    before = snapshot(source)
    with pytest.raises(DestinationInSource):
        _bring(source, source.parent)
    assert snapshot(source) == before


def test_names_that_the_appliance_refuses_are_not_passed_on(tmp_path: Path, stick: Path) -> None:
    """A package that lists what the format has no place for is refused here and not across the gap."""
    package = _make(tmp_path / "red", {"repo/HEAD": 5, "repo/Config": 3, "repo/config": 3})
    with pytest.raises(NotAsListed, match="NAME_COLLISION"):
        _bring(package, stick)
    assert list(stick.iterdir()) == []


def test_a_source_of_hard_links_is_relayed_as_files(source: Path, stick: Path, tmp_path: Path) -> None:
    """A second name somewhere else on the laptop is no fault of the copy."""
    os.link(source / "repo" / "HEAD", tmp_path / "second")
    assert _bring(source, stick).state == "relayed"
    assert (stick / NAME / "repo" / "HEAD").stat().st_nlink == 1


def test_with_signers_only_what_they_signed_is_passed_on(source: Path, stick: Path, tmp_path: Path) -> None:
    """Unsigned, or signed by somebody else: refused before anything is written."""
    alice, mallory = (make_key(tmp_path / "keys", name) for name in ("alice", "mallory"))
    for code, key in (("UNSIGNED", None), ("SIGNER_UNKNOWN", mallory)):
        if key:
            sign_package(source, key)
        with pytest.raises(NotTrusted) as caught:
            _bring(source, stick, trust(alice))
        assert (caught.value.code, caught.value.exit_code) == (code, 13)
        assert list(stick.iterdir()) == []
    sign_package(source, alice)
    signer = _bring(source, stick, trust(alice)).signer
    assert signer is not None
    assert (signer.principal, signer.fingerprint) == ("alice", fingerprint(alice))
    assert (stick / NAME / "manifest.json.sig").read_bytes() == (source / "manifest.json.sig").read_bytes()


def test_without_a_package_or_a_stick_nothing_is_made(source: Path, stick: Path, tmp_path: Path) -> None:
    """Paths that are no directories, and directories without a manifest, are said to be missing."""
    for here, there in ((tmp_path / "gone", stick), (source, tmp_path / "gone"), (stick, stick)):
        with pytest.raises(PackageMissing):
            _bring(here, there)
    assert not (tmp_path / "gone").exists()


@pytest.fixture
def small_stick(tmp_path: Path) -> Iterator[Path]:
    """Return a stick of its own with 4 MB, or skip."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk takes privileges")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("filler_mb", [2, 3])
def test_a_full_stick_is_said_and_gone_on_with(filler_mb: int, source: Path, small_stick: Path) -> None:
    """The failure names the destination; with room the same command ends what it began."""
    (small_stick / "filler").write_bytes(bytes(filler_mb << 20))
    with pytest.raises(DiskFull, match="destination") as caught:
        _bring(source, small_stick)
    assert (caught.value.exit_code, "same command" in caught.value.hint) == (14, True)
    assert not (small_stick / NAME).exists()
    (small_stick / "filler").unlink()
    assert _bring(source, small_stick).state == "relayed"


def test_room_that_runs_out_on_the_way_is_said_too(source: Path, small_stick: Path) -> None:
    """Another writer takes the room after it was counted: what was copied stays, and the next run goes on."""
    filler = small_stick / "filler"

    def fill(line: str) -> None:
        if line.startswith("copying repo/objects") and not filler.exists():
            filler.write_bytes(bytes(shutil.disk_usage(small_stick).free - 1_000_000))

    with pytest.raises(DiskFull, match="destination"):
        relay(source, small_stick, trust=None, progress=fill)
    assert not (small_stick / NAME).exists()
    filler.unlink()
    done = _bring(source, small_stick)
    assert (done.state, done.copied < len(SIZES) + 1) == ("relayed", True)


def test_a_stick_that_cannot_be_written_is_named(source: Path, small_stick: Path) -> None:
    """A write protected destination is a failure of the medium with a next step."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_stick)], check=True)
    with pytest.raises(MediumFailed) as caught:
        _bring(source, small_stick)
    assert (caught.value.code, caught.value.exit_code) == ("RELAY_MEDIUM", 12)


def test_a_source_that_goes_away_is_gone_on_with(source: Path, stick: Path, tmp_path: Path) -> None:
    """Files that vanish while they are copied end the relay with what to do, and the rest stays."""

    def pull(line: str) -> None:
        if line.startswith("copying repo/objects") and source.exists():
            source.rename(tmp_path / "pulled")
            shutil.move(tmp_path / "pulled" / "repo" / "objects", tmp_path / "objects")

    with pytest.raises(CopyFailed, match="repo/objects") as caught:
        relay(source, stick, trust=None, progress=pull)
    assert "same command" in caught.value.hint
    shutil.move(tmp_path / "objects", tmp_path / "pulled" / "repo" / "objects")
    (tmp_path / "pulled").rename(source)
    assert _bring(source, stick).state == "relayed"


def test_odd_names_are_carried_and_printed(tmp_path: Path, stick: Path) -> None:
    """A name with letters of any script travels; what no terminal should get is escaped in what is said."""
    package = _make(tmp_path / "red", {"packages/\N{SNOWMAN}.whl": 10})
    lines: list[str] = []
    assert _bring(package, stick, lines=lines).copied == 2
    (package / "packages" / "\x1b[2J").write_text("x")
    with pytest.raises(Failure) as caught:
        _bring(package, stick)
    assert "\\x1b[2J" in str(caught.value)


def test_special_manifests_are_not_read(source: Path, stick: Path) -> None:
    """A FIFO in the place of the manifest ends at once."""
    (source / "manifest.json").unlink()
    os.mkfifo(source / "manifest.json")
    with pytest.raises(NotRegular):
        _bring(source, stick)


def test_digests_are_those_of_the_manifest(source: Path, stick: Path) -> None:
    """What lies on the destination hashes to what the manifest lists."""
    _bring(source, stick)
    entries: dict[str, FileEntry] = file_entries(stick / NAME)
    assert entries == file_entries(source)

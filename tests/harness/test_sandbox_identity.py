"""Who untrusted code is: nobody inside, and on the host neither root nor the owner of what it could reach."""

from __future__ import annotations

import os
import secrets
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.errors import SandboxUnavailable
from harness.sandbox.bwrap import Sandbox, run
from harness.sandbox.command import Channels, isolated
from harness.sandbox.identity import FIRST_UID, UIDS, hand_over, is_root, run_uid, take_back, unreadable
from harness.sandbox.limits import Limits

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another uid to give away")
HOST = "         0          0 4294967295\n"
ROOTLESS = "         0       1000          1\n         1     100000      65536\n"
RUN_UIDS = range(FIRST_UID, FIRST_UID + UIDS)


@pytest.mark.parametrize(
    ("euid", "uid_map", "seed", "uid"),
    [
        (0, HOST, 0, FIRST_UID),
        (0, HOST, UIDS + 5, FIRST_UID + 5),
        (1000, HOST, 0, None),
        (0, ROOTLESS, 0, None),
        (65534, "     65534       1000          1\n", 7, None),
    ],
)
def test_only_root_gives_itself_up(euid: int, uid_map: str, seed: int, uid: int | None) -> None:
    """Root of the machine takes a uid of the range; an ordinary user, and root of a namespace, stay who they are."""
    assert run_uid(euid, uid_map, seed) == uid
    assert is_root(euid, uid_map) == (uid is not None)


def host_uids(marker: str) -> dict[str, set[int]]:
    """Return the uids on the host of every process with a marker in its command line, by program."""
    found: dict[str, set[int]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (process / "cmdline").read_bytes():
                words = next(line for line in (process / "status").read_text().splitlines() if line.startswith("Uid"))
                name = (process / "comm").read_text().strip()
                found.setdefault(name, set()).update(map(int, words.split()[1:]))
        except (OSError, StopIteration):
            continue
    return found


def seen_while_running(marker: str) -> dict[str, set[int]]:
    """Run a command for a moment and return who runs it, as the host sees it."""
    command = ["/bin/bash", "-c", f": {marker}; sleep 1; :"]
    other = threading.Thread(target=run, args=(Sandbox(command, limits=Limits(wall_s=20)),))
    other.start()
    deadline, seen = time.monotonic() + 10, dict[str, set[int]]()
    while "bash" not in seen and time.monotonic() < deadline:
        time.sleep(0.02)
        seen = host_uids(marker)
    other.join()
    return seen


@as_root
def test_as_root_a_run_has_a_uid_of_its_own() -> None:
    """The kernel sees a uid that is neither root nor anybody's, another one for each run."""
    first, second = (seen_while_running(f"identity-{secrets.token_hex(8)}")["bash"] for _ in range(2))
    assert len(first) == len(second) == 1
    assert first | second <= set(RUN_UIDS)
    assert first != second


@pytest.mark.skipif(os.geteuid() == 0, reason="about ordinary users")
def test_an_ordinary_user_shares_its_uid() -> None:
    """There is no other uid to be had."""
    assert seen_while_running(f"identity-{secrets.token_hex(8)}")["bash"] == {os.geteuid()}


@as_root
def test_root_needs_no_way_through_its_own_directories(tmp_path: Path) -> None:
    """What is mounted may lie where the uid of the run could never go; nothing beside it comes along."""
    private = tmp_path / "private"
    (private / "deep").mkdir(parents=True)
    (private / "secret").write_text("the secret")
    (private / "deep" / "file").write_text("given")
    private.chmod(0o700)
    done = run(Sandbox(["/bin/sh", "-c", f"cat /data/file {private}/secret"], {"/data": str(private / "deep")}))
    assert done.output.startswith(b"given")
    assert b"the secret" not in done.output


@as_root
def test_a_mount_that_others_cannot_read_is_named(tmp_path: Path) -> None:
    """The failure says which, and how to open it; nothing is run."""
    (tmp_path / "closed").mkdir(mode=0o700)
    with pytest.raises(SandboxUnavailable, match="closed") as caught:
        run(Sandbox(["/bin/true"], {"/data": str(tmp_path / "closed")}))
    assert f"chmod -R go+rX {tmp_path}/closed" in caught.value.hint


def test_what_others_can_read(tmp_path: Path) -> None:
    """A file needs r, a directory r and x; what is not there is said."""
    (tmp_path / "f").touch(0o640)
    assert unreadable(str(tmp_path / "f")) is not None
    (tmp_path / "f").chmod(0o604)
    assert unreadable(str(tmp_path / "f")) is None
    (tmp_path / "d").mkdir(mode=0o744)
    assert unreadable(str(tmp_path / "d")) is not None
    assert "No such file" in (unreadable(str(tmp_path / "none")) or "")


def test_a_writable_mount_comes_back_ours_and_harmless(tmp_path: Path) -> None:
    """Files made inside are ours afterwards, without setuid bits, readable for all and writable for nobody else."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "before").write_text("old")
    script = (
        "cd /place && echo new > before && mkdir -p a/b && echo x > a/b/plain && cp /bin/true prog && chmod 6777 prog"
        " && chmod 0 a/b/plain && chmod 0700 a/b && chmod 0 a && ln -s /etc/passwd link && mkfifo pipe && ln prog hard; echo $?"
    )
    done = run(Sandbox(["/bin/sh", "-c", script], writable={"/place": str(place)}))
    assert done.output == b"0\n"
    modes = {str(path.relative_to(place)): path.lstat() for path in place.rglob("*")}
    assert {(found.st_uid, found.st_gid) for found in modes.values()} == {(os.geteuid(), os.getegid())}
    shown = {name: stat.filemode(found.st_mode) for name, found in modes.items() if name not in {"link", "pipe"}}
    assert shown == {
        "before": "-rw-r--r--", "a": "drwxr-xr-x", "a/b": "drwxr-xr-x", "a/b/plain": "-rw-r--r--", "prog": "-rwxr-xr-x",
        "hard": "-rwxr-xr-x",
    }  # fmt: skip
    assert (place / "link").is_symlink()


@as_root
def test_taking_back_follows_no_link(tmp_path: Path) -> None:
    """What a link in the tree points at keeps its owner and its mode."""
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o600)
    os.chown(outside, 4242, 4242)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(outside)
    hand_over(str(tmp_path / "tree"), FIRST_UID)
    take_back(str(tmp_path / "tree"))
    found = outside.stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (4242, 0o600)


@as_root
def test_a_killed_build_leaves_nothing_that_root_would_trust(tmp_path: Path) -> None:
    """Kill -9 in the middle of a build leaves files of the run's uid, which take_back makes ours."""
    place = tmp_path / "place"
    place.mkdir()
    code = (
        "import sys; from harness.sandbox.bwrap import *\n"
        "run(Sandbox(['/bin/sh', '-c', 'echo x > /place/f; sleep 60'], writable={'/place': sys.argv[1]}))"
    )
    harness = subprocess.Popen([sys.executable, "-c", code, str(place)], cwd=Path(__file__).parent.parent.parent)
    deadline = time.monotonic() + 20
    while not (place / "f").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    harness.kill()
    harness.wait()
    assert (place / "f").stat().st_uid in RUN_UIDS
    take_back(str(place))
    assert (place / "f").stat().st_uid == 0


def test_the_line_for_root_is_the_line_for_everybody_inside() -> None:
    """Root's command line ends in the very same inner sandbox that an ordinary user gets."""
    channels = Channels(7, 8, 9)
    sandbox = Sandbox(["/bin/true"], {"/a": "/x/y"})
    user, root = (isolated(sandbox, channels, uid=uid, groups=()) for uid in (None, FIRST_UID))

    def inner(line: list[str]) -> list[str]:
        start = line.index("--unshare-all")
        return line[start : line.index("--chdir", start)]

    assert inner(user) == inner(root)
    assert f"--reuid={FIRST_UID}" in root
    assert not any(word.startswith("--reuid") for word in user)

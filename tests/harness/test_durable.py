"""Durable writes: the order of the system calls is what makes them so, and failures leave the old state."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.durable import keep_cached, make_directory, move_whole, sync_files, write_whole
from tests.disks import leave_free, small_disk

ROOT = Path(__file__).parent.parent.parent
CALLS = "openat,open,rename,renameat,renameat2,fsync,mkdir,mkdirat,close"


def _order(tmp_path: Path, code: str) -> list[str]:
    """Run code under strace; return renames and fsyncs with the names of the files, in order."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    log = tmp_path / "strace.log"
    done = subprocess.run(
        ["strace", "-y", "-o", str(log), "-e", f"trace={CALLS}", sys.executable, "-c", code],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "Operation not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    steps = []
    for line in log.read_text().splitlines():
        if found := re.match(r"fsync\(\d+<(.*)>\) += 0", line):
            steps.append(f"fsync {Path(found[1]).name}")
        elif found := re.match(r'rename\w*\(.*"([^"]+)", .*"([^"]+)".*\) += 0', line):
            steps.append(f"rename {Path(found[1]).name} {Path(found[2]).name}")
    return steps


def test_a_file_is_synced_then_renamed_then_its_directory_is_synced(tmp_path: Path) -> None:
    """Any other order loses the file, or its content, in some power cut."""
    code = f"from harness.durable import write_whole; from pathlib import Path; write_whole(Path({str(tmp_path / 'a')!r}), b'x')"
    assert _order(tmp_path, code) == ["fsync .a.new", "rename .a.new a", f"fsync {tmp_path.name}"]


def test_a_directory_gets_its_name_after_all_it_holds_is_on_disk(tmp_path: Path) -> None:
    """Files, then the directories from the inside out, then the rename, then both parents."""
    staged = tmp_path / "stage" / "dir"
    (staged / "sub").mkdir(parents=True)
    (staged / "sub" / "file").write_text("x")
    code = (
        "from harness.durable import move_whole; from pathlib import Path; "
        f"move_whole(Path({str(staged)!r}), Path({str(tmp_path / 'shelf' / 'name')!r}))"
    )
    steps = _order(tmp_path, code)
    assert steps == [
        f"fsync {tmp_path.name}", "fsync file", "fsync sub", "fsync dir", "rename dir name", "fsync shelf", "fsync stage",
    ]  # fmt: skip
    assert (tmp_path / "shelf" / "name" / "sub" / "file").read_text() == "x"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """A new file, a changed one, and nothing beside it."""
    for data in (b"one", b"", bytes(100_000)):
        write_whole(tmp_path / "file", data)
        assert (tmp_path / "file").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_leftover_of_a_killed_writer_does_not_disturb(tmp_path: Path) -> None:
    """The file beside is simply written anew."""
    (tmp_path / ".file.new").write_bytes(b"half of it and much longer than what is to come")
    write_whole(tmp_path / "file", b"whole")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"whole"}


def test_a_full_disk_leaves_the_old_content_and_no_litter(tmp_path: Path) -> None:
    """OSError, and everything is as it was; the same for a cache."""
    with small_disk(tmp_path / "disk", 1) as disk:
        for write in (write_whole, keep_cached):
            write(disk / "file", b"old")
            leave_free(disk, 64 << 10)
            with pytest.raises(OSError, match="No space left"):
                write(disk / "file", bytes(1 << 20))
            assert (disk / "file").read_bytes() == b"old"
            assert sorted(path.name for path in disk.iterdir()) == ["ballast", "file"]


def test_many_writers_of_one_cache_file_leave_one_whole_file(tmp_path: Path) -> None:
    """Whoever is last wins; no reader ever sees a mixture."""
    path = tmp_path / "ab" / "entry"
    contents = [bytes([number]) * 50_000 for number in range(8)]
    keep_cached(path, contents[0])
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(keep_cached, path, data) for data in contents * 10]
        while not all(job.done() for job in jobs):
            assert path.read_bytes() in contents
    assert [job.exception() for job in jobs] == [None] * 80
    assert [entry.name for entry in path.parent.iterdir()] == ["entry"]


def test_a_directory_is_not_moved_onto_another(tmp_path: Path) -> None:
    """What lies there stays, and so does what was to be moved."""
    for name in ("staged", "final"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    with pytest.raises(OSError, match="not empty"):
        move_whole(tmp_path / "staged", tmp_path / "final")
    assert [path.name for path in (tmp_path / "final").iterdir()] == ["final"]


def test_links_and_special_files_are_not_followed_when_syncing(tmp_path: Path) -> None:
    """A FIFO would block for ever, a link lead elsewhere."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/nonexistent")
    (tmp_path / "loop").symlink_to(tmp_path)
    sync_files(tmp_path)


def test_directories_are_made_once(tmp_path: Path) -> None:
    """Parents included; one that is there is fine."""
    for _ in range(2):
        make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()

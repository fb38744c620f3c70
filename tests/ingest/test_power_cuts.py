"""An import that is killed at its system calls, one after the other: old or new, never mixed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ingest.one_import import RECORD
from tests.packages import PACKAGE_ID, git, read_manifest, without_runs

ROOT = Path(__file__).parent.parent.parent
CALLS = ("rename", "fsync", "mkdir", "unlink", "unlinkat", "rmdir")
LIMIT_S = 60
KILLED = {-9, 137}
SAMPLED = 3
"""Of each system call but rename, this many moments, evenly spread; tests/bench/kills.py takes every one."""


@pytest.fixture
def strace() -> str:
    """Return the path of strace, or skip."""
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed")
    if subprocess.run([found, "-o", "/dev/null", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("strace may not trace here")
    return found


def test_an_import_killed_at_a_system_call_is_whole_or_nothing(strace: str, package: Path, tmp_path: Path) -> None:
    """Each kill meets what the one before left; whenever a package is there, it is the whole of it."""
    without_runs(package)
    wanted = _undisturbed(package, tmp_path / "undisturbed")
    home, integrated, kills = tmp_path / "home", 0, 0
    home.mkdir()
    for call, number in moments(strace, package, tmp_path, sampled=SAMPLED):
        if killed_at(strace, call, number, home, package):
            kills += 1
        _check(home)
        if (home / RECORD).exists():
            integrated += 1
            assert files(home / "repo_packages") == wanted
            shutil.rmtree(home)
            home.mkdir()
    assert kills >= 20
    assert integrated >= 1, "no kill came after the record"
    assert (home / RECORD).exists() or _import(home, package) == 0
    assert files(home / "repo_packages") == wanted
    assert (home / RECORD).read_text() == PACKAGE_ID
    assert [path.name for path in (home / "incoming").iterdir()] == [".lock"]


def test_a_refusal_killed_at_a_system_call_leaves_whole_entries_only(
    strace: str, package: Path, tmp_path: Path
) -> None:
    """What lies in quarantine has its reason and the package, from the first moment on."""
    wheel = next((package / "packages").iterdir())
    wheel.write_bytes(wheel.read_bytes() + b"x")
    home = tmp_path / "home"
    home.mkdir()
    for call, number in moments(strace, package, tmp_path, sampled=2):
        killed_at(strace, call, number, home, package)
        _check(home)
    assert _import(home, package) == 3
    _check(home)
    assert list((home / "quarantine").iterdir()) != []
    assert not (home / "repo_packages").exists()
    assert [path.name for path in (home / "incoming").iterdir()] == [".lock"]


def moments(strace: str, package: Path, scratch: Path, *, sampled: int | None = None) -> list[tuple[str, int]]:
    """Return the system calls of an undisturbed import, as (name, which one of that name)."""
    log, home = scratch / "strace.log", scratch / "counted"
    home.mkdir()
    subprocess.run(
        [strace, "-o", str(log), "-e", f"trace={','.join(CALLS)}", *_command(home, package)], cwd=ROOT, check=False,
        timeout=LIMIT_S,
    )  # fmt: skip
    names = re.findall(r"^(\w+)\(", log.read_text(), re.MULTILINE)
    found = []
    for call in CALLS:
        total = names.count(call)
        step = 1 if sampled is None or call == "rename" else max(total // sampled, 1)
        found += [(call, number) for number in range(1, total + 1, step)]
    return found


def killed_at(strace: str, call: str, number: int, home: Path, package: Path) -> bool:
    """Run an import that is killed as it enters a system call; return whether it came so far."""
    done = subprocess.run(
        [strace, "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}",
         *_command(home, package)],
        cwd=ROOT, capture_output=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode in {0, 3, *KILLED} or b"ALREADY_INTEGRATED" in done.stderr, done.stderr.decode()
    return done.returncode in KILLED


def files(directory: Path) -> dict[str, str]:
    """Return the digest of every file below a directory."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*")) if path.is_file()
    }  # fmt: skip


def _undisturbed(package: Path, home: Path) -> dict[str, str]:
    home.mkdir()
    assert _import(home, package) == 0
    return files(home / "repo_packages")


def _import(home: Path, package: Path) -> int:
    return subprocess.run(_command(home, package), cwd=ROOT, timeout=LIMIT_S, check=False).returncode


def _command(home: Path, package: Path) -> list[str]:
    return [sys.executable, "-m", "tests.ingest.one_import", str(home), str(package)]


def _check(home: Path) -> None:
    """Assert what holds after any kill."""
    if (home / RECORD).exists():
        directory = home / "repo_packages" / PACKAGE_ID
        assert (home / RECORD).read_text() == PACKAGE_ID
        commits = {commit.sha for commit in read_manifest(directory).commits}
        assert commits <= set(git(directory / "repo", "rev-list", "--all").split())
    for place in (home / "quarantine").glob("*"):
        assert json.loads((place / "quarantine.json").read_text())["findings"]
        assert (place / "package" / "manifest.json").is_file()

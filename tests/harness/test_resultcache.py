"""Stored test runs: what is kept, what is not, and what damage does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.canaries import CanaryResult
from harness.resultcache import ResultCache
from harness.results import Outcome, RunResult, TestResult

KEY = "ab" * 32
RUN = RunResult(
    tests={
        "t.py::test[a b\n\u00e9 PASSED]": TestResult("t.py::test[a b\n\u00e9 PASSED]", Outcome.FAILED, 0.25, "E  boom"),
        "t.py::ok": TestResult("t.py::ok", Outcome.PASSED, 0.5),
    },
    uncollectable={"u.py": "ImportError"}, completed=True, pytest_exit=1, returncode=0, timed_out=False, seconds=1.5,
    output="1 failed", canaries=(CanaryResult("t.py::test_x", "failed", "failed"),),
)  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path) -> ResultCache:
    """Return an empty cache."""
    return ResultCache(tmp_path / "results")


def test_a_run_comes_back_equal(cache: ResultCache) -> None:
    """Every field survives, ids with newlines included."""
    cache.put(KEY, RUN)
    assert cache.get(KEY) == RUN


def test_unknown_key_is_none(cache: ResultCache) -> None:
    """Nothing stored is nothing, not an error, even before the directory exists."""
    assert cache.get(KEY) is None


@pytest.mark.parametrize("incomplete", [replace(RUN, completed=False), replace(RUN, completed=False, timed_out=True),
                                        replace(RUN, completed=False, tampering="a canary was not run")])  # fmt: skip
def test_incomplete_runs_are_not_kept(cache: ResultCache, incomplete: RunResult) -> None:
    """A crash or a timeout may be the machine's fault, so it is run again."""
    cache.put(KEY, incomplete)
    assert cache.get(KEY) is None


@pytest.mark.parametrize(
    "damage",
    [lambda raw: raw[:-1], lambda raw: raw[:0], lambda raw: raw[:40], lambda raw: raw[:50] + b"!!" + raw[52:]],
    ids=["one byte short", "empty", "torn", "two bytes"],
)  # fmt: skip
def test_a_damaged_entry_is_no_entry_and_can_be_replaced(cache: ResultCache, damage: Callable[[bytes], bytes]) -> None:
    """Damage is noticed, not returned, and the next run repairs it."""
    cache.put(KEY, RUN)
    (path,) = [path for path in cache.root.rglob("*") if path.is_file()]
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get(KEY) is None
    cache.put(KEY, RUN)
    assert cache.get(KEY) == RUN


def test_nothing_but_entries_lies_in_the_directory(cache: ResultCache) -> None:
    """Writing the same key twice leaves one file and no temporary ones."""
    cache.put(KEY, RUN)
    cache.put(KEY, replace(RUN, seconds=9.0))
    assert [path.name for path in cache.root.rglob("*") if path.is_file()] == [KEY]
    stored = cache.get(KEY)
    assert stored is not None
    assert stored.seconds == 9.0


def test_a_write_that_fails_leaves_no_file_behind(cache: ResultCache) -> None:
    """What cannot be put into place is removed again."""
    (cache.root / KEY[:2] / KEY).mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        cache.put(KEY, RUN)
    assert [path for path in cache.root.rglob("*") if path.is_file()] == []


def test_readers_never_see_half_an_entry_of_a_writer(cache: ResultCache) -> None:
    """While another process rewrites an entry again and again, every read gets a whole one."""
    cache.put(KEY, RUN)
    code = (
        "import sys, dataclasses; from pathlib import Path; from harness.resultcache import ResultCache\n"
        "cache = ResultCache(Path(sys.argv[1])); run = cache.get(sys.argv[2])\n"
        "for number in range(300): cache.put(sys.argv[2], dataclasses.replace(run, seconds=float(number)))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(cache.root), KEY]) as writer:
        while writer.poll() is None:
            assert cache.get(KEY) is not None
    assert writer.returncode == 0

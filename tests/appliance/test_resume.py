"""Interrupted or out of room, a run stops in order, stores what is finished, and the same command goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.appliance.conftest import COMMITS, copy_home, start
from tests.kills import attempts, processes, wait_until_gone

ATTEMPTS = 12
WITHIN_S = 15
RUN = ("harness", "run", "--package", "abacus", "--answerer", "gold", "--attempts", str(ATTEMPTS), "--workers", "2",
       "--no-cache", "--json")  # fmt: skip


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_with_130_and_leaves_no_process(
    sent: signal.Signals, imported: Path, tmp_path: Path
) -> None:
    """Ctrl-C, or the SIGTERM of a supervisor, stops the workers and their sandboxes; what was stored stays."""
    home = copy_home(imported, tmp_path / "home")
    process = start(home, *RUN)
    deadline = time.monotonic() + WITHIN_S
    while not attempts(home):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (os.killpg if sent == signal.SIGINT else os.kill)(process.pid, sent)
    assert process.wait(WITHIN_S) == 130
    wait_until_gone(home)
    assert 0 < attempts(home) < COMMITS * ATTEMPTS


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("arguments", [RUN, ("ingest", "import")], ids=["run", "import"])
def test_a_pause_for_want_of_room_can_be_interrupted(
    arguments: tuple[str, ...], sent: signal.Signals, imported: Path, package: Path, tmp_path: Path
) -> None:
    """Below the reserve nothing starts, the reason is said, and an interrupt ends the waiting with 130."""
    home = copy_home(imported, tmp_path / "home")
    usage = shutil.disk_usage(home)
    reserve_gib = (usage.free + min(usage.used // 2, 1 << 30)) / (1 << 30)
    (home / "appliance.toml").write_text(
        (home / "appliance.toml").read_text() + f"[disk]\nreserve_gib = {reserve_gib}\n"
    )
    process = start(home, *arguments, *([str(package)] if arguments != RUN else []), stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.readline().decode()
    assert said.startswith("paused: "), said
    assert "GiB wanted; free space and work goes on by itself" in said
    os.kill(process.pid, sent)
    assert process.wait(WITHIN_S) == 130
    process.stderr.close()
    wait_until_gone(home)
    assert attempts(home) == 0
    assert processes(home) == []

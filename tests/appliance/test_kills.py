"""kill -9 at random moments of an import and of a run: old or new, never mixed, and the same end."""

from __future__ import annotations

import logging
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.appliance.conftest import command, copy_home, make_home
from tests.kills import attempts, finish, kill, packages, state
from tests.packages import PACKAGE_ID, only_commits, without_runs

SEED = 20_260_301
IMPORT_KILLS = {False: 16, True: 5}
"""Without a gate, more of them meet the few hundredths of a second that copying and moving take."""
RUN_KILLS = 20
IMPORT_SPAN = (0.3, 1.0)
RUN_SPAN = (0.1, 0.25)
"""The part of an undisturbed command that kills fall into."""
ATTEMPTS = 4
RUN = ("harness", "run", "--package", "abacus", "--answerer", "gold", "--attempts", str(ATTEMPTS), "--workers", "2",
       "--no-cache", "--json")  # fmt: skip


@pytest.mark.parametrize("gated", [False, True], ids=["no gate", "with the gate"])
def test_a_killed_import_is_there_whole_or_not_at_all(
    gated: bool, package: Path, templates: Any, tmp_path: Path
) -> None:
    """After each kill the list shows whole packages only; the same command then ends like an undisturbed one."""
    (only_commits(package, 1) if gated else without_runs(package)).resolve()
    arguments = ("ingest", "import", str(package), "--json")
    undisturbed = make_home(tmp_path / "undisturbed", templates.root)
    between_s = _timed(lambda: finish(undisturbed, arguments), IMPORT_SPAN)
    wanted = state(undisturbed)
    assert wanted["packages"] == [PACKAGE_ID]
    logging.getLogger(__name__).warning("seed %s", SEED)
    moments = random.Random(f"{SEED} {gated}")
    home = make_home(tmp_path / "home", templates.root)
    for _ in range(IMPORT_KILLS[gated]):
        kill(home, arguments, moments, between_s)
        if packages(home):
            assert state(home)["commits"] == wanted["commits"]
            shutil.rmtree(home)
            home = make_home(home, templates.root)
    last = finish(home, arguments)
    assert last.code in {0, 3}, last.err
    assert state(home) == wanted


def test_a_killed_run_ends_like_an_undisturbed_one(imported: Path, tmp_path: Path) -> None:
    """No attempt is lost, doubled or half stored, and no process survives."""
    undisturbed = copy_home(imported, tmp_path / "undisturbed")
    between_s = _timed(lambda: finish(undisturbed, RUN), RUN_SPAN)
    logging.getLogger(__name__).warning("seed %s", SEED)
    moments = random.Random(SEED)
    home = copy_home(imported, tmp_path / "home")
    stored = [0]
    for _ in range(RUN_KILLS):
        kill(home, RUN, moments, between_s)
        stored.append(attempts(home))
    assert stored == sorted(stored), "an attempt that was stored is gone"
    done = finish(home, RUN)
    assert (done.code, done.lines[-1]["summary"]["already_stored"]) == (0, stored[-1]), done.err
    assert state(home) == state(undisturbed)
    summary = finish(home, RUN).lines[-1]["summary"]
    assert (summary["new"], summary["already_stored"]) == (0, len(state(home)["attempts"]))
    assert command(home, "harness", "regrade", "--json").json["checked"] == len(state(home)["attempts"])


def _timed(command: Callable[[], object], span: tuple[float, float]) -> tuple[float, float]:
    """Return the seconds that a part of a command begins and ends at; another machine, other seconds."""
    started = time.monotonic()
    command()
    seconds = time.monotonic() - started
    return seconds * span[0], seconds * span[1]

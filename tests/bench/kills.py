"""kill -9 at very many moments: random ones of an import and of a run, and every system call of an import.

    python tests/bench/kills.py [--imports 200] [--runs 100] [--seed N]

After every kill the databases are whole, whatever is listed is there in whole, and no process is left; the same
command then ends like an undisturbed one. Prints one table; any deviation ends it with an AssertionError.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from harness.envs.template import TemplateStore, Wheels  # noqa: E402
from tests.appliance.conftest import copy_home, make_home  # noqa: E402
from tests.ingest.one_import import RECORD  # noqa: E402
from tests.ingest.test_power_cuts import files, killed_at, moments  # noqa: E402
from tests.kills import Kill, attempts, finish, kill, packages, state  # noqa: E402
from tests.packages import PACKAGE_ID, build_package, only_commits, without_runs  # noqa: E402

ATTEMPTS = 10
RUN = ("harness", "run", "--package", "abacus", "--answerer", "gold", "--attempts", str(ATTEMPTS), "--workers", "2",
       "--no-cache", "--json")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imports", type=int, default=200)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    options = parser.parse_args()
    print(f"seed {options.seed}\n\n| what was killed | kills | whole group | had ended | got through | seconds |")
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        bench = Bench(Path(scratch), random.Random(options.seed))
        bench.every_system_call()
        gated = options.imports // 5
        bench.imports(options.imports - gated, gated=False)
        bench.imports(gated, gated=True)
        bench.runs(options.runs)


class Bench:
    """Kills, all in one scratch directory."""

    def __init__(self, scratch: Path, moments_: random.Random) -> None:
        self.scratch, self.moments = scratch, moments_
        folder = ROOT / ".cache" / "test-wheels"
        digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.glob("*.whl"))}
        python = "{}.{}".format(*sys.version_info[:2])
        self.package = build_package(scratch / "good" / PACKAGE_ID, Wheels(folder, digests), python, scratch)
        self.environments = TemplateStore(scratch / "environments").root
        self.environments.mkdir()

    def copy(self, name: str) -> Path:
        """Return a copy of the package."""
        return Path(shutil.copytree(self.package, self.scratch / name / PACKAGE_ID))

    def every_system_call(self) -> None:
        """Kill an import as it enters each call that changes or syncs a directory or file."""
        started, strace = time.monotonic(), shutil.which("strace")
        if strace is None:
            print("| every system call of an import | strace is not installed | | | | |")
            return
        package = without_runs(self.copy("calls"))
        home, kills, through, wanted = self.scratch / "calls-home", 0, 0, None
        home.mkdir()
        for call, number in moments(strace, package, self.scratch):
            kills += killed_at(strace, call, number, home, package)
            if (home / RECORD).exists():
                through += 1
                wanted = wanted or files(home / "repo_packages")
                assert files(home / "repo_packages") == wanted
                shutil.rmtree(home)
                home.mkdir()
        row("every system call of an import", kills, "-", "-", through, started)

    def imports(self, number: int, *, gated: bool) -> None:
        """Kill imports at random moments, each meeting what the one before left."""
        started = time.monotonic()
        package = (only_commits if gated else _without_runs)(self.copy(f"gated-{gated}"), 1)
        arguments = ("ingest", "import", str(package), "--json")
        undisturbed = make_home(self.scratch / f"undisturbed-{gated}", self.environments)
        begun = time.monotonic()
        finish(undisturbed, arguments)
        between_s = span(time.monotonic() - begun, 0.2, 1.0)
        wanted, home, through = state(undisturbed), make_home(self.scratch / f"home-{gated}", self.environments), 0
        assert wanted["packages"] == [PACKAGE_ID]
        kills: list[Kill] = []
        for _ in range(number):
            kills.append(kill(home, arguments, self.moments, between_s))
            if packages(home):
                through += 1
                assert state(home)["commits"] == wanted["commits"]
                assert finish(home, arguments).code == 11
                shutil.rmtree(home)
                make_home(home, self.environments)
        finish(home, arguments)
        assert state(home) == wanted
        row(f"import, {'with' if gated else 'without'} the gate", *counts(kills), through, started)

    def runs(self, number: int) -> None:
        """Kill a run at random moments until all is stored, and begin anew."""
        started = time.monotonic()
        home = make_home(self.scratch / "run", self.environments)
        finish(home, ("ingest", "import", str(self.package), "--json"))
        undisturbed = copy_home(home, self.scratch / "run-undisturbed")
        begun = time.monotonic()
        finish(undisturbed, RUN)
        between_s = span(time.monotonic() - begun, 0.05, 0.25)
        wanted, kills, stored = state(undisturbed), [], 0
        for _ in range(number):
            kills.append(kill(home, RUN, self.moments, between_s))
            assert attempts(home) >= stored, "an attempt that was stored is gone"
            stored = attempts(home)
            if stored == len(wanted["attempts"]):
                assert state(home) == wanted
                for database in (home / "var").glob("raw.db*"):
                    database.unlink()
                stored = 0
        done = finish(home, RUN)
        assert done.lines[-1]["summary"]["already_stored"] == stored
        assert state(home) == wanted
        row(f"run of {len(wanted['attempts'])} attempts", *counts(kills), stored, started)


def span(seconds: float, start: float, end: float) -> tuple[float, float]:
    """Return the part of an undisturbed command that kills fall into, whatever else the machine does."""
    return seconds * start, seconds * end


def _without_runs(package: Path, _: int) -> Path:
    return without_runs(package)


def counts(kills: list[Kill]) -> tuple[int, int, int]:
    return len(kills), sum(kill.whole_group for kill in kills), sum(kill.ended for kill in kills)


def row(what: str, kills: int, group: object, ended: object, through: int, started: float) -> None:
    seconds = time.monotonic() - started
    print(f"| {what} | {kills} | {group} | {ended} | {through} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()

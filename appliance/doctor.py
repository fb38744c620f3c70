"""What is right and wrong with this machine and this appliance, one line each, with the next step.

Isolation is not looked up but tried (`harness.sandbox.selftest`). An item is ok; a warning, with
which work goes on; or it has failed, and untrusted code is not run until it is mended. Nothing is
changed: databases are opened read-only, nothing is created. It says nothing about packages and
evidence; `appliance status` and `harness regrade` do.
"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path

from appliance.errors import NoHome
from appliance.home import CONFIG_NAME, GIB, Home, find_home
from harness.envs.interpreters import find_interpreter
from harness.errors import Failure
from harness.sandbox.cgroup import Hierarchies, hierarchies
from harness.sandbox.command import bwrap_path
from harness.sandbox.identity import is_root
from harness.sandbox.process import own_uid_map
from harness.sandbox.selftest import Check, State, prove, require

EXIT_OK, EXIT_WARNINGS, EXIT_NOT_READY = 0, 3, 14
_PYTHONS = tuple(f"3.{minor}" for minor in range(8, 16))
_VERSION_TIMEOUT_S = 10
_CLOCK_SLACK_S = 86_400


class Level(StrEnum):
    """How an item stands."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Item:
    """One line of the report."""

    name: str
    level: Level
    detail: str
    next_step: str = ""


@dataclass(frozen=True)
class Report:
    """Everything that was looked at."""

    items: tuple[Item, ...]

    @property
    def exit_code(self) -> int:
        """0 when all is well, 3 with warnings, 14 when untrusted code is refused."""
        levels = {item.level for item in self.items}
        if Level.FAIL in levels:
            return EXIT_NOT_READY
        return EXIT_WARNINGS if Level.WARN in levels else EXIT_OK


def examine(start: Path | None = None) -> Report:
    """Look at everything; without a home, at the machine alone."""
    items = [*isolation(), *limits(hierarchies()), *machine(), *programs()]
    try:
        home = find_home(start)
    except NoHome as err:
        items.append(Item("home", Level.WARN, str(err), err.hint))
    except Failure as err:
        items.append(Item("home", Level.FAIL, str(err), err.hint))
    else:
        items += appliance(home)
    return Report(tuple(items))


def isolation() -> Iterator[Item]:
    """Say what became of each escape."""
    try:
        checks: Sequence[Check] = prove()
        step = ""
        try:
            require(checks)
        except Failure as err:
            step = err.hint
    except Failure as err:
        yield Item("isolation", Level.FAIL, str(err), err.hint)
        return
    for check in checks:
        if check.state is State.UNAVAILABLE:
            yield Item(
                f"isolation: {check.name}", Level.WARN, check.detail,
                "Run the appliance as a service with delegated control groups (Delegate=memory pids), or as root.",
            )  # fmt: skip
        else:
            level = Level.OK if check.state is State.PASSED else Level.FAIL
            next_step = step if level is Level.FAIL else ""
            yield Item(f"isolation: {check.name}", level, check.detail or "refused", next_step)


def limits(groups: Hierarchies) -> Iterator[Item]:
    """Say which limits hold for whom."""
    if groups.version:
        yield Item("control groups", Level.OK, f"{groups}: memory and processes are bounded per run")
    else:
        yield Item(
            "control groups", Level.WARN, f"{groups}: memory is bounded per process, the number of processes per run",
            "Give the service Delegate=memory pids, so that a test run cannot take more memory than the machine has.",
        )  # fmt: skip


def machine() -> Iterator[Item]:
    """Say who we are and on what, and whether the clock can be right."""
    root = is_root(os.geteuid(), own_uid_map())
    who = "root; untrusted code runs under uids of its own" if root else f"uid {os.geteuid()}; untrusted code shares it"
    yield Item("user", Level.OK, who)
    yield Item("kernel", Level.OK, f"{platform.system()} {platform.release()} {platform.machine()}")
    yield clock(time.time(), Path(__file__).stat().st_mtime)


def clock(now: float, known: float) -> Item:
    """Compare the clock with a time that has certainly passed."""
    shown = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if now + _CLOCK_SLACK_S >= known:
        return Item("clock", Level.OK, shown)
    before = datetime.fromtimestamp(known, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Item(
        "clock", Level.WARN, f"{shown} is before {before}, when a file of this appliance was written",
        "Set the clock; order never depends on it, but the times in the records do.",
    )  # fmt: skip


def programs() -> Iterator[Item]:
    """Say which of the programs that are needed are here."""
    yield _program("bwrap", bwrap_path, ["--version"], "apt-get install bubblewrap")
    yield _program("git", partial(_on_path, "git"), ["--version"], "apt-get install git")
    yield _program("prlimit", partial(_on_path, "prlimit"), ["--version"], "apt-get install util-linux")
    if os.geteuid() == 0:
        yield _program("setpriv", partial(_on_path, "setpriv"), ["--version"], "apt-get install util-linux")
    signing = "apt-get install openssh-client; without it no signature of a package can be checked"
    yield _program("ssh-keygen", partial(_on_path, "ssh-keygen"), [], signing, Level.WARN)
    yield _program("uv", _uv, ["--version"], "pip install uv, from the appliance's own wheels")
    yield _pythons()


def _on_path(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise FileNotFoundError(name)
    return found


def _uv() -> str:
    import uv  # noqa: PLC0415 - only the doctor and builds need the installer

    return uv.find_uv_bin()


def _program(
    name: str, find: Callable[[], str], version: Sequence[str], step: str, level: Level = Level.FAIL
) -> Item:  # fmt: skip
    try:
        path = find()
    except (OSError, ImportError, Failure):
        return Item(name, level, "not found", step)
    if not version:  # ssh-keygen has no way to say it
        return Item(name, Level.OK, path)
    try:
        done = subprocess.run([path, *version], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError) as err:
        return Item(name, level, f"{path} does not start: {err}", step)
    words = (done.stdout or done.stderr).strip().splitlines()[:1] or [f"status {done.returncode}"]
    if done.returncode != 0:
        return Item(name, level, f"{words[0]} ({path})", step)
    return Item(name, Level.OK, f"{words[0]} ({path})")


def _pythons() -> Item:
    found = []
    for minor in _PYTHONS:
        try:
            found.append(find_interpreter(minor).version)
        except Failure:
            continue
    own = "{}.{}.{}".format(*sys.version_info[:3])
    words = f"{', '.join(found) or 'none'} for packages; our own is {own}"
    if not found:
        return Item("python", Level.WARN, words, "Install a Python that packages are prepared for.")
    return Item("python", Level.OK, words)


def appliance(home: Home) -> Iterator[Item]:
    """Say how the home is: its disk, its databases, its times."""
    yield Item("home", Level.OK, str(home.root))
    yield disk(shutil.disk_usage(home.root).free, home.config.disk_reserve_gib)
    written = [home.root / CONFIG_NAME]
    for path in (home.curated_db, home.raw_db):
        yield database(path)
        written += [path] if path.exists() else []
    yield from _late(written)


def disk(free_bytes: int, reserve_gib: float) -> Item:
    """Compare the free space with the reserve."""
    free = f"{free_bytes / GIB:.1f} GiB free, {reserve_gib:g} GiB in reserve"
    if free_bytes >= reserve_gib * GIB:
        return Item("disk", Level.OK, free)
    return Item(
        "disk", Level.WARN, f"{free}: work stops until there is room",
        "Delete var/cache, or move var/quarantine to another medium; both are safe.",
    )  # fmt: skip


def database(path: Path) -> Item:
    """Open a database read-only and ask for its tables."""
    if not path.exists():
        return Item(path.name, Level.OK, "not there yet")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
    except sqlite3.Error as err:
        step = "Keep the file as it is; put back its last good copy with its -wal."
        return Item(path.name, Level.FAIL, f"{path}: {err}", step)
    return Item(path.name, Level.OK, f"{tables} tables, {path.stat().st_size / (1 << 20):.1f} MiB")


def _late(paths: Iterable[Path]) -> Iterator[Item]:
    item = clock(time.time(), max(path.stat().st_mtime for path in paths))
    if item.level is not Level.OK:
        yield item

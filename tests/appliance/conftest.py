"""Fixtures for the appliance: homes with real packages, and the command line in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.envs.template import TemplateStore, Wheels
from tests.packages import PACKAGE_ID, build_package

ROOT = Path(__file__).parent.parent.parent
MAIN = [sys.executable, "-c", "from appliance.cli.main import main; main()"]
LIMIT_S = 120
COMMITS = 3


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        [line] = self.out.splitlines()
        return json.loads(line)

    @property
    def lines(self) -> list[Any]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> Any:
        """The JSON error object, the last line on stderr."""
        return json.loads(self.err.splitlines()[-1])


def environ(**more: str) -> dict[str, str]:
    """Return the environment of a command: the packages importable, no home named."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"} | more


def command(home: Path, *arguments: str, prefix: Sequence[str] = (), **variables: str) -> Done:
    """Run `appliance` in a home and wait for it."""
    done = subprocess.run(
        [*prefix, *MAIN, *arguments], cwd=home, env=environ(**variables), capture_output=True, text=True,
        timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def start(home: Path, *arguments: str, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start `appliance` in a home, in a process group of its own, interruptible even if we are not."""
    return subprocess.Popen(
        [*MAIN, *arguments], cwd=home, env=environ(APPLIANCE_HOME=str(home)), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one thread here
    )  # fmt: skip


def make_home(root: Path, environments: Path) -> Path:
    """Make an empty home that uses the environments of the session."""
    (root / "var").mkdir(parents=True)
    (root / "appliance.toml").write_text('[harness]\nworkers = 2\n[trust]\nunsigned = "accept"\n')
    (root / "var" / "environments").symlink_to(environments)
    return root


def query(database: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with sqlite3.connect(database) as connection:
        rows = connection.execute(sql).fetchall()
    connection.close()
    return rows


def tables(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return the content of every table."""
    names = query(database, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return {name: query(database, f"SELECT * FROM {name} ORDER BY 1, 2") for (name,) in names}


@pytest.fixture(scope="session")
def good_package(tmp_path_factory: pytest.TempPathFactory, wheels: Wheels, this_python: str) -> Path:
    """Return a package that passes every check; tests copy it."""
    root = tmp_path_factory.mktemp("package")
    return build_package(root / PACKAGE_ID, wheels, this_python, root)


@pytest.fixture
def package(good_package: Path, tmp_path: Path) -> Path:
    """Return a copy of the good package that a test may damage."""
    return Path(shutil.copytree(good_package, tmp_path / "stick" / PACKAGE_ID))


@pytest.fixture(scope="session")
def import_report(
    tmp_path_factory: pytest.TempPathFactory, good_package: Path, templates: TemplateStore
) -> tuple[Path, Done]:
    """Return a home into which the good package was imported, and how that command ended."""
    home = make_home(tmp_path_factory.mktemp("imported"), templates.root)
    return home, command(home, "ingest", "import", str(good_package), "--json")


@pytest.fixture(scope="session")
def imported(import_report: tuple[Path, Done]) -> Path:
    """Return a home with one integrated package; tests only read it."""
    home, done = import_report
    assert done.code == 0, done.err
    return home


@pytest.fixture(scope="session")
def gold_run(tmp_path_factory: pytest.TempPathFactory, imported: Path) -> tuple[Path, Done, Path]:
    """Return a home with one gold attempt per commit, how the run ended, and its recording; only read."""
    home = copy_home(imported, tmp_path_factory.mktemp("gold") / "home")
    recording = home / "recording.jsonl"
    arguments = ("harness", "run", "--package", "abacus", "--answerer", "gold", "--record", str(recording), "--json")
    return home, command(home, *arguments), recording


@pytest.fixture
def new_home(tmp_path: Path, templates: TemplateStore) -> Path:
    """Return an empty home."""
    return make_home(tmp_path / "home", templates.root)


@pytest.fixture
def imported_copy(imported: Path, tmp_path: Path) -> Path:
    """Return a home with one integrated package that a test may change."""
    return copy_home(imported, tmp_path / "home")


@pytest.fixture
def gold_copy(gold_run: tuple[Path, Done, Path], tmp_path: Path) -> Path:
    """Return a home with gold attempts that a test may change."""
    return copy_home(gold_run[0], tmp_path / "home")


@pytest.fixture
def run() -> Callable[..., Done]:
    """Return the function that runs `appliance` in a home."""
    return command


def copy_home(source: Path, target: Path) -> Path:
    """Copy a home; its environments stay where they are."""
    return Path(shutil.copytree(source, target, symlinks=True))

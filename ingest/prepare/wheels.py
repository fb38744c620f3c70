"""The wheels behind the locks: each pin is fetched once and shared by every environment.

pip does the fetching, so that the operator's proxy and certificate settings apply, and it checks the
digests that the lock names. It is given the exact files that the resolver saw: looking each project
up again by name takes nine times as long, and stays as the second way. A distribution without a
wheel is built here, on the connected side, which runs its build backend; such pins are reported.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from harness.envs.interpreters import find_interpreter
from harness.errors import PythonMissing
from ingest.errors import DownloadFailed, ToolMissing
from ingest.prepare.imports import provided_modules
from ingest.prepare.locks import Pin

PIP_TIMEOUT_S = 900
DOWNLOADS_AT_ONCE = 4
CHUNK = 16
"""Pins per pip process: enough to spread its start-up, few enough to share the work."""


class WheelStore:
    """A folder of wheels by pin."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self.python = python
        self.built: list[str] = []
        """`name==version` of the pins that had no wheel and were built here."""
        self._files: dict[tuple[str, Version], Path] = {}
        self._failed: dict[tuple[str, Version], str] = {}
        self._modules: dict[str, frozenset[str]] = {}
        self._ranks = {tag: rank for rank, tag in enumerate(_tags(python))}
        folder.mkdir(parents=True, exist_ok=True)

    def fetch(self, pins: Iterable[Pin]) -> None:
        """Fetch every pin that is not here yet; what cannot be had is remembered for `paths`."""
        if importlib.util.find_spec("pip") is None:
            raise ToolMissing(f"pip is not installed for {sys.executable}", hint="uv pip install pip")
        wanted = {_key(pin): pin for pin in pins}
        missing = [pin for key, pin in wanted.items() if key not in self._files and key not in self._failed]
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            for problems in pool.map(self._download, _batches(missing)):
                self._failed.update(problems)
        self._index()

    def paths(self, pins: Iterable[Pin]) -> tuple[Path, ...]:
        """Return the wheel of each pin, in order; DownloadFailed names the first that is missing."""
        found = []
        for pin in pins:
            path = self._files.get(_key(pin))
            if path is None:
                why = self._failed.get(_key(pin), "it was not fetched")
                raise DownloadFailed(f"no wheel for {pin.name}=={pin.version}: {why}")
            found.append(path)
        return tuple(found)

    def modules(self, wheel: Path) -> frozenset[str]:
        """Return the top-level import names that a wheel of this store installs."""
        if wheel.name not in self._modules:
            self._modules[wheel.name] = provided_modules(wheel)
        return self._modules[wheel.name]

    def _download(self, pins: Sequence[Pin]) -> dict[tuple[str, Version], str]:
        """Download a batch; one by one when that fails, and by building when no wheel exists."""
        direct = [self._direct_line(pin) for pin in pins]
        if None not in direct and self._pip([line for line in direct if line], "download", *self._target()) is None:
            return {}
        failed: dict[tuple[str, Version], str] = {}
        for pin in pins:
            if self._pip([pin.line], "download", *self._target()) is None:
                continue
            problem = self._build(pin)
            if problem is None:
                self.built.append(f"{pin.name}=={pin.version}")
            else:
                failed[_key(pin)] = problem
        return failed

    def _target(self) -> tuple[str, ...]:
        return ("--only-binary", ":all:", "--python-version", self.python, "--implementation", "cp")

    def _direct_line(self, pin: Pin) -> str | None:
        """Return the line for the wheel that suits the interpreter best, None without one or its URL."""
        ranked = []
        for wheel in pin.wheels:
            ranks = [self._ranks[tag] for tag in parse_wheel_filename(wheel.filename)[3] if tag in self._ranks]
            if ranks:
                ranked.append((min(ranks), wheel))
        best = min(ranked)[1] if ranked else None
        return pin.line_at(best) if best is not None and best.url else None

    def _build(self, pin: Pin) -> str | None:
        try:
            interpreter = find_interpreter(self.python)
        except PythonMissing as err:
            return f"it has no wheel, and cannot be built: {err}"
        return self._pip([pin.line], "wheel", interpreter=str(interpreter.executable))

    def _pip(self, lines: Sequence[str], action: str, *options: str, interpreter: str | None = None) -> str | None:
        """Run pip on some pins; return its last words when it failed."""
        with tempfile.TemporaryDirectory(prefix="wheels-", dir=self.folder) as name:
            folder = Path(name)
            listing = folder / "requirements.txt"
            listing.write_text("".join(line + "\n" for line in lines), "utf-8")
            destination = ["--wheel-dir" if action == "wheel" else "--dest", str(folder)]
            chosen = [] if interpreter is None else ["--python", interpreter]
            command = [
                sys.executable, "-m", "pip", *chosen, action, "--quiet", "--no-deps", "--disable-pip-version-check",
                "--requirement", str(listing), *destination, *options,
            ]  # fmt: skip
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)
            except subprocess.TimeoutExpired:
                return f"pip did not end within {PIP_TIMEOUT_S} s"
            if done.returncode != 0:
                errors = [line for line in done.stderr.splitlines() if "ERROR" in line or "error" in line]
                return " ".join(" ".join(errors[-4:] or done.stderr.splitlines()[-4:]).split())[-400:]
            for wheel in folder.glob("*.whl"):
                wheel.replace(self.folder / wheel.name)
        return None

    def _index(self) -> None:
        for wheel in self.folder.glob("*.whl"):
            name, version, _, _ = parse_wheel_filename(wheel.name)
            self._files[(str(name), version)] = wheel


def _tags(python: str) -> list[Tag]:
    """Return the wheel tags of an interpreter of this minor version on this machine, best first."""
    version = tuple(int(part) for part in python.split("."))
    interpreter = f"cp{python.replace('.', '')}"
    return [*cpython_tags(version), *compatible_tags(version, interpreter)]


def _key(pin: Pin) -> tuple[str, Version]:
    return str(canonicalize_name(pin.name)), Version(pin.version)


def _batches(pins: Sequence[Pin]) -> list[list[Pin]]:
    """Cut pins into batches of `CHUNK` in which no name occurs twice: pip refuses that."""
    batches: list[list[Pin]] = []
    for pin in sorted(pins, key=lambda one: (one.name, one.version)):
        for batch in batches:
            if len(batch) < CHUNK and all(pin.name != other.name for other in batch):
                batch.append(pin)
                break
        else:
            batches.append([pin])
    return batches

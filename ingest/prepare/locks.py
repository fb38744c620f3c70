"""Dependency locks: exact versions with digests, as they were on a given day.

uv resolves against the operator's own index configuration. Commits are put into buckets of
`ERA_MONTHS`, so that neighbours share a lock: the one of the day of the newest among them, because a
release from after every one of them may break them all. A lock never reaches back before wheels for
the interpreter at hand existed, because nothing from before can run on it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ingest.errors import DownloadFailed, LockUnresolved, ToolMissing

ERA_MONTHS = 3
SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
UV_TIMEOUT_S = 300
WHEELS_FOLLOW = timedelta(days=180)
"""How long after its release most projects had wheels for a new interpreter."""
PYTHON_RELEASED = {
    "3.8": "2019-10-14", "3.9": "2020-10-05", "3.10": "2021-10-04", "3.11": "2022-10-24", "3.12": "2023-10-02",
    "3.13": "2024-10-07", "3.14": "2025-10-07",
}  # fmt: skip
_NO_NETWORK = re.compile(r"error sending request|failed to fetch|could not connect|dns error", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class Artifact:
    """One file that the index offers for a pin."""

    filename: str
    url: str
    """Where the resolver saw it; "" when it is not a URL."""
    sha256: str


@dataclass(frozen=True, order=True)
class Pin:
    """One distribution at one version."""

    name: str
    version: str
    wheels: tuple[Artifact, ...] = ()
    sdist: Artifact | None = None

    @property
    def line(self) -> str:
        """Return the pin as a line of a requirements file, with the digests of all its files."""
        files = [*self.wheels, *([self.sdist] if self.sdist else [])]
        return " ".join([f"{self.name}=={self.version}", *(f"--hash=sha256:{file.sha256}" for file in files)])

    def line_at(self, file: Artifact) -> str:
        """Return a line that fetches one file directly, which spares the index page of the project."""
        return f"{self.name} @ {file.url} --hash=sha256:{file.sha256}"


@dataclass(frozen=True)
class Locked:
    """A resolved set of requirements."""

    pins: tuple[Pin, ...]
    exclude_newer: str | None
    wheels_only: bool
    """False when distributions without a wheel were allowed; those have to be built."""


@dataclass(frozen=True)
class Era:
    """The day that a commit's dependencies are taken from."""

    bucket: str
    """Commits of one bucket may share a lock."""
    exclude_newer: str
    """First instant that is not seen any more, UTC: the end of the commit's day."""
    note: str = ""


def era(committed_at: str, python: str, now: datetime) -> Era:
    """Return the era of a commit, which is not before the interpreter was usable."""
    when = datetime.fromisoformat(committed_at).astimezone(UTC)
    end = datetime(when.year, when.month, when.day, tzinfo=UTC) + timedelta(days=1)
    floor = _usable_from(python)
    if end < floor:
        note = f"older than Python {python}: taken from the first months that had wheels for it"
        return Era("before", _stamp(floor), note)
    return Era(f"{when.year}-{(when.month - 1) // ERA_MONTHS}", _stamp(min(end, now)))


def applicable(requirements: Iterable[str], python: str) -> tuple[str, ...]:
    """Return the requirements whose markers hold for `python` here, markers kept, sorted."""
    environment = {key: str(value) for key, value in default_environment().items()}
    environment |= {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    kept = []
    for line in requirements:
        marker = Requirement(line).marker
        if marker is None or marker.evaluate(environment):
            kept.append(line)
    return tuple(sorted(kept))


def unbounded(requirements: Iterable[str]) -> tuple[str, ...]:
    """Return the requirements without their version bounds."""
    loose = []
    for line in requirements:
        requirement = Requirement(line)
        extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        loose.append(requirement.name + extras)
    return tuple(sorted(set(loose)))


class Resolver:
    """Asks uv for locks, once per distinct question; safe for use from several threads."""

    def __init__(self, python: str) -> None:
        self.python = python
        self._uv = find_uv()
        self._known: dict[tuple[tuple[str, ...], str | None, bool, bool], Locked | LockUnresolved] = {}
        self._lock = threading.Lock()
        self.asked = 0

    def resolve(
        self, requirements: Iterable[str], exclude_newer: str | None, *, wheels_only: bool = True,
        dependencies: bool = True,
    ) -> Locked:  # fmt: skip
        """Return the lock for a set of requirements; LockUnresolved quotes the resolver.

        Without `wheels_only`, uv may run the build backends of source distributions to learn what they
        require.
        """
        key = (tuple(sorted(requirements)), exclude_newer, wheels_only, dependencies)
        with self._lock:
            known = self._known.get(key)
        if known is None:
            known = self._ask(*key)
            with self._lock:
                self._known[key] = known
        if isinstance(known, LockUnresolved):
            raise LockUnresolved(str(known))
        return known

    def _ask(
        self, requirements: tuple[str, ...], exclude_newer: str | None, wheels_only: bool, dependencies: bool
    ) -> Locked | LockUnresolved:
        options = [] if exclude_newer is None else ["--exclude-newer", exclude_newer]
        options += ["--only-binary", ":all:"] if wheels_only else []
        options += [] if dependencies else ["--no-deps"]
        found = self._compile(requirements, options)
        if isinstance(found, str):
            return LockUnresolved(f"nothing satisfies {', '.join(requirements)[:300]}: {found}")
        return Locked(found, exclude_newer, wheels_only)

    def _compile(self, requirements: tuple[str, ...], options: list[str]) -> tuple[Pin, ...] | str:
        command = [
            self._uv, "pip", "compile", "-", "--quiet", "--no-header", "--format", "pylock.toml", "--python",
            sys.executable, "--python-version", self.python, *_trust(), *options,
        ]  # fmt: skip
        with self._lock:
            self.asked += 1
        with tempfile.TemporaryDirectory(prefix="lock-") as folder:  # no project configuration around
            text = "\n".join(requirements) + "\n"
            try:
                done = subprocess.run(
                    command, cwd=folder, input=text, text=True, capture_output=True, timeout=UV_TIMEOUT_S, check=False
                )
            except subprocess.TimeoutExpired:
                return f"uv did not end within {UV_TIMEOUT_S} s"
        if done.returncode != 0:
            words = " ".join(done.stderr.split())
            if _NO_NETWORK.search(words):  # not the fault of the requirements, and would reject every commit
                raise DownloadFailed(f"the package index cannot be reached: {words[-600:]}")
            return words[-600:]
        return parse_lock(done.stdout)


def _trust() -> list[str]:
    """Let uv trust whom the machine trusts, as pip does: an inspecting proxy has its certificate there."""
    return ["--system-certs"] if SYSTEM_CERTIFICATES.is_file() else []


def parse_lock(text: str) -> tuple[Pin, ...]:
    """Read a lock file in the standard format (PEP 751, pylock.toml)."""
    pins = []
    for package in tomllib.loads(text).get("packages", []):
        wheels = tuple(_artifact(file) for file in package.get("wheels", []))
        sdist = _artifact(package["sdist"]) if "sdist" in package else None
        pins.append(Pin(str(canonicalize_name(package["name"])), str(package["version"]), wheels, sdist))
    return tuple(sorted(pins, key=lambda pin: (pin.name, pin.version)))


def _artifact(file: Mapping[str, Any]) -> Artifact:
    url = str(file.get("url", ""))
    name = str(file.get("name") or unquote(urlsplit(url).path.rpartition("/")[2]))
    return Artifact(name, url if url.startswith(("https://", "http://")) else "", str(file["hashes"]["sha256"]))


def find_uv() -> str:
    """Return the path of the uv program; ToolMissing when its package is not installed."""
    try:
        from uv import find_uv_bin  # noqa: PLC0415 - only needed on the connected side

        return os.fspath(find_uv_bin())
    except (ImportError, FileNotFoundError) as err:
        raise ToolMissing("the resolver `uv` is not installed", hint="python -m pip install uv") from err


def _usable_from(python: str) -> datetime:
    released = PYTHON_RELEASED.get(python)
    if released is None:
        return datetime.min.replace(tzinfo=UTC)
    return datetime.fromisoformat(released).replace(tzinfo=UTC) + WHEELS_FOLLOW


def _stamp(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

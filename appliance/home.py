"""Where the state of one appliance lives, and its configuration.

Everything mutable is below the home: integrated packages, environments, databases, quarantine.
The home is the directory that holds appliance.toml; it is found, never guessed.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import BadConfig, NoHome

CONFIG_NAME = "appliance.toml"
GIB = 1 << 30


@dataclass(frozen=True)
class Config:
    """The settings of appliance.toml."""

    workers: int = 2
    """Attempts and gate runs at the same time."""
    gate_budget_s: float = 600.0
    """Sandbox seconds that the gold gate may spend on one commit."""
    environments_cap_gib: float = 20.0
    """Disk for template environments; the least recently used ones go first."""
    cache_cap_gib: float = 5.0
    """Disk for caches (project layers, index facts, test results); the least recently used go first."""
    disk_reserve_gib: float = 1.0
    """Free space that work stops short of; it goes on when there is room again."""
    unsigned: str = "refuse"
    """What becomes of packages without a signature; taking them has to be written down to happen."""


_SETTINGS: Mapping[tuple[str, str], tuple[str, type | tuple[str, ...]]] = {
    ("harness", "workers"): ("workers", int),
    ("harness", "gate_budget_s"): ("gate_budget_s", float),
    ("environments", "cap_gib"): ("environments_cap_gib", float),
    ("cache", "cap_gib"): ("cache_cap_gib", float),
    ("disk", "reserve_gib"): ("disk_reserve_gib", float),
    ("trust", "unsigned"): ("unsigned", ("refuse", "accept")),
}
"""Section and key to the field of `Config`, and what a value must be: a number, or one of some words."""


@dataclass(frozen=True)
class Home:
    """One appliance on disk."""

    root: Path
    config: Config

    @property
    def packages(self) -> Path:
        """Integrated packages, one directory each."""
        return self.root / "repo_packages"

    @property
    def var(self) -> Path:
        """Databases, caches, quarantine, environments."""
        return self.root / "var"

    @property
    def raw_db(self) -> Path:
        """Append-only evidence."""
        return self.var / "raw.db"

    @property
    def curated_db(self) -> Path:
        """Verified configuration."""
        return self.var / "curated.db"

    @property
    def environments(self) -> Path:
        """Template environments by content address."""
        return self.var / "environments"

    @property
    def environments_cap_bytes(self) -> int:
        """Disk that template environments may take."""
        return int(self.config.environments_cap_gib * GIB)

    @property
    def cache_cap_bytes(self) -> int:
        """Disk that caches may take."""
        return int(self.config.cache_cap_gib * GIB)

    @property
    def cache(self) -> Path:
        """Layers, index facts and test results by content address; may be deleted at any time."""
        return self.var / "cache"

    @property
    def incoming(self) -> Path:
        """Packages on their way in."""
        return self.var / "incoming"

    @property
    def allowed_signers(self) -> Path:
        """Keys whose signatures count here."""
        return self.root / "trust" / "allowed_signers"

    @property
    def revoked_keys(self) -> Path:
        """Keys whose signatures count no more; may be missing."""
        return self.root / "trust" / "revoked_keys"

    @property
    def watch_status(self) -> Path:
        """What `ingest watch` did last."""
        return self.var / "watch.json"

    @property
    def quarantine(self) -> Path:
        """Packages that were refused, with the reason."""
        return self.var / "quarantine"


def find_home(start: Path | None = None, environ: Mapping[str, str] | None = None) -> Home:
    """Return the home: APPLIANCE_HOME, or the nearest directory upward that holds appliance.toml."""
    named = (os.environ if environ is None else environ).get("APPLIANCE_HOME")
    if named:
        return open_home(Path(named))
    here = (start or Path.cwd()).resolve()
    for directory in (here, *here.parents):
        if (directory / CONFIG_NAME).is_file():
            return open_home(directory)
    raise NoHome(f"no {CONFIG_NAME} in {here} or above it")


def open_home(root: Path) -> Home:
    """Return the home at `root`, with its configuration checked."""
    path = root / CONFIG_NAME
    if not path.is_file():
        raise NoHome(f"{root} holds no {CONFIG_NAME}")
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise BadConfig(f"{path} is not TOML: {err}") from err
    return Home(root.resolve(), read_config(document, path))


def read_config(document: Mapping[str, Any], path: Path) -> Config:
    """Check a configuration document; all problems are reported at once."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for section, table in document.items():
        if not isinstance(table, dict):
            problems.append(f"{section!r} is not a table")
            continue
        for key, value in table.items():
            setting = _SETTINGS.get((section, key))
            if setting is None:
                problems.append(f"unknown setting {section}.{key}")
                continue
            name, kind = setting
            wanted = _unmet(value, kind)
            if wanted:
                problems.append(f"{section}.{key} must be {wanted}, found {value!r}")
            else:
                values[name] = value if isinstance(kind, tuple) else kind(value)
    if problems:
        raise BadConfig(f"{path}: " + "; ".join(problems))
    return Config(**values)


def _unmet(value: object, kind: type | tuple[str, ...]) -> str:
    """Return what a value had to be and is not, "" when it is."""
    if isinstance(kind, tuple):
        return "" if value in kind else " or ".join(f'"{word}"' for word in kind)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return "a whole number" if kind is int else "a number"
    if kind is int and value != int(value):
        return "a whole number"
    return "" if value > 0 else "above 0"

"""Fixtures for imports: one good package, copies of it, and shelves with a record that is a list."""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from harness.envs.template import TemplateStore, Wheels
from harness.goldgate import GateReport
from harness.manifest import Manifest, manifest_bytes
from ingest.importer import ImportReport, Shelves, import_package
from ingest.policy import Policy, UnsignedPackages
from tests.packages import PACKAGE_ID, build_package


@dataclass
class Desk:
    """Shelves of an appliance without its database: what is integrated is kept in memory."""

    root: Path
    environments: Path
    executor: Executor
    records: list[tuple[Manifest, tuple[GateReport, ...]]] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)
    policy: Policy = field(default_factory=lambda: Policy(unsigned=UnsignedPackages.ACCEPT))

    @property
    def shelves(self) -> Shelves:
        """The shelves that the importer works with."""
        return Shelves(
            packages=self.root / "repo_packages", incoming=self.root / "incoming", quarantine=self.root / "quarantine",
            environments=self.environments, cache=self.root / "cache", environments_cap_bytes=20 << 30,
            latest_sequence=self.latest_sequence, integrate=self.integrate,
            policy=replace(self.policy, integrated=self.integrated),
        )  # fmt: skip

    def latest_sequence(self, name: str) -> int:
        """Return the highest integrated sequence of a package name; 0 when there is none."""
        return max((manifest.sequence for manifest, _ in self.records if manifest.name == name), default=0)

    def integrated(self, name: str) -> dict[int, str]:
        """Return the integrated sequences of a package name, each with the digest of its manifest."""
        mine = [manifest for manifest, _ in self.records if manifest.name == name]
        return {manifest.sequence: hashlib.sha256(manifest_bytes(manifest)).hexdigest() for manifest in mine}

    def integrate(self, manifest: Manifest, reports: Sequence[GateReport]) -> None:
        """Keep a package as integrated."""
        self.records.append((manifest, tuple(reports)))

    def bring(self, package: Path, *, dry_run: bool = False) -> ImportReport:
        """Import a package directory."""
        return import_package(
            package, self.shelves, self.executor, gate_budget_s=300, progress=self.progress.append, dry_run=dry_run
        )

    def shelved(self) -> list[str]:
        """Return the names of the packages whose files are in place."""
        return sorted(path.name for path in (self.root / "repo_packages").glob("*"))


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
def gate_workers() -> Iterator[Executor]:
    """Return worker processes for the gold gate that the whole session shares."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.fixture
def desk(tmp_path: Path, templates: TemplateStore, gate_workers: Executor) -> Desk:
    """Return empty shelves; environments and workers are those of the whole session."""
    return Desk(tmp_path / "home", templates.root, gate_workers)


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, bytes]]:
    """Return a function that reads every file below a directory."""
    return lambda root: {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }

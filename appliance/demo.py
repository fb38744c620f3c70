"""The demo: four sample libraries go the whole way; unsigned, altered and damaged packages are refused.

Everything is the product's own code on real git histories, real wheels, real signatures and real test
runs; nothing is canned. The demo has a home and a signing key of its own, so it never touches an
appliance in use and trusts nobody else.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import ApplianceError, NotFound
from appliance.home import CONFIG_NAME, Home, open_home
from appliance.intake import import_into
from appliance.pool import worker_pool
from appliance.reserve import Reserve
from appliance.runs import RunOptions, plan_jobs, run_attempts
from appliance.store.curated import CuratedStore
from appliance.store.raw import RawStore
from harness.answerers.routes import make_routes
from harness.manifest import MANIFEST_NAME, SIGNATURE_NAME
from ingest.importer import ImportReport
from ingest.prepare.options import PrepareOptions
from ingest.prepare.prepare import prepare
from ingest.prepare.trial import prove_in_sandbox
from ingest.samples import build_sample, load_sample, sample_names
from ingest.seal import sign_package
from ingest.signing import NAMESPACE, make_key

MARKER = ".demo"


def remove_signature(package: Path) -> None:
    """Leave a package without its signature."""
    (package / SIGNATURE_NAME).unlink()


def alter_manifest(package: Path) -> None:
    """Change one character of a manifest: the task of its first commit reads differently."""
    manifest = package / MANIFEST_NAME
    manifest.write_bytes(manifest.read_bytes().replace(b'"task": "', b'"task": "x', 1))


def damage(package: Path) -> None:
    """Flip one bit in the smallest wheel of a package."""
    wheel = min((package / "packages").glob("*.whl"), key=lambda path: path.stat().st_size)
    data = bytearray(wheel.read_bytes())
    data[len(data) // 2] ^= 1
    wheel.write_bytes(data)


class NotADemo(ApplianceError):
    """The directory for the demo holds something else."""

    code = "NOT_A_DEMO"
    exit_code = 2
    hint = "Name an empty or new directory with --home."


class Demo:
    """One run of the demo."""

    def __init__(
        self, home: Path, samples: Path, workers: int, *, tell: Callable[[str], None], progress: Callable[[str], None]
    ) -> None:
        self.root, self.samples, self.workers = home, samples, workers
        self.tell, self.progress = tell, progress
        self.steps = 0
        self.key = home / "connected" / "key"

    def run(self) -> bool:
        """Run the demo; return whether everything came out as it must."""
        started = time.monotonic()
        home = self.new_home()
        names = sample_names(self.samples) if self.samples.is_dir() else ()
        if not names:
            raise NotFound(f"{self.samples} holds no samples", hint="Run the demo in the checkout, or name --samples.")
        with self.step("Sample libraries become git repositories, and those become repo packages (connected side)"):
            packages = [self.prepare(name) for name in names]
        with self.step("Packages arrive unsigned, with an altered manifest, and with one changed byte in a wheel"):
            refused = [self.refuse(home, packages[0], harm) for harm in (remove_signature, alter_manifest, damage)]
        with self.step("The intact, signed packages arrive; every commit has to pass the gold gate"):
            for package in packages:
                self.import_(home, package)
        with self.step("Gold: the true solutions go through the pipeline; each must be RESOLVED"):
            gold = self.attempt(home, "gold")
        with self.step("Lexical: a planner without weights plans, gold writes the code it is asked for"):
            lexical = self.attempt(home, "lexical")
        fine = all(refused) and set(gold) == {"RESOLVED"} and bool(lexical)
        self.conclude(home, gold, lexical, time.monotonic() - started)
        return fine

    def new_home(self) -> Home:
        """Make the demo's home anew; refuse a directory that is not a demo's."""
        if self.root.exists():
            if any(self.root.iterdir()) and not (self.root / MARKER).is_file():
                raise NotADemo(f"{self.root} is not empty and was not made by the demo")
            shutil.rmtree(self.root)
        self.root.mkdir(parents=True)
        (self.root / MARKER).touch()
        (self.root / CONFIG_NAME).write_text(f'[harness]\nworkers = {self.workers}\n[trust]\nunsigned = "refuse"\n')
        home = open_home(self.root)
        home.allowed_signers.parent.mkdir()
        self.key.parent.mkdir()
        public = make_key(self.key)
        home.allowed_signers.write_text(f'demo namespaces="{NAMESPACE}" {public}\n')
        return home

    def prepare(self, name: str) -> Path:
        """Build a sample's history and prepare its package."""
        sample = load_sample(self.samples / name)
        repository = build_sample(self.samples / name, self.root / "connected" / name)
        options = PrepareOptions(
            source=str(repository), out=self.root / "usb", name=name, organisation=sample.organisation,
            domain=sample.domain, license=sample.license,
        )  # fmt: skip
        report = prepare(
            options,
            progress=self.progress,
            prove=lambda package, manifest: prove_in_sandbox(package, manifest, self.progress),
        )
        sign_package(report.package, self.key)
        left_out = {row.reason: row.count for row in report.rows if row.reason != "selected"}
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        self.tell(
            f"  {name} ({sample.domain}): {report.commits_seen} commits, {len(report.manifest.commits)} chosen, "
            f"left out: {reasons or 'none'}"
        )
        return report.package

    def refuse(self, home: Home, package: Path, harm: Callable[[Path], None]) -> bool:
        """Do harm to a copy of a package and import it; return whether it was refused."""
        harmed = self.root / f"usb-{harm.__name__}" / package.name
        shutil.copytree(package, harmed)
        harm(harmed)
        report = self.import_dir(home, harmed)
        for finding in report.findings:
            self.tell(f"  REFUSED: {finding.code} in {finding.file}")
            self.tell(f"  next step for the operator: {finding.next_step}")
        return report.state == "quarantined"

    def import_(self, home: Home, package: Path) -> None:
        """Import one package and say what the gate found."""
        report = self.import_dir(home, package)
        rejected = ", ".join(f"{number} {reason}" for reason, number in report.reasons().items()) or "none"
        self.tell(
            f"  {report.package}: {report.validated} of {len(report.gates)} commits validated, rejected: {rejected}"
        )

    def import_dir(self, home: Home, package: Path) -> ImportReport:
        """Import a package directory into the demo's home."""
        return import_into(
            home, package, workers=self.workers, gate_budget_s=None, dry_run=False, progress=self.progress
        )

    def attempt(self, home: Home, answerer: str) -> Counter[str]:
        """Attempt every validated commit of every package once."""
        curated, raw = CuratedStore(home.curated_db), RawStore(home.raw_db)
        total: Counter[str] = Counter()
        answerers = make_routes(answerer, {}, None)
        room = Reserve.of(home, self.progress)
        with worker_pool(self.workers) as pool:
            for package in curated.package_ids():
                options = RunOptions(package, answerers, None, 1, self.workers, 0, 0.0, use_cache=False)
                verdicts: Counter[str] = Counter()
                jobs = plan_jobs(home, curated, options)
                for _, attempt_id in run_attempts(jobs, raw, pool, self.workers, room=room):
                    verdicts[raw.headline(attempt_id)["verdict"]] += 1
                    self.progress(f"{package}: {sum(verdicts.values())} attempts")
                counts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items()))
                self.tell(f"  {package}: {counts}")
                total += verdicts
        return total

    def conclude(self, home: Home, gold: Counter[str], lexical: Counter[str], seconds: float) -> None:
        """Say what it all means and where to look."""
        self.tell("")
        self.tell(f"In {seconds:.0f} s: gold solved {gold['RESOLVED']} of {sum(gold.values())} commits;")
        self.tell(
            f"the planner without weights {lexical['RESOLVED']} of {sum(lexical.values())}. What it misses is what "
            "a trained model is for."
        )
        self.tell(f"All evidence is in {home.raw_db}. Look around:")
        self.tell(f"  export APPLIANCE_HOME={home.root}")
        self.tell("  .venv/bin/appliance status")
        self.tell("  .venv/bin/appliance harness show 1")

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce one step of the story."""
        self.steps += 1
        self.tell(f"\n{self.steps}. {title}")
        yield

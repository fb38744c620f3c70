"""`package prepare`: from a git repository to a repo package, on the connected side.

The order is: clone, choose commits, read what they need, lock and fetch wheels, prove the
environments, write. A proof that says an environment does not work at all sends it on to the newest
lock, then to one without version bounds. Nothing appears under its final name before all of it is
there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from packaging.utils import canonicalize_name

from harness.git import GitRepo
from harness.manifest import Commit, Environment, Manifest
from ingest.errors import NothingSelected, PackageExists
from ingest.prepare.clone import Clone, clone
from ingest.prepare.commits import CommitRules, Rejected, Selection, select
from ingest.prepare.environments import NEWEST, Built, EnvironmentBuilder
from ingest.prepare.locks import Resolver
from ingest.prepare.needs import gather
from ingest.prepare.options import PrepareOptions, check_options
from ingest.prepare.proof import EnvironmentProof, Prove, check_start
from ingest.prepare.pyproject import parse_toml
from ingest.prepare.report import PrepareReport, yield_table
from ingest.prepare.requirements import read_declared
from ingest.prepare.wheels import WheelStore
from ingest.prepare.write import file_entries, next_sequence, publish, put_wheels, unfinished


@dataclass
class _Clock:
    """Seconds by phase."""

    progress: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure one phase and say that it ended."""
        start = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start
        self.progress(f"{name}: {self.seconds[name]:.1f} s")


def prepare(options: PrepareOptions, *, progress: Callable[[str], None], prove: Prove | None = None) -> PrepareReport:
    """Write the repo package of a repository and report on it.

    `progress` receives one line at a time. `prove` runs tests in the environments of a package that
    is not finished yet (see `ingest.prepare.proof`); without it, only the start of pytest is proved.
    """
    check_options(options)
    clock = _Clock(progress)
    with unfinished(options.out, _expected_id(options)) as scratch:
        package = scratch / "package"
        package.mkdir()
        with clock.phase("clone"):
            cloned = clone(options.source, package / "repo")
        manifest = _identify(options, cloned)
        with clock.phase("select commits"):
            rules = CommitRules(options.max_source_files, options.max_lines, options.since, options.limit)
            selection = select(cloned.path, cloned.head, rules)
        if not selection.selected:
            raise NothingSelected(f"none of {selection.seen} commits qualifies: {_table(selection)}")
        if options.dry_run:
            chosen = replace(manifest, commits=selection.selected)
            return _report(options, chosen, selection, selection.rejected, clock)
        with clock.phase("read requirements"), GitRepo(cloned.path) as repo:
            needs = gather(
                repo, selection.selected, python=options.python, extra=options.requirements,
                now=datetime.now(UTC), progress=progress,
            )  # fmt: skip
        resolver = Resolver(options.python)
        store = WheelStore(scratch / "wheels", options.python)
        builder = EnvironmentBuilder(resolver, store, progress)
        with clock.phase("lock and fetch wheels"):
            outcome = builder.build(needs)
        manifest = _assemble(package, manifest, selection, outcome.built)
        with clock.phase("prove"):
            proofs = {proof.id: proof for proof in (prove or check_start)(package, manifest).environments}
        with clock.phase("fall back to newest locks"):
            built = outcome.built
            while again := _fall_back(builder, built, proofs):
                replaced = {one.need.shas for one in again}
                built = (*(one for one in built if one.need.shas not in replaced), *again)
                manifest = _assemble(package, manifest, selection, built)
                unproved = {one.environment.id for one in again} - proofs.keys()
                second = (prove or check_start)(package, _only(manifest, unproved))
                proofs |= {proof.id: proof for proof in second.environments}
        rejected = [*selection.rejected, *_without_environment(selection, manifest)]
        if not manifest.commits:
            raise NothingSelected(f"no environment could be made: {outcome.unresolved[0][1]}")
        with clock.phase("write"):
            manifest = replace(manifest, files=file_entries(package))
            target = publish(package, manifest, options.out)
    return replace(
        _report(options, manifest, selection, rejected, clock),
        package=target,
        proofs=tuple(proofs[env.id] for env in manifest.environments if env.id in proofs),
        dropped_requirements=tuple(sorted({line for need in needs for line in need.dropped})),
        built_wheels=tuple(sorted(store.built)),
        locks_asked=resolver.asked,
    )


def _report(
    options: PrepareOptions, manifest: Manifest, selection: Selection, rejected: Iterable[Rejected], clock: _Clock
) -> PrepareReport:
    """Return the report of what is known before anything was locked, fetched or proved."""
    return PrepareReport(
        package=options.out / manifest.package_id,
        manifest=manifest,
        commits_seen=selection.seen,
        rows=yield_table([(c.sha, c.task.partition("\n")[0]) for c in manifest.commits], rejected),
        proofs=(),
        dropped_requirements=(),
        built_wheels=(),
        locks_asked=0,
        repo_bytes=_bytes(manifest, "repo/"),
        packages_bytes=_bytes(manifest, "packages/"),
        seconds=clock.seconds,
    )


def _expected_id(options: PrepareOptions) -> str:
    return f"{options.name}-{options.sequence}" if options.name and options.sequence else "package"


def _identify(options: PrepareOptions, cloned: Clone) -> Manifest:
    """Return a manifest with everything but commits, environments and files."""
    with GitRepo(cloned.path) as repo:
        tree = repo.tree(cloned.head)
        declared = read_declared(tree)
        text = tree.read("pyproject.toml").decode("utf-8", "replace") if "pyproject.toml" in tree else ""
    name = options.name or declared.project or _name_of(options.source)
    sequence = options.sequence or next_sequence(options.out, name)
    manifest = Manifest(
        name=name,
        sequence=sequence,
        upstream=cloned.upstream,
        license=options.license or _declared_license(text),
        organisation=options.organisation,
        domain=options.domain,
        head=cloned.head,
        files={},
        environments=(),
        test_command=options.test_command,
        test_scope=options.test_scope,
        commits=(),
    )
    if (options.out / manifest.package_id).exists():
        raise PackageExists(f"{options.out / manifest.package_id} is already there")
    return manifest


def _name_of(source: str) -> str:
    last = source.rstrip("/").removesuffix(".git").rstrip("/").replace(":", "/").rpartition("/")[2]
    return str(canonicalize_name(re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-.") or "repository"))


def _declared_license(pyproject: str) -> str:
    project = parse_toml(pyproject).get("project", {})
    declared = project.get("license", "")
    if isinstance(declared, dict):
        declared = declared.get("text", "")
    if isinstance(declared, str) and declared and "\n" not in declared:
        return declared[:200]
    prefix = "License :: OSI Approved :: "
    return next((line.removeprefix(prefix) for line in project.get("classifiers", []) if line.startswith(prefix)), "")


def _assemble(package: Path, manifest: Manifest, selection: Selection, built: Iterable[Built]) -> Manifest:
    """Put the wheels in place and return the manifest with commits and environments, files included."""
    environments: dict[str, Environment] = {}
    owner: dict[str, str] = {}
    wheels: dict[str, Path] = {}
    for one in built:
        known = environments.get(one.environment.id)
        environments[one.environment.id] = one.environment if known is None else _merged(known, one.environment)
        owner |= dict.fromkeys(one.need.shas, one.environment.id)
        wheels |= {wheel.name: wheel for wheel in one.wheels}
    put_wheels(package, wheels.values())
    commits = tuple(replace(c, environment=owner[c.sha]) for c in selection.selected if c.sha in owner)
    return replace(manifest, environments=tuple(environments.values()), commits=commits, files=file_entries(package))


def _merged(first: Environment, second: Environment) -> Environment:
    """Join two needs that ended in the same wheels; the first is the newer one."""
    modules = tuple(sorted({*first.undeclared_imports, *second.undeclared_imports}))
    return replace(first, undeclared_imports=modules)


def _fall_back(
    builder: EnvironmentBuilder, built: Iterable[Built], proofs: Mapping[str, EnvironmentProof]
) -> tuple[Built, ...]:
    """Return a replacement for each environment that was proved not to work, where the ladder goes on."""
    again: list[Built] = []
    for one in built:
        proof = proofs.get(one.environment.id)
        if proof is None or proof.ok:
            continue
        ladder = NEWEST[NEWEST.index(one.step) + 1 :] if one.step in NEWEST else NEWEST
        note = f"an earlier lock did not work: {proof.note or 'no test could be run'}"
        for at in range(len(ladder)):  # a rung with the same wheels would fail in the same way
            found = builder.build([one.need], ladder=ladder[at : at + 1], note=note).built
            if found and set(found[0].wheels) != set(one.wheels):
                again += found
                break
    return tuple(again)


def _only(manifest: Manifest, ids: set[str]) -> Manifest:
    return replace(
        manifest,
        environments=tuple(env for env in manifest.environments if env.id in ids),
        commits=tuple(commit for commit in manifest.commits if commit.environment in ids),
    )


def _without_environment(selection: Selection, manifest: Manifest) -> list[Rejected]:
    there = {commit.sha for commit in manifest.commits}
    return [_unresolvable(commit) for commit in selection.selected if commit.sha not in there]


def _unresolvable(commit: Commit) -> Rejected:
    return Rejected(commit.sha, commit.task.partition("\n")[0][:120], "env_unresolvable")


def _table(selection: Selection) -> str:
    return ", ".join(f"{row.count} {row.reason}" for row in yield_table([], selection.rejected))


def _bytes(manifest: Manifest, prefix: str) -> int:
    return sum(entry.bytes for path, entry in manifest.files.items() if path.startswith(prefix))

"""What is needed to run tests of one integrated package on this machine.

Opened once per process and kept: the git reader, the template environments, the project layers,
the index cache and the result cache all pay off from the second commit on.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.case import Case, load_case
from harness.envs.layer import Layer, LayerStore
from harness.envs.template import Template, TemplateStore, Wheels
from harness.gate import attempt_limit_s
from harness.git import GitRepo
from harness.index.facts import FactsCache
from harness.index.repo import RepoIndex
from harness.manifest import MANIFEST_NAME, Commit, Environment, Manifest, parse_manifest
from harness.paths import is_test_module
from harness.resultcache import ResultCache
from harness.results import RunResult
from harness.sandbox.limits import Limits
from harness.shadow import forged_layer, import_roots, shadowing, taken_names
from harness.testrun import TestCommand, TestRequest, parse_test_command, run_tests
from harness.tree import Tree, changed_paths

OPEN_WORKBENCHES = 4
FURTHER_LIMIT_S = 120.0


@dataclass(frozen=True)
class Places:
    """Where things lie on this machine."""

    package: Path
    """Directory with manifest.json, repo/ (our own bare repository) and packages/."""
    environments: Path
    cache: Path
    environments_cap_bytes: int = 20 << 30
    """Disk that template environments may take; the least recently used go first."""


@dataclass(frozen=True)
class Further:
    """Test files beyond those of the commit, and what has to pass in them."""

    files: tuple[str, ...]
    p2p: frozenset[str]
    limit_s: float
    """Time to add to the limit of the attempt."""


@dataclass
class Workbench:
    """One package, ready to run tests."""

    places: Places
    manifest: Manifest
    repo: GitRepo
    templates: TemplateStore
    layers: LayerStore
    results: ResultCache
    facts: FactsCache = field(default_factory=FactsCache)
    use_cache: bool = True

    @property
    def command(self) -> TestCommand:
        """The declared test command, taken apart."""
        return parse_test_command(self.manifest.test_command)

    def case(self, commit: Commit) -> Case:
        """Return both trees of a commit."""
        return load_case(self.repo, commit, self.facts)

    def index(self, tree: Tree) -> RepoIndex:
        """Return the index of a tree; modules that were seen before are not analysed again."""
        return RepoIndex.build(tree, self.facts)

    def template(self, environment: Environment) -> Template:
        """Return the template of an environment, building it if need be."""
        digests = {wheel: self.manifest.wheel_sha256(wheel) for wheel in environment.wheels}
        return self.templates.get(environment, Wheels(self.places.package / "packages", digests))

    def test_files(self, case: Case) -> tuple[str, ...]:
        """Return the test files to run for a commit; empty means the declared suite."""
        if self.manifest.test_scope == "suite":
            return ()
        gold = case.gold_graded
        touched = [path for path in case.changed if is_test_module(path) and path in gold]
        return tuple(sorted({*touched, *self.index(gold).affected_tests(case.changed)}))

    def further(self, case: Case, candidate: Tree, files: tuple[str, ...]) -> Further:
        """Return what a candidate's edits reach beyond the commit's own test files.

        What passes there on gold and on the parent has to pass on the candidate, too.
        """
        if not files:  # the whole suite is run already
            return Further((), frozenset(), 0.0)
        edited = changed_paths(case.parent, candidate)
        more = set(self.index(case.graded(candidate)).affected_tests(edited)) - set(files)
        reached = tuple(sorted(path for path in more if path in case.gold_graded))
        if not reached:
            return Further((), frozenset(), 0.0)
        trees = (case.gold_graded, case.parent_graded)
        runs = [self.run(self.request(case, tree, reached, FURTHER_LIMIT_S))[0] for tree in trees]
        if not all(run.completed for run in runs):
            return Further((), frozenset(), 0.0)
        passing = frozenset.intersection(*(run.passed for run in runs))
        return Further(reached, passing, attempt_limit_s(runs[0].seconds))

    def shadow(self, case: Case, candidate: Tree, request: TestRequest) -> str | None:
        """Return a path by which a candidate takes the import name of something that tests rely on, or None."""
        site_packages = (request.template.directory / "venv").glob("lib/python*/site-packages")
        own = {*case.parent, *case.gold}
        tests = request.files or [path for path in case.gold_graded if is_test_module(path)]
        roots = import_roots(case.gold_graded, request.layer.roots, tests)
        gold = self.layer(case, case.gold_graded)
        brought = {*candidate, *request.layer.generated}
        found = shadowing(brought, {*own, *gold.generated}, roots, taken_names(site_packages))
        return found or forged_layer(request.layer, gold)

    def layer(self, case: Case, tree: Tree) -> Layer:
        """Return the project layer for a tree of a commit."""
        environment = self.manifest.environment(case.commit.environment)
        return self.layers.get(self.template(environment), tree, environment.env)

    def request(self, case: Case, tree: Tree, files: tuple[str, ...], limit_s: float) -> TestRequest:
        """Return the test request for a tree of a commit."""
        environment = self.manifest.environment(case.commit.environment)
        template = self.template(environment)
        layer = self.layer(case, tree)
        limits = Limits(wall_s=limit_s)
        return TestRequest(tree, template, layer, self.command, files, environment.env, limits)

    def run(self, request: TestRequest) -> tuple[RunResult, bool]:
        """Run tests, or return the stored result of the very same request; True when it was stored."""
        stored = self.results.get(request.key) if self.use_cache else None
        if stored is not None:
            return stored, True
        run = run_tests(request)
        self.results.put(request.key, run)
        return run, False

    def run_fresh(self, request: TestRequest, *, shuffle: int | None = None) -> RunResult:
        """Run tests in a fresh sandbox whatever is stored."""
        request = replace(request, shuffle=shuffle)
        run = run_tests(request)
        if self.results.get(request.key) is None:  # the first run of a tree stands for it, repeats do not
            self.results.put(request.key, run)
        return run


_open: OrderedDict[Places, Workbench] = OrderedDict()
"""The workbenches of this process, least recently used first."""


def open_workbench(places: Places) -> Workbench:
    """Return the workbench for these places; the last few are kept open."""
    if places not in _open:
        while len(_open) >= OPEN_WORKBENCHES:
            _open.popitem(last=False)[1].repo.close()
        _open[places] = _new_workbench(places)
    _open.move_to_end(places)
    return _open[places]


def _new_workbench(places: Places) -> Workbench:
    manifest = parse_manifest((places.package / MANIFEST_NAME).read_bytes())
    return Workbench(
        places=places,
        manifest=manifest,
        repo=GitRepo(places.package / "repo"),
        templates=TemplateStore(places.environments, cap_bytes=places.environments_cap_bytes),
        layers=LayerStore(places.cache / "layers"),
        results=ResultCache(places.cache / "results"),
        facts=FactsCache(directory=places.cache / "index"),
    )

"""The proof run: the declared tests, once per environment, exactly as the appliance will run them.

Uses the harness itself (template environment, project layer, sandbox, result pipe), so what is
proved on the connected side is what happens behind the gap. One commit stands for all that share
an environment: the newest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.envs.layer import LayerStore
from harness.envs.template import TemplateStore, Wheels
from harness.errors import EnvironmentUnresolvable, PythonMissing
from harness.git import GitRepo
from harness.manifest import Commit, Environment, Manifest
from harness.results import RunResult
from harness.sandbox.limits import Limits
from harness.testrun import TestRequest, parse_test_command, run_tests
from ingest.prepare.proof import EnvironmentProof, ProofReport

LIMIT_S = 300.0
RUNS_AT_ONCE = 2
NOTE_CHARS = 300


def prove_in_sandbox(package: Path, manifest: Manifest, progress: Callable[[str], None]) -> ProofReport:
    """Run the declared tests of the newest commit of every environment."""
    newest = {commit.environment: commit for commit in reversed(manifest.commits)}
    with tempfile.TemporaryDirectory(prefix="proof-") as scratch, GitRepo(package / "repo") as repo:
        trial = _Trial(package, manifest, repo, Path(scratch), progress)
        with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
            proofs = pool.map(trial.prove, [(env, newest[env.id]) for env in manifest.environments if env.id in newest])
            return ProofReport(tuple(proofs))


class _Trial:
    """Proof runs of one package."""

    def __init__(
        self, package: Path, manifest: Manifest, repo: GitRepo, scratch: Path, progress: Callable[[str], None]
    ) -> None:
        self.manifest, self.repo, self.progress = manifest, repo, progress
        self.templates = TemplateStore(scratch / "environments")
        self.layers = LayerStore(scratch / "layers")
        names = [path.removeprefix("packages/") for path in manifest.files if path.startswith("packages/")]
        self.wheels = Wheels(package / "packages", {name: manifest.wheel_sha256(name) for name in names})

    def prove(self, pair: tuple[Environment, Commit]) -> EnvironmentProof:
        environment, commit = pair
        try:
            template = self.templates.get(environment, self.wheels)
        except PythonMissing as err:
            return EnvironmentProof(environment.id, ok=True, note=f"not proved: {err}")
        except EnvironmentUnresolvable as err:
            return EnvironmentProof(environment.id, ok=False, note=str(err)[:NOTE_CHARS])
        tree = self.repo.tree(commit.sha)
        layer = self.layers.get(template, tree, environment.env)
        command = parse_test_command(self.manifest.test_command)
        limits = Limits(wall_s=LIMIT_S)
        run = run_tests(TestRequest(tree, template, layer, command, (), environment.env, limits))
        proof = judge(environment.id, run)
        self.progress(f"proof {environment.id} at {commit.sha[:10]}: {proof.passed} of {proof.collected} tests pass")
        return proof


def judge(env_id: str, run: RunResult) -> EnvironmentProof:
    """Say what a proof run means: an environment works when tests ran and some of them pass."""
    passed = len(run.passed)
    failed = sum(test.outcome in {"failed", "error", "unfinished"} for test in run.tests.values())
    note = ""
    if run.timed_out:
        note = f"the declared tests did not end within {run.seconds:.0f} s"
    elif not passed:
        lines = [line.strip() for line in run.output.splitlines() if line.strip()]
        messages = [text.strip().splitlines()[-1] for text in run.uncollectable.values() if text.strip()]
        note = " | ".join((messages or lines)[-3:])[-NOTE_CHARS:] or f"status {run.returncode}"
    return EnvironmentProof(
        env_id, ok=passed > 0, collected=len(run.tests), passed=passed, failed=failed,
        uncollectable=tuple(sorted(run.uncollectable)), note=note,
    )  # fmt: skip

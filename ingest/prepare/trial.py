"""The proof run: the declared tests, exactly as the appliance will run them.

Uses the harness itself (template environment, project layer, sandbox, result pipe), so what is
proved on the connected side is what happens behind the gap. The newest and the oldest commit stand
for all that share an environment.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from harness.envs.layer import LayerStore
from harness.envs.template import Template, TemplateStore, Wheels
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
    """Run the declared tests of the newest and the oldest commit of every environment."""
    by_age = sorted(manifest.commits, key=lambda commit: commit.committed_at)
    oldest = {commit.environment: commit for commit in reversed(by_age)}
    newest = {commit.environment: commit for commit in by_age}
    with tempfile.TemporaryDirectory(prefix="proof-") as scratch, GitRepo(package / "repo") as repo:
        trial = _Trial(package, manifest, repo, Path(scratch), progress)
        with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
            used = [env for env in manifest.environments if env.id in newest]
            proofs = pool.map(trial.prove, [(env, newest[env.id], oldest[env.id]) for env in used])
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

    def prove(self, job: tuple[Environment, Commit, Commit]) -> EnvironmentProof:
        environment, newest, oldest = job
        try:
            template = self.templates.get(environment, self.wheels)
        except PythonMissing as err:
            return EnvironmentProof(environment.id, ok=True, note=f"not proved: {err}")
        except EnvironmentUnresolvable as err:
            return EnvironmentProof(environment.id, ok=False, note=str(err)[:NOTE_CHARS])
        proof = self.run(environment, template, newest)
        if proof.ok and oldest.sha != newest.sha and not self.run(environment, template, oldest).ok:
            return replace(proof, note=f"no test passes at its oldest commit {oldest.sha[:10]}; consider --since")
        return proof

    def run(self, environment: Environment, template: Template, commit: Commit) -> EnvironmentProof:
        tree = self.repo.tree(commit.sha)
        layer = self.layers.get(template, tree, environment.env)
        command = parse_test_command(self.manifest.test_command)
        limits = Limits(wall_s=LIMIT_S)
        proof = judge(
            environment.id, run_tests(TestRequest(tree, template, layer, command, (), environment.env, limits))
        )
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

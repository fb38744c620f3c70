"""Whether the wheels make the environments that the manifest names, and whether pytest starts in them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from harness.envs.interpreters import find_interpreter
from harness.envs.template import Template, resolve_offline
from harness.errors import EnvironmentUnresolvable, PythonMissing
from harness.manifest import MANIFEST_NAME, Environment
from harness.sandbox.bwrap import Sandbox, run
from harness.sandbox.limits import Limits
from ingest.checks.candidate import AGAIN, SHOWN_WORDS, Candidate
from ingest.findings import Finding


def check_resolution(candidate: Candidate) -> Iterator[Finding]:
    """Find environments whose wheels do not satisfy each other offline, for the Python they name."""
    for environment in candidate.known.environments:
        try:
            interpreter = find_interpreter(environment.python)
        except PythonMissing as err:
            candidate.python_missing[environment.id] = str(err)
            continue
        done = resolve_offline(interpreter, environment.wheels, candidate.staged.directory / "packages")
        if done.returncode != 0 or done.timed_out:
            words = " ".join(done.output.decode(errors="replace").split())[-SHOWN_WORDS:]
            yield Finding(
                "WHEELS_UNRESOLVED", "packages/", f"wheels that satisfy each other for {environment.id}", words, AGAIN
            )


def check_environments(candidate: Candidate) -> Iterator[Finding]:
    """Find environments that cannot be built from their wheels alone."""
    for environment in _usable(candidate):
        try:
            candidate.templates.get(environment, candidate.wheels)
        except EnvironmentUnresolvable as err:
            yield Finding("ENV_BUILD", "packages/", f"environment {environment.id}", str(err)[:SHOWN_WORDS], AGAIN)


def check_test_command(candidate: Candidate) -> Iterator[Finding]:
    """Find environments in which pytest does not start."""
    for environment in _usable(candidate):
        template = candidate.templates.get(environment, candidate.wheels)
        words = _pytest_version(template)
        if words is not None:
            yield Finding(
                "TEST_COMMAND", MANIFEST_NAME, f"`{json.dumps(list(candidate.known.test_command))}` to start in "
                f"{environment.id}", words, "Prepare the package again; name pytest with --requirement.",
            )  # fmt: skip


def _usable(candidate: Candidate) -> Iterator[Environment]:
    for environment in candidate.known.environments:
        if environment.id not in candidate.python_missing:
            yield environment


def _pytest_version(template: Template) -> str | None:
    done = run(
        Sandbox(
            [template.python, "-P", "-m", "pytest", "--version"], read_only=template.mounts(), limits=Limits(wall_s=60)
        )
    )
    if done.returncode == 0:
        return None
    return " ".join(done.output.decode(errors="replace").split())[-SHOWN_WORDS:] or f"status {done.returncode}"

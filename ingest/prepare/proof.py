"""Whether an environment works at all, before it crosses the gap.

The real proof runs the project's tests in the sandbox and is injected, because it needs the harness.
`check_start` stands in where none is given: it installs the wheels into a scratch environment and
lets pytest, with every plugin that came along, run one test. That catches what locks of old eras
mostly fail at: a pytest that cannot run on this interpreter, plugins that do not load.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness.envs.interpreters import find_interpreter
from harness.errors import PythonMissing
from harness.manifest import Environment, Manifest
from ingest.prepare.locks import find_uv

CHECK_TIMEOUT_S = 180
CHECKS_AT_ONCE = 2
TRIVIAL_TEST = "def test_addition():\n    left = 1\n    assert left + 1 == 2\n"


@dataclass(frozen=True)
class EnvironmentProof:
    """What running tests in one environment showed."""

    id: str
    ok: bool
    """False only when the environment does not work at all; single failing tests do not count."""
    collected: int = 0
    passed: int = 0
    failed: int = 0
    uncollectable: tuple[str, ...] = ()
    """Test modules that could not be imported."""
    note: str = ""


@dataclass(frozen=True)
class ProofReport:
    """What a proof run showed, one entry for each environment that it looked at."""

    environments: tuple[EnvironmentProof, ...]

    def of(self, env_id: str) -> EnvironmentProof | None:
        """Return the proof of one environment, None when it was not looked at."""
        return next((proof for proof in self.environments if proof.id == env_id), None)


Prove = Callable[[Path, Manifest], ProofReport]
"""Runs tests in the environments that the manifest lists, with the wheels of the package directory."""


def check_start(package: Path, manifest: Manifest) -> ProofReport:
    """Prove that pytest starts and passes a trivial test in every environment of the manifest."""
    with ThreadPoolExecutor(CHECKS_AT_ONCE) as pool:
        return ProofReport(tuple(pool.map(lambda env: _check(package, env), manifest.environments)))


def _check(package: Path, env: Environment) -> EnvironmentProof:
    try:
        interpreter = find_interpreter(env.python)
    except PythonMissing as err:
        return EnvironmentProof(env.id, ok=True, note=f"not proved: {err}")
    with tempfile.TemporaryDirectory(prefix="proof-") as name:
        scratch = Path(name)
        (scratch / "test_trivial.py").write_text(TRIVIAL_TEST, "utf-8")
        wheels = [str(package / "packages" / wheel) for wheel in env.wheels]
        python = str(scratch / "venv" / "bin" / "python")
        uv = find_uv()
        for command in (
            [uv, "venv", "--quiet", "--no-project", "--python", str(interpreter.executable), str(scratch / "venv")],
            [uv, "pip", "install", "--quiet", "--offline", "--no-index", "--no-deps", "--python", python, *wheels],
            [python, "-I", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_trivial.py"],
        ):
            problem = _problem(command, scratch)
            if problem is not None:
                return EnvironmentProof(env.id, ok=False, note=problem)
    return EnvironmentProof(env.id, ok=True, collected=1, passed=1, note="pytest starts; the project was not run")


def _problem(command: list[str], cwd: Path) -> str | None:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"`{Path(command[0]).name} {command[1]}` did not end within {CHECK_TIMEOUT_S} s"
    if done.returncode == 0:
        return None
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return " ".join(" ".join(lines[-3:]).split())[-400:] or f"exit status {done.returncode}"

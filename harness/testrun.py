"""Run the tests of a tree once, in a fresh sandbox, and return what they said.

The declared command of a package is reduced to pytest arguments: only `pytest ...` and
`python -m pytest ...` are understood, because the verdict needs our plugin in the process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from harness.canaries import draw, folders_of
from harness.envs.layer import INSIDE, Layer, inside_directory
from harness.envs.template import Template
from harness.errors import HarnessError
from harness.keyedpipe import new_key
from harness.results import RunResult, read_records
from harness.sandbox.bwrap import Sandbox, run
from harness.sandbox.consumed import consumed_input
from harness.sandbox.limits import Limits
from harness.tree import Tree, write_tar

HARNESS_FORMAT = 2
"""Raise when the way tests are run changes what they say; cached results of older formats are ignored."""

_PYTHON_NAMES = {"python", "python3", "py"}
_NEUTRAL = {"xdist": ("-n0",), "pytest_cov": ("--no-cov",), "hypothesispytest": ("--hypothesis-seed=0",)}
"""Plugins that would make runs parallel, slow or random, and the options that keep them quiet."""
_NOT_LOADED = {"randomly", "xdist.looponfail", "pytest_randomly"}
_VALUE_OPTIONS = {
    "-k", "-m", "-p", "-c", "-o", "-W", "-n", "-r", "--rootdir", "--ignore", "--ignore-glob", "--deselect", "--tb",
    "--import-mode", "--confcutdir", "--basetemp", "--durations", "--maxfail", "--cov", "--cov-report", "--cov-config",
    "--log-level", "--color", "--capture", "--override-ini", "--pythonwarnings", "--dist", "--numprocesses",
    "--timeout", "--timeout-method", "--randomly-seed", "--hypothesis-profile", "--hypothesis-seed",
}  # fmt: skip
"""Options whose value may be the next word, which is then no path."""
_EARLY_EXITS = {"-x", "--exitfirst", "--lf", "--last-failed", "--ff", "--failed-first", "--nf", "--new-first", "--sw",
                "--stepwise"}  # fmt: skip
"""Options that would leave tests out of a run; every run has to say something about every test."""


class UnknownTestCommand(HarnessError):
    """The test command of a package is not a pytest command."""

    code = "TEST_COMMAND"
    exit_code = 13
    hint = "Prepare the package with --test-command 'pytest ...' or 'python -m pytest ...'."


@dataclass(frozen=True)
class TestCommand:
    """A declared test command, taken apart."""

    __test__ = False

    options: tuple[str, ...]
    paths: tuple[str, ...]
    module: bool
    """Called as `python -m pytest`, which puts the working directory on sys.path."""


@dataclass(frozen=True)
class TestRequest:
    """Everything that decides what a test run says."""

    __test__ = False

    tree: Tree
    template: Template
    layer: Layer
    command: TestCommand
    files: tuple[str, ...]
    """Test files to run; empty means the declared paths."""
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    shuffle: int | None = None

    def within(self, limit_s: float) -> TestRequest:
        """Return the same request under another time limit."""
        return replace(self, limits=replace(self.limits, wall_s=limit_s))

    @property
    def key(self) -> str:
        """Digest of everything that decides the result: equal keys may share a stored result."""
        parts = [
            HARNESS_FORMAT, inside_digest(), self.tree.sha256, self.template.key, self.layer.key,
            list(self.command.options), list(self.command.paths), self.command.module, list(self.files),
            sorted(self.env.items()), repr(replace(self.limits, wall_s=0.0)), self.shuffle,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def parse_test_command(argv: Sequence[str]) -> TestCommand:
    """Take a declared command apart; UnknownTestCommand when it is not pytest."""
    words = list(argv)
    module = False
    if len(words) >= 3 and Path(words[0]).name.split(".")[0] in _PYTHON_NAMES and words[1] == "-m":  # noqa: PLR2004
        module, words = True, words[2:]
    if not words or words[0] not in {"pytest", "py.test"}:
        raise UnknownTestCommand(f"the test command is {' '.join(argv)!r}; expected pytest or python -m pytest")
    options: list[str] = []
    paths: list[str] = []
    rest = iter(words[1:])
    for word in rest:
        if word in _EARLY_EXITS:
            continue
        if word.startswith("-"):
            options.append(word)
            if word in _VALUE_OPTIONS:
                options += [value for value in [next(rest, None)] if value is not None]
        else:
            paths.append(word)
    return TestCommand(tuple(options), tuple(paths), module)


def run_tests(request: TestRequest) -> RunResult:
    """Run the tests once; crashes, floods and timeouts are results, not exceptions."""
    key, canaries = new_key(), draw(folders_of(request.tree, request.files))
    order = {
        "args": pytest_arguments(request), "shuffle": request.shuffle, "module": request.command.module,
        "key": key.hex(), "canaries": [canary.as_document() for canary in canaries],
    }  # fmt: skip
    extra = {f"layer/{name}": data for name, data in request.layer.files.items()}
    extra["request.json"] = json.dumps(order).encode()
    tree = request.layer.overlay(request.tree)
    with consumed_input(lambda out: write_tar(tree, out, prefix="tree", extra=extra)) as tar:
        done = run(
            Sandbox(
                [request.template.python, f"{INSIDE}/run_tests.py"],
                read_only={**request.template.mounts(), INSIDE: inside_directory()},
                env=test_environment(request),
                limits=request.limits,
            ),
            stdin=tar,
        )
    return read_records(
        done.records, key, returncode=done.returncode, timed_out=done.timed_out, seconds=done.seconds,
        output=done.output.decode(errors="replace"), canaries=canaries, every_folder=bool(request.files),
        out_of_memory=done.out_of_memory,
    )  # fmt: skip


def pytest_arguments(request: TestRequest) -> list[str]:
    """Return the arguments that pytest is called with."""
    plugins = [*request.template.pytest_plugins, *request.layer.pytest_plugins]
    return [
        *request.command.options, *_plugin_options(plugins), "-p", "no:cacheprovider",
        "--continue-on-collection-errors", "--maxfail=0", "-q", *(request.files or request.command.paths),
    ]  # fmt: skip


def test_environment(request: TestRequest) -> dict[str, str]:
    """Return the variables of a test run: fixed hash seed, one thread per library, no plugin autoload."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
    return {
        "PATH": "/venv/bin:/usr/bin:/bin",
        "VIRTUAL_ENV": "/venv",
        "PYTHONPATH": request.layer.import_path(),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0" if request.shuffle is None else "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "CI": "true",
        **threads,
        **request.env,
    }


test_environment.__test__ = False  # type: ignore[attr-defined]


@cache
def inside_digest() -> str:
    """Return the digest of the files that run inside the sandbox."""
    hasher = hashlib.sha256()
    for path in sorted(Path(inside_directory()).glob("*.py")):
        hasher.update(path.name.encode() + path.read_bytes())
    return hasher.hexdigest()


def _plugin_options(names: Sequence[str]) -> list[str]:
    options: list[str] = []
    for name in dict.fromkeys(names):
        if name not in _NOT_LOADED:
            options += ["-p", name]
    for name, quiet in _NEUTRAL.items():
        if name in names:
            options += quiet
    return options

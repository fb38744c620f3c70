"""The checks that a copied package has to pass, as one table of small functions.

Each check looks at one thing, returns what is wrong as findings, and leaves nothing behind. The
table's order is the order of trust: a check may rely on everything above it. Codes are stable;
operators and tests know them.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.envs.interpreters import find_interpreter
from harness.envs.template import Template, TemplateStore, Wheels, resolve_offline
from harness.errors import BadManifest, EnvironmentUnresolvable, Failure, GitFailed, HarnessError, PythonMissing
from harness.git import GitRepo, run_git
from harness.manifest import MANIFEST_NAME, Environment, Manifest, parse_manifest
from harness.sandbox.bwrap import Sandbox, run
from harness.sandbox.limits import Limits
from harness.testrun import parse_test_command
from ingest.errors import AlreadyIntegrated
from ingest.findings import Finding
from ingest.gitimport import import_objects
from ingest.staging import Staged

SHOWN_WORDS = 500
FSCK_TIMEOUT_S = 600
_AGAIN = "Prepare the package again on the connected side and bring it anew."


@dataclass
class Candidate:
    """A copied package on its way through the checks; later checks use what earlier ones made."""

    staged: Staged
    templates: TemplateStore
    latest_sequence: Callable[[str], int]
    """Highest integrated sequence of a package name; 0 when there is none."""
    manifest: Manifest | None = None
    repo: Path | None = None
    """Our own bare repository with the package's objects, once imported."""
    python_missing: dict[str, str] = field(default_factory=dict)
    """Environment id to why it cannot run here; its commits are rejected, the rest goes on."""

    @property
    def known(self) -> Manifest:
        """The manifest; only called by checks that come after `manifest`."""
        if self.manifest is None:
            raise BadManifest("no manifest was read")
        return self.manifest

    @property
    def wheels(self) -> Wheels:
        """Where the copied wheels are and what they must hash to."""
        names = [path.removeprefix("packages/") for path in self.known.files if path.startswith("packages/")]
        return Wheels(self.staged.directory / "packages", {name: self.known.wheel_sha256(name) for name in names})


Check = Callable[[Candidate], Iterator[Finding]]


def check_medium(candidate: Candidate) -> Iterator[Finding]:
    """Find what is not a regular file, or not one that the format names."""
    yield from candidate.staged.findings


def check_manifest(candidate: Candidate) -> Iterator[Finding]:
    """Find where the manifest leaves its schema or refers to what it does not hold."""
    if MANIFEST_NAME not in candidate.staged.files:
        yield Finding("MANIFEST_MISSING", MANIFEST_NAME, "a manifest", "no such file", _AGAIN)
        return
    try:
        candidate.manifest = parse_manifest((candidate.staged.directory / MANIFEST_NAME).read_bytes())
        parse_test_command(candidate.manifest.test_command)
    except HarnessError as err:
        yield Finding(err.code, MANIFEST_NAME, "a manifest of format 1", str(err), _AGAIN)


def check_sequence(candidate: Candidate) -> Iterator[Finding]:
    """Stop at a package that is here already, or is older than what is here; AlreadyIntegrated says so."""
    manifest = candidate.known
    latest = candidate.latest_sequence(manifest.name)
    if manifest.sequence <= latest:
        raise AlreadyIntegrated(f"{manifest.package_id}: sequence {latest} of {manifest.name} is integrated")
    yield from ()


def check_files(candidate: Candidate) -> Iterator[Finding]:
    """Find files that are missing, changed or not listed."""
    found = {path: entry for path, entry in candidate.staged.files.items() if "/" in path}
    listed = candidate.known.files
    for path in sorted(set(listed) - set(found)):
        yield Finding("FILE_MISSING", path, f"sha256 {listed[path].sha256}", "no such file", _AGAIN)
    for path in sorted(set(found) - set(listed)):
        yield Finding("FILE_UNLISTED", path, "no such file", f"sha256 {found[path].sha256}", _AGAIN)
    for path in sorted(set(found) & set(listed)):
        if found[path] != listed[path]:
            want, have = listed[path], found[path]
            yield Finding(
                "FILE_CHANGED", path, f"sha256 {want.sha256}, {want.bytes} bytes",
                f"sha256 {have.sha256}, {have.bytes} bytes", "Copy the package to the medium again; it was altered.",
            )  # fmt: skip


def check_objects(candidate: Candidate) -> Iterator[Finding]:
    """Bring the objects into a repository of our own; find what git refuses."""
    source, target = candidate.staged.directory / "repo", candidate.staged.directory / "imported"
    (source / "refs").mkdir(parents=True, exist_ok=True)  # git wants it, and empty folders do not travel
    try:
        import_objects(source, target)
    except GitFailed as err:
        yield Finding("GIT_OBJECTS", "repo/", "a complete git repository", str(err)[:SHOWN_WORDS], _AGAIN)
        return
    candidate.repo = target


def check_commits(candidate: Candidate) -> Iterator[Finding]:
    """Find listed commits that are missing, unconnected or not the child of their parent."""
    if candidate.repo is None:
        return
    shallow = candidate.staged.files.get("repo/shallow")
    if shallow is not None and shallow.bytes:  # the fetch left its refs out, so our own repository does not show it
        yield Finding("GIT_SHALLOW", "repo/shallow", "the full history", "a shallow clone", _AGAIN)
        return
    with GitRepo(candidate.repo) as repo:
        for commit in candidate.known.commits:
            if not repo.has_commit(commit.sha):
                yield Finding("COMMIT_MISSING", "repo/", f"commit {commit.sha}", "no such commit", _AGAIN)
            elif repo.parents(commit.sha)[:1] != (commit.parent,):
                parents = ", ".join(repo.parents(commit.sha)) or "none"
                yield Finding("COMMIT_PARENT", "repo/", f"{commit.parent} as parent of {commit.sha}", parents, _AGAIN)
    try:
        run_git(
            ["--git-dir", str(candidate.repo), "fsck", "--connectivity-only", "--no-dangling", "--no-progress"],
            timeout_s=FSCK_TIMEOUT_S,
        )
    except GitFailed as err:
        yield Finding("GIT_CONNECTIVITY", "repo/", "all objects of the history", str(err)[:SHOWN_WORDS], _AGAIN)


def check_wheels(candidate: Candidate) -> Iterator[Finding]:
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
                "WHEELS_UNRESOLVED", "packages/", f"wheels that satisfy each other for {environment.id}", words, _AGAIN
            )


def check_environments(candidate: Candidate) -> Iterator[Finding]:
    """Find environments that cannot be built from their wheels alone."""
    for environment in _usable(candidate):
        try:
            candidate.templates.get(environment, candidate.wheels)
        except EnvironmentUnresolvable as err:
            yield Finding("ENV_BUILD", "packages/", f"environment {environment.id}", str(err)[:SHOWN_WORDS], _AGAIN)


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


CHECKS: tuple[tuple[str, Check], ...] = (
    ("medium", check_medium),
    ("manifest", check_manifest),
    ("sequence", check_sequence),
    ("files", check_files),
    ("objects", check_objects),
    ("commits", check_commits),
    ("wheels", check_wheels),
    ("environments", check_environments),
    ("test command", check_test_command),
)
"""Name and function, in order. The first check with findings ends the walk."""


def first_findings(candidate: Candidate) -> tuple[str, list[Finding]]:
    """Run the checks in order; return the name of the first that fails with its findings, or ("", []).

    Failures speak of this machine and pass. Anything else that a package makes a check raise is a
    finding: nobody foresaw this package, so it is kept out and kept.
    """
    for name, check in CHECKS:
        try:
            findings = list(check(candidate))
        except Failure:
            raise
        except Exception as err:
            if isinstance(err, OSError) and err.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
            findings = [_unforeseen(name, err)]
        if findings:
            return name, findings
    return "", []


def _unforeseen(check: str, err: Exception) -> Finding:
    words = f"{type(err).__name__}: {err}"[:SHOWN_WORDS]
    return Finding("CHECK_FAILED", "", f"the check {check!r} to come to an end", words, _AGAIN)


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

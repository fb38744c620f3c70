"""Fixtures that several test modules share: wheels, small real repositories, a guard against the network."""

from __future__ import annotations

import hashlib
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from harness.envs.template import Template, TemplateStore, Wheels
from harness.git import git_environment
from harness.manifest import MANIFEST_NAME, Commit, Environment, FileEntry, Lock, Manifest, manifest_bytes
from harness.workbench import Places, open_workbench

WHEELS = Path(__file__).parent.parent / ".cache" / "test-wheels"
PYTHON = "3.11"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise when a test connects to anything but this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "unix"
        if host not in {"127.0.0.1", "::1", "localhost", "unix"}:
            raise AssertionError(f"a test wants to connect to {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def wheels() -> Wheels:
    """Return the wheels of pytest and setuptools, fetched by `make setup`."""
    files = sorted(WHEELS.glob("*.whl"))
    if not files:
        pytest.fail(f"no wheels in {WHEELS}; run `make setup` first")
    return Wheels(WHEELS, {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files})


@pytest.fixture(scope="session")
def this_python() -> str:
    """Return the minor version of the interpreter that runs the tests; environments are built for it."""
    import sys

    return "{}.{}".format(*sys.version_info[:2])


@pytest.fixture(scope="session")
def environment(wheels: Wheels, this_python: str) -> Environment:
    """Return an environment with pytest and setuptools."""
    return Environment("env-test", this_python, tuple(sorted(wheels.sha256)), {}, Lock("newest", None))


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> TemplateStore:
    """Return a template store that the whole session shares; building once is enough."""
    return TemplateStore(tmp_path_factory.mktemp("environments"))


@pytest.fixture(scope="session")
def template(templates: TemplateStore, environment: Environment, wheels: Wheels) -> Template:
    """Return the template of the environment with pytest and setuptools."""
    return templates.get(environment, wheels)


@pytest.fixture
def make_repo(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a bare repository from a list of commits.

    A commit is (message, {path: text or None}); None removes the file. Returns the path; commit ids
    are in `git log --reverse`.
    """

    def make(commits: list[tuple[str, Mapping[str, str | None]]], name: str = "origin") -> Path:
        work = tmp_path / f"{name}-work"
        work.mkdir()
        env = git_environment() | {
            "GIT_AUTHOR_NAME": "Test", "GIT_AUTHOR_EMAIL": "test@example.invalid",
            "GIT_COMMITTER_NAME": "Test", "GIT_COMMITTER_EMAIL": "test@example.invalid",
        }  # fmt: skip
        _git(work, env, "init", "-q", "-b", "main")
        for number, (message, files) in enumerate(commits):
            for path, text in files.items():
                target = work / path
                if text is None:
                    target.unlink()
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(text)
            date = f"2026-01-{number + 1:02d}T12:00:00Z"
            _git(work, env, "add", "-A")
            _git(work, env | {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}, "commit", "-q", "-m", message)
        bare = tmp_path / f"{name}.git"
        _git(tmp_path, env, "clone", "-q", "--bare", str(work), str(bare))
        return bare

    return make


@pytest.fixture
def make_places(
    tmp_path: Path, make_repo: Callable[..., Path], wheels: Wheels, environment: Environment, template: Template
) -> Iterator[Callable[..., Places]]:
    """Return a function that makes an integrated package from a history, ready for the gate and for attempts.

    Every commit but the first is listed; `environments` replaces the default one, and a commit names the
    first. Templates are shared by the session.
    """
    made: list[Places] = []

    def make(
        history: list[tuple[str, Mapping[str, str | None]]], *, kinds: tuple[str, ...] = ("step-plan",),
        command: tuple[str, ...] = ("pytest",), environments: tuple[Environment, ...] = (environment,),
    ) -> Places:  # fmt: skip
        package = tmp_path / f"package-{len(made)}"
        package.mkdir()
        shas = commit_ids(make_repo(history, f"origin-{len(made)}").rename(package / "repo"))
        (package / "packages").symlink_to(wheels.directory)
        listed = {wheel: "0" * 64 for env in environments for wheel in env.wheels} | dict(wheels.sha256)
        manifest = Manifest(
            name="package", sequence=len(made) + 1, upstream="", license="", organisation="", domain="", head=shas[-1],
            files={f"packages/{name}": FileEntry(sha256, 0) for name, sha256 in listed.items()},
            environments=environments, test_command=command, test_scope="affected",
            commits=tuple(
                Commit(
                    sha=sha, parent=parent, task=message, kinds=kinds, environment=environments[0].id,
                    source_paths=tuple(files), test_paths=(), lines_changed=1, committed_at="2026-01-01T00:00:00Z",
                )
                for sha, parent, (message, files) in zip(shas[1:], shas, history[1:], strict=False)
            ),
        )  # fmt: skip
        (package / MANIFEST_NAME).write_bytes(manifest_bytes(manifest))
        made.append(Places(package, template.directory.parent, tmp_path / "cache"))
        return made[-1]

    yield make
    for places in made:
        open_workbench(places).repo.close()


def commit_ids(repo: Path) -> list[str]:
    """Return the commit ids of a repository, oldest first."""
    listing = _git(repo, git_environment(), "rev-list", "--reverse", "HEAD")
    return listing.split()


def file_entries(directory: Path) -> dict[str, FileEntry]:
    """Return the manifest entries for every file below a package directory."""
    entries = {}
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory).as_posix()
        if path.is_file() and "/" in relative:
            data = path.read_bytes()
            entries[relative] = FileEntry(hashlib.sha256(data).hexdigest(), len(data))
    return entries


def _git(cwd: Path, env: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=cwd, env=dict(env), capture_output=True, text=True, check=True)
    return done.stdout

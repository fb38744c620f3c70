"""Tests of preparing a package from a real repository, with a package index on loopback."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.git import GitRepo, git_environment
from harness.manifest import Manifest, parse_manifest
from ingest.errors import BadOptions, CloneFailed, NothingSelected, PackageExists
from ingest.inspect import inspect_package
from ingest.prepare.clone import clone
from ingest.prepare.locks import PYTHON_RELEASED, WHEELS_FOLLOW
from ingest.prepare.options import PrepareOptions
from ingest.prepare.prepare import prepare
from ingest.prepare.proof import EnvironmentProof, ProofReport
from ingest.prepare.report import PrepareReport

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
USABLE = datetime.fromisoformat(PYTHON_RELEASED.get(PYTHON, "2024-01-01")) + WHEELS_FOLLOW


def day(number: int) -> str:
    """Return the date so many days after wheels for this interpreter appeared."""
    return (USABLE + timedelta(days=number)).strftime("%Y-%m-%d")


RUNS = "import sys\nsys.exit(0)\n"
CRASHES = "import sys\nsys.exit('this pytest is too old for this Python')\n"


def wheel(name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = ()) -> tuple[str, bytes]:
    """Return file name and content of a small wheel."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {line}\n" for line in requires)
    files = files | {
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return f"{name}-{version}-py3-none-any.whl", buffer.getvalue()


INDEX = {
    "pytest": [
        (day(5), wheel("pytest", "7.0", {"pytest/__init__.py": "", "pytest/__main__.py": RUNS})),
        (day(100), wheel("pytest", "8.0", {"pytest/__init__.py": "", "pytest/__main__.py": CRASHES})),
        (day(170), wheel("pytest", "9.0", {"pytest/__init__.py": "", "pytest/__main__.py": RUNS})),
    ],
    "setuptools": [(day(1), wheel("setuptools", "60.0", {"setuptools/__init__.py": ""}))],
    "wheel": [(day(1), wheel("wheel", "0.40", {"wheel/__init__.py": ""}))],
    "hatch-vcs": [(day(1), wheel("hatch_vcs", "0.4", {"hatch_vcs/__init__.py": ""}))],
    "alpha": [
        (day(5), wheel("alpha", "1.0", {"alpha/__init__.py": ""})),
        (day(170), wheel("alpha", "2.0", {"alpha/__init__.py": ""})),
    ],
    "pybeta": [(day(5), wheel("PyBeta", "1.0", {"beta/__init__.py": ""}, ("alpha",)))],
    "quick": [(day(5), wheel("quick", "1.0", {"quick.py": ""}))],
}


def metadata_of(data: bytes) -> bytes:
    """Return the metadata inside a wheel (PEP 658)."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA")))


class Index(BaseHTTPRequestHandler):
    """The simple repository API (PEP 691) with upload times."""

    def do_GET(self) -> None:
        """Serve a project page or a file."""
        parts = self.path.strip("/").split("/")
        if parts[0] == "simple" and parts[1] in INDEX:
            files = [
                {"filename": name, "url": f"/files/{name}", "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
                 "upload-time": f"{when}T00:00:00Z", "size": len(data), "core-metadata": True}
                for when, (name, data) in INDEX[parts[1]]
            ]  # fmt: skip
            page = {"meta": {"api-version": "1.1"}, "name": parts[1], "files": files, "versions": []}
            self.answer(json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")
        elif parts[0] == "files":
            found = {name: data for uploads in INDEX.values() for _, (name, data) in uploads}
            data = found[parts[1].removesuffix(".metadata")]
            self.answer(metadata_of(data) if parts[1].endswith(".metadata") else data, "application/octet-stream")
        else:
            self.send_error(404)

    def answer(self, data: bytes, kind: str) -> None:
        """Send a response."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Keep quiet."""


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Serve a package index on loopback that uv and pip use."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/simple/"
    for name in ("UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", url)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("PIP_INDEX_URL", url)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    yield
    server.shutdown()
    server.server_close()


PYPROJECT = """
[build-system]
requires = ["setuptools", "hatch-vcs"]
[project]
name = "House"
license = "MIT"
dependencies = ["alpha"]
[project.optional-dependencies]
bells = ["PyBeta; python_version > '3'"]
quick = ["quick"]
never = ["does-not-exist"]
[dependency-groups]
tests = ["pytest"]
"""
TESTS = "import beta\nimport nowhere\ntry:\n    import quick\nexcept ImportError:\n    quick = None\n"


def commit(repo: Path, when: str, message: str, files: dict[str, str]) -> None:
    """Commit files on a day."""
    for name, text in files.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(text, "utf-8")
    stamp = f"{when}T12:00:00Z"
    env = git_environment() | {
        "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "a@b.c", "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "a@b.c", "GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp,
    }  # fmt: skip
    subprocess.run(["git", "add", "-A"], cwd=repo, env=env, check=True)
    subprocess.run(["git", "commit", "-q", "-m", message], cwd=repo, env=env, check=True)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Make a project with two good commits, 120 days apart."""
    path = tmp_path / "source"
    path.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "trunk", "."], cwd=path, env=git_environment(), check=True)
    first = {"pyproject.toml": PYPROJECT, "src/house/__init__.py": "", "tests/test_a.py": TESTS}
    commit(path, day(8), "Start the project here", first)
    subprocess.run(["git", "tag", "v1.4.0"], cwd=path, env=git_environment(), check=True)
    commit(path, day(20), "Add doors to houses", {"src/house/door.py": "x = 1\n", "tests/test_b.py": TESTS})
    last = {"src/house/door.py": "x = 2\n", "tests/test_b.py": "y = 1\n" + TESTS}
    commit(path, day(140), "Remove locks from doors", last)
    return path


def run(repo: Path, out: Path, **options: object) -> PrepareReport:
    """Prepare with few words."""
    defaults = PrepareOptions(source=str(repo), out=out, python=PYTHON)
    return prepare(PrepareOptions(**(vars(defaults) | options)), progress=lambda _: None)


@pytest.mark.usefixtures("index")
def test_package_is_complete_and_honest(repo: Path, tmp_path: Path) -> None:
    """A prepared package holds history, wheels and a manifest that lists exactly what is there."""
    report = run(repo, tmp_path / "out", organisation="Org", domain="doors")
    assert report.package == tmp_path / "out" / "house-1"
    inventory = inspect_package(report.package)
    assert inventory.matches
    manifest = parse_manifest((report.package / "manifest.json").read_bytes())
    assert (manifest.name, manifest.sequence, manifest.license) == ("house", 1, "MIT")
    assert (manifest.organisation, manifest.domain, manifest.upstream) == ("Org", "doors", "local:source")
    assert [one.task for one in manifest.commits] == ["Remove locks from doors", "Add doors to houses"]
    with GitRepo(report.package / "repo") as packed:
        assert manifest.head == manifest.commits[0].sha
        assert packed.parents(manifest.head) == (manifest.commits[0].parent,)
    assert (report.package / "repo/refs/heads/trunk").read_text().strip() == manifest.head
    assert "url" not in (report.package / "repo/config").read_text()
    assert not (report.package / "repo/hooks").exists()
    assert len(list((report.package / "repo/objects/pack").glob("*.pack"))) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["house-1"]
    json.dumps(report.as_dict())


@pytest.mark.usefixtures("index")
def test_environments_are_of_their_era_and_fall_back_when_that_fails(repo: Path, tmp_path: Path) -> None:
    """The older lock works; the newer one's pytest cannot run, so today's is taken, with a note."""
    manifest = run(repo, tmp_path / "out").manifest
    newer, older = (manifest.environment(one.environment) for one in manifest.commits)
    assert (older.lock.taken, newer.lock.taken) == ("era", "newest")
    assert "pytest-7.0-py3-none-any.whl" in older.wheels
    assert "alpha-1.0-py3-none-any.whl" in older.wheels
    assert {"pytest-9.0-py3-none-any.whl", "alpha-2.0-py3-none-any.whl"} <= set(newer.wheels)
    assert "too old for this Python" in newer.lock.note
    assert newer.lock.exclude_newer is None
    assert not any("pytest-8.0" in path for path in manifest.files)
    assert older.env == {"SETUPTOOLS_SCM_PRETEND_VERSION": "1.4.0"}


@pytest.mark.usefixtures("index")
def test_a_pin_that_cannot_work_is_dropped_at_last(repo: Path, tmp_path: Path) -> None:
    """Where the newest lock keeps the broken pin, the bounds go, and the note says both."""
    pinned = {"pyproject.toml": PYPROJECT.replace('"pytest"', '"pytest==8.0"'), "src/house/door.py": "x = 3\n"}
    commit(repo, day(145), "Remove handles from doors", pinned)
    report = run(repo, tmp_path / "out", since=day(142))
    (env,) = report.manifest.environments
    assert "pytest-9.0-py3-none-any.whl" in env.wheels
    assert env.lock.taken == "newest"
    assert "too old for this Python" in env.lock.note
    assert "version bounds ignored" in env.lock.note
    assert [proof.ok for proof in report.proofs] == [True]


@pytest.mark.usefixtures("index")
def test_imports_are_traced_to_declared_extras_only(repo: Path, tmp_path: Path) -> None:
    """`beta` leads to the extra that declares PyBeta, `quick` by name; `nowhere` is reported, not guessed."""
    report = run(repo, tmp_path / "out", limit=1, since=day(15))
    (env,) = report.manifest.environments
    assert {"PyBeta-1.0-py3-none-any.whl", "quick-1.0-py3-none-any.whl"} <= set(env.wheels)
    assert env.undeclared_imports == ("nowhere",)
    assert not any(name.startswith("does") for name in env.wheels)
    rows = {row.reason: row.count for row in report.rows}
    assert rows == {"selected": 1, "limit": 1, "before_since": 1}
    assert report.has_warnings


@pytest.mark.usefixtures("index")
def test_injected_proof_decides(repo: Path, tmp_path: Path) -> None:
    """The proof sees an unfinished package with wheels, and only re-proves what was replaced."""
    calls: list[list[str]] = []

    def prove(package: Path, manifest: Manifest) -> ProofReport:
        assert all((package / "packages" / name).is_file() for env in manifest.environments for name in env.wheels)
        calls.append([env.lock.taken for env in manifest.environments])
        proofs = [
            EnvironmentProof(env.id, ok="pytest-7.0-py3-none-any.whl" not in env.wheels, note="nothing collected")
            for env in manifest.environments
        ]
        return ProofReport(tuple(proofs))

    options = PrepareOptions(source=str(repo), out=tmp_path / "out", python=PYTHON)
    report = prepare(options, progress=lambda _: None, prove=prove)
    assert calls == [["era", "era"], ["newest"]]
    assert {proof.ok for proof in report.proofs} == {True}
    assert len(report.proofs) == 2


@pytest.mark.usefixtures("index")
def test_unresolvable_requirements_cost_the_commit_not_the_package(repo: Path, tmp_path: Path) -> None:
    """A commit that asks for what no index has is rejected with its own reason."""
    commit(repo, day(145), "Remove alpha from doors", {
        "pyproject.toml": PYPROJECT.replace('"alpha"', '"does-not-exist"'), "src/house/door.py": "x = 3\n",
    })  # fmt: skip
    report = run(repo, tmp_path / "out")
    assert {row.reason: row.count for row in report.rows} == {"selected": 2, "env_unresolvable": 1, "root": 1}


@pytest.mark.usefixtures("index")
def test_sequence_grows_and_packages_are_never_overwritten(repo: Path, tmp_path: Path) -> None:
    """The next sequence follows the highest there is; naming a taken one is refused."""
    again = partial(run, repo, tmp_path / "out", limit=1)
    (tmp_path / "out" / "house-7").mkdir(parents=True)
    assert again().package.name == "house-8"
    with pytest.raises(PackageExists):
        again(sequence=7)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["house-7", "house-8"]


def test_a_dry_run_chooses_and_fetches_nothing(repo: Path, tmp_path: Path) -> None:
    """Without an index in reach, a dry run still gives the yield table, and writes no package."""
    report = run(repo, tmp_path / "out", dry_run=True)
    assert report.rows[0].reason == "selected"
    assert report.rows[0].count == len(report.manifest.commits) > 0
    assert sum(row.count for row in report.rows) == report.commits_seen
    assert list((tmp_path / "out").iterdir()) == []


def test_failures_leave_nothing_behind(repo: Path, tmp_path: Path) -> None:
    """No commit in range, no such source, unusable options: an error each, and no half package."""
    out = tmp_path / "out"
    with pytest.raises(NothingSelected, match="before_since"):
        run(repo, out, since="2030-01-01")
    with pytest.raises(CloneFailed):
        run(tmp_path / "nowhere", out)
    unusable: list[dict[str, object]] = [
        {"name": "Bad Name"}, {"since": "yesterday"}, {"requirements": ("a b",)}, {"python": "3"}, {"limit": 0},
    ]  # fmt: skip
    for bad in unusable:
        with pytest.raises(BadOptions):
            run(repo, out, **bad)
    assert list(out.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a repository to somebody else takes privileges")
def test_a_repository_of_somebody_else_can_be_prepared(repo: Path, tmp_path: Path) -> None:
    """Naming a local repository is enough for git to read it, whoever owns it; its origin is read, too."""
    theirs = tmp_path / "theirs"
    subprocess.run(["git", "clone", "-q", "--bare", str(repo), str(theirs)], env=git_environment(), check=True)
    with (theirs / "config").open("a") as config:
        config.write('[remote "origin"]\n\turl = https://example.invalid/theirs\n')
    for path in (theirs, *theirs.rglob("*")):
        os.chown(path, 4321, 4321)
    assert clone(str(theirs), tmp_path / "target").upstream == "https://example.invalid/theirs"


def test_shallow_clones_are_refused(repo: Path, tmp_path: Path) -> None:
    """A history that is cut off would pass for a complete one, so it is refused with the remedy."""
    shallow = tmp_path / "shallow"
    subprocess.run(
        ["git", "clone", "-q", "--depth", "1", f"file://{repo}", str(shallow)], env=git_environment(), check=True
    )
    with pytest.raises(CloneFailed, match="shallow") as caught:
        run(shallow, tmp_path / "out")
    assert "unshallow" in caught.value.hint

"""The manifest of a repo package (format 1) as values.

Parsed and checked once, here; everything downstream receives the frozen dataclasses. The schema
says what a document looks like; `parse_manifest` also checks what a schema cannot: unique ids,
references between the lists, and a parent for every commit.

A manifest may come from anybody, so every keyword of its schema takes time in proportion to the
document. `uniqueItems` does not (each item is compared with each other one, before `items` refuses
them), so what must be unique is counted here, when the items are known to be texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.errors import BadManifest
from harness.schemas import check

FORMAT = 1
MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.json.sig"
_SHOWN_IDS = 20
_MOST_COMMAS = 1_000_000
"""A schema check takes some 15 us for each value; a manifest of 10,000 commits has a tenth of as many."""


@dataclass(frozen=True)
class FileEntry:
    """Digest and size of one file of a package."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Lock:
    """Which dependency lock an environment was made from."""

    taken: str
    """era: pinned to the date of the commit; newest: today's; none: nothing to resolve."""
    exclude_newer: str | None
    note: str = ""


@dataclass(frozen=True)
class Environment:
    """The wheels that some commits of a package need to run their tests."""

    id: str
    python: str
    """Minor version, e.g. "3.11"."""
    wheels: tuple[str, ...]
    """File names under packages/, pinned by the digests in `Manifest.files`."""
    env: Mapping[str, str]
    """Variables for builds and tests, e.g. SETUPTOOLS_SCM_PRETEND_VERSION."""
    lock: Lock
    requirements: tuple[str, ...] = ()
    """What was asked of the resolver."""
    undeclared_imports: tuple[str, ...] = ()
    """Top-level modules that tests import and nothing provides."""


@dataclass(frozen=True)
class Commit:
    """One commit that the harness may pose as a task."""

    sha: str
    parent: str
    task: str
    kinds: tuple[str, ...]
    environment: str
    source_paths: tuple[str, ...]
    test_paths: tuple[str, ...]
    lines_changed: int
    committed_at: str
    message: str = ""
    """The original message where `task` was regenerated, else ""."""


@dataclass(frozen=True)
class Manifest:
    """What a repo package says about itself."""

    name: str
    sequence: int
    upstream: str
    license: str
    organisation: str
    domain: str
    head: str
    files: Mapping[str, FileEntry]
    environments: tuple[Environment, ...]
    test_command: tuple[str, ...]
    test_scope: str
    """affected: only the test files a commit touches or whose imports it changed; suite: all."""
    commits: tuple[Commit, ...]

    @property
    def package_id(self) -> str:
        """Directory name of the package."""
        return f"{self.name}-{self.sequence}"

    def environment(self, env_id: str) -> Environment:
        """Return the environment with this id."""
        return next(env for env in self.environments if env.id == env_id)

    def wheel_sha256(self, wheel: str) -> str:
        """Return the pinned digest of a wheel of this package."""
        return self.files[f"packages/{wheel}"].sha256


def parse_manifest(raw: bytes) -> Manifest:
    """Read and check a manifest document; BadManifest names the first thing that is wrong."""
    if raw.count(b",") > _MOST_COMMAS:
        raise BadManifest(f"{MANIFEST_NAME} holds more than {_MOST_COMMAS} values, which no package needs")
    try:
        doc = json.loads(raw, parse_float=_no_float, parse_constant=_no_float)
        json.dumps(doc, ensure_ascii=False).encode()  # half a surrogate pair cannot be stored or hashed
        problem = check("manifest", doc)
    except (ValueError, RecursionError) as err:
        raise BadManifest(f"{MANIFEST_NAME} is not JSON: {err}") from err
    if problem:
        raise BadManifest(f"{MANIFEST_NAME}: {problem}")
    manifest = _from_document(doc)
    _check_references(manifest)
    return manifest


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return the document for a manifest: canonical, so that equal manifests have equal bytes."""
    doc = {"format": FORMAT, **asdict(manifest)}
    for commit in doc["commits"]:
        if not commit["message"]:
            del commit["message"]
    for env in doc["environments"]:
        if not env["lock"]["note"]:
            del env["lock"]["note"]
    return json.dumps(doc, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _no_float(number: str) -> float:
    raise ValueError(f"{number} is not a whole number")


def _from_document(doc: Mapping[str, Any]) -> Manifest:
    environments = tuple(
        Environment(
            id=env["id"],
            python=env["python"],
            wheels=tuple(env["wheels"]),
            env=dict(env["env"]),
            lock=Lock(**env["lock"]),
            requirements=tuple(env["requirements"]),
            undeclared_imports=tuple(env["undeclared_imports"]),
        )
        for env in doc["environments"]
    )
    commits = tuple(_commit(row) for row in doc["commits"])
    return Manifest(
        name=doc["name"],
        sequence=doc["sequence"],
        upstream=doc["upstream"],
        license=doc["license"],
        organisation=doc["organisation"],
        domain=doc["domain"],
        head=doc["head"],
        files={path: FileEntry(**entry) for path, entry in doc["files"].items()},
        environments=environments,
        test_command=tuple(doc["test_command"]),
        test_scope=doc["test_scope"],
        commits=commits,
    )


def _commit(row: Mapping[str, Any]) -> Commit:
    lists = ("kinds", "source_paths", "test_paths")
    return Commit(**{**row, **{name: tuple(row[name]) for name in lists}})


def _check_uniqueness(manifest: Manifest) -> None:
    if len({env.id for env in manifest.environments}) != len(manifest.environments):
        raise BadManifest(f"{MANIFEST_NAME}: two environments share an id")
    if len({commit.sha for commit in manifest.commits}) != len(manifest.commits):
        raise BadManifest(f"{MANIFEST_NAME}: a commit is listed twice")
    for env in manifest.environments:
        if len(set(env.wheels)) != len(env.wheels):
            raise BadManifest(f"{MANIFEST_NAME}: environment {env.id} names a wheel twice")
    for commit in manifest.commits:
        if len(set(commit.kinds)) != len(commit.kinds):
            raise BadManifest(f"{MANIFEST_NAME}: commit {commit.sha[:12]} names a kind twice")


def _check_references(manifest: Manifest) -> None:
    ids = {env.id for env in manifest.environments}
    _check_uniqueness(manifest)
    for env in manifest.environments:
        for wheel in env.wheels:
            if f"packages/{wheel}" not in manifest.files:
                raise BadManifest(f"{MANIFEST_NAME}: environment {env.id} names {wheel}, which `files` does not list")
    for commit in manifest.commits:
        if commit.environment not in ids:
            raise BadManifest(
                f"{MANIFEST_NAME}: commit {commit.sha[:12]} names environment {commit.environment!r}, "
                f"known are {', '.join(sorted(ids)[:_SHOWN_IDS]) or 'none'}"
            )
    for path in manifest.files:
        if ".." in path.split("/") or "." in path.split("/") or "" in path.split("/"):
            raise BadManifest(f"{MANIFEST_NAME}: file name {path!r} is not a plain relative path")

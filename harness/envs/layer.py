"""The project layer: what makes the tree importable and known by name, without installing it.

The project's own build backend is asked, inside the sandbox, for an editable build of the tree that
is to be tested; from it come the .dist-info (name, version, entry points), the import roots and
files that only a build creates. They travel with the tree into the sandbox and lie beside the
template, never in it. Invariants: what a build reads from sources or writes beside them belongs to
one tree and is never lent to another; a build runs the candidate's code, so it sees which test files
there are and not a byte of what they say. A backend that cannot answer leaves the static layer, and
the layer says so.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from harness.durable import keep_cached
from harness.envs.template import Template, entry_points
from harness.keyedpipe import new_key, open_records
from harness.paths import Role, role
from harness.pytestconfig import configured
from harness.sandbox.bwrap import WORK, Sandbox, run
from harness.sandbox.consumed import consumed_input
from harness.sandbox.limits import Limits
from harness.tree import Tree, write_tar

INSIDE = "/harness"
_BUILD_LIMITS = Limits(wall_s=120, record_bytes=96 << 20)
_VERSION_FROM_GIT = (
    "setuptools_scm",
    "setuptools-scm",
    "hatch-vcs",
    "flit_scm",
    "flit-scm",
    "vcs-versioning",
    "pdm-backend",
)
"""Build requirements that take the version from git, which a variable of the environment stands in for."""
_DEFAULT_BACKEND = "setuptools.build_meta:__legacy__"


@dataclass(frozen=True)
class Layer:
    """What lies beside the template so that the project works as if it were installed."""

    files: Mapping[str, bytes]
    """The .dist-info, relative to the layer's directory."""
    generated: Mapping[str, bytes]
    """Files that the build adds to the tree."""
    roots: tuple[str, ...]
    """Import roots relative to the tree; "." is the tree itself."""
    how: str
    """editable, wheel, or static, with the reason for not being better."""

    @property
    def key(self) -> str:
        """Digest of the content: what a test run depends on, however the layer came about."""
        content = [sorted((name, data.hex()) for name, data in part.items()) for part in (self.files, self.generated)]
        return _digest([content, list(self.roots)])

    @property
    def pytest_plugins(self) -> tuple[str, ...]:
        """Names of the project's own `pytest11` entry points."""
        listings = [data for name, data in self.files.items() if name.endswith("entry_points.txt")]
        return tuple(name for data in listings for name in entry_points(data.decode("utf-8", "replace"), "pytest11"))

    def import_path(self) -> str:
        """Return PYTHONPATH inside the sandbox."""
        return ":".join([f"{WORK}/layer", *(f"{WORK}/tree/{root}".removesuffix("/.") for root in self.roots)])

    def overlay(self, tree: Tree) -> Tree:
        """Return the tree with the generated files that it does not have itself."""
        missing = {path: data for path, data in self.generated.items() if path not in tree}
        return tree.replace(missing) if missing else tree


class LayerStore:
    """Layers by content address below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, Layer] = {}

    def get(self, template: Template, tree: Tree, env: Mapping[str, str]) -> Layer:
        """Return the layer of the tree that is to be tested.

        Where the packaging files alone decide what a build says, trees that share them share it;
        a build that reads or writes sources is done for each tree.
        """
        if _says_all(tree):
            layer = self._cached(shared_key(template, tree, env), template, tree, env)
            if not layer.generated:
                return layer
        return self._cached(own_key(template, tree, env), template, tree, env)

    def _cached(self, address: str, template: Template, tree: Tree, env: Mapping[str, str]) -> Layer:
        if address not in self._known:
            path = self.root / address[:2] / f"{address}.json"
            layer = _load(path)
            if layer is None:
                layer, is_lasting = _build(template, tree, env)
                if not is_lasting:
                    return layer
                _save(layer, path)
            self._known[address] = layer
        return self._known[address]


def shared_key(template: Template, tree: Tree, env: Mapping[str, str]) -> str:
    """Return the address for trees with the same packaging files and package folders."""
    packaging = [f"{tree.entries[p].blob} {p}" for p in sorted(tree) if role(p) is Role.PROTECTED and "test" not in p]
    folders = sorted({str(PurePosixPath(p).parent) for p in tree if role(p) is Role.SOURCE})
    return _digest([template.key, packaging, folders, sorted(env.items())])


def own_key(template: Template, tree: Tree, env: Mapping[str, str]) -> str:
    """Return the address for this very tree; of the tests a build sees the names alone."""
    seen = without_test_text(tree)
    files = [f"{seen.entries[p].blob} {p}" for p in sorted(seen) if role(p) is not Role.CI]
    return _digest([template.key, files, sorted(env.items())])


def without_test_text(tree: Tree) -> Tree:
    """Return the tree with every test file empty: packaging files may list them, and tests hold the answers.

    Test files are those whose names tell, and those that the project's pytest configuration names. A pattern
    for all modules tells nothing.
    """
    patterns = [words for words in configured(tree, "python_files") if not fnmatch("__init__.py", words)]
    return tree.replace(
        {
            path: b""
            for path in tree
            if role(path) is Role.TEST
            or path.endswith("conftest.py")
            or any(fnmatch(path if "/" in pattern else PurePosixPath(path).name, pattern) for pattern in patterns)
        }
    )


def _digest(parts: list[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _says_all(tree: Tree) -> bool:
    """Return whether the packaging files alone decide the metadata: no code, no version read from sources."""
    pyproject = _pyproject(tree)
    hatch = pyproject.get("tool", {}).get("hatch", {})
    hooks = {**hatch.get("build", {}).get("hooks", {}), **hatch.get("metadata", {}).get("hooks", {})}
    if not pyproject.get("project") or "setup.py" in tree or "custom" in hooks:
        return False
    if "backend-path" in pyproject.get("build-system", {}):  # the backend is code of the tree itself
        return False
    if "version" not in pyproject["project"].get("dynamic", []):
        return True
    requires = " ".join(map(str, pyproject.get("build-system", {}).get("requires", [])))
    return any(tool in requires for tool in _VERSION_FROM_GIT)


def _build(template: Template, tree: Tree, env: Mapping[str, str]) -> tuple[Layer, bool]:
    """Ask the backend; return the layer, and whether the same question would be answered the same again."""
    pyproject = _pyproject(tree)
    if not pyproject and not {"setup.py", "setup.cfg"} & set(tree):
        return _static(tree, pyproject, "the project has no packaging files"), True
    system = pyproject.get("build-system", {})
    key = new_key()
    request = {
        "key": key.hex(),
        "backend": str(system.get("build-backend", _DEFAULT_BACKEND)),
        "backend_path": [str(entry) for entry in system.get("backend-path", [])],
    }
    extra = {"request.json": json.dumps(request).encode()}
    seen = without_test_text(tree)
    with consumed_input(lambda out: write_tar(seen, out, prefix="tree", extra=extra)) as tar:
        done = run(
            Sandbox(
                [template.python, f"{INSIDE}/build_layer.py"],
                read_only={**template.mounts(), INSIDE: inside_directory()},
                env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "PATH": "/venv/bin:/usr/bin:/bin", **env},
                limits=_BUILD_LIMITS,
            ),
            stdin=tar,
        )
    opened = open_records(done.records, key, cut=done.timed_out or done.returncode < 0)
    is_whole = len(opened.records) == 1 and not opened.tampering
    layer = _parse(opened.records[0], static_roots(tree)) if is_whole else None
    if layer is not None:
        return layer, True
    words = done.output.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
    refused = done.returncode > 0 and not done.timed_out  # a limit or a signal says nothing about the project
    return _static(tree, pyproject, f"{request['backend']}: {words[0][:200]}"), refused


def _static(tree: Tree, pyproject: Mapping[str, Any], reason: str) -> Layer:
    project = pyproject.get("project", {})
    name = str(project.get("name", "")).replace("-", "_")
    version = str(project.get("version", "0"))
    files: dict[str, bytes] = {}
    if name:
        metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n"
        files[f"{name}-{version}.dist-info/METADATA"] = metadata.encode()
    return Layer(files, {}, static_roots(tree), f"static: {reason}")


def static_roots(tree: Tree) -> tuple[str, ...]:
    """Return the import roots that the layout suggests: src/ where it holds code, and the tree."""
    has_src = any(path.startswith("src/") and path.endswith(".py") for path in tree)
    return ("src", ".") if has_src else (".",)


def inside_directory() -> str:
    """Return the host path of the files that run inside the sandbox."""
    return str(Path(__file__).resolve().parent.parent / "inside")


def _pyproject(tree: Tree) -> Mapping[str, Any]:
    if "pyproject.toml" not in tree:
        return {}
    try:
        return tomllib.loads(tree.text("pyproject.toml"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def _parse(doc: Mapping[str, Any], roots: tuple[str, ...]) -> Layer | None:
    """Return the layer of a document, or None: what comes out of a build can be anything."""
    try:
        named = tuple(root for root in doc["roots"] or roots if isinstance(root, str))
        return Layer(_decoded(doc["files"]), _decoded(doc["generated"]), named, str(doc["how"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _decoded(files: Mapping[str, str]) -> dict[str, bytes]:
    """Decode files that came out of the sandbox; names that leave their directory are dropped."""
    safe = {name: data for name, data in files.items() if not {"", ".", ".."} & set(name.split("/"))}
    return {name: base64.b64decode(data, validate=True) for name, data in safe.items() if name.encode()}


def _save(layer: Layer, path: Path) -> None:
    document = {
        "files": {name: base64.b64encode(data).decode() for name, data in layer.files.items()},
        "generated": {name: base64.b64encode(data).decode() for name, data in layer.generated.items()},
        "roots": list(layer.roots),
        "how": layer.how,
    }
    body = json.dumps(document, sort_keys=True)
    keep_cached(path, json.dumps({"sha256": _sha256(body), "layer": body}).encode())


def _load(path: Path) -> Layer | None:
    """Return a stored layer; None when there is none, or a power cut or a failing disk left something else."""
    try:
        stored = json.loads(path.read_bytes())
        body, digest = str(stored["layer"]), stored["sha256"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return _parse(json.loads(body), ()) if _sha256(body) == digest else None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

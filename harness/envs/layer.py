"""The project layer: what makes the tree importable and known by name, without installing it.

The project's own build backend is asked once per set of packaging files, inside the sandbox, for
an editable build; from it come the .dist-info (name, version, entry points), the import roots and
files that only a build creates. They travel with the tree into every sandbox and lie beside the
template, never in it. A backend that cannot answer leaves the static layer, and the layer says so.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.envs.template import Template, entry_points
from harness.paths import Role, role
from harness.sandbox.bwrap import WORK, Sandbox, run
from harness.sandbox.limits import Limits
from harness.tree import Tree, write_tar

INSIDE = "/harness"
_BUILD_LIMITS = Limits(wall_s=120, record_bytes=96 << 20)
_DEFAULT_BACKEND = "setuptools.build_meta:__legacy__"


@dataclass(frozen=True)
class Layer:
    """What lies beside the template so that the project works as if it were installed."""

    key: str
    files: Mapping[str, bytes]
    """The .dist-info, relative to the layer's directory."""
    generated: Mapping[str, bytes]
    """Files that the build adds to the tree."""
    roots: tuple[str, ...]
    """Import roots relative to the tree; "." is the tree itself."""
    how: str
    """editable, wheel, or static, with the reason for not being better."""

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
        """Return the layer for a tree, building it when its packaging files are new."""
        key = layer_key(template, tree, env)
        if key not in self._known:
            path = self.root / key[:2] / f"{key}.json"
            layer = _load(key, path)
            if layer is None:
                layer = _build(key, template, tree, env)
                _save(layer, path)
            self._known[key] = layer
        return self._known[key]


def layer_key(template: Template, tree: Tree, env: Mapping[str, str]) -> str:
    """Return what a layer depends on: template, packaging files, package folders, variables."""
    packaging = [f"{tree.entries[p].blob} {p}" for p in sorted(tree) if role(p) is Role.PROTECTED and "test" not in p]
    folders = sorted({str(PurePosixPath(p).parent) for p in tree if role(p) is Role.SOURCE})
    text = json.dumps([template.key, packaging, folders, sorted(env.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _build(key: str, template: Template, tree: Tree, env: Mapping[str, str]) -> Layer:
    pyproject = _pyproject(tree)
    if not pyproject and not {"setup.py", "setup.cfg"} & set(tree):
        return _static(key, tree, pyproject, "the project has no packaging files")
    system = pyproject.get("build-system", {})
    request = {
        "backend": str(system.get("build-backend", _DEFAULT_BACKEND)),
        "backend_path": [str(entry) for entry in system.get("backend-path", [])],
    }
    with tempfile.TemporaryFile() as tar:
        write_tar(tree, tar, prefix="tree")
        tar.seek(0)
        done = run(
            Sandbox(
                [template.python, f"{INSIDE}/build_layer.py", json.dumps(request)],
                read_only={**template.mounts(), INSIDE: inside_directory()},
                env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "PATH": "/venv/bin:/usr/bin:/bin", **env},
                limits=_BUILD_LIMITS,
            ),
            stdin=tar,
        )
    layer = _parse(key, done.records, static_roots(tree))
    if layer is None:
        words = done.output.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
        return _static(key, tree, pyproject, f"{request['backend']}: {words[0][:200]}")
    return layer


def _static(key: str, tree: Tree, pyproject: Mapping[str, Any], reason: str) -> Layer:
    project = pyproject.get("project", {})
    name = str(project.get("name", "")).replace("-", "_")
    version = str(project.get("version", "0"))
    files: dict[str, bytes] = {}
    if name:
        metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n"
        files[f"{name}-{version}.dist-info/METADATA"] = metadata.encode()
    return Layer(key, files, {}, static_roots(tree), f"static: {reason}")


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


def _parse(key: str, raw: bytes, roots: tuple[str, ...]) -> Layer | None:
    """Return the layer of a document, or None: what comes out of a build can be anything."""
    try:
        doc = json.loads(raw)
        named = tuple(root for root in doc["roots"] or roots if isinstance(root, str))
        return Layer(key, _decoded(doc["files"]), _decoded(doc["generated"]), named, str(doc["how"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _decoded(files: Mapping[str, str]) -> dict[str, bytes]:
    """Decode files that came out of the sandbox; names that leave their directory are dropped."""
    safe = {name: data for name, data in files.items() if not {"", ".", ".."} & set(name.split("/"))}
    return {name: base64.b64decode(data, validate=True) for name, data in safe.items() if name.encode()}


def _save(layer: Layer, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "files": {name: base64.b64encode(data).decode() for name, data in layer.files.items()},
        "generated": {name: base64.b64encode(data).decode() for name, data in layer.generated.items()},
        "roots": list(layer.roots),
        "how": layer.how,
    }
    fd, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(fd, "w") as stream:
        json.dump(document, stream, sort_keys=True)
    Path(name).replace(path)


def _load(key: str, path: Path) -> Layer | None:
    try:
        return _parse(key, path.read_bytes(), ())
    except FileNotFoundError:
        return None

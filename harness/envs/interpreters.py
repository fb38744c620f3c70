"""Find the Python that an environment names, or say that this machine has none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.errors import PythonMissing

_PROBE = (
    "import json,sys,sysconfig;print(json.dumps([sys.version_info[:2],sys.version.split()[0],"
    "sys.base_prefix,getattr(sys,'_base_executable',sys.executable),sys.implementation.cache_tag]))"
)
_PROBE_TIMEOUT_S = 20


@dataclass(frozen=True)
class Interpreter:
    """One Python installation."""

    minor: str
    """e.g. "3.11"."""
    version: str
    executable: Path
    prefix: Path
    """The installation that the sandbox must see for the interpreter to start."""

    @property
    def identity(self) -> str:
        """What an environment built for this interpreter depends on."""
        return f"{self.version} {self.executable}"


@cache
def find_interpreter(minor: str) -> Interpreter:
    """Return the interpreter for a minor version; PythonMissing when there is none."""
    tried: list[str] = []
    for path in _places(minor):
        found = _probe(path)
        if found is not None and found.minor == minor:
            return found
        tried.append(str(path))
    looked = ", ".join(tried[:4]) or "PATH and ~/.pyenv/versions"
    raise PythonMissing(f"no Python {minor} on this machine (looked at {looked})")


def _places(minor: str) -> Iterator[Path]:
    if "{}.{}".format(*sys.version_info[:2]) == minor:
        yield Path(sys.executable)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    on_path = shutil.which(f"python{minor}")
    if on_path and "shims" not in on_path:
        yield Path(on_path)
    if os.access(pyenv, os.R_OK | os.X_OK):
        yield from sorted(pyenv.glob(f"{minor}.*/bin/python{minor}"), reverse=True)
    uv_home = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python"))
    if os.access(uv_home, os.R_OK | os.X_OK):
        yield from sorted(uv_home.glob(f"cpython-{minor}.*/bin/python{minor}"), reverse=True)


def _probe(path: Path) -> Interpreter | None:
    try:
        done = subprocess.run(
            [str(path), "-I", "-c", _PROBE], capture_output=True, timeout=_PROBE_TIMEOUT_S, check=True
        )
        (major, minor), version, prefix, executable, _tag = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Interpreter(f"{major}.{minor}", version, Path(executable).resolve(), Path(prefix))

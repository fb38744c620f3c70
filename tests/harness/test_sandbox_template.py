"""What a build leaves in a template: files that are ours, that every run may read and none may write."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harness.envs.interpreters import find_interpreter
from harness.envs.template import Template, TemplateStore, Wheels, _check_installed, _links, create_venv
from harness.errors import EnvironmentUnresolvable
from harness.manifest import Environment, Lock

ROOT = Path(__file__).parent.parent.parent


def modes(venv: Path) -> set[tuple[int, str]]:
    """Return owner and mode of everything in a venv but its links."""
    found = [path.lstat() for path in venv.rglob("*")]
    return {(entry.st_uid, stat.filemode(entry.st_mode)) for entry in found if not stat.S_ISLNK(entry.st_mode)}


def test_a_template_is_ours_and_readable(template: Template) -> None:
    """Not the uid that filled it owns it, nor any that runs tests: nobody but the appliance can change a byte."""
    venv = template.directory / "venv"
    assert modes(venv) <= {(os.geteuid(), mode) for mode in ("drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x")}
    assert {path.lstat().st_uid for path in venv.rglob("*")} == {os.geteuid()}


def test_a_strict_umask_does_not_close_a_template(tmp_path: Path, this_python: str, wheels: Wheels) -> None:
    """An appliance that keeps its files to itself still lends its templates to the runs."""
    code = (
        "import os, sys; from pathlib import Path; from harness.envs.template import *; from harness.manifest import *\n"
        "from harness.sandbox.bwrap import Sandbox, run\n"
        "os.umask(0o077)\n"
        "store, wheels, python, wheel, sha256 = sys.argv[1:]\n"
        "env = Environment('e', python, (wheel,), {}, Lock('none', None))\n"
        "template = TemplateStore(Path(store)).get(env, Wheels(Path(wheels), {wheel: sha256}))\n"
        "print(run(Sandbox([template.python, '-c', 'import pluggy; print(pluggy.__name__)'], template.mounts())).output)"
    )
    wheel = next(name for name in wheels.sha256 if name.startswith("pluggy"))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "environments"), str(wheels.directory), this_python, wheel,
         wheels.sha256[wheel]],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout == "b'pluggy\\n'\n", done.stderr


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_is_neither_file_nor_folder_is_refused(kind: str, tmp_path: Path, this_python: str) -> None:
    """A link that wheels brought would be followed by the appliance; the venv's own links stay."""
    venv = tmp_path / "venv"
    create_venv(venv, find_interpreter(this_python))
    environment = Environment("env-1", this_python, (), {}, Lock("none", None))
    links = _links(venv)
    _check_installed(venv, links, environment)
    strange = next(venv.glob("lib/python*/site-packages")) / "strange"
    if kind == "link":
        strange.symlink_to("/etc/passwd")
    else:
        os.mkfifo(strange)
    with pytest.raises(EnvironmentUnresolvable, match="site-packages/strange"):
        _check_installed(venv, links, environment)


def test_an_empty_template_is_readable_as_well(tmp_path: Path, this_python: str) -> None:
    """An environment without wheels is never handed over, and is made readable all the same."""
    old = os.umask(0o077)
    try:
        environment = Environment("e", this_python, (), {}, Lock("none", None))
        template = TemplateStore(tmp_path / "environments").get(environment, Wheels(tmp_path, {}))
    finally:
        os.umask(old)
    assert modes(template.directory / "venv") <= {
        (os.geteuid(), mode) for mode in ("drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x")
    }

"""Finding the Python that an environment names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.envs.interpreters import find_interpreter
from harness.errors import PythonMissing


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make every place that is searched empty, and return the directory on PATH."""
    for name in ("PATH", "PYENV_ROOT", "UV_PYTHON_INSTALL_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
        (tmp_path / name).mkdir()
    return tmp_path / "PATH"


def script(path: Path, text: str) -> None:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def probe_answer(minor: str) -> str:
    """Return the command of a fake interpreter of this minor version."""
    major, _, rest = minor.partition(".")
    return f"""echo '[[{major}, {rest}], "{minor}.5", "/opt/py", "/opt/py/bin/python{minor}", "cp"]'"""


def test_the_running_version_is_found_outside_its_virtual_environment(this_python: str) -> None:
    """The executable and prefix are those of the installation, and it runs."""
    found = find_interpreter(this_python)
    assert found.minor == this_python
    assert found.prefix == Path(sys.base_prefix)
    printed = subprocess.run([found.executable, "-V"], capture_output=True, text=True, check=True).stdout
    assert found.version in printed


def test_identity_names_version_and_place(this_python: str) -> None:
    """Two installations of one minor version do not share environments."""
    found = find_interpreter(this_python)
    assert found.version in found.identity
    assert str(found.executable) in found.identity


def test_a_version_that_nobody_has_is_missing() -> None:
    """The failure names the version, maps to its exit code and says what to do."""
    with pytest.raises(PythonMissing, match=r"no Python 3\.99") as failed:
        find_interpreter("3.99")
    assert failed.value.exit_code == 14
    assert failed.value.hint


def test_path_is_searched(nowhere: Path) -> None:
    """A `python3.98` on PATH is found."""
    script(nowhere / "python3.98", probe_answer("3.98"))
    found = find_interpreter("3.98")
    assert (found.version, found.prefix) == ("3.98.5", Path("/opt/py"))


def test_the_newest_patch_level_of_pyenv_is_taken(nowhere: Path) -> None:
    """Installations of pyenv are found without its shims."""
    script(nowhere.parent / "PYENV_ROOT/versions/3.97.1/bin/python3.97", probe_answer("3.97"))
    assert find_interpreter("3.97").minor == "3.97"


@pytest.mark.parametrize(
    "text", ["exit 1", "echo not json", probe_answer("3.12"), "kill -9 $$"], ids=["fails", "babbles", "other", "dies"]
)
def test_an_interpreter_that_does_not_prove_its_version_is_not_taken(nowhere: Path, text: str) -> None:
    """A broken or mislabelled executable is passed over, and the failure says where was looked."""
    script(nowhere / "python3.96", text)
    with pytest.raises(PythonMissing, match=r"looked at .*python3\.96"):
        find_interpreter("3.96")


def test_a_shorter_version_does_not_match_a_longer_one(nowhere: Path) -> None:
    """3.1 is not 3.11."""
    script(nowhere.parent / "PYENV_ROOT/versions/3.11.9/bin/python3.11", probe_answer("3.11"))
    with pytest.raises(PythonMissing):
        find_interpreter("3.1")

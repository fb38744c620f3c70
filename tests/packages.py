"""A small real repo package, and copies of it to damage.

The repository is a tiny library with a src/ layout and no packaging files, so that nothing has to
be built; every commit after the first is one task with one test that only its solution passes.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from harness.envs.template import Wheels
from harness.git import git_environment
from harness.manifest import MANIFEST_NAME, Commit, Environment, Lock, Manifest, manifest_bytes
from harness.manifest import parse_manifest as parse
from tests.conftest import file_entries

NAME = "abacus"
PACKAGE_ID = f"{NAME}-1"
VERBS = {"total": "sum(numbers)", "largest": "max(numbers)", "smallest": "min(numbers)"}
NOT_NEEDED = ("setuptools",)


def build_repository(work: Path, bare: Path) -> list[str]:
    """Make the history of the small library, clone it bare; return the commit ids, oldest first."""
    work.mkdir(parents=True)
    git(work, "init", "-q", "-b", "main", "--template=")
    module = '"""Count."""\n\n\ndef count(numbers: list[int]) -> int:\n    """Return how many there are."""\n    return len(numbers)\n'
    tests = "from abacus import tools\n\n\ndef test_count():\n    assert tools.count([1, 2]) == 2\n"
    write(work, {"src/abacus/__init__.py": "", "src/abacus/tools.py": module, "tests/test_tools.py": tests})
    commit(work, "Count numbers of a list", 1)
    for day, (verb, expression) in enumerate(VERBS.items(), 2):
        module += (
            f'\n\ndef {verb}(numbers: list[int], /) -> int:\n    """Return the {verb}."""\n    return {expression}\n'
        )
        tests += f"\n\ndef test_{verb}():\n    assert tools.{verb}([3]) == 3\n"
        write(work, {"src/abacus/tools.py": module, "tests/test_tools.py": tests})
        commit(work, f"Add the function {verb} to abacus.tools", day)
    git(work, "clone", "-q", "--bare", "--template=", str(work), str(bare))
    git(bare, "gc", "-q")
    return git(bare, "rev-list", "--reverse", "main").split()


def build_package(directory: Path, wheels: Wheels, python: str, scratch: Path) -> Path:
    """Write a good package into `directory` and return it."""
    directory.mkdir(parents=True)
    shas = build_repository(scratch / "work", directory / "repo")
    names = tuple(sorted(name for name in wheels.sha256 if not name.startswith(NOT_NEEDED)))
    (directory / "packages").mkdir()
    for name in names:
        shutil.copyfile(wheels.directory / name, directory / "packages" / name)
    manifest = Manifest(
        name=NAME, sequence=1, upstream="https://example.invalid/abacus", license="MIT", organisation="Example",
        domain="arithmetic", head=shas[-1], files={},
        environments=(Environment("env-1", python, names, {}, Lock("newest", None)),),
        test_command=("pytest",), test_scope="affected",
        commits=tuple(
            Commit(
                sha=sha, parent=parent, task=f"Add the function {verb} to abacus.tools", kinds=("step-plan", "test-plan"),
                environment="env-1", source_paths=("src/abacus/tools.py",), test_paths=("tests/test_tools.py",),
                lines_changed=9, committed_at=f"2026-01-{day:02d}T12:00:00Z",
            )
            for day, (verb, parent, sha) in enumerate(zip(VERBS, shas, shas[1:], strict=False), 2)
        ),
    )  # fmt: skip
    seal(directory, manifest)
    return directory


def read_manifest(directory: Path) -> Manifest:
    """Return the manifest of a package directory."""
    return parse((directory / MANIFEST_NAME).read_bytes())


def seal(directory: Path, manifest: Manifest) -> Manifest:
    """Write the manifest with the files as they are now."""
    sealed = replace(manifest, files=file_entries(directory))
    (directory / MANIFEST_NAME).write_bytes(manifest_bytes(sealed))
    return sealed


def reseal(directory: Path, change: Callable[[Manifest], Manifest] = lambda manifest: manifest) -> Manifest:
    """Change the manifest of a package and list its files as they are now."""
    return seal(directory, change(read_manifest(directory)))


def with_sequence(directory: Path, sequence: int) -> Path:
    """Make a package the given number in its series, directory name included."""
    reseal(directory, lambda manifest: replace(manifest, sequence=sequence))
    return directory.rename(directory.with_name(f"{NAME}-{sequence}"))


def only_commits(directory: Path, number: int) -> Path:
    """Leave the first commits of a package only; its repository stays whole."""
    reseal(directory, lambda manifest: replace(manifest, commits=manifest.commits[:number]))
    return directory


def without_runs(directory: Path) -> Path:
    """Name a Python that does not exist: the package comes in whole, and no test of it is run."""
    reseal(directory, lambda m: replace(m, environments=tuple(replace(e, python="3.99") for e in m.environments)))
    return directory


def corrupt_pack(directory: Path) -> None:
    """Flip bytes in the middle of a package's git pack."""
    pack = next((directory / "repo" / "objects" / "pack").glob("*.pack"))
    data = bytearray(pack.read_bytes())
    for offset in range(len(data) // 2, len(data) // 2 + 8):
        data[offset] ^= 0xFF
    pack.chmod(0o644)
    pack.write_bytes(data)


def write(directory: Path, files: Mapping[str, str]) -> None:
    """Write text files below a directory."""
    for path, text in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def commit(work: Path, message: str, day: int) -> None:
    """Commit everything at noon of a day in January 2026."""
    date = f"2026-01-{day:02d}T12:00:00Z"
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", message, GIT_AUTHOR_DATE=date, GIT_COMMITTER_DATE=date)


def git(cwd: Path, *arguments: str, **variables: str) -> str:
    """Run git as a person without any configuration; return what it prints."""
    who = {"NAME": "Test", "EMAIL": "test@example.invalid"}
    env = git_environment() | {
        f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()
    }
    done = subprocess.run(["git", *arguments], cwd=cwd, env=env | variables, capture_output=True, text=True, check=True)
    return done.stdout

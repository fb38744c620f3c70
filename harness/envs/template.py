"""Template environments: one read-only venv per (interpreter, wheel hashes), built once.

A template is created with virtualenv (no seed packages), filled offline by uv inside the sandbox
from exactly the pinned wheels, compiled to bytecode, and published by one rename; from then on it
is only ever bind-mounted read-only at /venv. The environment of an attempt is that view: it costs
no copying and vanishes with the sandbox. Untrusted code never sees a hardlink or a writable byte
of a template (security reference, 1d). A directory without a whole template.json is no template,
whatever it holds: it is built again or removed. The cap holds but for templates in use.
"""

from __future__ import annotations

import configparser
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.durable import sync_directory
from harness.envs.interpreters import Interpreter, find_interpreter
from harness.errors import DiskFull, EnvironmentUnresolvable
from harness.manifest import Environment
from harness.sandbox.bwrap import Finished, Sandbox, run
from harness.sandbox.identity import take_back
from harness.sandbox.limits import Limits

VENV = "/venv"
_FORMAT = 1
_BUILD_LIMITS = Limits(wall_s=900, processes=2048, file_bytes=2 << 30, scratch_bytes=64 << 20, output_bytes=256 << 10)
_BUILD_TMP = "/build-tmp"
_STAGE = ".building-"
_SPARE_BYTES = 64 << 20
_UNPACKED = 10
"""How much larger than its wheels an environment gets while it is built, generously."""
_DONE = "template.json"
_LEASE = "lease"


@dataclass(frozen=True)
class Template:
    """A finished template environment."""

    key: str
    directory: Path
    interpreter: Interpreter
    pytest_plugins: tuple[str, ...]
    """Names of the `pytest11` entry points of the installed distributions."""

    @property
    def python(self) -> str:
        """The interpreter as seen inside the sandbox."""
        return f"{VENV}/bin/python"

    def mounts(self) -> dict[str, str]:
        """Return the read-only mounts that make the environment usable."""
        return {**interpreter_mount(self.interpreter), VENV: str(self.directory / "venv")}


@dataclass(frozen=True)
class _Facts:
    """What template.json says of a finished template."""

    pytest_plugins: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True)
class Wheels:
    """Where the wheels of an environment are and what they must hash to."""

    directory: Path
    sha256: Mapping[str, str]
    """File name to digest."""


class TemplateStore:
    """Builds, finds and collects templates below one directory. Safe across processes."""

    def __init__(self, root: Path, *, cap_bytes: int = 20 << 30) -> None:
        self.root = root
        self.cap_bytes = cap_bytes
        self._leases: dict[str, int] = {}

    def get(self, environment: Environment, wheels: Wheels) -> Template:
        """Return the template for an environment, building it when there is none yet.

        Raises PythonMissing or EnvironmentUnresolvable.
        """
        interpreter = find_interpreter(environment.python)
        key = template_key(interpreter, {name: wheels.sha256[name] for name in environment.wheels})
        with self._locked(key):
            directory = self.root / key
            facts = _read_facts(directory)
            is_new = facts is None
            if facts is None:
                self._end_lease(key)  # of one that was damaged after we had it
                facts = self._build(directory, interpreter, environment, wheels)
            self._lease(key)
        if is_new:
            self.collect()  # only now its size is known; its own lease keeps it
        os.utime(directory / _DONE)
        return Template(key, directory, interpreter, facts.pytest_plugins)

    def collect(self) -> list[str]:
        """Remove what is no template, then the least recently used ones until the cap holds; in-use ones stay."""
        for stage in self.root.glob(f"{_STAGE}*"):
            self._sweep(stage)
        found: list[tuple[float, int, Path]] = []
        for directory in self.root.glob("[!.]*"):
            facts, used_at = _read_facts(directory), _used_at(directory)
            if facts is None or used_at is None:  # torn, or collected by another process meanwhile
                self._remove(directory)
            else:
                found.append((used_at, facts.size_bytes, directory))
        total, removed = sum(size for _, size, _ in found), []
        for _, size, directory in sorted(found):
            if total <= self.cap_bytes:
                break
            if self._remove(directory):
                total -= size
                removed.append(directory.name)
        return removed

    def _build(self, directory: Path, interpreter: Interpreter, environment: Environment, wheels: Wheels) -> _Facts:
        self.root.mkdir(parents=True, exist_ok=True)
        self.collect()
        stage = self.root / f"{_STAGE}{directory.name}"
        shutil.rmtree(stage, ignore_errors=True)  # left by a crash: the lock on the key is ours
        stage.mkdir()
        try:
            create_venv(stage / "venv", interpreter)
            links = _links(stage / "venv")
            done = install(stage / "venv", interpreter, environment.wheels, wheels)
            if done.returncode != 0 or done.timed_out:
                words = _words(done)
                failure = DiskFull if self._is_full(words, environment, wheels) else EnvironmentUnresolvable
                raise failure(
                    f"environment {environment.id} cannot be installed for Python {environment.python}: {words}"
                )
            _check_installed(stage / "venv", links, environment)
            plugins, size_bytes = _pytest_plugins(stage / "venv"), _tree_bytes(stage)
            document = {
                "format": _FORMAT,
                "python": interpreter.version,
                "wheels": {name: wheels.sha256[name] for name in environment.wheels},
                "pytest_plugins": plugins,
                "bytes": size_bytes,
            }
            (stage / _LEASE).touch()
            (stage / _DONE).write_text(json.dumps(document, indent=1, sort_keys=True))
            os.sync()  # thousands of files: a power cut must not leave a finished name on half of them
            shutil.rmtree(directory, ignore_errors=True)
            stage.rename(directory)
            sync_directory(self.root)
            return _Facts(tuple(plugins), size_bytes)
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def _is_full(self, words: str, environment: Environment, wheels: Wheels) -> bool:
        """Return whether uv ran out of this machine's disk; what it wrote until then it may have removed again."""
        if os.strerror(errno.ENOSPC) not in words:
            return False
        files = [wheels.directory / name for name in environment.wheels]
        needed = _UNPACKED * sum(file.stat().st_size for file in files if file.is_file())
        return shutil.disk_usage(self.root).free < needed + _SPARE_BYTES

    def _lease(self, key: str) -> None:
        """Hold a shared lock on the template for the life of this process."""
        if key not in self._leases:
            fd = os.open(self.root / key / _LEASE, os.O_RDONLY)
            fcntl.flock(fd, fcntl.LOCK_SH)
            self._leases[key] = fd

    def _end_lease(self, key: str) -> None:
        if key in self._leases:
            os.close(self._leases.pop(key))

    def _remove(self, directory: Path) -> bool:
        """Remove a template, or what is left of one, unless it is in use or about to be."""
        try:
            with self._locked(directory.name, wait=False):
                fd = os.open(directory / _LEASE, os.O_RDONLY | os.O_CREAT, 0o644)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    (directory / _DONE).unlink(missing_ok=True)
                    shutil.rmtree(directory)
                finally:
                    os.close(fd)
        except (BlockingIOError, FileNotFoundError, NotADirectoryError):
            return False
        return True

    def _sweep(self, stage: Path) -> None:
        """Remove half a build whose builder is gone."""
        with contextlib.suppress(BlockingIOError), self._locked(stage.name.removeprefix(_STAGE), wait=False):
            shutil.rmtree(stage, ignore_errors=True)

    @contextmanager
    def _locked(self, key: str, *, wait: bool = True) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.root / f".lock-{key}", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield
        finally:
            os.close(fd)


def template_key(interpreter: Interpreter, wheels: Mapping[str, str]) -> str:
    """Return the content address of a template: interpreter and wheel hashes, nothing else."""
    lines = [f"format {_FORMAT}", interpreter.identity, *(f"{wheels[name]} {name}" for name in sorted(wheels))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def interpreter_mount(interpreter: Interpreter) -> dict[str, str]:
    """Return the mount that an interpreter outside /usr needs."""
    prefix = str(interpreter.prefix)
    return {} if prefix == "/usr" else {prefix: prefix}


def create_venv(directory: Path, interpreter: Interpreter) -> None:
    """Create an empty venv (no pip, no seed wheels, no activation scripts)."""
    import virtualenv  # noqa: PLC0415 - 70 ms that only a build pays

    virtualenv.cli_run(
        ["--no-seed", "--activators", "", "--no-periodic-update", "--quiet", "--python", str(interpreter.executable),
         str(directory)],
        setup_logging=False,
    )  # fmt: skip


def install(venv: Path, interpreter: Interpreter, names: tuple[str, ...], wheels: Wheels) -> Finished:
    """Install exactly these wheels, hash-checked, offline, with bytecode, from inside the sandbox."""
    lines = [f"{_distribution(name)} @ file:///packages/{name} --hash=sha256:{wheels.sha256[name]}" for name in names]
    if not lines:
        return run(Sandbox(["/usr/bin/true"]))
    with tempfile.TemporaryDirectory(dir=venv.parent, prefix=".tmp-") as unpacked:  # on disk: memory is too small
        return _uv(
            ["install", "--no-deps", "--require-hashes", "--no-index", "--link-mode", "copy", "--compile-bytecode",
             "--python", f"{VENV}/bin/python", "--requirement", "/requirements.txt"],
            "\n".join(lines), interpreter, wheels.directory, writable={VENV: str(venv), _BUILD_TMP: unpacked},
            env={"TMPDIR": _BUILD_TMP},
        )  # fmt: skip


def resolve_offline(interpreter: Interpreter, names: tuple[str, ...], wheels_dir: Path) -> Finished:
    """Let uv resolve the wheels with their dependencies from `wheels_dir` alone; installs nothing."""
    lines = ["{}=={}".format(*name.split("-")[:2]) for name in names]
    if not lines:
        return run(Sandbox(["/usr/bin/true"]))
    return _uv(
        ["compile", "--no-index", "--find-links", "/packages", "--only-binary", ":all:", "--no-header",
         "--python", str(interpreter.executable), "/requirements.txt"],
        "\n".join(lines), interpreter, wheels_dir, writable={}, env={},
    )  # fmt: skip


def _uv(
    arguments: list[str], requirements: str, interpreter: Interpreter, wheels_dir: Path, *, writable: Mapping[str, str],
    env: Mapping[str, str],
) -> Finished:  # fmt: skip
    import uv  # noqa: PLC0415 - only a build needs the installer

    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listing:
        listing.write(requirements + "\n")
        listing.flush()
        Path(listing.name).chmod(0o644)  # the user of the run is not ours where we are root
        return run(
            Sandbox(
                ["/uv", "pip", arguments[0], "--offline", "--no-cache", "--no-config", "--quiet", *arguments[1:]],
                read_only={
                    **interpreter_mount(interpreter),
                    "/uv": uv.find_uv_bin(),
                    "/packages": str(wheels_dir),
                    "/requirements.txt": listing.name,
                },
                writable=writable,
                env={"UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", **env},
                limits=_BUILD_LIMITS,
            )
        )


def _links(venv: Path) -> frozenset[Path]:
    return frozenset(path for path in venv.rglob("*") if path.is_symlink())


def _check_installed(venv: Path, links: frozenset[Path], environment: Environment) -> None:
    """Make the finished venv ours, and refuse one in which wheels left anything but files and folders.

    A link among them would be followed by the appliance when it looks into the template.
    """
    take_back(str(venv))
    strange = [path for path in venv.rglob("*") if path not in links and not _is_plain(path.lstat().st_mode)]
    if strange:
        names = ", ".join(str(path.relative_to(venv)) for path in strange[:5])
        raise EnvironmentUnresolvable(
            f"environment {environment.id} holds what is neither a file nor a folder: {names}"
        )


def _is_plain(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _distribution(wheel: str) -> str:
    return wheel.split("-", 1)[0]


def _pytest_plugins(venv: Path) -> list[str]:
    names: set[str] = set()
    for listing in venv.glob("lib/python*/site-packages/*.dist-info/entry_points.txt"):
        names |= set(entry_points(listing.read_text("utf-8", "replace"), "pytest11"))
    return sorted(names)


def entry_points(text: str, group: str) -> list[str]:
    """Return the names in one group of an entry_points.txt document."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
    except configparser.Error:
        return []
    return sorted(parser[group]) if parser.has_section(group) else []


def _read_facts(directory: Path) -> _Facts | None:
    """Return what a template says of itself; None when it is none, torn or unreadable."""
    try:
        document = json.loads((directory / _DONE).read_bytes())
        return _Facts(tuple(map(str, document["pytest_plugins"])), int(document["bytes"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _used_at(directory: Path) -> float | None:
    try:
        return (directory / _DONE).stat().st_mtime
    except OSError:
        return None


def _tree_bytes(directory: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in directory.rglob("*"))


def _words(done: Finished) -> str:
    if done.timed_out:
        return f"not ready after {done.seconds:.0f} s"
    return done.output.decode(errors="replace").strip()[-1500:] or f"uv ended with {done.returncode}"

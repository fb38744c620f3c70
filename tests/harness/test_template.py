"""Template environments: built once, read-only, content-addressed, collected when unused."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from harness.envs.interpreters import find_interpreter
from harness.envs.template import Template, TemplateStore, Wheels, entry_points, resolve_offline, template_key
from harness.errors import DiskFull, EnvironmentUnresolvable, PythonMissing
from harness.manifest import Environment, Lock
from harness.sandbox.bwrap import Sandbox, run
from harness.sandbox.limits import Limits

ROOT = Path(__file__).parent.parent.parent


def make_wheel(directory: Path, name: str, *, requires: str = "", entry: str = "", blob: bytes = b"") -> str:
    """Write a small wheel and return its file name."""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n" + (
        f"Requires-Dist: {requires}\n" if requires else ""
    )
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": f"NAME = {name!r}\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if entry:
        files[f"{info}/entry_points.txt"] = entry
    rows = [f"{path},sha256={_b64(text)},{len(text)}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    wheel = f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(directory / wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        if blob:
            archive.writestr(f"{name}.bin", blob)
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)  # without the time, so that bytes repeat
    return wheel


def _b64(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


class Box:
    """A directory with small wheels and a store of its own, so that builds are cheap."""

    def __init__(self, root: Path, python: str) -> None:
        self.root, self.python = root, python
        self.wheels_dir = root / "wheels"
        self.wheels_dir.mkdir()
        self.store = TemplateStore(root / "environments")

    def wheels(self) -> Wheels:
        """Return all wheels with their digests."""
        files = sorted(self.wheels_dir.glob("*.whl"))
        return Wheels(self.wheels_dir, {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files})

    def environment(self, *names: str, python: str = "") -> Environment:
        """Return an environment with these wheels."""
        return Environment("env-box", python or self.python, names, {}, Lock("none", None))

    def build(self, name: str, store: TemplateStore | None = None) -> Template:
        """Make a wheel and the template that holds it."""
        wheel = make_wheel(self.wheels_dir, name)
        return (store or self.store).get(self.environment(wheel), self.wheels())


@pytest.fixture
def box(tmp_path: Path, this_python: str) -> Box:
    """Return an empty box."""
    return Box(tmp_path, this_python)


def in_template(template: Template, code: str) -> str:
    """Run Python code in a template and return what it prints."""
    done = run(Sandbox([template.python, "-c", code], template.mounts(), limits=Limits(wall_s=20)))
    return done.output.decode().strip()


def test_what_was_asked_for_is_installed_and_nothing_else(template: Template) -> None:
    """The packages of the wheels are importable, and there is no pip."""
    code = "import importlib.metadata as m; print(sorted(d.name.lower() for d in m.distributions()))"
    assert in_template(template, code) == "['iniconfig', 'packaging', 'pluggy', 'pygments', 'pytest', 'setuptools']"


def test_bytecode_is_compiled_when_it_is_built(template: Template) -> None:
    """Attempts do not pay for compiling, which they could not store anyway."""
    sources = list((template.directory / "venv").rglob("site-packages/_pytest/*.py"))
    cached = list((template.directory / "venv").rglob("site-packages/_pytest/__pycache__/*.pyc"))
    assert len(cached) == len(sources) > 20


def test_a_template_cannot_be_written_from_inside(template: Template) -> None:
    """Neither the packages nor the interpreter's configuration take a byte from untrusted code."""
    code = (
        "import os, pytest\n"
        "for path in (pytest.__file__, '/venv/pyvenv.cfg', os.path.dirname(pytest.__file__) + '/new.py'):\n"
        "    try: open(path, 'a').write('evil'); print('written')\n"
        "    except OSError as err: print(err.strerror)"
    )
    assert set(in_template(template, code).splitlines()) <= {"Read-only file system", "Permission denied"}


def test_the_second_time_is_instant_and_the_same(
    templates: TemplateStore, template: Template, environment: Environment, wheels: Wheels
) -> None:
    """Nothing is built again, in this store or in a new one on the same directory."""
    for store in (templates, TemplateStore(templates.root)):
        started = time.monotonic()
        again = store.get(environment, wheels)
        assert time.monotonic() - started < 0.5
        assert again == template


def test_the_key_depends_on_interpreter_and_hashes_alone(this_python: str) -> None:
    """Order does not matter; a hash, a name and the interpreter do."""
    interpreter = find_interpreter(this_python)
    key = template_key(interpreter, {"a.whl": "1" * 64, "b.whl": "2" * 64})
    assert key == template_key(interpreter, {"b.whl": "2" * 64, "a.whl": "1" * 64})
    assert key != template_key(interpreter, {"a.whl": "1" * 64, "b.whl": "3" * 64})
    assert key != template_key(interpreter, {"a.whl": "1" * 64})
    assert key != template_key(interpreter, {"a.whl": "2" * 64, "b.whl": "1" * 64})


def test_the_order_of_wheels_makes_no_other_template(box: Box) -> None:
    """Two environments with the same wheels share one template, whatever they are called."""
    names = [make_wheel(box.wheels_dir, name) for name in ("alpha", "beta")]
    first = box.store.get(box.environment(*names), box.wheels())
    second = box.store.get(box.environment(*reversed(names)), box.wheels())
    assert first == second
    assert len(list(box.store.root.glob("[!.]*"))) == 1


def test_a_wheel_with_another_hash_is_refused(box: Box) -> None:
    """A file that is not what the manifest pinned is never installed, and no template is left."""
    wheel = make_wheel(box.wheels_dir, "alpha")
    pinned = Wheels(box.wheels_dir, {wheel: "0" * 64})
    with pytest.raises(EnvironmentUnresolvable, match=r"(?s)env-box.*alpha.*[Hh]ash"):
        box.store.get(box.environment(wheel), pinned)
    assert not list(box.store.root.glob("[!.]*"))
    assert not list(box.store.root.glob(".building-*"))


def test_a_missing_wheel_is_named(box: Box) -> None:
    """A wheel that the package lists and does not hold makes the environment unresolvable."""
    with pytest.raises(EnvironmentUnresolvable, match=r"gone-1\.0-py3-none-any\.whl") as failed:
        box.store.get(
            box.environment("gone-1.0-py3-none-any.whl"),
            Wheels(box.wheels_dir, {"gone-1.0-py3-none-any.whl": "0" * 64}),
        )
    assert failed.value.exit_code == 14


def test_a_missing_python_is_named(box: Box) -> None:
    """An environment for a Python that nobody has fails before anything is built."""
    with pytest.raises(PythonMissing, match=r"3\.99"):
        box.store.get(box.environment(python="3.99"), box.wheels())


def test_resolving_offline_names_a_missing_dependency(box: Box, this_python: str) -> None:
    """Wheels that need something that is not there are found out before they travel."""
    wheel = make_wheel(box.wheels_dir, "alpha", requires="not_there>=2")
    interpreter = find_interpreter(this_python)
    bad = resolve_offline(interpreter, (wheel,), box.wheels_dir)
    assert bad.returncode != 0
    assert b"not-there" in bad.output
    good = make_wheel(box.wheels_dir, "beta", requires="gamma")
    make_wheel(box.wheels_dir, "gamma")
    assert resolve_offline(interpreter, (good,), box.wheels_dir).returncode == 0


def test_plugins_of_pytest_are_known_by_name(box: Box) -> None:
    """The entry points of installed distributions are read when the template is built."""
    wheel = make_wheel(box.wheels_dir, "alpha", entry="[pytest11]\nmy_plugin = alpha\n[console_scripts]\nx = alpha:y\n")
    assert box.store.get(box.environment(wheel), box.wheels()).pytest_plugins == ("my_plugin",)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[pytest11]\nb = x\na = y:z [extra]\n", ["a", "b"]),
        ("[pytest11]\nCase = x\n", ["Case"]),
        ("[other]\na = x\n", []),
        ("no ini at all", []),
        ("[pytest11]\na = %(x)s\n", ["a"]),
    ],
)
def test_entry_points(text: str, names: list[str]) -> None:
    """Names come sorted with their case; a broken document has none."""
    assert entry_points(text, "pytest11") == names


def test_an_environment_without_wheels_is_an_empty_one(box: Box) -> None:
    """No wheels is a template, too: a bare interpreter."""
    assert in_template(box.store.get(box.environment(), box.wheels()), "print(1)") == "1"


def test_the_least_recently_used_go_first_and_leased_ones_stay(box: Box) -> None:
    """Over the cap the oldest unused template is removed; one in use is not, however old."""
    elsewhere = TemplateStore(box.store.root)
    oldest, old = box.build("oldest", elsewhere), box.build("old", elsewhere)
    in_use = box.build("in_use")
    _let_go(elsewhere)
    for age, template in enumerate((old, oldest, in_use), 1):
        stamp = time.time() - 1000 * age
        os.utime(template.directory / "template.json", (stamp, stamp))
    sizes = {t.key: json.loads((t.directory / "template.json").read_text())["bytes"] for t in (oldest, old, in_use)}
    roomy = TemplateStore(box.store.root, cap_bytes=sum(sizes.values()))
    assert roomy.collect() == []
    assert TemplateStore(box.store.root, cap_bytes=sum(sizes.values()) - 1).collect() == [oldest.key]
    assert TemplateStore(box.store.root, cap_bytes=0).collect() == [old.key]
    assert in_use.directory.is_dir()
    assert in_template(in_use, "import in_use; print(in_use.NAME)") == "in_use"


def test_a_collected_template_is_built_again_when_needed(box: Box) -> None:
    """Collection loses nothing but time."""
    elsewhere = TemplateStore(box.store.root)
    first = box.build("alpha", elsewhere)
    _let_go(elsewhere)
    assert TemplateStore(box.store.root, cap_bytes=0).collect() == [first.key]
    assert not first.directory.exists()
    assert in_template(box.build("alpha"), "import alpha; print(alpha.NAME)") == "alpha"


def test_building_makes_room_first(box: Box) -> None:
    """A store over its cap removes what is unused before it adds another template."""
    elsewhere = TemplateStore(box.store.root)
    first = box.build("alpha", elsewhere)
    _let_go(elsewhere)
    box.build("beta", TemplateStore(box.store.root, cap_bytes=0))
    assert not first.directory.exists()


def test_leftovers_of_a_crash_do_no_harm(box: Box) -> None:
    """Half a build of the same key is replaced, one of another key is no template and is swept away."""
    template = box.build("alpha")
    box.store.collect()
    other = TemplateStore(box.root / "crashed")
    for name in (f".building-{template.key}", ".building-" + "0" * 32):
        (other.root / name / "venv").mkdir(parents=True)
        (other.root / name / "template.json").write_text("{")
    (other.root / template.key).mkdir()
    (other.root / template.key / "junk").write_text("")
    again = box.build("alpha", other)
    assert list(other.root.glob(".building-*")) == []
    assert in_template(again, "import alpha; print(alpha.NAME)") == "alpha"
    assert not (again.directory / "junk").exists()


def test_half_a_build_that_is_still_going_on_is_left_alone(box: Box) -> None:
    """While somebody holds the lock of a key, its stage is no leftover."""
    stage = box.store.root / ".building-busy"
    stage.mkdir(parents=True)
    with (box.store.root / ".lock-busy").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        box.store.collect()
        assert stage.is_dir()
    box.store.collect()
    assert not stage.exists()


@pytest.mark.parametrize("torn", ["", "{", "[]", '{"bytes": 1}', '{"bytes": "x", "pytest_plugins": []}', None])
def test_a_template_with_a_torn_description_is_built_again(torn: str | None, box: Box) -> None:
    """After a power cut, what is no whole template is replaced, even for who has it leased; collecting survives it."""
    template = box.build("alpha")
    done = template.directory / "template.json"
    done.unlink()
    if torn is not None:
        done.write_text(torn)
    (template.directory / "venv" / "pyvenv.cfg").write_text("")
    assert TemplateStore(box.store.root).collect() == []
    assert template.directory.is_dir()
    assert box.build("alpha") == template
    assert in_template(template, "import alpha; print(alpha.NAME)") == "alpha"
    assert TemplateStore(box.store.root, cap_bytes=0).collect() == []


def test_what_a_crash_left_of_a_template_is_removed(box: Box) -> None:
    """A directory that lost its description and is in nobody's use takes no room for ever."""
    elsewhere = TemplateStore(box.store.root)
    torn = box.build("alpha", elsewhere)
    _let_go(elsewhere)
    (torn.directory / "template.json").write_text("{")
    box.store.collect()
    assert not torn.directory.exists()


def test_the_cap_holds_after_a_build_as_well(box: Box) -> None:
    """What a new template adds is made up for at once, and the new one stays."""
    elsewhere = TemplateStore(box.store.root)
    first = box.build("alpha", elsewhere)
    _let_go(elsewhere)
    size = json.loads((first.directory / "template.json").read_text())["bytes"]
    second = box.build("beta", TemplateStore(box.store.root, cap_bytes=size + 1))
    assert not first.directory.exists()
    assert in_template(second, "import beta; print(beta.NAME)") == "beta"


def test_collecting_at_the_same_time_does_no_harm(box: Box) -> None:
    """Processes that collect while templates vanish under them end well, all of them."""
    for number in range(60):
        directory = box.store.root / f"{number:032d}"
        (directory / "venv").mkdir(parents=True)
        (directory / "template.json").write_text('{"bytes": 1, "pytest_plugins": []}')
        (directory / "lease").touch()
    code = (
        "import sys; from pathlib import Path; from harness.envs.template import TemplateStore\n"
        "sys.stdin.read(); TemplateStore(Path(sys.argv[1]), cap_bytes=0).collect()"
    )
    command = [sys.executable, "-c", code, str(box.store.root)]
    started = [subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True) for _ in range(4)]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(60) for process in started] == [0] * 4
    assert list(box.store.root.glob("[!.]*")) == []


def test_what_is_unpacked_while_installing_is_not_kept_in_memory(box: Box) -> None:
    """A wheel that is larger unpacked than the sandbox's memory disk installs all the same, and leaves no temporary file."""
    wheel = make_wheel(box.wheels_dir, "alpha", blob=bytes(100 << 20))
    template = box.store.get(box.environment(wheel), box.wheels())
    assert in_template(template, "import alpha; print(alpha.NAME)") == "alpha"
    assert sorted(path.name for path in template.directory.iterdir()) == ["lease", "template.json", "venv"]


def test_a_package_that_speaks_of_a_full_disk_does_not_make_it_full(box: Box) -> None:
    """Words alone are no full disk: with room on it, the environment is what cannot be installed."""
    name = "No space left on device-1.0-py3-none-any.whl"
    (box.wheels_dir / name).write_bytes(b"")
    with pytest.raises(EnvironmentUnresolvable):
        box.store.get(box.environment(name), box.wheels())


def test_a_full_disk_is_this_machines_fault(box: Box) -> None:
    """When the environments' own disk fills up, the failure says so, whatever uv cleans up afterwards."""
    disk = box.root / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk takes privileges")
    try:
        (disk / "ballast").write_bytes(bytes(10 << 20))
        wheel = make_wheel(box.wheels_dir, "alpha", blob=os.urandom(50 << 20))
        with pytest.raises(DiskFull):
            TemplateStore(disk / "environments").get(box.environment(wheel), box.wheels())
        assert list((disk / "environments").glob(".building-*")) == []
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_two_processes_build_one_template(box: Box) -> None:
    """Both ask at once, one builds, the other waits for it and gets the same."""
    wheel = make_wheel(box.wheels_dir, "alpha")
    code = (
        "import sys; from pathlib import Path; from harness.envs.template import *; from harness.manifest import *\n"
        "store, wheels, python, wheel, sha256 = sys.argv[1:]\n"
        "env = Environment('e', python, (wheel,), {}, Lock('none', None))\n"
        "template = TemplateStore(Path(store)).get(env, Wheels(Path(wheels), {wheel: sha256}))\n"
        "print(template.key, (template.directory / 'template.json').stat().st_ino)"
    )
    command = [sys.executable, "-c", code, str(box.store.root), str(box.wheels_dir), box.python, wheel,
               box.wheels().sha256[wheel]]  # fmt: skip
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=60)[0] for process in started]
    assert printed[0] == printed[1]
    assert printed[0].split()[0] in {path.name for path in box.store.root.glob("[!.]*")}


def _let_go(store: TemplateStore) -> None:
    """Give the leases of a store back, as the end of its process would."""
    for fd in store._leases.values():
        os.close(fd)
    store._leases.clear()

"""The gate for wheels: every hostile wheel is refused under its own code before an installer starts."""

from __future__ import annotations

import hashlib
import re
import time
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness.envs.template import TemplateStore, Wheels
from ingest.checks.candidate import Candidate
from ingest.checks.table import CHECKS, first_findings
from ingest.checks.wheels import check_wheels
from ingest.findings import Finding
from ingest.policy import Policy, UnsignedPackages
from ingest.staging import Staged, copy_in
from ingest.wheelgate.examine import examine
from ingest.wheelgate.limits import MAX_FAULTS
from tests.conftest import file_entries
from tests.ingest.hostile_wheels import HOSTILE, bomb, namespace_pth, streamed, wide
from tests.ingest.wheel_bytes import CODE, DATA, FILE_NAME, another, entries, pack, recorded, wheel
from tests.packages import read_manifest, reseal

LIMIT_S = 10
MEMORY_BYTES = 64 << 20


POLICY = Policy(unsigned=UnsignedPackages.ACCEPT)
Look = Callable[..., list[Finding]]


class Gate:
    """An appliance with an empty template store, and a package that wheels are added to."""

    def __init__(self, package: Path, root: Path) -> None:
        self.package, self.copy = package, root / "copy"
        self.templates = TemplateStore(root / "environments")

    def judge(self, wheels: Mapping[str, bytes]) -> tuple[str, list[Finding]]:
        """Put wheels into the package and its environments, and return the check that fails with its findings."""
        for name, data in wheels.items():
            (self.package / "packages" / name).write_bytes(data)
        named = tuple(name for name in wheels if name.count("-") >= 4)  # the schema refuses other names
        reseal(self.package, lambda manifest: replace(
            manifest, environments=tuple(replace(env, wheels=env.wheels + named) for env in manifest.environments),
        ))  # fmt: skip
        return first_findings(Candidate(copy_in(self.package, self.copy), self.templates, lambda _: 0, POLICY))

    @property
    def installed(self) -> list[str]:
        """What any installer left behind."""
        return [path.name for path in self.templates.root.glob("*")]


@pytest.fixture
def gate(package: Path, tmp_path: Path) -> Gate:
    """Return a gate with a good package in front of it."""
    return Gate(package, tmp_path)


@pytest.fixture
def look(good_package: Path, wheels: Wheels, tmp_path: Path) -> Look:
    """Return a function that runs the check for wheels alone, on these wheels and those of the good package."""
    good, folder = read_manifest(good_package), tmp_path / "staged" / "packages"
    folder.mkdir(parents=True)

    def run(made: Mapping[str, bytes], *allowed: str, python: str = "", listed: bool = True) -> list[Finding]:
        names = good.environments[0].wheels
        for name in names:
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(wheels.directory / name)
        for name, data in made.items():
            (folder / name).write_bytes(data)
        named = names + tuple(name for name in made if listed and name.count("-") >= 4)
        environment = replace(good.environments[0], wheels=named, python=python or good.environments[0].python)
        files = file_entries(folder.parent)
        policy = replace(POLICY, allowed=frozenset(allowed))
        candidate = Candidate(Staged(folder.parent, files, ()), TemplateStore(tmp_path / "none"), lambda _: 0, policy)
        candidate.manifest = replace(good, environments=(environment,), files=files)
        return list(check_wheels(candidate))

    return run


ONE_OF_EACH = sorted({attack.code: kind for kind, attack in HOSTILE.items()}.values())


@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_a_hostile_wheel_is_refused_before_an_installer_starts(kind: str, gate: Gate) -> None:
    """On the way through all checks each code comes up in the check for wheels, with nothing built."""
    wheels = HOSTILE[kind].make()
    started = time.monotonic()
    name, findings = gate.judge(wheels)
    assert time.monotonic() - started < LIMIT_S
    assert (name, {finding.code for finding in findings}) == ("wheels", {HOSTILE[kind].code})
    assert gate.installed == []


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_wheel_has_its_code(kind: str, look: Look) -> None:
    """Every attack of the corpus has the code of its kind and no other, and names its file in one plain line."""
    wheels = HOSTILE[kind].make()
    findings = look(wheels)
    assert {finding.code for finding in findings} == {HOSTILE[kind].code}
    assert {finding.file for finding in findings} <= {f"packages/{file}" for file in wheels}
    assert all(finding.line().isprintable() for finding in findings)


def test_every_code_is_in_the_reference() -> None:
    """Operators look codes up; each of the corpus has a place in docs/reference.md."""
    text = (Path(__file__).parents[2] / "docs" / "reference.md").read_text("utf-8")
    assert {attack.code for attack in HOSTILE.values()} <= set(re.findall(r"`(WHEEL_[A-Z0-9_]+)`", text))


def test_the_check_comes_before_everything_that_opens_wheels() -> None:
    """Resolving and building are the first to hand wheels to an installer."""
    names = [name for name, _ in CHECKS]
    assert names.index("wheels") < min(names.index("resolution"), names.index("environments"))


def test_a_bomb_is_refused_without_being_inflated(tmp_path: Path) -> None:
    """A mebibyte that declares a gibibyte costs neither the time nor the memory of one."""
    path = tmp_path / FILE_NAME
    path.write_bytes(bomb())
    assert path.stat().st_size < 2 << 20
    tracemalloc.start()
    started = time.monotonic()
    [fault] = examine(path, "").faults
    seconds, (_, peak) = time.monotonic() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert fault.code == "WHEEL_RATIO"
    assert seconds < 1
    assert peak < 8 << 20


def test_a_bomb_that_lies_about_its_size_is_stopped_at_what_it_declares(tmp_path: Path) -> None:
    """Inflating ends at the declared size, however much more would come, and holds a chunk at a time."""
    path = tmp_path / FILE_NAME
    data = bomb()
    path.write_bytes(data.replace((1 << 30).to_bytes(4, "little"), (8 << 20).to_bytes(4, "little")))
    tracemalloc.start()
    started = time.monotonic()
    [fault] = examine(path, "").faults
    seconds, (_, peak) = time.monotonic() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (fault.code, fault.found) == ("WHEEL_CONTENT", "more bytes than that")
    assert seconds < LIMIT_S
    assert peak < MEMORY_BYTES


def test_honest_wheels_pass_and_are_installed(gate: Gate) -> None:
    """Scripts, data, headers, an own namespace, folders and a path of its own are nothing to refuse."""
    files = {
        "space/": b"", "space/part.py": b"", "gift-nspkg.pth": namespace_pth("space"), "gift.pth": b"\n",
        "gift/vendor/x.py": b"", "gift/data.bin": bytes(3 << 20), "LICENSE": b"mine", "tests/__init__.py": b"one = 1\n",
        f"{DATA}/scripts/gift-run": b"#!python\n", f"{DATA}/headers/gift.h": b"", f"{DATA}/data/share/gift/x": b"",
        f"{DATA}/data/bin/gift-tool": b"", "gift-1.0.dist-info/entry_points.txt": b"[console_scripts]\ng = gift:x [all]\n",
    }  # fmt: skip
    later = another("later", {"LICENSE": b"other", "tests/__init__.py": b"two = 2\n"})
    assert gate.judge({FILE_NAME: wheel(files), **later}) == ("", [])
    assert gate.installed != []


def test_namespace_packages_may_be_declared_differently(look: Look) -> None:
    """Two wheels that declare one namespace in two ways do not clash; one that adds code does."""
    declared = b"# mine\n__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    old = b"try:\n    __import__('pkg_resources').declare_namespace(__name__)\nexcept ImportError:\n    pass\n"
    both = another("one", {"space/__init__.py": declared}) | another("two", {"space/__init__.py": old})
    assert look(both) == []
    [finding] = look(both | another("three", {"space/__init__.py": declared + b"import os\n"}))
    assert (finding.code, finding.file) == ("WHEEL_CLASH", "packages/three-1.0-py3-none-any.whl")


def test_what_a_person_may_decide_is_let_through_by_digest(look: Look) -> None:
    """The next step names a digest; that one, or the wheel's own, lets the start-up file through."""
    content, data = b"import gift\n", wheel({"gift.pth": b"import gift\n"})
    [finding] = look({FILE_NAME: data})
    sha256 = hashlib.sha256(content).hexdigest()
    assert f"appliance ingest allow {sha256} --reason" in finding.next_step
    assert sha256 in finding.found
    assert look({FILE_NAME: data}, "0" * 64) == [finding]
    assert look({FILE_NAME: data}, sha256) == []
    assert look({FILE_NAME: data}, hashlib.sha256(data).hexdigest()) == []


def test_a_clash_is_let_through_by_the_digests_in_its_next_step(look: Look) -> None:
    """Whoever allows two clashing wheels has seen both paths with their digests; one of the two is not enough."""
    both = {FILE_NAME: wheel({"gift/__init__.py": b"mine = 1\n"}), **another("later", {"gift/__init__.py": CODE})}
    [finding] = look(both)
    wheels = [hashlib.sha256(data).hexdigest() for data in both.values()]
    files = [hashlib.sha256(source).hexdigest() for source in (b"mine = 1\n", CODE)]
    assert all(f"appliance ingest allow {sha256}" in finding.next_step for sha256 in wheels)
    assert all(sha256 in finding.found for sha256 in files)
    assert all(look(both, sha256) == [finding] for sha256 in (*wheels, *files))
    assert look(both, wheels[0], files[0]) == look(both, wheels[1], files[1]) == [finding]
    assert all(look(both, first, second) == [] for first in (wheels[0], files[0]) for second in (wheels[1], files[1]))


def test_the_digest_of_an_empty_file_lets_nothing_through(look: Look) -> None:
    """It is that of every empty file, and so nobody's decision about this one."""
    empty = hashlib.sha256(b"").hexdigest()
    both = {FILE_NAME: wheel({"gift/__init__.py": b""}), **another("later", {"gift/__init__.py": CODE})}
    first, second = (hashlib.sha256(data).hexdigest() for data in both.values())
    [finding] = look(both)
    assert look(both, empty, second) == [finding]
    assert look(both, first, second) == []
    startup = {FILE_NAME: wheel({"sitecustomize.py": b""})}
    [refused] = look(startup, empty)
    assert refused.code == "WHEEL_CUSTOMIZE"
    [own] = [hashlib.sha256(data).hexdigest() for data in startup.values()]
    assert f"appliance ingest allow {own} " in refused.next_step
    assert look(startup, own) == []


@pytest.mark.parametrize("kind", ["one name twice", "a hash of something else", "cut off"])
def test_a_broken_wheel_is_not_let_through_by_anybody(kind: str, look: Look) -> None:
    """What is ambiguous or damaged cannot be looked into, so no digest helps."""
    wheels = HOSTILE[kind].make()
    [finding] = look(wheels, *(hashlib.sha256(data).hexdigest() for data in wheels.values()))
    assert finding.code == HOSTILE[kind].code
    assert "allow" not in finding.next_step


def test_a_wheel_that_no_environment_lists_is_looked_at(look: Look) -> None:
    """Resolving opens every file in the folder, so each one passes the gate or none does."""
    [finding] = look({FILE_NAME: wheel({"sitecustomize.py": CODE})}, listed=False)
    assert finding.code == "WHEEL_CUSTOMIZE"


def test_a_python_that_is_not_here_is_no_misfit(look: Look) -> None:
    """Wheels for a Python that this machine lacks wait for their environment to be set aside."""
    assert look(HOSTILE["a wheel for another Python"].make(), python="3.99") == []


def test_the_text_of_a_wheel_reaches_no_terminal_as_it_is(look: Look) -> None:
    """Names and headers come from the stick: control characters are shown as escapes, long text is cut."""
    findings = look({FILE_NAME: pack([*entries(), ("gift/\x1b[2J" + "a" * 5_000, CODE)])})
    assert {finding.code for finding in findings} == {"WHEEL_NAME_LONG", "WHEEL_NAME_TEXT"}
    assert all("\x1b" not in finding.line() and len(finding.found) <= 500 for finding in findings)
    assert any(r"\x1b[2J" in finding.found for finding in findings)


def test_findings_of_one_wheel_are_listed_up_to_a_limit(look: Look) -> None:
    """A wheel with thousands of faults makes a report that a person can read."""
    many = ((f"../{number}", b"") for number in range(2_000))
    assert len(look({FILE_NAME: pack([*entries(), *many])})) == MAX_FAULTS


def test_what_is_let_through_does_not_hide_the_rest(look: Look) -> None:
    """The limit counts what is left after the decisions of people, not before."""
    codes = {f"s{number:02}.pth": f"import m{number}\n".encode() for number in range(MAX_FAULTS + 5)}
    digests = [hashlib.sha256(code).hexdigest() for code in codes.values()]
    left = look({FILE_NAME: wheel(codes)}, *digests[:-1])
    assert [digests[-1] in finding.found for finding in left] == [True]


@pytest.mark.parametrize("make", [streamed, wide], ids=["written to a pipe", "zip64 fields"])
def test_unusual_but_honest_archives_pass(make: Callable[[], bytes], tmp_path: Path) -> None:
    """Build tools write zips in more than one way."""
    path = tmp_path / FILE_NAME
    path.write_bytes(make())
    assert examine(path, "").faults == ()


def test_a_record_with_hexadecimal_digests_passes(tmp_path: Path) -> None:
    """A few build tools write them; they prove as much."""
    digest = hashlib.sha256(b"VALUE = 1\n").hexdigest()
    path = tmp_path / FILE_NAME
    rows = {"gift/__init__.py": f"gift/__init__.py,sha256={digest},10"}
    path.write_bytes(recorded(lambda made: made.update(rows)))
    assert examine(path, "").faults == ()


def test_the_wheels_of_the_test_environment_pass(wheels: Wheels) -> None:
    """pytest, setuptools and what they need come from the index as they are."""
    assert [examine(wheels.directory / name, sha256).faults for name, sha256 in wheels.sha256.items()] == [
        () for _ in wheels.sha256
    ]


def test_fifty_small_wheels_take_less_than_a_second(tmp_path: Path) -> None:
    """The gate costs little beside the installer."""
    files = {f"gift/m{number}.py": b"VALUE = 1\n" * 300 for number in range(30)}
    path = tmp_path / FILE_NAME
    path.write_bytes(wheel(files))
    started = time.process_time()
    assert all(examine(path, "").faults == () for _ in range(50))
    assert time.process_time() - started < 1

"""The checks: each damage of a package is found by its own check, under its own code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.envs.template import TemplateStore
from harness.manifest import MANIFEST_NAME, Manifest
from ingest.checks.candidate import Candidate
from ingest.checks.table import CHECKS, first_findings
from ingest.findings import Finding
from ingest.policy import Policy, UnsignedPackages
from ingest.staging import copy_in
from tests.ingest.wheel_bytes import FILE_NAME, wheel
from tests.packages import corrupt_pack, git, read_manifest, reseal

ABSENT = "f" * 40
TAKES_UNSIGNED = Policy(unsigned=UnsignedPackages.ACCEPT)


@pytest.fixture
def judge(tmp_path: Path, templates: TemplateStore) -> Callable[[Path], tuple[str, list[Finding]]]:
    """Return a function that copies a package in and returns the failed check with its findings."""

    def run(package: Path) -> tuple[str, list[Finding]]:
        staged = copy_in(package, tmp_path / "copy")
        return first_findings(Candidate(staged, templates, lambda _: 0, TAKES_UNSIGNED))

    return run


Judge = Callable[[Path], tuple[str, list[Finding]]]


def test_a_good_package_has_no_findings(package: Path, judge: Judge) -> None:
    """Every check passes on the package that the other tests damage."""
    assert judge(package) == ("", [])


def test_the_table_names_each_check_once() -> None:
    """Reports name checks, so names are unique."""
    names = [name for name, _ in CHECKS]
    assert len(set(names)) == len(names)


def test_a_changed_byte_is_found_with_both_digests(package: Path, judge: Judge) -> None:
    """A file that is not what the manifest lists is named with what was expected and found."""
    wheel = next((package / "packages").iterdir())
    data = bytearray(wheel.read_bytes())
    data[len(data) // 2] ^= 1
    wheel.write_bytes(data)
    name, [finding] = judge(package)
    listed = read_manifest(package).files[f"packages/{wheel.name}"]
    assert (name, finding.code, finding.file) == ("files", "FILE_CHANGED", f"packages/{wheel.name}")
    assert listed.sha256 in finding.expected
    assert finding.found.startswith("sha256 ")
    assert listed.sha256 not in finding.found


def test_a_missing_and_an_unlisted_file_are_two_findings(package: Path, judge: Judge) -> None:
    """A renamed wheel is both: one that is missing and one that nobody listed."""
    wheel = next((package / "packages").glob("pluggy*"))
    wheel.rename(wheel.with_name("other-1.0-py3-none-any.whl"))
    name, findings = judge(package)
    assert name == "files"
    assert [(finding.code, finding.file) for finding in findings] == [
        ("FILE_MISSING", f"packages/{wheel.name}"),
        ("FILE_UNLISTED", "packages/other-1.0-py3-none-any.whl"),
    ]


def test_a_package_without_manifest(package: Path, judge: Judge) -> None:
    """No manifest is a finding of its own."""
    (package / MANIFEST_NAME).unlink()
    name, [finding] = judge(package)
    assert (name, finding.code) == ("manifest", "MANIFEST_MISSING")


def _edit(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    def edit(raw: bytes) -> bytes:
        document = json.loads(raw)
        change(document)
        return json.dumps(document).encode()

    return edit


@pytest.mark.parametrize(
    ("edit", "code", "words"),
    [
        (lambda raw: raw[:-20], "MANIFEST_SCHEMA", "not JSON"),
        (lambda raw: b"\xff\xfe" + raw, "MANIFEST_SCHEMA", "not JSON"),
        (lambda _: b"[" * 100_000, "MANIFEST_SCHEMA", "not JSON"),
        (lambda _: b"[]", "MANIFEST_SCHEMA", "manifest.json: "),
        (_edit(lambda doc: doc.update(surprise=1)), "MANIFEST_SCHEMA", "surprise"),
        (_edit(lambda doc: doc.update(format=2)), "MANIFEST_SCHEMA", "format"),
        (_edit(lambda doc: doc.pop("head")), "MANIFEST_SCHEMA", "head"),
        (_edit(lambda doc: doc["commits"][0].update(environment="gone")), "MANIFEST_SCHEMA", "'gone'"),
        (_edit(lambda doc: doc["environments"][0]["wheels"].append("x-1-py3-none-any.whl")), "MANIFEST_SCHEMA", "x-1"),
        (_edit(lambda doc: doc["commits"].append(doc["commits"][0])), "MANIFEST_SCHEMA", "twice"),
        (
            _edit(lambda doc: doc["files"].update({"repo/../../etc/cron": {"sha256": "0" * 64, "bytes": 1}})),
            "MANIFEST_SCHEMA", "plain relative path",
        ),
        (_edit(lambda doc: doc.update(name="../evil")), "MANIFEST_SCHEMA", "evil"),
        (_edit(lambda doc: doc.update(name="evil\n")), "MANIFEST_SCHEMA", "evil"),
        (_edit(lambda doc: doc["environments"][0].update(wheels=["a.whl"])), "MANIFEST_SCHEMA", "a.whl"),
        (_edit(lambda doc: doc["environments"][0].update(wheels=["a-1-any.whl"])), "MANIFEST_SCHEMA", "a-1-any.whl"),
        (
            _edit(lambda doc: doc["environments"][0].update(wheels=["a-1-py3-none-any\u0007.whl"])), "MANIFEST_SCHEMA",
            "does not match",
        ),
        (_edit(lambda doc: doc.update(test_command=["rm", "-rf", "/"])), "TEST_COMMAND", "rm -rf /"),
        (_edit(lambda doc: doc.update(test_command=["sh", "-c", "pytest"])), "TEST_COMMAND", "sh -c"),
        (_edit(lambda doc: doc.update(test_command="pytest")), "MANIFEST_SCHEMA", "test_command"),
    ],
    ids=[
        "cut off", "other encoding", "deep", "a list", "unknown key", "other format", "missing key", "no environment",
        "no wheel", "commit twice", "path out", "name out", "name with newline", "wheel without version",
        "wheel without tags", "wheel with bell", "rm", "shell", "shell string",
    ],
)  # fmt: skip
def test_a_manifest_that_leaves_the_format_is_refused_before_anything_else(
    edit: Callable[[bytes], bytes], code: str, words: str, package: Path, judge: Judge
) -> None:
    """What the schema or the references rule out is one finding that names the place."""
    path = package / MANIFEST_NAME
    path.write_bytes(edit(path.read_bytes()))
    name, [finding] = judge(package)
    assert (name, finding.code, finding.file) == ("manifest", code, MANIFEST_NAME)
    assert words in finding.found


@pytest.mark.parametrize("version", ["1.0-1", "1!2.0+local.1", "2024.1.post1"])
def test_every_name_that_a_wheel_may_have_is_allowed(version: str, package: Path) -> None:
    """Build tags, epochs and local versions are part of the format."""
    name = f"Some.thing_x-{version}-cp311.cp312-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    (package / "packages" / name).write_bytes(b"")
    reseal(package, lambda m: replace(m, environments=(replace(m.environments[0], wheels=(name,)),)))
    assert read_manifest(package).environments[0].wheels == (name,)


def test_a_check_that_meets_the_unforeseen_is_a_finding(package: Path, judge: Judge) -> None:
    """A package for which a check breaks down is kept out, with the check's name and what it met."""
    shutil.rmtree(package / "repo" / "refs")
    (package / "repo" / "refs").write_text("a file where git has a directory")
    reseal(package)
    name, [finding] = judge(package)
    assert (name, finding.code) == ("objects", "CHECK_FAILED")
    assert "'objects'" in finding.expected
    assert finding.found.startswith("FileExistsError: ")


def test_a_corrupt_pack_is_found(package: Path, judge: Judge) -> None:
    """Objects that git refuses stop the import, even when the manifest lists them as they are."""
    corrupt_pack(package)
    reseal(package)
    name, [finding] = judge(package)
    assert (name, finding.code) == ("objects", "GIT_OBJECTS")


def test_an_unknown_commit_is_named(package: Path, judge: Judge) -> None:
    """A listed commit that the repository lacks is found by its id."""
    reseal(package, _first_commit(sha=ABSENT))
    name, [finding] = judge(package)
    assert (name, finding.code) == ("commits", "COMMIT_MISSING")
    assert ABSENT in finding.expected


def test_a_wrong_parent_is_named(package: Path, judge: Judge) -> None:
    """A listed parent that is not the first parent of its commit is found."""
    wrong = read_manifest(package).commits[-1].sha
    reseal(package, _first_commit(parent=wrong))
    name, [finding] = judge(package)
    assert (name, finding.code) == ("commits", "COMMIT_PARENT")
    assert wrong in finding.expected


def test_a_shallow_repository_is_refused(package: Path, judge: Judge) -> None:
    """A clone without its history is not a package."""
    whole = package.parent / "whole"
    (package / "repo").rename(whole)
    git(package, "clone", "-q", "--bare", "--depth=2", f"file://{whole}", "repo")
    reseal(package)
    name, [finding] = judge(package)
    assert (name, finding.code) == ("commits", "GIT_SHALLOW")


def test_a_wheel_whose_dependency_is_missing_is_named(package: Path, judge: Judge) -> None:
    """Wheels that do not satisfy each other are found by resolving, and the missing one is named."""
    _without_wheel(package, "iniconfig")
    name, [finding] = judge(package)
    assert (name, finding.code) == ("resolution", "WHEELS_UNRESOLVED")
    assert "iniconfig" in finding.found
    assert "env-1" in finding.expected


def test_a_wheel_that_cannot_be_installed_is_found_by_building(package: Path, judge: Judge) -> None:
    """A well-formed wheel that the installer trips over is found by building its environment."""
    (package / "packages" / FILE_NAME).write_bytes(wheel({"gift-1.0.dist-info/INSTALLER/x": b""}))
    reseal(
        package,
        lambda m: replace(m, environments=(replace(m.environments[0], wheels=(*m.environments[0].wheels, FILE_NAME)),)),
    )
    name, [finding] = judge(package)
    assert (name, finding.code) == ("environments", "ENV_BUILD")
    assert "gift" in finding.found


def test_an_environment_without_pytest_cannot_run_the_test_command(package: Path, judge: Judge) -> None:
    """Wheels that are consistent but hold no pytest are found before any commit is gated."""
    reseal(package, lambda manifest: replace(manifest, environments=(replace(manifest.environments[0], wheels=()),)))
    name, [finding] = judge(package)
    assert (name, finding.code) == ("test command", "TEST_COMMAND")
    assert "pytest" in finding.found


def test_a_missing_python_is_no_fault_of_the_package(package: Path, tmp_path: Path, templates: TemplateStore) -> None:
    """An environment for a Python that is not here is set aside; nothing is found."""
    reseal(package, _python("3.99"))
    candidate = Candidate(copy_in(package, tmp_path / "copy"), templates, lambda _: 0, TAKES_UNSIGNED)
    assert first_findings(candidate) == ("", [])
    assert "3.99" in candidate.python_missing["env-1"]


def test_empty_directories_that_do_not_travel_are_not_missed(package: Path, judge: Judge) -> None:
    """A medium that drops empty directories of the repository does no harm."""
    for folder in ("refs", "branches", "objects/info", "info"):
        shutil.rmtree(package / "repo" / folder, ignore_errors=True)
    reseal(package)
    assert judge(package) == ("", [])


def test_a_finding_says_in_one_line_what_to_do() -> None:
    """The line has code, place, expectation, fact and the next step."""
    line = Finding("FILE_CHANGED", "packages/a.whl", "x", "y", "Copy again.").line()
    assert line == "FILE_CHANGED in packages/a.whl: expected x; found y. Next: Copy again."


def _first_commit(**changes: str) -> Callable[[Manifest], Manifest]:
    return lambda manifest: replace(
        manifest,
        commits=(replace(manifest.commits[0], **changes), *manifest.commits[1:]),  # type: ignore[arg-type]
    )


def _python(minor: str) -> Callable[[Manifest], Manifest]:
    return lambda manifest: replace(manifest, environments=(replace(manifest.environments[0], python=minor),))


def _without_wheel(package: Path, distribution: str) -> None:
    for path in (package / "packages").glob(f"{distribution}-*"):
        path.unlink()
    left = tuple(sorted(path.name for path in (package / "packages").iterdir()))
    reseal(package, lambda manifest: replace(manifest, environments=(replace(manifest.environments[0], wheels=left),)))

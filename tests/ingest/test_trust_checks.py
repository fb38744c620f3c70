"""Who may bring a package in, and in which order: the checks `signature` and `sequence`, and the policy."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.envs.template import TemplateStore
from harness.manifest import MANIFEST_NAME, SIGNATURE_NAME
from ingest.checks.candidate import Candidate
from ingest.checks.contents import check_manifest, check_sequence
from ingest.checks.signature import check_signature
from ingest.checks.table import CHECKS
from ingest.errors import AlreadyIntegrated
from ingest.findings import Finding
from ingest.policy import TRUST_CHECKS, Acts, LetThrough, Policy, Standing, UnsignedPackages, standing
from ingest.seal import sign_package
from ingest.signing import Signer
from ingest.staging import copy_in
from tests.ingest.conftest import Desk
from tests.keys import fingerprint, make_key, trust
from tests.packages import read_manifest, reseal, with_sequence, without_runs

A, B = "a" * 64, "b" * 64
BOTH = tuple(UnsignedPackages)


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the key that the tests trust."""
    return make_key(tmp_path_factory.mktemp("keys"), "alice")


@pytest.fixture
def ask(tmp_path: Path, templates: TemplateStore) -> Callable[[Path, Policy], list[Finding]]:
    """Return a function that copies a package in and returns what its signature gives."""

    def run(package: Path, policy: Policy) -> list[Finding]:
        return list(check_signature(Candidate(copy_in(package, tmp_path / "copy"), templates, lambda _: 0, policy)))

    return run


Ask = Callable[[Path, Policy], list[Finding]]


def test_the_policy_trusts_nobody_by_itself(package: Path, ask: Ask) -> None:
    """Without a word of the operators an unsigned package is refused, and the next step names both ways on."""
    [finding] = ask(package, Policy())
    assert (finding.code, finding.file) == ("UNSIGNED", SIGNATURE_NAME)
    assert "package sign" in finding.next_step
    assert 'unsigned = "accept"' in finding.next_step


def test_an_unsigned_package_comes_in_where_the_policy_says_so(package: Path, ask: Ask) -> None:
    """Under accept nothing is found, and the policy's acts say that it was used."""
    policy = Policy(unsigned=UnsignedPackages.ACCEPT)
    assert ask(package, policy) == []
    assert policy.acts == Acts(is_unsigned=True)


def test_a_signed_package_leaves_its_signer(package: Path, alice: Path, ask: Ask) -> None:
    """Under refuse a signature of a trusted key is all that is needed."""
    sign_package(package, alice)
    policy = Policy(trust=trust(alice))
    assert ask(package, policy) == []
    assert policy.acts == Acts(signer=Signer("alice", fingerprint(alice)))


@pytest.mark.parametrize("unsigned", BOTH)
def test_a_signature_that_does_not_count_is_refused_under_either_policy(
    unsigned: UnsignedPackages, package: Path, alice: Path, ask: Ask
) -> None:
    """A manifest that was altered after signing is worse than none."""
    sign_package(package, alice)
    manifest = package / MANIFEST_NAME
    manifest.write_bytes(manifest.read_bytes().replace(b'"task": "Add', b'"task": "Bdd', 1))
    policy = Policy(trust=trust(alice), unsigned=unsigned)
    assert [finding.code for finding in ask(package, policy)] == ["SIGNATURE_BAD"]
    assert policy.acts == Acts()


@pytest.mark.parametrize("unsigned", BOTH)
def test_an_unknown_signer_is_refused_under_either_policy(
    unsigned: UnsignedPackages, package: Path, alice: Path, ask: Ask
) -> None:
    """The finding shows the fingerprint, so that it can be compared."""
    sign_package(package, alice)
    [finding] = ask(package, Policy(unsigned=unsigned))
    assert (finding.code, fingerprint(alice) in finding.found) == ("SIGNER_UNKNOWN", True)


@pytest.mark.parametrize("size", [0, 20_000, 60_000])
def test_a_signature_file_of_an_odd_size_is_not_read(size: int, package: Path, alice: Path, ask: Ask) -> None:
    """An empty one, and ones that no signature needs, have the code of the format."""
    with (package / SIGNATURE_NAME).open("wb") as stream:
        stream.truncate(size)
    policy = Policy(trust=trust(alice), unsigned=UnsignedPackages.ACCEPT)
    assert [finding.code for finding in ask(package, policy)] == ["SIGNATURE_FORMAT"]


@pytest.mark.parametrize("kind", ["huge", "link", "fifo", "directory"])
def test_what_stands_in_the_place_of_a_signature_is_not_taken_for_none(kind: str, package: Path, desk: Desk) -> None:
    """Where unsigned packages are accepted, an odd signature file is refused, not overlooked."""
    place = package / SIGNATURE_NAME
    if kind == "huge":
        with place.open("wb") as stream:
            stream.truncate(100_000_000)
    elif kind == "link":
        place.symlink_to(package / MANIFEST_NAME)
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.mkdir()
    report = desk.bring(package)
    assert report.state == "quarantined"
    assert {finding.file.rstrip("/") for finding in report.findings} == {SIGNATURE_NAME}


def test_trust_is_asked_for_before_anything_is_opened() -> None:
    """The signature comes before the manifest is parsed; the checks about trust are those of the table."""
    names = [name for name, _ in CHECKS]
    assert names[:4] == ["medium", "signature", "manifest", "sequence"]
    assert set(names) >= TRUST_CHECKS


@pytest.mark.parametrize(
    ("sequence", "digest", "integrated", "expected"),
    [
        (1, A, {}, Standing.NEW),
        (3, A, {1: A, 2: B}, Standing.NEW),
        (2, B, {1: A, 2: B}, Standing.SAME),
        (1, A, {1: A, 2: B}, Standing.SAME),
        (2, A, {1: A, 2: B}, Standing.REUSED),
        (1, B, {1: A, 2: B}, Standing.REUSED),
        (2, A, {1: A, 3: B}, Standing.OLDER),
    ],
)
def test_standing_is_decided_by_number_and_digest(
    sequence: int, digest: str, integrated: dict[int, str], expected: Standing
) -> None:
    """Only the very same manifest is "here already"; a number is never given to two."""
    assert standing(sequence, digest, integrated, max(integrated, default=0)) is expected


def _arriving(package: Path, tmp_path: Path, templates: TemplateStore, policy: Policy) -> list[Finding]:
    candidate = Candidate(
        copy_in(package, tmp_path / "in"), templates, lambda name: max(policy.integrated(name)), policy
    )
    assert list(check_manifest(candidate)) == []
    return list(check_sequence(candidate))


def test_a_number_that_another_manifest_has_is_loudly_refused(
    package: Path, tmp_path: Path, templates: TemplateStore
) -> None:
    """It is not "already here", and no override lets it in: both digests are shown."""
    policy = Policy(integrated=lambda _: {1: A}, accept_older="please")
    [finding] = _arriving(package, tmp_path, templates, policy)
    assert (finding.code, A in finding.expected) == ("SEQUENCE_REUSED", True)


def test_an_older_package_is_a_replay_unless_an_operator_says_otherwise(
    package: Path, tmp_path: Path, templates: TemplateStore
) -> None:
    """The next step names the override, and the override leaves its mark."""
    refusing = Policy(integrated=lambda _: {7: A})
    [finding] = _arriving(package, tmp_path / "1", templates, refusing)
    assert (finding.code, "--accept-older" in finding.next_step) == ("REPLAY", True)
    accepting = replace(refusing, accept_older="the newer one was withdrawn", acts=Acts())
    assert _arriving(package, tmp_path / "2", templates, accepting) == []
    assert (accepting.acts.is_older, refusing.acts.is_older) == (True, False)


def test_the_very_same_package_is_here_already_however_old(
    package: Path, tmp_path: Path, templates: TemplateStore
) -> None:
    """An older package that is integrated is busy, not a replay."""
    digest = copy_in(package, tmp_path / "once").files[MANIFEST_NAME].sha256
    with pytest.raises(AlreadyIntegrated):
        _arriving(package, tmp_path, templates, Policy(integrated=lambda _: {1: digest, 9: A}))


def test_a_replay_is_kept_as_evidence(package: Path, desk: Desk) -> None:
    """The refusal of an older package lies in quarantine under its code."""
    second = with_sequence(without_runs(package), 2)
    desk.bring(second)
    reseal(second, lambda manifest: replace(manifest, sequence=1))
    report = desk.bring(second)
    assert (report.state, report.failed_check) == ("quarantined", "sequence")
    assert [finding.code for finding in report.findings] == ["REPLAY"]
    assert read_manifest(Path(report.quarantine) / "package").sequence == 1


def test_what_was_let_through_is_known_afterwards() -> None:
    """Only the digests that a check asked for and found are overrides that were used."""
    policy = Policy(allowed=LetThrough([A, B]))
    assert policy.overrides == ()
    assert [digest in policy.allowed for digest in (A, "c" * 64)] == [True, False]
    assert policy.overrides == (A,)
    assert Policy(allowed=frozenset([A])).overrides == ()

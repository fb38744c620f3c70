"""Signing and verifying a package directory: what is vouched for is what lies there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.manifest import MANIFEST_NAME, SIGNATURE_NAME
from ingest.errors import PackageMissing
from ingest.medium import NotRegular
from ingest.seal import NotAsListed, Signed, sign_package, verify_package
from ingest.signing import SigningKeyUnusable
from tests.ingest.conftest import Desk
from tests.keys import fingerprint, make_key, trust
from tests.packages import PACKAGE_ID

Snapshot = Callable[[Path], dict[str, bytes]]


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the key that the tests trust."""
    return make_key(tmp_path_factory.mktemp("keys"), "alice")


def test_signing_adds_one_file_and_verifying_none(package: Path, alice: Path, snapshot: Snapshot) -> None:
    """The signature lies beside the manifest; verifying leaves the package as it is."""
    before = snapshot(package)
    signed = sign_package(package, alice)
    after = snapshot(package)
    assert after.keys() - before.keys() == {SIGNATURE_NAME}
    verified = verify_package(package, trust(alice))
    assert snapshot(package) == after
    assert (verified.exit_code, verified.wrong, verified.refusal) == (0, (), None)
    assert verified.signer is not None
    assert signed == Signed(PACKAGE_ID, verified.manifest_sha256, fingerprint(alice))
    assert verified.signer.fingerprint == fingerprint(alice)


def test_a_package_that_is_not_as_listed_is_not_signed(package: Path, alice: Path) -> None:
    """A signature would vouch for something else than what lies there."""
    (package / "packages" / "extra.whl").write_text("x")
    with pytest.raises(NotAsListed, match=r"extra\.whl"):
        sign_package(package, alice)
    assert not (package / SIGNATURE_NAME).exists()


def test_a_key_that_cannot_sign_leaves_the_old_signature(package: Path, alice: Path) -> None:
    """Signing anew replaces a signature whole or not at all."""
    sign_package(package, alice)
    before = (package / SIGNATURE_NAME).read_bytes()
    with pytest.raises(SigningKeyUnusable):
        sign_package(package, package / "nothing")
    assert (package / SIGNATURE_NAME).read_bytes() == before


def test_verifying_tells_trust_from_integrity(package: Path, alice: Path) -> None:
    """Without a signature that counts it is 13, with one and a changed file 12, and each file is named."""
    unsigned = verify_package(package, trust(alice))
    assert (unsigned.exit_code, unsigned.refusal and unsigned.refusal.code) == (13, "UNSIGNED")
    sign_package(package, alice)
    wheel = next((package / "packages").iterdir())
    wheel.write_bytes(wheel.read_bytes() + b"x")
    (package / "repo" / "\x1b]0;x").write_text("x")
    damaged = verify_package(package, trust(alice))
    assert (damaged.exit_code, damaged.signer is not None) == (12, True)
    named = {file["path"]: file["state"] for file in damaged.as_dict()["wrong"]}
    assert named == {f"packages/{wheel.name}": "changed", "repo/\\x1b]0;x": "unlisted"}
    json.dumps(damaged.as_dict())
    assert verify_package(package, trust()).exit_code == 13


@pytest.mark.parametrize("kind", ["fifo", "link", "directory", "huge"])
def test_a_signature_that_is_no_small_file_is_never_waited_for(kind: str, package: Path, alice: Path) -> None:
    """What lies in the signature's place is opened without blocking, not followed, and read up to a limit."""
    place = package / SIGNATURE_NAME
    sign_package(package, alice)
    place.rename(package.parent / "real.sig")
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "link":
        place.symlink_to(package.parent / "real.sig")
    elif kind == "directory":
        place.mkdir()
    else:
        place.write_bytes(b"x" * 100_000)
    started = time.monotonic()
    if kind == "huge":
        assert verify_package(package, trust(alice)).exit_code == 13
    else:
        with pytest.raises(NotRegular):
            verify_package(package, trust(alice))
    assert time.monotonic() - started < 5


def test_what_is_no_package_is_not_found(tmp_path: Path, alice: Path) -> None:
    """An empty directory can neither be signed nor verified."""
    for act in (lambda: sign_package(tmp_path, alice), lambda: verify_package(tmp_path, trust(alice))):
        with pytest.raises(PackageMissing):
            act()


def test_an_import_agrees_with_what_was_verified(package: Path, alice: Path, desk: Desk) -> None:
    """A signed package that verifies comes in under the strict policy, its signature with it."""
    from dataclasses import replace

    from ingest.policy import UnsignedPackages
    from tests.packages import without_runs

    without_runs(package)
    sign_package(package, alice)
    desk.policy = replace(desk.policy, unsigned=UnsignedPackages.REFUSE, trust=trust(alice))
    assert desk.bring(package).state == "integrated"
    assert desk.policy.acts.signer is not None
    shelf = desk.root / "repo_packages" / PACKAGE_ID
    assert {MANIFEST_NAME, SIGNATURE_NAME} <= {path.name for path in shelf.iterdir()}

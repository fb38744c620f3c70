"""Signatures: real keys, real ssh-keygen; what does not count is refused under a code of its own."""

from __future__ import annotations

import base64
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.signing import (
    SIGNATURE_LIMIT_BYTES,
    IngestError,
    NotTrusted,
    SigningKeyUnusable,
    SigningToolMissing,
    Trust,
    TrustFileUnusable,
    read_envelope,
    read_trust,
    sign,
    verify,
)
from tests.keys import fingerprint, line, make_key, public, trust

DOCUMENT = b'{"name": "abacus"}\n'
PASSPHRASE = "not on this machine"


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the key that most tests trust."""
    return make_key(tmp_path_factory.mktemp("keys"), "alice")


@pytest.fixture(scope="module")
def mallory(alice: Path) -> Path:
    """Return a key that nobody trusts."""
    return make_key(alice.parent, "mallory")


def _refused(document: bytes, signature: bytes, trusted: Trust) -> NotTrusted:
    with pytest.raises(NotTrusted) as caught:
        verify(document, signature, trusted)
    assert caught.value.exit_code == 13
    assert caught.value.hint
    return caught.value


def test_a_signature_names_its_signer_and_the_key(alice: Path) -> None:
    """What was signed verifies, with the principal of allowed_signers and the fingerprint of ssh-keygen."""
    signer = verify(DOCUMENT, sign(DOCUMENT, alice), trust(alice))
    assert (signer.principal, signer.fingerprint) == ("alice", fingerprint(alice))


def test_every_changed_byte_of_the_document_is_found(alice: Path) -> None:
    """The signature covers the exact bytes: change, add or drop one, and it is none."""
    signature = sign(DOCUMENT, alice)
    for other in (DOCUMENT + b" ", DOCUMENT[:-1], DOCUMENT.replace(b"a", b"b", 1), b""):
        assert _refused(other, signature, trust(alice)).code == "SIGNATURE_BAD"


def test_a_changed_signature_is_found(alice: Path) -> None:
    """One flipped bit in the signed part makes a signature bad, not unknown."""
    lines = sign(DOCUMENT, alice).splitlines()
    blob = bytearray(base64.b64decode(b"".join(lines[1:-1])))
    blob[-1] ^= 1
    forged = b"\n".join([lines[0], base64.b64encode(blob), lines[-1], b""])
    assert _refused(DOCUMENT, forged, trust(alice)).code == "SIGNATURE_BAD"


def test_an_unknown_key_is_named_by_its_fingerprint(alice: Path, mallory: Path) -> None:
    """A right signature by somebody else is refused, and the operator sees whose key it is."""
    refusal = _refused(DOCUMENT, sign(DOCUMENT, mallory), trust(alice))
    assert refusal.code == "SIGNER_UNKNOWN"
    assert fingerprint(mallory) in str(refusal)


def test_without_trusted_keys_nobody_is_trusted(alice: Path) -> None:
    """No file, no trust."""
    assert _refused(DOCUMENT, sign(DOCUMENT, alice), Trust()).code == "SIGNER_UNKNOWN"


def test_a_signature_for_another_purpose_does_not_count(alice: Path, tmp_path: Path) -> None:
    """The same key signs git commits with namespace git; such a signature says nothing about packages."""
    (tmp_path / "d").write_bytes(DOCUMENT)
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", alice, "-n", "git", tmp_path / "d"], check=True)
    refusal = _refused(DOCUMENT, (tmp_path / "d.sig").read_bytes(), trust(alice))
    assert (refusal.code, "'git'" in str(refusal)) == ("SIGNATURE_NAMESPACE", True)


def test_a_key_that_is_trusted_for_something_else_is_not_trusted_for_packages(alice: Path) -> None:
    """`namespaces="git"` in allowed_signers keeps the key from vouching for packages."""
    trusted = Trust(line("alice", alice, "git").encode())
    assert _refused(DOCUMENT, sign(DOCUMENT, alice), trusted).code == "SIGNER_UNKNOWN"


def test_a_revoked_key_is_refused_while_others_count(alice: Path, mallory: Path) -> None:
    """Revocation wins over trust, for the revoked key only."""
    both = trust(alice, mallory, revoked=mallory)
    assert _refused(DOCUMENT, sign(DOCUMENT, mallory), both).code == "SIGNER_REVOKED"
    assert verify(DOCUMENT, sign(DOCUMENT, alice), both).principal == "alice"


@pytest.mark.parametrize("text", [b"\x00\x01 not a list", b"SHA256:abc\n", b"# why\nssh-ed25519\n", b"\xff\n"])
def test_a_revocation_list_with_a_slip_stops_everything(text: bytes, alice: Path, tmp_path: Path) -> None:
    """ssh-keygen skips what it cannot read; here a line that revokes nobody is a failure."""
    signers, revoked = tmp_path / "allowed_signers", tmp_path / "revoked_keys"
    signers.write_text(line("alice", alice))
    revoked.write_bytes(text)
    with pytest.raises(TrustFileUnusable, match="revoked_keys: line"):
        read_trust(signers, revoked)


def test_a_binary_revocation_list_is_understood(alice: Path, mallory: Path, tmp_path: Path) -> None:
    """A KRL, as `ssh-keygen -k` makes it, revokes the keys in it and no other."""
    signers, revoked = tmp_path / "allowed_signers", tmp_path / "revoked_keys"
    signers.write_text(line("alice", alice) + line("mallory", mallory))
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", str(revoked), f"{mallory}.pub"], check=True)
    trusted = read_trust(signers, revoked)
    assert _refused(DOCUMENT, sign(DOCUMENT, mallory), trusted).code == "SIGNER_REVOKED"
    assert verify(DOCUMENT, sign(DOCUMENT, alice), trusted).principal == "alice"


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda _: b"\x00" * 1000,
        lambda _: os.urandom(5000),
        lambda good: good + good,
        lambda good: good + b"trailing",
        lambda good: good[: len(good) // 2],
        lambda good: good.replace(b"U1NI", b"!!!!"),
        lambda good: good.replace(b"U1NI", b"AAAA"),
        lambda good: good.replace(b"\n-----END", b"AAAA\n-----END"),
        lambda good: good + b"\n" * SIGNATURE_LIMIT_BYTES,
    ],
    ids=["empty", "zeros", "noise", "two", "trailing", "half", "no base64", "no magic", "longer", "huge"],
)
def test_what_is_not_one_signature_is_refused_before_ssh_keygen_sees_it(
    change: Callable[[bytes], bytes], alice: Path
) -> None:
    """Garbage, several signatures and huge files have the code of the format."""
    assert _refused(DOCUMENT, change(sign(DOCUMENT, alice)), trust(alice)).code == "SIGNATURE_FORMAT"


def test_line_ends_of_another_system_do_no_harm(alice: Path) -> None:
    """A signature whose line ends were changed on the way says the same of itself."""
    signature = sign(DOCUMENT, alice)
    assert read_envelope(signature.replace(b"\n", b"\r\n")) == read_envelope(signature)


def test_a_key_with_a_passphrase_asks_nobody(alice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an agent it fails at once, and says what to do."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    locked = make_key(alice.parent, "locked", PASSPHRASE)
    started = time.monotonic()
    with pytest.raises(SigningKeyUnusable, match="passphrase") as caught:
        sign(PASSPHRASE.encode() + b"\n" + DOCUMENT, locked)  # the document must not be taken for the answer
    assert time.monotonic() - started < 5
    assert "ssh-add" in caught.value.hint


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run an ssh-agent for one test."""
    address = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(address)], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(address))
    while not address.exists():
        assert process.poll() is None
        time.sleep(0.01)
    yield
    process.terminate()
    process.wait()


@pytest.mark.usefixtures("agent")
def test_a_key_in_an_agent_signs_by_its_public_half(tmp_path: Path) -> None:
    """The private half may be elsewhere; naming the public file is enough."""
    key = make_key(tmp_path, "carried")
    subprocess.run(["ssh-add", "-q", str(key)], check=True)
    half = (tmp_path / "carried.pub").rename(tmp_path / "half.pub")
    key.unlink()
    assert read_envelope(sign(DOCUMENT, half)).namespace == "repo-package"


@pytest.mark.parametrize("kind", ["missing", "directory", "text", "open to all"])
def test_a_key_that_cannot_sign_is_named(kind: str, alice: Path, tmp_path: Path) -> None:
    """Whatever is wrong with the key file, the failure is about the key, with exit code 2."""
    path = tmp_path / "key"
    if kind == "directory":
        path.mkdir()
    elif kind == "text":
        path.write_text("no key")
        path.chmod(0o600)
    elif kind == "open to all":
        path.write_bytes(alice.read_bytes())
        path.chmod(0o644)
    with pytest.raises(SigningKeyUnusable) as caught:
        sign(DOCUMENT, path)
    assert (caught.value.code, caught.value.exit_code) == ("SIGNING_KEY", 2)


def test_without_ssh_keygen_the_machine_is_not_ready(alice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure is the machine's (14), names the program, and is no verdict about the package."""
    signature = sign(DOCUMENT, alice)
    monkeypatch.setenv("PATH", "/nonexistent")
    for act in (lambda: sign(DOCUMENT, alice), lambda: verify(DOCUMENT, signature, trust(alice))):
        with pytest.raises(SigningToolMissing) as caught:
            act()
        assert (caught.value.exit_code, "openssh-client" in caught.value.hint) == (14, True)


def test_trust_files_are_read_as_they_are(alice: Path, tmp_path: Path) -> None:
    """Comments and empty lines are fine; files that are not there trust and revoke nobody."""
    signers = tmp_path / "allowed_signers"
    signers.write_text(f"# who may sign\n\n{line('alice', alice)}a@b,c@d {public(alice)}\n")
    assert read_trust(signers, tmp_path / "revoked_keys") == Trust(signers.read_bytes())
    assert read_trust(tmp_path / "gone") == Trust()


@pytest.mark.parametrize("text", ["alice\n", "ssh-ed25519 AAAA\n", "# fine\nalice ssh-ed25519\n", "alice key\n"])
def test_a_line_without_principal_and_key_is_named(text: str, tmp_path: Path) -> None:
    """A trust file that ssh-keygen would read otherwise than its author is refused with the number of the line."""
    (tmp_path / "allowed_signers").write_text(text)
    with pytest.raises(TrustFileUnusable, match=f"line {text.count(chr(10))} "):
        read_trust(tmp_path / "allowed_signers")


def test_a_trust_file_that_cannot_be_read_stops_everything(tmp_path: Path) -> None:
    """A directory or a flood in its place is a failure, not an empty list."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "flood").write_bytes(b"#" * (2 << 20))
    for name in ("folder", "flood"):
        with pytest.raises(TrustFileUnusable) as caught:
            read_trust(tmp_path / name)
        assert issubclass(type(caught.value), IngestError)

"""Signatures over manifests: OpenSSH keys, `ssh-keygen -Y`, bound to the namespace `repo-package`.

The signature covers the exact bytes of manifest.json, and the manifest covers every other file by
digest. ssh-keygen never sees a path of a package: it works on bounded copies in memory, with a fixed
environment, no terminal and a time limit. Not protected against: a stolen key that nobody revoked, and
who may write the trust files of this machine.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ingest.errors import IngestError
from ingest.inspect import printable

NAMESPACE = "repo-package"
SIGNERS_NAME = "allowed_signers"
REVOKED_NAME = "revoked_keys"
SIGNATURE_LIMIT_BYTES = 16 << 10
TRUST_LIMIT_BYTES = 1 << 20
TIMEOUT_S = 20
_WORDS = 300
_BEGIN, _END = b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----"
_MAGIC = b"SSHSIG\x00\x00\x00\x01"
_KRL_MAGIC = b"SSHKRL\n\x00"
_KEY = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[A-Za-z0-9@.-]+\s+[A-Za-z0-9+/]{16,}={0,2}(?:\s|$)")
_PRINCIPAL_AND_KEY = re.compile(rf"\S+\s+(?:.*\s)?{_KEY.pattern}")


class SigningToolMissing(IngestError):
    """ssh-keygen, which signs and verifies, is not installed or did not come to an end."""

    code = "SIGNING_TOOL_MISSING"
    exit_code = 14
    hint = "Install it: apt-get install openssh-client"


class SigningKeyUnusable(IngestError):
    """The key that was named cannot sign here."""

    code = "SIGNING_KEY"
    exit_code = 2
    hint = (
        "Name a private OpenSSH key that only its owner can read (chmod 600). For a key with a passphrase start "
        "ssh-agent, add it with ssh-add, and run the same command again; nobody is asked for a passphrase here."
    )


class TrustFileUnusable(IngestError):
    """The file of trusted or revoked keys cannot be used as it is."""

    code = "TRUST_FILE"
    exit_code = 2
    hint = 'One key per line: PRINCIPAL namespaces="repo-package" ssh-ed25519 AAAA...; see `man ssh-keygen`.'


class NotTrusted(IngestError):
    """The package does not come from somebody whom this appliance trusts."""

    code = "NOT_TRUSTED"
    exit_code = 13
    hint = "Find out where the package comes from before anything else is done with it."


class Unsigned(NotTrusted):
    """The package carries no signature."""

    code = "UNSIGNED"
    hint = (
        "Sign it on the connected side: appliance package sign DIR --key FILE. Or decide to take unsigned packages: "
        'unsigned = "accept" under [trust] in appliance.toml.'
    )


class SignatureFormat(NotTrusted):
    """The signature file does not hold exactly one OpenSSH signature."""

    code = "SIGNATURE_FORMAT"
    hint = "Sign the package again on the connected side: appliance package sign DIR --key FILE."


class SignatureNamespace(NotTrusted):
    """The signature was made for something else than repo packages."""

    code = "SIGNATURE_NAMESPACE"
    hint = "Sign the package with `appliance package sign`; a signature made for another purpose does not count."


class SignatureBad(NotTrusted):
    """The signature is not one over this manifest."""

    code = "SIGNATURE_BAD"
    hint = "The manifest or its signature was altered after signing: copy the package again from where it was signed."


class SignerUnknown(NotTrusted):
    """The key that signed is not trusted here for repo packages."""

    code = "SIGNER_UNKNOWN"
    hint = (
        "Compare the fingerprint with its owner by another way than the stick; if it is theirs, add a line "
        'PRINCIPAL namespaces="repo-package" KEY to trust/allowed_signers.'
    )


class SignerRevoked(NotTrusted):
    """The key that signed was revoked."""

    code = "SIGNER_REVOKED"
    hint = "Have the package signed with a key that is not in trust/revoked_keys, and ask who used the revoked one."


@dataclass(frozen=True)
class Signer:
    """Who signed a package."""

    principal: str
    """As named in allowed_signers."""
    fingerprint: str
    """SHA256:... of the key, as `ssh-keygen -l` prints it."""


@dataclass(frozen=True)
class Trust:
    """The trusted and the revoked keys, as bytes: what is checked is what was read."""

    signers: bytes = b""
    """Content of an allowed_signers file (see `man ssh-keygen`)."""
    revoked: bytes = b""
    """Content of a revocation list: public keys, one per line, or a KRL."""


@dataclass(frozen=True)
class Envelope:
    """What a signature says of itself, before anybody believes it."""

    namespace: str
    fingerprint: str


def sign(document: bytes, key: Path) -> bytes:
    """Return the detached signature over `document`; SigningKeyUnusable when the key cannot make one."""
    if not key.is_file():
        raise SigningKeyUnusable(f"{printable(str(key))} is not a file")
    with tempfile.TemporaryDirectory(prefix="sign-") as place:
        path = Path(place, "document")
        path.write_bytes(document)  # by name, because on stdin it would be read as the passphrase
        agent = {name: os.environ[name] for name in ("SSH_AUTH_SOCK",) if name in os.environ}
        arguments = ["-Y", "sign", "-q", "-f", str(key.absolute()), "-n", NAMESPACE, str(path)]
        done = _ssh_keygen(arguments, environment=agent)
        signature = path.with_name("document.sig")
        if done.returncode != 0 or not signature.is_file():
            raise SigningKeyUnusable(f"{printable(str(key))} does not sign: {_words(done)}")
        signed = signature.read_bytes()
    read_envelope(signed)
    return signed


def make_key(key: Path) -> str:
    """Make a key without a passphrase and return its public half; for the demo and for trying things out."""
    done = _ssh_keygen(["-q", "-t", "ed25519", "-N", "", "-C", key.name, "-f", str(key.absolute())])
    if done.returncode != 0:
        raise SigningKeyUnusable(f"no key can be made at {printable(str(key))}: {_words(done)}")
    return key.with_name(f"{key.name}.pub").read_text("utf-8").strip()


def verify(document: bytes, signature: bytes, trust: Trust) -> Signer:
    """Return who signed `document`; a NotTrusted failure says why the signature does not count."""
    envelope = read_envelope(signature)
    if envelope.namespace != NAMESPACE:
        raise SignatureNamespace(f"the signature is for {printable(envelope.namespace)!r}, not for {NAMESPACE!r}")
    with _in_memory(signature) as paper, _in_memory(trust.signers) as signers, _in_memory(trust.revoked) as revoked:
        seal = ["-n", NAMESPACE, "-s", paper.path]
        done = _ssh_keygen(["-Y", "check-novalidate", *seal], stdin=document, shared=(paper.fd,))
        if done.returncode != 0:
            raise SignatureBad(f"the signature is not one over this manifest: {_words(done)}")
        shared = (paper.fd, signers.fd, revoked.fd)
        arguments = ["-Y", "find-principals", "-s", paper.path, "-f", signers.path]
        done = _ssh_keygen(arguments, shared=shared)
        principals = done.stdout.decode("utf-8", "replace").splitlines()
        if done.returncode != 0 or not principals:
            raise SignerUnknown(f"no line of {SIGNERS_NAME} trusts the key {envelope.fingerprint}")
        arguments = ["-Y", "verify", "-f", signers.path, "-I", principals[0], *seal]
        done = _ssh_keygen(arguments, stdin=document, shared=shared)
        if done.returncode != 0:
            raise SignerUnknown(f"{SIGNERS_NAME} does not trust {envelope.fingerprint} for {NAMESPACE}: {_words(done)}")
        if trust.revoked:
            done = _ssh_keygen([*arguments, "-r", revoked.path], stdin=document, shared=shared)
            if done.returncode != 0:
                raise SignerRevoked(f"the key {envelope.fingerprint} of {printable(principals[0])} is revoked")
    return Signer(printable(principals[0]), envelope.fingerprint)


def read_envelope(signature: bytes) -> Envelope:
    """Return what a signature file says of itself; SignatureFormat when it is not exactly one signature."""
    if len(signature) > SIGNATURE_LIMIT_BYTES:
        raise SignatureFormat(f"the signature file has more than {SIGNATURE_LIMIT_BYTES} bytes, which no signature has")
    lines = signature.replace(b"\r\n", b"\n").strip(b"\n").split(b"\n")
    if signature.count(_BEGIN) > 1:
        raise SignatureFormat("the signature file holds several signatures")
    if lines[0] != _BEGIN or lines[-1] != _END:
        raise SignatureFormat("the signature file is not an OpenSSH signature")
    try:
        blob = base64.b64decode(b"".join(lines[1:-1]), validate=True)
        fields = list(_fields(blob.removeprefix(_MAGIC))) if blob.startswith(_MAGIC) else []
        key, namespace, _, _, _ = fields
        return Envelope(namespace.decode(), _fingerprint(key))
    except (binascii.Error, ValueError) as err:
        raise SignatureFormat("the signature file is not an OpenSSH signature of version 1") from err


def read_trust(signers: Path, revoked: Path | None = None) -> Trust:
    """Read the trust files; a missing one is empty, TrustFileUnusable when a line is not what it must be.

    ssh-keygen skips lines of a revocation list that it cannot read, so a slip would revoke nobody.
    """
    trust = Trust(_read_trust_file(signers), _read_trust_file(revoked) if revoked else b"")
    _check_lines(signers, trust.signers, _PRINCIPAL_AND_KEY, "a principal followed by a key")
    if revoked and not trust.revoked.startswith(_KRL_MAGIC):
        _check_lines(revoked, trust.revoked, _KEY, "a public key")
    return trust


def _check_lines(path: Path, data: bytes, wanted: re.Pattern[str], what: str) -> None:
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        text = line.strip()
        if text and not text.startswith("#") and not wanted.match(text):
            raise TrustFileUnusable(f"{path}: line {number} is not {what}")


def _read_trust_file(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(TRUST_LIMIT_BYTES + 1)
    except FileNotFoundError:
        return b""
    except OSError as err:
        raise TrustFileUnusable(f"{path} cannot be read: {err.strerror}") from err
    if len(data) > TRUST_LIMIT_BYTES:
        raise TrustFileUnusable(f"{path} has more than {TRUST_LIMIT_BYTES} bytes")
    return data


def _fields(blob: bytes) -> Iterator[bytes]:
    """Yield the length-prefixed strings of a blob; ValueError when they do not fill it exactly."""
    at = 0
    while at < len(blob):
        size = int.from_bytes(blob[at : at + 4], "big")
        field = blob[at + 4 : at + 4 + size]
        if len(field) != size:
            raise ValueError("a field is cut short")
        yield field
        at += 4 + size


def _fingerprint(key: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


@dataclass(frozen=True)
class _InMemory:
    fd: int

    @property
    def path(self) -> str:
        return f"/proc/self/fd/{self.fd}"


@contextmanager
def _in_memory(data: bytes) -> Iterator[_InMemory]:
    """Give bytes a path without putting them on a disk."""
    with ExitStack() as stack:
        fd = os.memfd_create("signing")
        stack.callback(os.close, fd)
        with os.fdopen(os.dup(fd), "wb") as stream:
            stream.write(data)
        yield _InMemory(fd)


def _ssh_keygen(
    arguments: list[str], *, stdin: bytes = b"", shared: tuple[int, ...] = (), environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run ssh-keygen with no terminal, nobody to ask and nothing of our environment but what is named."""
    program = shutil.which("ssh-keygen")
    if program is None:
        raise SigningToolMissing("ssh-keygen is not installed on this machine")
    fixed = {"PATH": os.defpath, "LC_ALL": "C", "HOME": "/nonexistent", "SSH_ASKPASS_REQUIRE": "never"}
    try:
        return subprocess.run(
            [program, *arguments], input=stdin, env=fixed | (environment or {}), capture_output=True, pass_fds=shared,
            timeout=TIMEOUT_S, start_new_session=True, check=False, cwd="/",
        )  # fmt: skip
    except subprocess.TimeoutExpired as err:
        raise SigningToolMissing(f"ssh-keygen gave no answer within {TIMEOUT_S} s") from err


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    said = " ".join((done.stderr or done.stdout).decode("utf-8", "replace").split())
    said = said.replace("/proc/self/fd/", "").strip("@ ")
    return printable(said[:_WORDS]) or f"ssh-keygen ended with {done.returncode}"

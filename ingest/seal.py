"""Signing and verifying a package directory: its manifest by signature, everything else by digest.

Verifying writes nothing and runs nothing of the package. It says what is wrong with a medium; it does not
replace the import, which judges the copy that it made itself.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.durable import write_whole
from harness.manifest import MANIFEST_NAME, SIGNATURE_NAME, Manifest
from ingest.errors import IngestError, PackageMissing
from ingest.inspect import MANIFEST_LIMIT_BYTES, InspectedFile, inspect_package, printable
from ingest.medium import directory_fd, open_regular, read_bounded
from ingest.signing import (
    SIGNATURE_LIMIT_BYTES,
    NotTrusted,
    SignatureFormat,
    Signer,
    Trust,
    Unsigned,
    read_envelope,
    sign,
    verify,
)


class NotAsListed(IngestError):
    """The files of a package are not those that its manifest lists."""

    code = "NOT_AS_LISTED"
    exit_code = 12
    hint = "`appliance package verify DIR` names the files; copy the package again, or prepare it anew."


@dataclass(frozen=True)
class Verified:
    """What the signature and the files of a package say."""

    package: str
    manifest_sha256: str
    signer: Signer | None
    refusal: NotTrusted | None
    """Why the signature does not count; exactly one of this and `signer` is there."""
    wrong: tuple[InspectedFile, ...]
    """Files that are changed, missing, unlisted or not regular."""
    files: int

    @property
    def exit_code(self) -> int:
        """Return 13 for a package that nobody vouches for, 12 for files that are not as listed, else 0."""
        if self.refusal is not None:
            return int(self.refusal.exit_code)
        return NotAsListed.exit_code if self.wrong else 0

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome for JSON."""
        refusal = self.refusal
        return {
            "package": self.package,
            "manifest_sha256": self.manifest_sha256,
            "trusted": self.signer is not None,
            "signer": self.signer.principal if self.signer else "",
            "fingerprint": self.signer.fingerprint if self.signer else "",
            "refusal": {"code": refusal.code, "found": str(refusal), "next": refusal.hint} if refusal else None,
            "files": self.files,
            "wrong": [{**asdict(file), "path": printable(file.path)} for file in self.wrong],
        }


@dataclass(frozen=True)
class Signed:
    """A package that was signed."""

    package: str
    manifest_sha256: str
    fingerprint: str
    """Of the key that signed."""

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome for JSON."""
        return asdict(self)


def sign_package(directory: Path, key: Path) -> Signed:
    """Sign the manifest of a package whose files are as listed.

    NotAsListed when they are not: a signature would vouch for what is not there.
    """
    manifest, document, wrong, _ = _inspected(directory)
    if wrong:
        raise NotAsListed(f"{len(wrong)} files of {manifest.package_id} are not as listed, {wrong[0].path!r} for one")
    signature = sign(document, key)
    write_whole(directory / SIGNATURE_NAME, signature)
    digest = hashlib.sha256(document).hexdigest()
    return Signed(manifest.package_id, digest, read_envelope(signature).fingerprint)


def verify_package(directory: Path, trust: Trust) -> Verified:
    """Judge signature and files of a package directory."""
    manifest, document, wrong, files = _inspected(directory)
    signer, refusal = None, None
    try:
        signer = verify(document, read_signature(directory), trust)
    except NotTrusted as err:
        refusal = err
    return Verified(manifest.package_id, hashlib.sha256(document).hexdigest(), signer, refusal, wrong, files)


def read_signature(directory: Path) -> bytes:
    """Return the bytes of a package's signature; Unsigned when there is none, SignatureFormat when it is too large."""
    with directory_fd(directory) as root:
        try:
            fd = open_regular(root, SIGNATURE_NAME)
        except FileNotFoundError as err:
            raise Unsigned(f"{printable(str(directory))} holds no {SIGNATURE_NAME}") from err
        with os.fdopen(fd, "rb") as stream:
            data = stream.read(SIGNATURE_LIMIT_BYTES + 1)
    if len(data) > SIGNATURE_LIMIT_BYTES:
        raise SignatureFormat(f"{SIGNATURE_NAME} has more than {SIGNATURE_LIMIT_BYTES} bytes, which no signature has")
    return data


def _inspected(directory: Path) -> tuple[Manifest, bytes, tuple[InspectedFile, ...], int]:
    """Return the manifest, the very bytes that were parsed, the files that are wrong, and the number of all."""
    inventory = inspect_package(directory)
    with directory_fd(directory) as root:
        document = read_bounded(root, MANIFEST_NAME, MANIFEST_LIMIT_BYTES)
    if hashlib.sha256(document).hexdigest() != inventory.manifest_sha256:
        raise PackageMissing(f"{printable(str(directory))} changes while it is read")
    wrong = tuple(file for file in inventory.files if file.state != "ok")
    return inventory.manifest, document, wrong, len(inventory.files)

"""Whether a manifest comes from somebody whom the operators trust.

A missing signature is a matter of policy; one that is there has to be right under every policy.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.manifest import MANIFEST_NAME, SIGNATURE_NAME
from ingest.checks.candidate import Candidate
from ingest.findings import Finding
from ingest.policy import UnsignedPackages
from ingest.signing import (
    SIGNATURE_LIMIT_BYTES,
    SIGNERS_NAME,
    NotTrusted,
    SignatureFormat,
    Unsigned,
    verify,
)


def check_signature(candidate: Candidate) -> Iterator[Finding]:
    """Find out who signed the manifest, or why its signature does not count; of no manifest the next check speaks."""
    policy = candidate.policy
    policy.acts.signer, policy.acts.is_unsigned = None, False  # of an earlier look at what may have changed since
    if MANIFEST_NAME not in candidate.staged.files:
        return
    try:
        entry = candidate.staged.files.get(SIGNATURE_NAME)
        if entry is None:
            if policy.unsigned != UnsignedPackages.ACCEPT:
                raise Unsigned("no such file")
            policy.acts.is_unsigned = True
            return
        if entry.bytes > SIGNATURE_LIMIT_BYTES:
            raise SignatureFormat(f"a signature file of {entry.bytes} bytes, which no signature has")
        document = (candidate.staged.directory / MANIFEST_NAME).read_bytes()
        signature = (candidate.staged.directory / SIGNATURE_NAME).read_bytes()
        policy.acts.signer = verify(document, signature, policy.trust)
    except NotTrusted as err:
        expected = f"a signature over {MANIFEST_NAME} by a key of {SIGNERS_NAME}"
        yield Finding(err.code, SIGNATURE_NAME, expected, str(err), err.hint)

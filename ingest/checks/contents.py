"""What is in a package, and whether it is what its manifest lists."""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import HarnessError
from harness.manifest import MANIFEST_NAME, parse_manifest
from harness.testrun import parse_test_command
from ingest.checks.candidate import AGAIN, Candidate
from ingest.errors import AlreadyIntegrated
from ingest.findings import Finding
from ingest.policy import Standing, standing
from ingest.survey import WHEELS


def check_medium(candidate: Candidate) -> Iterator[Finding]:
    """Find what is not a regular file, or not one that the format names."""
    yield from candidate.staged.findings


def check_manifest(candidate: Candidate) -> Iterator[Finding]:
    """Find where the manifest leaves its schema or refers to what it does not hold."""
    if MANIFEST_NAME not in candidate.staged.files:
        yield Finding("MANIFEST_MISSING", MANIFEST_NAME, "a manifest", "no such file", AGAIN)
        return
    try:
        candidate.manifest = parse_manifest((candidate.staged.directory / MANIFEST_NAME).read_bytes())
        parse_test_command(candidate.manifest.test_command)
    except HarnessError as err:
        yield Finding(err.code, MANIFEST_NAME, "a manifest of format 1", str(err), AGAIN)


def check_sequence(candidate: Candidate) -> Iterator[Finding]:
    """Find a sequence that is taken or older than what is here; AlreadyIntegrated when it is this very package."""
    manifest, policy = candidate.known, candidate.policy
    policy.acts.is_older = False  # of an earlier look at what may have changed since
    digest = candidate.staged.files[MANIFEST_NAME].sha256
    integrated = policy.integrated(manifest.name)
    latest = max(candidate.latest_sequence(manifest.name), *integrated, 0)
    match standing(manifest.sequence, digest, integrated, latest):
        case Standing.SAME:
            raise AlreadyIntegrated(f"{manifest.package_id}: this very manifest is integrated")
        case Standing.REUSED:
            yield Finding(
                "SEQUENCE_REUSED", MANIFEST_NAME, f"manifest {integrated[manifest.sequence]}, which is integrated as "
                f"{manifest.package_id}", f"another manifest, {digest}, under the same number", "Ask who made it: two "
                "different packages carry one number. A genuine one gets a new number: package prepare --sequence.",
            )  # fmt: skip
        case Standing.OLDER if policy.accept_older:
            policy.acts.is_older = True
        case Standing.OLDER:
            yield Finding(
                "REPLAY", MANIFEST_NAME, f"a sequence of {manifest.name} above {latest}, the newest that is here",
                f"sequence {manifest.sequence}", "Bring the newest package; if this old one is meant: appliance ingest "
                "import DIR --accept-older --reason TEXT",
            )  # fmt: skip


def check_files(candidate: Candidate) -> Iterator[Finding]:
    """Find files that are missing, changed or not listed, and listed ones that the format has no place for."""
    found = {path: entry for path, entry in candidate.staged.files.items() if "/" in path}
    listed = candidate.known.files
    for path in sorted(set(listed) - set(found)):
        yield Finding("FILE_MISSING", path, f"sha256 {listed[path].sha256}", "no such file", AGAIN)
    for path in sorted(set(found) - set(listed)):
        yield Finding("FILE_UNLISTED", path, "no such file", f"sha256 {found[path].sha256}", AGAIN)
    for path in sorted(set(found) & set(listed)):
        if path.startswith(f"{WHEELS}/") and not path.endswith(".whl"):
            yield Finding("UNEXPECTED_FILE", path, "wheels only", "another file", AGAIN)
        if found[path] != listed[path]:
            want, have = listed[path], found[path]
            yield Finding(
                "FILE_CHANGED", path, f"sha256 {want.sha256}, {want.bytes} bytes",
                f"sha256 {have.sha256}, {have.bytes} bytes", "Copy the package to the medium again; it was altered.",
            )  # fmt: skip

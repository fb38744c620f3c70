"""What is in a package, and whether it is what its manifest lists."""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import HarnessError
from harness.manifest import MANIFEST_NAME, parse_manifest
from harness.testrun import parse_test_command
from ingest.checks.candidate import AGAIN, Candidate
from ingest.errors import AlreadyIntegrated
from ingest.findings import Finding


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
    """Stop at a package that is here already, or is older than what is here; AlreadyIntegrated says so."""
    manifest = candidate.known
    latest = candidate.latest_sequence(manifest.name)
    if manifest.sequence <= latest:
        raise AlreadyIntegrated(f"{manifest.package_id}: sequence {latest} of {manifest.name} is integrated")
    yield from ()


def check_files(candidate: Candidate) -> Iterator[Finding]:
    """Find files that are missing, changed or not listed."""
    found = {path: entry for path, entry in candidate.staged.files.items() if "/" in path}
    listed = candidate.known.files
    for path in sorted(set(listed) - set(found)):
        yield Finding("FILE_MISSING", path, f"sha256 {listed[path].sha256}", "no such file", AGAIN)
    for path in sorted(set(found) - set(listed)):
        yield Finding("FILE_UNLISTED", path, "no such file", f"sha256 {found[path].sha256}", AGAIN)
    for path in sorted(set(found) & set(listed)):
        if found[path] != listed[path]:
            want, have = listed[path], found[path]
            yield Finding(
                "FILE_CHANGED", path, f"sha256 {want.sha256}, {want.bytes} bytes",
                f"sha256 {have.sha256}, {have.bytes} bytes", "Copy the package to the medium again; it was altered.",
            )  # fmt: skip

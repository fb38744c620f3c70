"""What the operator asks of a preparation, and whether it makes sense."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from ingest.errors import BadOptions
from ingest.prepare.commits import parse_since

TEST_SCOPES = ("affected", "suite")


@dataclass(frozen=True)
class PrepareOptions:
    """What the operator asks for."""

    source: str
    """A git directory, a worktree or a URL."""
    out: Path
    """The directory that receives `<name>-<sequence>/`."""
    name: str | None = None
    """Package name; by default the name that the project declares, else that of the source."""
    python: str = "3.11"
    limit: int | None = None
    since: str | None = None
    """Earliest committer date, ISO 8601."""
    requirements: tuple[str, ...] = ()
    """PEP 508 requirements to add to every environment."""
    test_command: tuple[str, ...] = ("python", "-m", "pytest")
    test_scope: str = "affected"
    organisation: str = ""
    domain: str = ""
    license: str = ""
    """By default the licence that the project declares."""
    sequence: int | None = None
    max_source_files: int = 5
    max_lines: int = 200
    dry_run: bool = False
    """Choose the commits and say which; fetch and write nothing."""


def check_options(options: PrepareOptions) -> None:
    """Refuse options that contradict each other or cannot be used; BadOptions says which."""
    if options.name is not None and not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", options.name):
        raise BadOptions(f"package name {options.name!r} must be lower case letters, digits, '.', '_' and '-'")
    if not re.fullmatch(r"3\.\d{1,2}", options.python):
        raise BadOptions(f"--python {options.python!r} must be a minor version such as 3.11")
    if options.test_scope not in TEST_SCOPES:
        raise BadOptions(f"--test-scope {options.test_scope!r} must be one of {', '.join(TEST_SCOPES)}")
    if not options.test_command:
        raise BadOptions("the test command is empty")
    if any(number is not None and number < 1 for number in (options.sequence, options.limit)):
        raise BadOptions("--sequence and --limit must be at least 1")
    try:
        if options.since is not None:
            parse_since(options.since)
    except ValueError as err:
        raise BadOptions(f"--since {options.since!r} is not an ISO 8601 date such as 2023-06-01") from err
    for line in options.requirements:
        try:
            Requirement(line)
        except InvalidRequirement as err:
            raise BadOptions(f"--requirement {line!r} is not a PEP 508 requirement: {err}") from err

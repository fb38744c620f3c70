"""The checks in the order of trust: a check may rely on everything above it.

Each looks at one thing, returns what is wrong as findings, and leaves nothing behind. Codes are
stable; operators and tests know them.
"""

from __future__ import annotations

import errno

from harness.errors import Failure
from ingest.checks.candidate import AGAIN, SHOWN_WORDS, Candidate, Check
from ingest.checks.contents import check_files, check_manifest, check_medium, check_sequence
from ingest.checks.environments import check_environments, check_resolution, check_test_command
from ingest.checks.objects import check_commits, check_objects
from ingest.checks.signature import check_signature
from ingest.checks.trees import check_trees
from ingest.checks.wheels import check_wheels
from ingest.findings import Finding

CHECKS: tuple[tuple[str, Check], ...] = (
    ("medium", check_medium),
    ("signature", check_signature),
    ("manifest", check_manifest),
    ("sequence", check_sequence),
    ("files", check_files),
    ("objects", check_objects),
    ("commits", check_commits),
    ("trees", check_trees),
    ("wheels", check_wheels),
    ("resolution", check_resolution),
    ("environments", check_environments),
    ("test command", check_test_command),
)
"""Name and function, in order. The first check with findings ends the walk.

The signature comes before the manifest is parsed: it takes its bytes only, and where unsigned packages
are refused nothing that a stranger wrote is interpreted.
"""
FIRST_LOOK = CHECKS[:4]
"""What takes the survey, the manifest and its signature only."""


def first_findings(candidate: Candidate, checks: tuple[tuple[str, Check], ...] = CHECKS) -> tuple[str, list[Finding]]:
    """Run the checks in order; return the name of the first that fails with its findings, or ("", []).

    Failures speak of this machine and pass. Anything else that a package makes a check raise is a
    finding: nobody foresaw this package, so it is kept out and kept.
    """
    for name, check in checks:
        try:
            findings = list(check(candidate))
        except Failure:
            raise
        except Exception as err:
            if isinstance(err, OSError) and err.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
            findings = [_unforeseen(name, err)]
        if findings:
            return name, findings
    return "", []


def _unforeseen(check: str, err: Exception) -> Finding:
    words = f"{type(err).__name__}: {err}"[:SHOWN_WORDS]
    return Finding("CHECK_FAILED", "", f"the check {check!r} to come to an end", words, AGAIN)

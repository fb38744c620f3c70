"""The story of an attempt: what its runs and its source said about tampering."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.cli.story import tell

RUN = {"run": 0, "completed": 1, "returncode": 0, "seconds": 1.0, "tampering": "", "canaries": []}
ATTEMPT: dict[str, Any] = {
    "id": 1, "verdict": "RESOLVED", "reason": "all", "package": "p-1", "commit_sha": "a" * 40, "attempt": 1, "seed": 0,
    "temperature": 0.0, "started_at": "2026-01-01T00:00:00Z", "routes": {}, "task": "Do it", "decisions": [],
    "calls": [], "steps": [], "patch": "", "red_flags": [], "runs": [RUN], "tests": [], "failing": [], "alignment": {},
    "seconds": {},
}  # fmt: skip
GOOD = {"node_id": "t.py::test_x", "expected": "failed", "outcome": "failed"}


@pytest.mark.parametrize(
    ("canaries", "words"),
    [
        ([], "canaries: none"),
        ([GOOD], "canaries: 1, all as expected"),
        ([GOOD, GOOD | {"outcome": "passed"}], "canaries: 2, t.py::test_x must have failed, is passed"),
    ],
)
def test_what_became_of_the_canaries_is_told(canaries: list[dict[str, str]], words: str) -> None:
    """Each run says how many there were, and which did not behave."""
    assert words in tell(ATTEMPT | {"runs": [RUN | {"canaries": canaries}]}, limit=None)


def test_tampering_and_red_flags_are_told_with_their_weight() -> None:
    """A reader sees what showed the interference, and which constructs were only kept."""
    flags = [
        {"path": "a.py", "line": 3, "name": name, "kind": "k", "hard": hard}
        for name, hard in (("x", True), ("y", False))
    ]
    story = tell(ATTEMPT | {"red_flags": flags, "runs": [RUN | {"tampering": "a line of somebody else"}]}, limit=None)
    assert "TAMPERING: a line of somebody else" in story
    assert "red flag (decides): a.py:3 uses x (k)" in story
    assert "red flag (kept): a.py:3 uses y (k)" in story

"""The story of an attempt: what its runs and its source said about tampering."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.cli.story import tell
from harness.oracle.recording import Call, Recording, Replies

RUN = {"run": 0, "completed": 1, "returncode": 0, "seconds": 1.0, "tampering": "", "canaries": []}
ATTEMPT: dict[str, Any] = {
    "id": 1, "verdict": "RESOLVED", "reason": "all", "package": "p-1", "commit_sha": "a" * 40, "attempt": 1, "seed": 0,
    "temperature": 0.0, "started_at": "2026-01-01T00:00:00Z", "routes": {}, "task": "Do it", "decisions": [],
    "calls": [], "steps": [], "patch": "", "red_flags": [], "runs": [RUN], "tests": [], "failing": [], "alignment": {},
    "seconds": {}, "oracle_recording": None, "oracle_replies": None,
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


def test_what_the_oracle_heard_is_told() -> None:
    """A reader sees how many calls agreed, and the first that did not, in words."""
    do = {"op": "call", "name": "shop:total", "args": [[1.5]], "kwargs": []}
    recording = Recording("a" * 40, (Call(0, do, {"value": 3, "changed": []}, "t.py::test_x"),))
    replies = Replies({0: {"value": 4, "changed": []}}, completed=True, returncode=0, timed_out=False, seconds=0.1)
    texts = {"oracle_recording": recording.text, "oracle_replies": replies.text}
    assert "oracle: 0 of 1 recorded calls agree; total([1.5]) gives 4 where" in tell(ATTEMPT | texts, limit=None)

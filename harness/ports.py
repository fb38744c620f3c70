"""What the harness takes from above: one screen of Protocols.

`Model` is the one seam everything plugs into. Whoever stands behind it decides what kind of data
comes out (design/architecture.md, "The one seam").
"""

from __future__ import annotations

from typing import Protocol

from harness.case import Case
from harness.stages import Answer, StageCall


class Model(Protocol):
    """Answers the stage calls of one attempt."""

    def answer(self, call: StageCall) -> Answer:
        """Return the answer to one call; a Failure when there is none."""
        ...


class Answerers(Protocol):
    """Makes the model for a case; called once per attempt, inside the worker."""

    def model(self, case: Case) -> Model:
        """Return who answers for this case."""
        ...


class TokenCounter(Protocol):
    """Counts the tokens of a prompt the way the model will."""

    def __call__(self, text: str) -> int:
        """Return the number of tokens."""
        ...

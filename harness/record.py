"""The evidence of one attempt, as values that a store can write and a worker can send.

Prompts and answers are kept whole, exactly as they were sent and received: a training row is made
of these strings and nothing else (seed 004, 2.1: what was logged is what the model saw).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.context import Decision
from harness.grade import Grade, Required
from harness.oracle.recording import Evidence
from harness.plan import Step
from harness.redflags import RedFlag
from harness.results import RunResult


@dataclass(frozen=True)
class CallRecord:
    """One stage call with its answer."""

    stage: str
    ordinal: int
    prompt: str
    answer: str
    answerer: str
    source: str
    adapter: str | None
    seed: int
    temperature: float
    prompt_tokens: int
    """Counted by the caller; an estimate where the answerer has no tokenizer."""
    tokens_in: int | None
    tokens_out: int | None
    seconds: float
    problem: str = ""
    """Why the answer was not usable, or ""."""

    @property
    def prompt_sha256(self) -> str:
        """Digest of the prompt's bytes."""
        return text_sha256(self.prompt)


@dataclass(frozen=True)
class PlanRecord:
    """One accepted plan answer."""

    stage: str
    part: str
    """Id of the part a step-plan or test-plan belongs to; "" for a meta-plan."""
    document: str
    """The answer's JSON text."""


@dataclass(frozen=True)
class StepRecord:
    """What became of one planned step."""

    part: str
    step: Step
    applied: bool
    problem: str = ""


@dataclass(frozen=True)
class AttemptRecord:
    """Everything an attempt leaves behind."""

    package: str
    commit: str
    attempt: int
    key: str
    """Digest of everything that decides the attempt; the same key is never stored twice."""
    routes: Mapping[str, str]
    seed: int
    temperature: float
    task: str
    context_sha256: str
    grade: Grade
    required: Required
    """What the tests had to show; more than the commit's own when edits reached further."""
    problem: str
    """Why the pass stopped at an unusable answer, or ""."""
    patch: str
    tree_sha256: str
    """Digest of the graded tree; "" when nothing was graded."""
    template_key: str
    runs: tuple[RunResult, ...]
    run_keys: tuple[str, ...]
    calls: tuple[CallRecord, ...]
    decisions: tuple[Decision, ...]
    plans: tuple[PlanRecord, ...]
    steps: tuple[StepRecord, ...]
    alignment: Mapping[str, Any]
    seconds: Mapping[str, float]
    """Wall time by phase: checkout, index, retrieve, plan, code, edit, pipeline (the pass as a whole, which holds
    the four before it), test, grade, align, total."""
    cached: bool
    """The test results came from the cache: the very same tree had been run before."""
    started_at: str
    ended_at: str
    limits: Mapping[str, float] = field(default_factory=dict)
    red_flags: tuple[RedFlag, ...] = ()
    """What the candidate's source adds that honest solutions hardly ever do, decisive or not."""
    oracle: Evidence | None = None
    """What the out-of-process oracle asked and was told; None where the tests decided already, or there is none."""


def text_sha256(text: str) -> str:
    """Return the digest that names a prompt or an answer."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

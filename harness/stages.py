"""The seven stage calls: what is asked, from which facts, and what an answer is.

A `StageCall` carries the exact prompt and the typed facts it was rendered from. A model reads the
prompt; answerers without weights (gold, lexical, replay) read the facts. Facts never hold anything
that exists only after the commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.context import ContextPackage
from harness.plan import Part, Step, TaskAnalysis


class Stage(StrEnum):
    """The fixed names of the stages, in pipeline order."""

    TASK_ANALYSIS = "task-analysis"
    SCOPE = "scope"
    PRECISION = "precision"
    META_PLAN = "meta-plan"
    STEP_PLAN = "step-plan"
    TEST_PLAN = "test-plan"
    EXECUTE_CODE = "execute-code"


WINDOW_TOKENS: Mapping[Stage, int] = {
    Stage.TASK_ANALYSIS: 8_192,
    Stage.SCOPE: 32_768,
    Stage.PRECISION: 32_768,
    Stage.META_PLAN: 32_768,
    Stage.STEP_PLAN: 32_768,
    Stage.TEST_PLAN: 32_768,
    Stage.EXECUTE_CODE: 32_768,
}
"""Context window per stage, in tokens (seed 004, section 2.2)."""


@dataclass(frozen=True)
class Candidate:
    """One file offered to the scope stage."""

    path: str
    summary: str
    """First docstring line and the names of the top-level symbols."""
    score: float
    """Retrieval score, higher is better; comparable within one call only."""
    reasons: tuple[str, ...] = ()
    """Why retrieval put it here, e.g. `bm25 3.1`, `imports src/a.py`, `named in the task`."""


@dataclass(frozen=True)
class SymbolCard:
    """One symbol offered to the precision stage."""

    path: str
    symbol: str
    """Qualified name inside the module, e.g. `Parser.feed`; "" for module-level code."""
    kind: str
    signature: str
    score: float
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskAnalysisFacts:
    """What task-analysis is asked about."""

    task: str
    paths: tuple[str, ...]
    environment: str


@dataclass(frozen=True)
class ScopeFacts:
    """What scope is asked about: one batch of candidate files."""

    task: str
    analysis: TaskAnalysis
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class PrecisionFacts:
    """What precision is asked about: the symbols of the chosen files."""

    task: str
    symbols: tuple[SymbolCard, ...]


@dataclass(frozen=True)
class MetaPlanFacts:
    """What meta-plan is asked about."""

    task: str
    context: ContextPackage


@dataclass(frozen=True)
class StepPlanFacts:
    """What step-plan is asked about: one part."""

    task: str
    part: Part
    context: ContextPackage


@dataclass(frozen=True)
class TestPlanFacts:
    """What test-plan is asked about: one part and the diff so far."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    task: str
    part: Part
    diff: str
    context: ContextPackage


@dataclass(frozen=True)
class ExecuteFacts:
    """What execute-code is asked about: one step and the present text of its file."""

    task: str
    step: Step
    text: str
    """Present content of `step.file`; "" when the step creates it."""


Facts = TaskAnalysisFacts | ScopeFacts | PrecisionFacts | MetaPlanFacts | StepPlanFacts | TestPlanFacts | ExecuteFacts


@dataclass(frozen=True)
class StageCall:
    """One question of the pipeline."""

    stage: Stage
    prompt: str
    """The exact text that is sent; its bytes are what is stored."""
    facts: Facts
    schema: Mapping[str, Any] | None
    """JSON Schema of the answer; None where the answer is edit blocks."""
    window_tokens: int
    ordinal: int
    """0-based position of this call among the calls of its stage in this attempt."""
    seed: int = 0
    temperature: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What came back for a stage call."""

    text: str
    answerer: str
    """Who answered: gold, lexical, replay, student, remote."""
    source: str
    """The kind of data this is: synthetic, teacher, harness, logged."""
    adapter: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

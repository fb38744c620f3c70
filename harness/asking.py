"""Put stage calls to a model and keep what was sent and what came back.

One `Interview` per attempt. A prompt that does not fit its window is refused before it is sent;
an answer that cannot be used is kept with the reason, and so is a prompt that was refused.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from harness import answers
from harness.errors import AnswerInvalid, ContextOverflow
from harness.plan import MetaPlan, PartPlan, TaskAnalysis
from harness.ports import Model, TokenCounter
from harness.prompts import render
from harness.record import CallRecord
from harness.schemas import schema
from harness.stages import WINDOW_TOKENS, Answer, Facts, Stage, StageCall

V = TypeVar("V")
CHARS_PER_TOKEN = 3
NO_ANSWER = Answer("", "none", "harness")
"""What is kept of a call that nobody answered."""


def estimate_tokens(text: str) -> int:
    """Return a token count for answerers without a tokenizer: code runs at 3 to 4 characters a token."""
    return len(text) // CHARS_PER_TOKEN + 1


class Interview:
    """The stage calls of one attempt, in order."""

    def __init__(self, model: Model, *, seed: int, temperature: float, count: TokenCounter = estimate_tokens) -> None:
        self.calls: list[CallRecord] = []
        self.count = count
        self._model = model
        self._seed = seed
        self._temperature = temperature
        self._ordinals: Counter[Stage] = Counter()

    def ask(self, stage: Stage, facts: Facts, read: Callable[[StageCall, str], V]) -> V:
        """Ask one question and return the value `read` makes of the answer.

        Raises ContextOverflow before asking, AnswerInvalid after; the call is kept either way.
        """
        call = StageCall(
            stage=stage, prompt=render(stage, facts), facts=facts, window_tokens=WINDOW_TOKENS[stage],
            schema=None if stage is Stage.EXECUTE_CODE else schema(stage.value),
            ordinal=self._ordinals[stage], seed=self._seed, temperature=self._temperature,
        )  # fmt: skip
        self._ordinals[stage] += 1
        tokens = self.count(call.prompt)
        if tokens > call.window_tokens:
            problem = f"the {stage} prompt has {tokens} tokens, its window {call.window_tokens}"
            self._keep(call, NO_ANSWER, tokens, 0.0, problem)
            raise ContextOverflow(problem)
        started = time.perf_counter()
        try:
            answer = self._model.answer(call)
        except AnswerInvalid as err:  # somebody who knows that there is no valid answer to give
            self._keep(call, NO_ANSWER, tokens, time.perf_counter() - started, str(err))
            raise
        seconds = time.perf_counter() - started
        problem = ""
        try:
            return read(call, answer.text)
        except AnswerInvalid as err:
            problem = str(err)
            raise
        finally:
            self._keep(call, answer, tokens, seconds, problem)

    def _keep(self, call: StageCall, answer: Answer, tokens: int, seconds: float, problem: str) -> None:
        self.calls.append(
            CallRecord(
                stage=call.stage.value, ordinal=call.ordinal, prompt=call.prompt, answer=answer.text,
                answerer=answer.answerer, source=answer.source, adapter=answer.adapter, seed=call.seed,
                temperature=call.temperature, prompt_tokens=tokens, tokens_in=answer.tokens_in,
                tokens_out=answer.tokens_out, seconds=seconds, problem=problem,
            )
        )  # fmt: skip

    def task_analysis(self, facts: Facts) -> TaskAnalysis:
        """Ask what the task is about."""
        return self.ask(Stage.TASK_ANALYSIS, facts, answers.task_analysis)

    def scope(self, facts: Facts) -> dict[str, str]:
        """Ask which files matter."""
        return self.ask(Stage.SCOPE, facts, answers.scope)

    def precision(self, facts: Facts) -> dict[tuple[str, str], str]:
        """Ask which symbols matter."""
        return self.ask(Stage.PRECISION, facts, answers.precision)

    def meta_plan(self, facts: Facts) -> MetaPlan:
        """Ask for the parts."""
        return self.ask(Stage.META_PLAN, facts, answers.meta_plan)

    def part_plan(self, stage: Stage, facts: Facts) -> PartPlan:
        """Ask for the steps of a part, of the code or of its tests."""
        return self.ask(stage, facts, answers.part_plan)

    def code(self, facts: Facts) -> str:
        """Ask for the edit of one step; whether it applies is seen when it is applied."""
        return self.ask(Stage.EXECUTE_CODE, facts, lambda _call, text: text)

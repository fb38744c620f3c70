"""The answerer that knows the commit: every stage answered as the real change would have it.

It yields the ground truth of all stages (`synthetic` data), proves through the gold gate that the
pipeline can reproduce a commit, and as the oracle of single stages tells where a failure came from.
It reads the facts of a call, never the prompt, and it works on whatever text a file has by now, so it
can also code for a plan that is not its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from harness.answerers.lexical import intent
from harness.answers import NOTHING
from harness.edits import DELETE, Block, render_blocks, split_lines
from harness.gold.describe import is_new
from harness.gold.hunks import Hunk
from harness.gold.rewrite import blocks_for
from harness.gold.steps import GoldStep, hunks_for
from harness.gold.truth import GoldTruth, derive
from harness.index.facts import FactsCache
from harness.index.terms import ENGLISH
from harness.plan import Part
from harness.stages import (
    Answer,
    ExecuteFacts,
    MetaPlanFacts,
    PrecisionFacts,
    ScopeFacts,
    StageCall,
    StepPlanFacts,
    TaskAnalysisFacts,
    TestPlanFacts,
)
from harness.tree import Tree

KEYWORDS_MAX = 12
KEYWORD_CHARS_MAX = 80
FILES_MAX = 24
WORD_CHARS_MIN = 4
_WORD = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


class GoldAnswerer:
    """Answers stage calls about one commit from the trees before and after it."""

    def __init__(
        self, parent: Tree, gold: Tree, *, cache: FactsCache | None = None, truth: GoldTruth | None = None
    ) -> None:
        self._parent = parent
        self._gold = gold
        self._cache = cache
        self._truth = truth

    @cached_property
    def truth(self) -> GoldTruth:
        """The ground truth that the answers are made from; derived when first asked for."""
        return self._truth or derive(self._parent, self._gold, self._cache)

    def answer(self, call: StageCall) -> Answer:
        """Return the right answer to a call."""
        facts = call.facts
        if isinstance(facts, ExecuteFacts):
            # A plan that is not the gold plan may ask for a change that is made already, or never was.
            return Answer(self._execute(facts) or NOTHING, "gold", "synthetic")
        return Answer(json.dumps(self._document(facts), ensure_ascii=False), "gold", "synthetic")

    def _document(
        self,
        facts: TaskAnalysisFacts | ScopeFacts | PrecisionFacts | MetaPlanFacts | StepPlanFacts | TestPlanFacts,
    ) -> Mapping[str, Any]:
        truth = self.truth
        match facts:
            case TaskAnalysisFacts():
                return self._analysis(facts)
            case ScopeFacts():
                rows = [{"path": c.path, "relevance": truth.relevance(c.path)} for c in facts.candidates]
                return {"files": rows}
            case PrecisionFacts():
                cards = facts.symbols
                tiers = [{"file": c.path, "symbol": c.symbol, "tier": truth.tier(c.path, c.symbol)} for c in cards]
                return {"symbols": tiers}
            case MetaPlanFacts():
                return {"parts": [_part(part) for part in truth.parts]}
            case StepPlanFacts():
                files = facts.part.files  # none: the part is the whole task
                return _plan(step for step in truth.steps if not files or step.step.file in files)
            case TestPlanFacts():
                return _plan(step for step in truth.test_steps if self._is_test_of(step.step.file, facts.part))

    def _analysis(self, facts: TaskAnalysisFacts) -> Mapping[str, Any]:
        truth = self.truth
        known = set(facts.paths)
        words = [word for word in _WORD.findall(facts.task) if _is_keyword(word)]
        names = [name.rpartition(".")[2] for _, name in sorted(truth.primary) if name]
        return {
            "intent": self._intent(facts.task),
            "keywords": list(dict.fromkeys([*words, *names]))[:KEYWORDS_MAX],
            "files": sorted(path for path in truth.relevant if path in known)[:FILES_MAX],
        }

    def _intent(self, task: str) -> str:
        """Return what the words say, and where they say nothing, what the diff says."""
        worded = intent(task)
        if worded != "other":
            return worded
        return "feature" if any(is_new(unit) for gold in self.truth.steps for unit in gold.units) else "other"

    def _is_test_of(self, path: str, part: Part) -> bool:
        if not part.files or path in part.files:
            return True
        home = self.truth.test_home.get(path)
        own = next((gold for gold in self.truth.parts if gold.id == home), None)
        # In a plan that is not the gold plan, the part that shares files with the home of the tests.
        return own is None or bool(set(own.files) & set(part.files))

    def _execute(self, facts: ExecuteFacts) -> str:
        path = facts.step.file
        change = self.truth.changes.get(path)
        if change is None:
            return ""
        if facts.step.action == "delete" or change.after is None:
            return DELETE if facts.step.action == "delete" and change.after is None else ""
        if facts.step.action == "create":
            return render_blocks([Block((), tuple(split_lines(change.after)[0]))])
        step: GoldStep | None = self.truth.step_for(path, facts.step.symbol)
        hunks: tuple[Hunk, ...] = hunks_for(step, path, facts.text, change.after)
        return render_blocks(blocks_for(facts.text, hunks))


def _part(part: Part) -> Mapping[str, Any]:
    return {
        "id": part.id, "description": part.description, "files": list(part.files), "depends_on": list(part.depends_on)
    }  # fmt: skip


def _plan(steps: Iterable[GoldStep]) -> Mapping[str, Any]:
    """Return the steps as a plan of their own: numbered from 1, without edges that lead out of it."""
    chosen = [gold.step for gold in steps]
    number = {step.id: f"s{at}" for at, step in enumerate(chosen, 1)}
    return {
        "steps": [
            {
                "id": number[step.id],
                "file": step.file,
                "symbol": step.symbol,
                "action": step.action,
                "description": step.description,
                "depends_on": [number[needed] for needed in step.depends_on if needed in number],
            }
            for step in chosen
        ]
    }


def _is_keyword(word: str) -> bool:
    lowered = word.lower()
    if len(word) > KEYWORD_CHARS_MAX:
        return False
    named = "_" in word or "." in word or lowered != word[:1].lower() + word[1:]
    return named or (len(word) >= WORD_CHARS_MIN and lowered not in ENGLISH)

"""The answerer without weights: name matches, BM25 scores and references, nothing learned.

It is the baseline that every adapter must beat, so it does what can be done well by counting words
and no more: the same question always gets the same answer. It reads the typed facts of a call, never
the repository, and therefore sees exactly what a model sees. It cannot write code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from harness.answerers.lexical_plan import meta_plan, step_plan, test_plan
from harness.errors import HarnessError
from harness.index.terms import ENGLISH, KEYWORDS
from harness.paths import Role, role
from harness.retrieval.paths import match_paths
from harness.retrieval.query import Query, read_query
from harness.stages import (
    Answer,
    MetaPlanFacts,
    PrecisionFacts,
    ScopeFacts,
    Stage,
    StageCall,
    StepPlanFacts,
    TaskAnalysisFacts,
    TestPlanFacts,
)

INTENTS = (
    ("fix", r"fix(es|ed)?|bug|regression|crash\w*|correct(s|ly)?|repair|broken|wrong\w*|leak\w*|raises?|handle"),
    ("performance", r"perf\w*|faster|speed\w*|optimi[sz]\w*|slow|cache|cached|caching"),
    ("refactor", r"refactor\w*|rename[sd]?|move[sd]?|simplif\w*|clean\w*|extract\w*|remove[sd]?|drop|typing"),
    ("docs", r"docs?|docstrings?|documentation|typos?|readme|changelog"),
    ("test", r"tests?|coverage|pytest"),
    ("feature", r"add(s|ed)?|support\w*|implement\w*|introduc\w*|new|allow\w*|enable\w*|make|provide|feat|feature"),
)
"""Intent by the words of the first line; the word that comes first decides, then this order."""
MAX_KEYWORDS = 12
KEYWORD_CHARS = 80
MAX_FILES = 5
RELEVANT_SHARE, SUPPORTING_SHARE, MAX_RELEVANT = 0.7, 0.45, 5
"""Of the best score in the batch; set on real histories for a balance of recall and precision."""
LEFTOVERS_FLOOR = 0.3
"""In batches after the first, the best needs at least this score to be more than supporting."""
PRIMARY_SHARE, NEARBY_SHARE, MAX_PRIMARY = 0.5, 0.3, 8

K = TypeVar("K")

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*[A-Za-z0-9_]")


class NotLexical(HarnessError):
    """The lexical answerer was asked for something that takes more than matching words."""

    code = "STAGE_NOT_LEXICAL"
    exit_code = 2
    hint = "Route execute-code to gold, replay or a student, and keep lexical for the stages before it."


class LexicalAnswerer:
    """Answers every stage but execute-code from the facts of the call alone."""

    def answer(self, call: StageCall) -> Answer:
        """Return the answer; NotLexical for execute-code, AnswerInvalid when there is nothing to plan on."""
        doc = _document(call)
        return Answer(json.dumps(doc, ensure_ascii=False), answerer="lexical", source="synthetic")


def _document(call: StageCall) -> Mapping[str, Any]:
    match call.facts:
        case TaskAnalysisFacts() as facts:
            return _task_analysis(facts)
        case ScopeFacts() as facts:
            return _scope(facts, LEFTOVERS_FLOOR if call.ordinal else 0.0)
        case PrecisionFacts() as facts:
            return _precision(facts, LEFTOVERS_FLOOR if call.ordinal else 0.0)
        case MetaPlanFacts() as facts:
            return meta_plan(facts)
        case StepPlanFacts() as facts:
            return step_plan(facts)
        case TestPlanFacts() as facts:
            return test_plan(facts)
        case _:
            raise NotLexical(f"the lexical answerer cannot answer {Stage(call.stage).value}: it writes no code")


def _task_analysis(facts: TaskAnalysisFacts) -> Mapping[str, Any]:
    query = read_query(facts.task)
    sources = [path for path in facts.paths if path.endswith(".py") and role(path) is Role.SOURCE]
    return {
        "intent": intent(facts.task),
        "keywords": _keywords(facts.task, query),
        "files": match_paths(query, sources)[:MAX_FILES],
    }


def intent(task: str) -> str:
    """Return what kind of change a task asks for, by the first telling word of its first line."""
    subject = task.strip().partition("\n")[0].lower()
    found = [
        (match.start(), order, name)
        for order, (name, pattern) in enumerate(INTENTS)
        if (match := re.search(rf"\b(?:{pattern})\b", subject))
    ]
    return min(found)[2] if found else "other"


def _keywords(task: str, query: Query) -> list[str]:
    """Names that can only be code first, then the other words of the first line, in order."""
    words = [word for word in _WORD.findall(task) if len(word) <= KEYWORD_CHARS]
    names = [word for word in words if word in query.dotted or word in query.names]
    subject = _WORD.findall(task.strip().partition("\n")[0])
    plain = [word for word in subject if word.lower() not in ENGLISH | KEYWORDS and len(word) <= KEYWORD_CHARS]
    return list(dict.fromkeys([*names, *plain]))[:MAX_KEYWORDS]


def _scope(facts: ScopeFacts, floor: float) -> Mapping[str, Any]:
    scores = {candidate.path: candidate.score for candidate in facts.candidates}
    relevant, supporting = _cut(scores, RELEVANT_SHARE, SUPPORTING_SHARE, MAX_RELEVANT, floor)
    supporting |= set(facts.analysis.files)
    rows = []
    for candidate in facts.candidates:
        path = candidate.path
        verdict = "relevant" if path in relevant else "supporting" if path in supporting else "irrelevant"
        rows.append({"path": path, "relevance": verdict})
    return {"files": rows}


def _precision(facts: PrecisionFacts, floor: float) -> Mapping[str, Any]:
    scores = {(card.path, card.symbol): card.score for card in facts.symbols}
    primary, supporting = _cut(scores, PRIMARY_SHARE, NEARBY_SHARE, MAX_PRIMARY, floor)
    rows = []
    for card in facts.symbols:
        key = (card.path, card.symbol)
        tier = "primary" if key in primary else "supporting" if key in supporting else "excluded"
        rows.append({"file": card.path, "symbol": card.symbol, "tier": tier})
    return {"symbols": rows}


def _cut(scores: Mapping[K, float], upper: float, lower: float, most: int, floor: float) -> tuple[set[K], set[K]]:
    """Return the keys near the top score, `most` at most, and those within sight of it."""
    order = sorted((key for key in scores if scores[key] > 0), key=lambda key: (-scores[key], str(key)))
    top = scores[order[0]] if order else 0.0
    first = {key for key in order[:most] if scores[key] >= max(upper * top, floor)}
    return first, {key for key in order if scores[key] >= lower * top} - first

"""The exact text of the seven stage calls.

One function per stage, from typed facts to text, with nothing else in view: what a prompt shows is
what its facts hold. Training and inference both use these bytes, so a change here makes old
training rows stale; `PROMPT_FORMAT` goes up with it.
"""

from __future__ import annotations

from harness.answers import NOTHING
from harness.stages import (
    ExecuteFacts,
    Facts,
    MetaPlanFacts,
    PrecisionFacts,
    ScopeFacts,
    Stage,
    StepPlanFacts,
    TaskAnalysisFacts,
    TestPlanFacts,
)

PROMPT_FORMAT = 2

_STEP_SHAPE = (
    '{"steps":[{"id":"s1","file":"...","symbol":"... or empty","action":"modify|create|delete",'
    '"description":"...","depends_on":[]}]}'
)


def render(stage: Stage, facts: Facts) -> str:
    """Return the prompt of a stage call."""
    match facts:
        case TaskAnalysisFacts():
            body = _task_analysis(facts)
        case ScopeFacts():
            body = _scope(facts)
        case PrecisionFacts():
            body = _precision(facts)
        case MetaPlanFacts():
            body = _meta_plan(facts)
        case StepPlanFacts():
            body = _step_plan(facts)
        case TestPlanFacts():
            body = _test_plan(facts)
        case ExecuteFacts():
            body = _execute(facts)
    return f"[{stage}]\n{body}\n"


def _task_analysis(facts: TaskAnalysisFacts) -> str:
    paths = "\n".join(facts.paths)
    return (
        f"Task: {facts.task}\n\nEnvironment: {facts.environment}\n\nFiles:\n{paths}\n\n"
        "Say what kind of change the task asks for, the words to search the code for, and the files you suspect.\n"
        'Answer: {"intent":"fix|feature|refactor|test|docs|performance|other","keywords":[...],"files":[...]}'
    )


def _scope(facts: ScopeFacts) -> str:
    rows = "\n".join(f"- {item.path}: {item.summary}" for item in facts.candidates)
    return (
        f"Task: {facts.task}\n\nCandidates:\n{rows}\n\n"
        "Judge each file: relevant (must change), supporting (must be read), irrelevant.\n"
        'Answer: {"files":[{"path":"...","relevance":"relevant|supporting|irrelevant"}]}'
    )


def _precision(facts: PrecisionFacts) -> str:
    rows = "\n".join(
        f"- {card.path} :: {card.symbol or '(module)'} [{card.kind}] {card.signature}" for card in facts.symbols
    )
    return (
        f"Task: {facts.task}\n\nSymbols:\n{rows}\n\n"
        "Judge each symbol: primary (must change), supporting (must be read), excluded. "
        'Use "" for the symbol of (module).\n'
        'Answer: {"symbols":[{"file":"...","symbol":"...","tier":"primary|supporting|excluded"}]}'
    )


def _meta_plan(facts: MetaPlanFacts) -> str:
    return (
        f"Task: {facts.task}\n\nContext:\n{facts.context.render()}\n\n"
        "Cut the task into parts that can be planned one by one; say which files each part changes or creates, "
        "and which parts it needs first.\n"
        'Answer: {"parts":[{"id":"p1","description":"...","files":[...],"depends_on":[]}]}'
    )


def _step_plan(facts: StepPlanFacts) -> str:
    return (
        f"Task: {facts.task}\n\n{_part(facts.part.description, facts.part.files)}Context:\n{facts.context.render()}\n\n"
        "Plan the steps in the order in which they are done; each step changes one symbol of one file, "
        'or the module level of a file ("").\n'
        f"Answer: {_STEP_SHAPE}"
    )


def _test_plan(facts: TestPlanFacts) -> str:
    return (
        f"Task: {facts.task}\n\n{_part(facts.part.description, facts.part.files)}Changes so far:\n"
        f"```diff\n{facts.diff}```\n\nContext:\n{facts.context.render()}\n\n"
        "Plan the tests that show that the change works: which test files and which test functions.\n"
        f"Answer: {_STEP_SHAPE}"
    )


def _execute(facts: ExecuteFacts) -> str:
    step = facts.step
    where = f"{step.file} :: {step.symbol}" if step.symbol else step.file
    if step.action == "create":
        shown, how = "The file does not exist yet.", "Answer with one block whose SEARCH part is empty."
    elif step.action == "delete":
        shown, how = f"```\n{facts.text}\n```", "Answer with the single word DELETE."
    else:
        shown = f"```\n{facts.text}\n```"
        how = "Answer with SEARCH/REPLACE blocks; each SEARCH is whole lines that occur exactly once."
    return (
        f"Task: {facts.task}\n\nStep ({step.action} {where}): {step.description}\n\nFile: {step.file}\n{shown}\n\n"
        f"{how} Answer {NOTHING} if the file needs no change for this step."
    )


def _part(description: str, files: tuple[str, ...]) -> str:
    return f"Part: {description}\nFiles of the part: {', '.join(files) or 'any'}\n\n"

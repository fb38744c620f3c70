"""Plans by rule: one part or step per thing that matched, ordered by who refers to whom.

Works on the ContextPackage alone. What a plan is about comes from the primary items; an order comes
from the names in their text, definitions before uses, which can never form a circle because an edge
only ever points at an earlier item.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from harness.context import ContextItem, ContextPackage
from harness.errors import AnswerInvalid
from harness.index.names import INIT
from harness.index.repo import RepoIndex
from harness.index.syntax import analyse, source_lines
from harness.paths import Role, is_test_module, role
from harness.retrieval.symbols import rank_symbols
from harness.stages import MetaPlanFacts, StepPlanFacts, TestPlanFacts

FILES_PER_PLAN = 4
"""From this many files on, a task is cut into one part per file (contracts: >= 4 files -> meta-plan)."""
STEPS_PER_FILE = 4
WHOLE_FILE_SHARE = 0.6
"""Of the best symbol score in a file that is shown whole."""
SUBJECT_CHARS = 200
MODULE_LEVEL = "(module)"

_DIFF_PATH = re.compile(r"^\+\+\+ b/(\S+)", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class _Target:
    """Something to change, with the text that says what it refers to."""

    file: str
    symbol: str
    action: str
    text: str


def meta_plan(facts: MetaPlanFacts) -> Mapping[str, Any]:
    """Cut a task into one part, or one per file when many files have to change."""
    files = _files_to_change(facts.context)
    if not files:
        raise AnswerInvalid("meta-plan: the context holds no file to plan for")
    subject = _subject(facts.task)
    if len(files) < FILES_PER_PLAN:
        return {"parts": [{"id": "p1", "description": subject, "files": files, "depends_on": []}]}
    texts = {file: "\n".join(i.text for i in facts.context.items if i.path == file) for file in files}
    ordered, needs = _definitions_first([(file, _file_name(file), texts[file]) for file in files])
    ids = {file: f"p{number}" for number, file in enumerate(ordered, 1)}
    return {
        "parts": [
            {
                "id": ids[file],
                "description": f"{file}: {subject}",
                "files": [file],
                "depends_on": [ids[other] for other in ordered if other in needs[file]],
            }
            for file in ordered
        ]
    }


def step_plan(facts: StepPlanFacts) -> Mapping[str, Any]:
    """Change each primary symbol of the files of a part; create the files the context does not show."""
    files = facts.part.files or tuple(_files_to_change(facts.context))
    targets = [target for file in dict.fromkeys(files) for target in _targets(facts.task, file, facts.context)]
    by_key = {f"{target.file}::{target.symbol}": target for target in targets}
    named = [(key, _defined_name(target), target.text) for key, target in by_key.items()]
    ordered, needs = _definitions_first(named)
    ids = {key: f"s{number}" for number, key in enumerate(ordered, 1)}
    subject = _subject(facts.task)
    return {
        "steps": [
            _step(ids[key], by_key[key], subject, [ids[other] for other in ordered if other in needs[key]])
            for key in ordered
        ]
    }


def test_plan(facts: TestPlanFacts) -> Mapping[str, Any]:
    """Extend the test module of each changed source file, or create one beside its siblings."""
    changed = [path for path in dict.fromkeys(_DIFF_PATH.findall(facts.diff)) if role(path) is Role.SOURCE]
    changed = changed or [path for path in facts.part.files if role(path) is Role.SOURCE]
    asked = [path for path in facts.part.files if is_test_module(path)]
    known = [path for path in facts.context.paths if is_test_module(path)]
    targets: dict[str, _Target] = {}
    for file in asked or [_test_module_for(path, known) for path in changed]:
        action = "modify" if file in known else "create"
        targets.setdefault(file, _Target(file, "", action, ""))
    subject = f"test that this works: {_subject(facts.task)}"
    return {"steps": [_step(f"s{n}", target, subject, []) for n, target in enumerate(targets.values(), 1)]}


def _step(step_id: str, target: _Target, subject: str, depends_on: Sequence[str]) -> Mapping[str, Any]:
    where = f"{target.symbol} in {target.file}" if target.symbol else target.file
    return {
        "id": step_id,
        "file": target.file,
        "symbol": target.symbol,
        "action": target.action,
        "description": f"{target.action.capitalize()} {where}: {subject}",
        "depends_on": list(depends_on),
    }


def _files_to_change(context: ContextPackage) -> list[str]:
    """Return the files with primary items, or all files when nothing is primary; tests are planned apart."""
    primary = [item.path for item in context.items if item.tier == "primary"]
    files = list(dict.fromkeys(primary)) or list(context.paths)
    return [file for file in files if role(file) is not Role.TEST] or files


def _targets(task: str, file: str, context: ContextPackage) -> list[_Target]:
    items = [item for item in context.items if item.path == file]
    if not items:
        return [_Target(file, "", "create", "")]
    primary = [item for item in items if item.tier == "primary"] or items[:1]
    if any(item.symbol == "" for item in primary):
        return _targets_in_whole_file(task, next(item for item in primary if item.symbol == ""))
    names = {item.symbol for item in primary}
    inner = [item for item in primary if not any(name.startswith(f"{item.symbol}.") for name in names)]
    return [_Target(file, _symbol(item), "modify", item.text) for item in inner]


def _targets_in_whole_file(task: str, item: ContextItem) -> list[_Target]:
    """Pick the symbols that match best; a file without any symbols is changed as a whole."""
    facts = analyse(item.text)
    cards = rank_symbols(task, (), RepoIndex({item.path: facts}), [item.path])
    cards = tuple(card for card in cards if card.kind in {"function", "method", "class"})
    if not cards:
        return [_Target(item.path, "", "modify", item.text)]
    lines = source_lines(item.text)
    spans = {symbol.qualname: (symbol.start, symbol.end) for symbol in facts.symbols}
    best = [card.symbol for card in cards if card.score >= WHOLE_FILE_SHARE * cards[0].score][:STEPS_PER_FILE]
    inner = [name for name in best if not any(other.startswith(f"{name}.") for other in best)]
    return [
        _Target(item.path, name, "modify", textwrap.dedent("\n".join(lines[spans[name][0] - 1 : spans[name][1]])))
        for name in sorted(inner, key=lambda name: spans[name])
    ]


def _definitions_first(items: Sequence[tuple[str, str, str]]) -> tuple[list[str], dict[str, set[str]]]:
    """Order (key, defined name, text) so that definitions precede uses; return the edges backwards too.

    Takes whatever refers to the fewest of those left, so that a circle is cut where it is thinnest.
    """
    words = {key: set(_NAME.findall(text)) for key, _, text in items}
    refers = {
        key: {other for other, name, _ in items if other != key and name and name in words[key]} for key, _, _ in items
    }
    left, ordered = [key for key, _, _ in items], list[str]()
    while left:
        nearest = min(left, key=lambda key: (len(refers[key].intersection(left)), left.index(key)))
        left.remove(nearest)
        ordered.append(nearest)
    needs = {key: refers[key].intersection(ordered[:place]) for place, key in enumerate(ordered)}
    return ordered, needs


def _symbol(item: ContextItem) -> str:
    return "" if item.symbol == MODULE_LEVEL else item.symbol


def _defined_name(target: _Target) -> str:
    return target.symbol.rpartition(".")[2]


def _file_name(path: str) -> str:
    pure = PurePosixPath(path)
    return pure.parent.name if pure.name == INIT else pure.stem


def _test_module_for(source: str, known: Sequence[str]) -> str:
    """Return the test module of a source file by name, else a new one beside the known tests."""
    stem = _file_name(source).strip("_")
    same = [path for path in known if PurePosixPath(path).stem in {f"test_{stem}", f"{stem}_test"}]
    if same:
        return same[0]
    if len(known) == 1:
        return known[0]
    folder = PurePosixPath(known[0]).parent if known else PurePosixPath("tests")
    return str(folder / f"test_{stem}.py")


def _subject(task: str) -> str:
    line = task.strip().partition("\n")[0].strip() or "the task"
    return line if len(line) <= SUBJECT_CHARS else f"{line[:SUBJECT_CHARS].rsplit(' ', 1)[0]} ..."

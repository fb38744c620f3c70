"""A commit as two sets of texts, and what gold answers about it."""

from __future__ import annotations

import json
from typing import Any

from harness.answerers.gold import GoldAnswerer
from harness.context import ContextPackage
from harness.edits import apply_step
from harness.plan import MetaPlan, Part, Step, parse_meta_plan, parse_part_plan
from harness.stages import Answer, ExecuteFacts, Facts, MetaPlanFacts, Stage, StageCall, StepPlanFacts
from harness.tree import Tree
from tests.trees import tree_of

CONTEXT = ContextPackage((), ())
TASK = "Add a limit to Reader.read and use parse_size\n\nThe old one was unbounded."

BEFORE = {
    "src/pkg/__init__.py": "from pkg.reader import Reader\n",
    "src/pkg/reader.py": '''"""Reading."""
import os

from pkg.sizes import KILO

LIMIT = 10


class Reader:
    """Reads."""

    def open(self, path):
        return os.open(path, 0)

    def read(self, path):
        return self.open(path)

    def close(self, handle):
        os.close(handle)


def unused():
    return None
''',
    "src/pkg/sizes.py": "KILO = 1024\nMEGA = KILO * KILO\n",
    "src/pkg/other.py": "def lonely():\n    return 1\n",
    "tests/test_reader.py": "from pkg.reader import Reader\n\n\ndef test_read():\n    assert Reader\n",
    "docs/index.md": "Old.\n",
    "pyproject.toml": "[project]\nname = 'pkg'\n",
}
AFTER = BEFORE | {
    "src/pkg/reader.py": '''"""Reading."""
import os

from pkg.sizes import KILO, parse_size

LIMIT = 20


class Reader:
    """Reads."""

    def open(self, path):
        return os.open(path, 0)

    def read(self, path, limit=LIMIT):
        if parse_size(limit) > KILO:
            raise ValueError(limit)
        return self.open(path)

    def read_all(self, path):
        return self.read(path, LIMIT)

    def close(self, handle):
        os.close(handle)
''',
    "src/pkg/sizes.py": "KILO = 1024\nMEGA = KILO * KILO\n\n\ndef parse_size(text):\n    return int(text) * KILO\n",
    "src/pkg/fresh.py": '"""New."""\n\n\ndef fresh():\n    return 1\n',
    "tests/test_reader.py": "from pkg.reader import Reader\n\n\ndef test_read():\n    assert Reader().read\n",
    "docs/index.md": "New.\n",
    "pyproject.toml": "[project]\nname = 'pkg2'\n",
}


def gold_of(before: dict[str, str], after: dict[str, str]) -> GoldAnswerer:
    """Return the answerer for the commit between these texts."""
    return GoldAnswerer(tree_of(before), tree_of(after))


def ask(gold: GoldAnswerer, stage: Stage, facts: Facts) -> Answer:
    """Return the answer to one stage call."""
    return gold.answer(StageCall(stage, "", facts, None, 0, 0))


def ask_json(gold: GoldAnswerer, stage: Stage, facts: Facts) -> dict[str, Any]:
    """Return the answer to one stage call, parsed."""
    doc: dict[str, Any] = json.loads(ask(gold, stage, facts).text)
    return doc


def meta_plan(gold: GoldAnswerer) -> MetaPlan:
    """Return the gold meta-plan."""
    return parse_meta_plan(ask_json(gold, Stage.META_PLAN, MetaPlanFacts(TASK, CONTEXT)))


def steps_of(gold: GoldAnswerer, part: Part) -> tuple[Step, ...]:
    """Return the gold steps of one part."""
    return parse_part_plan(ask_json(gold, Stage.STEP_PLAN, StepPlanFacts(TASK, part, CONTEXT))).steps


def all_steps(gold: GoldAnswerer) -> list[Step]:
    """Return the gold steps of all parts in order."""
    return [step for part in meta_plan(gold).parts for step in steps_of(gold, part)]


def code(gold: GoldAnswerer, step: Step, tree: Tree) -> Answer:
    """Return the answer to a step on the tree as it is."""
    text = tree.text(step.file) if step.file in tree else ""
    return ask(gold, Stage.EXECUTE_CODE, ExecuteFacts(TASK, step, text))


def rebuilt(gold: GoldAnswerer, parent: Tree) -> Tree:
    """Return the parent after all gold steps."""
    tree = parent
    for step in all_steps(gold):
        tree = apply_step(tree, step, code(gold, step, tree).text)
    return tree


def sources(tree: Tree) -> dict[str, str]:
    """Return the texts below src/."""
    return {path: tree.text(path) for path in tree if path.startswith("src/")}

"""The two programs of the oracle in the sandbox: one records on the gold tree, one replays on any tree.

The only place that knows how they are started and how their records come back. Invariants: no test
file, test configuration or expected outcome is in the sandbox of a replay; records are keyed, and what
the code under test writes by itself shows.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.envs.layer import INSIDE, inside_directory
from harness.keyedpipe import new_key, open_records
from harness.oracle.functions import is_test_code, parsed
from harness.oracle.recording import Call, Replies
from harness.oracle.select import nameless_fields
from harness.oracle.spoken import Spoken
from harness.paths import Role, role
from harness.sandbox.bwrap import Finished, Sandbox, run
from harness.sandbox.consumed import consumed_input
from harness.testrun import TestRequest, pytest_arguments, test_environment
from harness.tree import Tree, write_tar

CALL_S = 5.0
"""Seconds that one replayed call may take."""
REPLAY_S = 60.0
OUTPUT_CHARS = 2_000
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Recorded:
    """What the recorder sent."""

    records: tuple[Mapping[str, Any], ...]
    completed: bool
    seconds: float
    timed_out: bool


def record_run(request: TestRequest, touched: Mapping[str, Sequence[tuple[int, int]]], words: Spoken) -> Recorded:
    """Run the tests of a request with the recorder watching; `words` are what they say."""
    holders = {path for path in request.files if path in request.tree and _defines(request.tree, path, "")}
    oracle = {
        "source": [path for path in request.tree if role(path) is Role.SOURCE and path.endswith(".py")],
        "tests": [path for path in request.tree if is_test_code(path) or path in holders],
        "touched": touched,
        "attributes": sorted(words.attributes),
        "called": sorted(words.called),
    }
    order = {"args": pytest_arguments(request), "module": request.command.module, "oracle": oracle}
    done, records, tampering = _run(request, request.tree, "oracle_record.py", order, "0")
    completed = bool(records) and records[-1].get("t") == "end" and not tampering
    return Recorded(records, completed, done.seconds, done.timed_out)


def replay(
    request: TestRequest, tree: Tree, calls: Sequence[Call], shapes: Mapping[str, Sequence[str]], *,
    limit_s: float = REPLAY_S, hash_seed: int = 0,
) -> Replies:  # fmt: skip
    """Make recorded calls on a tree; `request` names environment, layer and test files, its tree is not used."""
    order = {
        "calls": [
            {"id": call.id, "do": call.do, "read": nameless_fields(call), "look": "self" in (call.expected or {})}
            for call in calls
        ],
        "shapes": {name: list(fields) for name, fields in shapes.items()},
        "call_s": min(CALL_S, limit_s), "module": request.command.module,
    }  # fmt: skip
    within = request.within(limit_s)
    bare = without_tests(tree, {*request.files, *(call.test for call in calls)})
    done, records, tampering = _run(within, bare, "oracle_replay.py", order, str(hash_seed))
    interfered = [row["id"] for row in records if row.get("t") == "interfered"]
    tampering = tampering or (f"the answer to call {interfered[0]} is not from our process" if interfered else "")
    outcomes = {
        row["id"]: {name: item for name, item in row.items() if name not in {"t", "id"}}
        for row in records
        if row.get("t") == "reply" and isinstance(row.get("id"), int)
    }
    return Replies(
        outcomes, completed=bool(records) and records[-1].get("t") == "end", returncode=done.returncode,
        timed_out=done.timed_out, seconds=done.seconds, tampering=tampering,
        output=done.output.decode(errors="replace")[-OUTPUT_CHARS:],
        signal=next((int(row["signal"]) for row in records if row.get("t") == "died"), 0),
        out_of_memory=done.out_of_memory,
    )  # fmt: skip


def without_tests(tree: Tree, holders: Iterable[str] = ()) -> Tree:
    """Return a tree without anything that belongs to the tests.

    `holders` are paths or node ids of tests, wherever the configuration finds them: a file that defines
    what a node id names goes, one that only has the test in a docstring stays.
    """
    named = {holder.partition("::")[0]: holder.partition("::")[2] for holder in holders}
    kept = [
        path for path in tree
        if role(path) is not Role.TEST and path.rpartition("/")[2] != "conftest.py"
        and not (path in named and _defines(tree, path, named[path]))
    ]  # fmt: skip
    return tree.replace({}, remove=set(tree) - set(kept))


def _defines(tree: Tree, path: str, test: str) -> bool:
    """Return whether a file defines the function or class that a node id begins with, or any test."""
    module = parsed(tree, path) if path.endswith(".py") else None
    names = {node.name for node in module.body if isinstance(node, DEFINITIONS)} if module else set()
    first = test.partition("::")[0].partition("[")[0]
    return first in names if first else any(name.lower().startswith("test") for name in names)


def _run(
    request: TestRequest, tree: Tree, program: str, order: Mapping[str, Any], hash_seed: str
) -> tuple[Finished, tuple[Mapping[str, Any], ...], str]:
    key = new_key()
    extra = {f"layer/{name}": data for name, data in request.layer.files.items()}
    extra["request.json"] = json.dumps({**order, "key": key.hex()}).encode()
    whole = request.layer.overlay(tree)
    with consumed_input(lambda out: write_tar(whole, out, prefix="tree", extra=extra)) as tar:
        done = run(
            Sandbox(
                [request.template.python, f"{INSIDE}/{program}"],
                read_only={**request.template.mounts(), INSIDE: inside_directory()},
                env={**test_environment(request), "PYTHONHASHSEED": hash_seed},
                limits=request.limits,
            ),
            stdin=tar,
        )
    opened = open_records(done.records, key, cut=done.timed_out or done.returncode < 0)
    return done, opened.records, opened.tampering

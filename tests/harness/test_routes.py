"""Who answers which stage."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest

from harness.answerers.routes import BadRoute, ReplayChanged, make_routes
from harness.case import Case
from harness.manifest import Commit
from harness.prompts import render
from harness.stages import Stage, StageCall, TaskAnalysisFacts
from tests.trees import tree_of

COMMIT = Commit("b" * 40, "a" * 40, "Add y", ("step-plan",), "env", ("a.py",), (), 1, "2026-01-01T00:00:00Z")
FACTS = TaskAnalysisFacts("Add y", ("a.py",), "Python 3.11")


@pytest.fixture
def case() -> Case:
    """Return a tiny commit."""
    return Case(COMMIT, tree_of({"a.py": "x = 1\n"}), tree_of({"a.py": "x = 1\ny = 2\n"}))


def call() -> StageCall:
    """Return a task-analysis call."""
    return StageCall(Stage.TASK_ANALYSIS, render(Stage.TASK_ANALYSIS, FACTS), FACTS, None, 8192, 0)


def test_one_name_answers_every_stage() -> None:
    """Gold everywhere is seven times gold."""
    assert make_routes("gold", {}, None).names() == dict.fromkeys([stage.value for stage in Stage], "gold")


def test_lexical_leaves_the_code_to_gold() -> None:
    """The baseline cannot write code, and the record says who did."""
    names = make_routes("lexical", {}, None).names()
    assert names.pop("execute-code") == "gold"
    assert set(names.values()) == {"lexical"}


def test_overrides_win_per_stage(case: Case) -> None:
    """Two answerers in one attempt each answer their stages, and say who they are."""
    routes = make_routes("gold", {"task-analysis": "lexical"}, None)
    assert routes.names()["scope"] == "gold"
    assert routes.model(case).answer(call()).answerer == "lexical"
    assert make_routes("gold", {}, None).model(case).answer(call()).answerer == "gold"


@pytest.mark.parametrize(
    ("answerer", "overrides", "words"),
    [
        ("oracle", {}, "'oracle' is not an answerer"),
        ("gold", {"scope": "nobody"}, r"'nobody' is not an answerer \(for scope\)"),
        ("gold", {"planning": "gold"}, "'planning' is not a stage"),
        ("gold", {"execute-code": "lexical"}, "lexical cannot answer execute-code"),
        ("replay", {}, "needs a file"),
        ("gold", {"scope": "replay"}, "needs a file"),
    ],
)
def test_senseless_routes_are_refused(answerer: str, overrides: dict[str, str], words: str) -> None:
    """Each mistake is a usage error with its reason, before anything runs."""
    with pytest.raises(BadRoute, match=words) as failed:
        make_routes(answerer, overrides, None)
    assert failed.value.exit_code == 2


def test_replay_is_named_by_its_content(tmp_path: Path) -> None:
    """The digest of the recorded answers is part of the routes, so that another file is another attempt."""
    book = tmp_path / "answers.jsonl"
    book.write_text("")
    first = make_routes("replay", {}, book)
    book.write_text("\n")
    assert len(first.replay_sha256) == 64
    assert make_routes("replay", {}, book).replay_sha256 != first.replay_sha256


def test_a_replay_file_that_changes_during_a_run_is_refused(tmp_path: Path, case: Case) -> None:
    """The answers of a run come from the bytes whose digest its attempts are keyed by."""
    book = tmp_path / "answers.jsonl"
    book.write_text("")
    routes = make_routes("replay", {}, book)
    assert routes.replay_sha256 == hashlib.sha256(b"").hexdigest()
    book.write_text("\n")
    with pytest.raises(ReplayChanged, match="changed during the run") as failed:
        routes.model(case)
    assert failed.value.exit_code == 12


def test_routes_travel_to_a_worker(case: Case) -> None:
    """Routes survive pickling and still make a model."""
    sent = pickle.loads(pickle.dumps(make_routes("lexical", {}, None)))
    assert sent.model(case).answer(call()).answerer == "lexical"

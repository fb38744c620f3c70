"""Replaying recorded answers: what matches which call, and what a damaged file says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from harness.answerers.replay import BadReplay, load_replay, replay_row
from harness.errors import ReplayMissing
from harness.plan import Step
from harness.stages import Answer, ExecuteFacts, Stage, StageCall, TaskAnalysisFacts

if TYPE_CHECKING:
    from pathlib import Path

SHA = "a" * 40
OTHER = "b" * 40


def call(prompt: str, ordinal: int = 0, stage: Stage = Stage.TASK_ANALYSIS) -> StageCall:
    """Return a stage call with this prompt."""
    facts = TaskAnalysisFacts("task", (), "")
    if stage is Stage.EXECUTE_CODE:
        return StageCall(
            stage, prompt, ExecuteFacts("task", Step("s1", "a.py", "", "modify", ""), ""), None, 100, ordinal
        )
    return StageCall(stage, prompt, facts, {}, 100, ordinal)


def recorded(prompt: str, answer: str, ordinal: int = 0, commit: str = SHA) -> dict[str, Any]:
    """Return a row as a recording has it."""
    return replay_row(commit, call(prompt, ordinal), Answer(answer, "remote", "teacher"))


def write(path: Path, *rows: object) -> Path:
    """Write a replay file."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_a_recorded_answer_comes_back(tmp_path: Path) -> None:
    """The same prompt of the same commit gets the same bytes, marked as a teacher's."""
    book = load_replay(write(tmp_path / "r.jsonl", recorded("prompt ü", '{"ü": "\\n"}')))
    answer = book.answerer(SHA).answer(call("prompt ü"))
    assert (answer.text, answer.answerer, answer.source) == ('{"ü": "\\n"}', "replay", "teacher")


def test_the_prompt_decides_before_the_position(tmp_path: Path) -> None:
    """A prompt that was recorded elsewhere in the order still finds its answer."""
    book = load_replay(write(tmp_path / "r.jsonl", recorded("one", "1", 0), recorded("two", "2", 1)))
    answerer = book.answerer(SHA)
    assert answerer.answer(call("two", 0)).text == "2"
    assert answerer.answer(call("reworded", 1)).text == "2"


def test_a_prompt_asked_twice_is_told_apart_by_position(tmp_path: Path) -> None:
    """Two answers to one prompt come back in their order."""
    answerer = load_replay(write(tmp_path / "r.jsonl", recorded("p", "1", 0), recorded("p", "2", 1))).answerer(SHA)
    assert [answerer.answer(call("p", ordinal)).text for ordinal in (0, 1)] == ["1", "2"]


def test_an_ambiguous_position_is_not_guessed(tmp_path: Path) -> None:
    """Where two recordings disagree about a position, an unknown prompt has no answer."""
    answerer = load_replay(write(tmp_path / "r.jsonl", recorded("p", "1"), recorded("q", "2"))).answerer(SHA)
    with pytest.raises(ReplayMissing, match="2 different answers"):
        answerer.answer(call("r"))


def test_what_was_not_recorded_is_missing(tmp_path: Path) -> None:
    """Another commit, stage or position has no answer, and the message names the call."""
    book = load_replay(write(tmp_path / "r.jsonl", recorded("p", "1")))
    for answerer, question in [
        (book.answerer(OTHER), call("p")),
        (book.answerer(SHA), call("p", stage=Stage.EXECUTE_CODE)),
        (book.answerer(SHA), call("q", ordinal=7)),
    ]:
        with pytest.raises(ReplayMissing) as caught:
            answerer.answer(question)
        for named in (answerer.commit_sha, str(question.stage), f"call {question.ordinal}"):
            assert named in str(caught.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 3: Expecting"),
        ("[]", "line 3: expected an object"),
        (json.dumps(recorded("x", "y") | {"more": 1}), "line 3: expected an object with exactly"),
        (json.dumps(recorded("x", "y") | {"commit": "main"}), "line 3: commit is not"),
        (json.dumps(recorded("x", "y") | {"stage": "guess"}), "line 3: no such stage"),
        (json.dumps(recorded("x", "y") | {"stage": []}), "line 3: no such stage"),
        (json.dumps(recorded("x", "y") | {"ordinal": -1}), "line 3: ordinal"),
        (json.dumps(recorded("x", "y") | {"ordinal": True}), "line 3: ordinal"),
        (json.dumps(recorded("x", "y") | {"prompt_sha256": "0"}), "line 3: prompt_sha256"),
        (json.dumps(recorded("x", "y") | {"answer": None}), "line 3: answer"),
        (json.dumps(recorded("p", "another")), "line 3: another answer to the same call than in line 1"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, reason: str) -> None:
    """The first line that is not a row, or contradicts an earlier one, is named with its number."""
    path = write(tmp_path / "r.jsonl", recorded("p", "1"), "", line)
    with pytest.raises(BadReplay, match=reason):
        load_replay(path)


def test_text_that_is_not_utf8_is_a_bad_line(tmp_path: Path) -> None:
    """Damaged bytes are reported like any other bad line."""
    path = tmp_path / "r.jsonl"
    path.write_bytes(json.dumps(recorded("p", "1")).encode() + b"\n\xff\xfe{\n")
    with pytest.raises(BadReplay, match="line 2"):
        load_replay(path)


def test_repeated_rows_are_harmless(tmp_path: Path) -> None:
    """The same row twice, as two joined recordings have it, is one answer."""
    book = load_replay(write(tmp_path / "r.jsonl", recorded("p", "1"), recorded("p", "1")))
    assert len(book.rows[SHA]) == 1

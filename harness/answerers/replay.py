"""The answerer that repeats what was answered before: recorded teacher answers, brought along as JSONL.

A row belongs to one stage call of one commit. The prompt is what identifies a call; the position
among the calls of its stage is the second choice, for recordings made with another wording of the
prompts, and is used only where it is unambiguous. Nothing is ever made up: no row, no answer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.errors import HarnessError, ReplayMissing
from harness.stages import Answer, Stage, StageCall

_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class BadReplay(HarnessError):
    """A line of a replay file is not a row, or contradicts another one."""

    code = "REPLAY_SCHEMA"
    exit_code = 12
    hint = "Each line is a JSON object with commit, stage, ordinal, prompt_sha256 and answer."


@dataclass(frozen=True)
class ReplayRow:
    """One recorded answer."""

    commit: str
    stage: Stage
    ordinal: int
    prompt_sha256: str
    answer: str


class ReplayAnswerer:
    """Answers the stage calls about one commit from recorded rows."""

    def __init__(self, commit_sha: str, rows: Iterable[ReplayRow]) -> None:
        self.commit_sha = commit_sha
        self._by_prompt: dict[tuple[Stage, str], list[ReplayRow]] = {}
        self._by_ordinal: dict[tuple[Stage, int], list[ReplayRow]] = {}
        for row in rows:
            self._by_prompt.setdefault((row.stage, row.prompt_sha256), []).append(row)
            self._by_ordinal.setdefault((row.stage, row.ordinal), []).append(row)

    def answer(self, call: StageCall) -> Answer:
        """Return the recorded answer to a call; ReplayMissing when there is none, or no single one."""
        digest = prompt_sha256(call)
        same_prompt = self._by_prompt.get((call.stage, digest), [])
        if same_prompt:  # the same question may have been asked twice; then the position tells which it is
            row = next((row for row in same_prompt if row.ordinal == call.ordinal), same_prompt[0])
            return _answer(row, "prompt")
        same_place = self._by_ordinal.get((call.stage, call.ordinal), [])
        if len({row.answer for row in same_place}) == 1:
            return _answer(same_place[0], "ordinal")
        found = f"{len(same_place)} different answers" if same_place else "no answer"
        raise ReplayMissing(
            f"{found} recorded for commit {self.commit_sha}, stage {call.stage}, call {call.ordinal}, "
            f"and none for prompt {digest}"
        )


@dataclass(frozen=True)
class ReplayBook:
    """All rows of a replay file, by commit."""

    path: Path
    rows: Mapping[str, tuple[ReplayRow, ...]]
    sha256: str
    """Digest of the bytes that these rows were read from."""

    def answerer(self, commit_sha: str) -> ReplayAnswerer:
        """Return the answerer for one commit; without rows for it, every call is ReplayMissing."""
        return ReplayAnswerer(commit_sha, self.rows.get(commit_sha, ()))


def load_replay(path: Path) -> ReplayBook:
    """Read a replay file once; BadReplay names the first line that is wrong."""
    rows: dict[str, list[ReplayRow]] = {}
    seen: dict[tuple[str, Stage, int, str], tuple[int, str]] = {}
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            hasher.update(line)
            if not line.strip():
                continue
            try:
                row = _row(json.loads(line))
            except (ValueError, RecursionError) as err:
                raise BadReplay(f"{path}, line {number}: {err}") from err
            key = (row.commit, row.stage, row.ordinal, row.prompt_sha256)
            first, answer = seen.setdefault(key, (number, row.answer))
            if answer != row.answer:
                raise BadReplay(f"{path}, line {number}: another answer to the same call than in line {first}")
            if first == number:
                rows.setdefault(row.commit, []).append(row)
    by_commit = {commit: tuple(found) for commit, found in rows.items()}
    return ReplayBook(path, MappingProxyType(by_commit), hasher.hexdigest())


def replay_row(commit: str, call: StageCall, answer: Answer) -> dict[str, Any]:
    """Return the row that records an answer; one line of a replay file as a JSON object."""
    return {
        "commit": commit,
        "stage": str(call.stage),
        "ordinal": call.ordinal,
        "prompt_sha256": prompt_sha256(call),
        "answer": answer.text,
    }


def prompt_sha256(call: StageCall) -> str:
    """Return the digest of the exact bytes of the prompt."""
    return hashlib.sha256(call.prompt.encode("utf-8", "surrogatepass")).hexdigest()


def _answer(row: ReplayRow, matched: str) -> Answer:
    return Answer(row.answer, "replay", "teacher", meta={"matched": matched})


def _row(doc: object) -> ReplayRow:
    fields = {"commit", "stage", "ordinal", "prompt_sha256", "answer"}
    if not isinstance(doc, dict) or set(doc) != fields:
        raise ValueError(f"expected an object with exactly {', '.join(sorted(fields))}")
    commit, ordinal, digest, answer = (doc[name] for name in ("commit", "ordinal", "prompt_sha256", "answer"))
    if not isinstance(commit, str) or not _SHA1.fullmatch(commit):
        raise ValueError(f"commit is not a full commit id: {commit!r:.80}")
    if doc["stage"] not in list(Stage):
        raise ValueError(f"no such stage: {doc['stage']!r:.80}")
    if type(ordinal) is not int or ordinal < 0:
        raise ValueError(f"ordinal is not a count from 0: {ordinal!r:.80}")
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise ValueError(f"prompt_sha256 is not a SHA-256 digest: {digest!r:.80}")
    if not isinstance(answer, str):
        raise ValueError(f"answer is not text: {answer!r:.80}")  # noqa: TRY004 - one kind of error per bad line
    return ReplayRow(commit, Stage(doc["stage"]), ordinal, digest, answer)

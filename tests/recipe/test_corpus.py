"""The corpus: the product's own calls, nothing that is left out, the same bytes everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from harness import answers, prompts
from harness.edits import apply_blocks, parse_blocks
from harness.errors import EditRejected
from harness.schemas import check
from harness.stages import Stage
from models.recipe.conversations import RAW, Conversation
from models.recipe.corpus import CorpusPlan, Shard, draw_shard, read_shard, shard_name, write_corpus
from models.recipe.left_out import findings
from models.recipe.names import reserved_words

PLAN = CorpusPlan(conversations=120)
TOLD_APART = "\n\nFile: "


@pytest.fixture(scope="module")
def shard() -> Shard:
    """Return one small shard."""
    return draw_shard(PLAN, 0)


def of_stage(shard: Shard, stage: str) -> list[Conversation]:
    """Return the conversations of a stage."""
    return [made for made in shard.conversations if made.stage == stage]


def test_nothing_left_out_is_taught(shard: Shard) -> None:
    """No phrase or code of the left-out families stands in any prompt, answer or raw text, and no reserved noun."""
    texts = [text for made in shard.conversations for turn in made.turns for text in turn]
    assert findings(texts, []) == []
    assert {word for text in texts for word in reserved_words(text)} == set()


def test_no_left_out_edit_is_taught(shard: Shard) -> None:
    """What the answers of execute-code do to the files they show is no left-out shape."""
    edits = []
    for made in of_stage(shard, "execute-code"):
        shown = made.turns[0][0].partition("```\n")[2].rpartition("\n```")[0]
        for _, answer in made.turns:
            if not answers.is_nothing(answer):
                edits.append((shown, apply_blocks(shown, parse_blocks(answer))))
    assert len(edits) > 50
    assert findings([], edits) == []


def test_every_stage_but_test_plan_is_there(shard: Shard) -> None:
    """Most is planning and editing."""
    number = Counter(made.stage for made in shard.conversations)
    assert set(number) == {stage.value for stage in Stage} - {"test-plan"} | {RAW}
    assert number["execute-code"] > number["step-plan"] > number["meta-plan"] > 0


def test_answers_follow_their_schemas(shard: Shard) -> None:
    """Every JSON answer is one the harness would accept, follow-up turns included."""
    for made in shard.conversations:
        if made.stage not in {RAW, "execute-code"}:
            assert [check(made.stage, json.loads(answer)) for _, answer in made.turns] == [None] * len(made.turns)


def test_first_turns_are_whole_prompts(shard: Shard) -> None:
    """They open and end as the harness writes them; later turns are the beginning of such a prompt."""
    for made in of_stage(shard, "execute-code"):
        first, *later = [question for question, _ in made.turns]
        assert first.startswith("[execute-code]\nTask: ")
        assert first.endswith(f"Answer {answers.NOTHING} if the file needs no change for this step.\n")
        assert all(question.startswith("[execute-code]\nTask: ") for question in later)
        assert all(TOLD_APART not in question for question in later)


def test_a_search_is_unique_in_the_file_it_is_asked_about(shard: Shard) -> None:
    """All edits apply to the file that the first turn shows, although more than one thing is wrong with it."""
    several = [made for made in of_stage(shard, "execute-code") if len(made.turns) > 1]
    assert several
    for made in several:
        shown = made.turns[0][0].partition("```\n")[2].rpartition("\n```")[0]
        results = set()
        for _, answer in made.turns:
            try:
                results.add(apply_blocks(shown, parse_blocks(answer)))
            except EditRejected as err:  # pragma: no cover - the message is the point
                raise AssertionError(answer) from err
        assert len(results) == len(made.turns)


def test_prompts_change_with_their_format() -> None:
    """When the product's prompts change, the base has to be trained again: this number is in its report."""
    assert prompts.PROMPT_FORMAT == 2


def test_the_same_seed_gives_the_same_bytes_in_any_process() -> None:
    """A process with another hash seed draws the same shard; another seed draws another."""
    program = "from models.recipe.corpus import *; print(draw_shard(CorpusPlan(conversations=12), 3).sha256)"
    env = {"PYTHONHASHSEED": "271"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == draw_shard(CorpusPlan(conversations=12), 3).sha256
    assert done.stdout.strip() != draw_shard(CorpusPlan(conversations=12, seed=2), 3).sha256


def test_a_corpus_is_its_shards(tmp_path: Path) -> None:
    """What is written is what is drawn, with an index whose digest covers all of it."""
    plan = CorpusPlan(conversations=6, shards=1, library_share=0.0, raw_share=0.0)
    index = write_corpus(plan, tmp_path / "corpus", workers=1)
    read = list(read_shard(tmp_path / "corpus" / shard_name(0)))
    assert read == list(draw_shard(plan, 0).conversations)
    assert index == json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    assert [row["number"] for row in index["shards"]] == [-1, 0]

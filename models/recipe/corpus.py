"""The corpus: numbered shards of conversations, each drawn from the seed and its own number.

A shard depends on nothing but (seed, number, the recipe, the interpreter's library), so shards can be written by
several processes, read one by one, and the first steps of a training need only the first. Invariant: no shard
holds a phrase or shape of the families that are left out, nor a noun of the reserved pools.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from harness.durable import write_whole
from harness.index.facts import FactsCache
from harness.prompts import PROMPT_FORMAT
from models.recipe import stdlib
from models.recipe.conversations import RAW, Conversation, Mix, conversations, lesson, versions
from models.recipe.episodes import BREADTH, Episode, draw_episode
from models.recipe.left_out import findings
from models.recipe.names import Pool, reserved_words
from models.recipe.repositories import Size, library_repository, small_repository, teachable
from models.recipe.seen import SEEN
from models.recipe.stdlib import LibraryFunction

MEASURING_SHARD = -1
"""Conversations that no training step reads; the loss on them is reported."""
WIDE = Size(modules=(4, 6), functions=(3, 5))


@dataclass(frozen=True)
class CorpusPlan:
    """What a corpus is made from."""

    seed: int = 1
    shards: int = 64
    conversations: int = 1_000
    """In each shard, raw texts not counted."""
    chars_max: int = 3_000
    """Of a conversation with more than one turn; it fits a row of 1,024 tokens."""
    chars_max_long: int = 5_800
    """Of a conversation of one turn; it fits a row of 2,048 tokens."""
    wide_share: float = 0.25
    """Episodes in larger repositories, where much is in view that does not matter."""
    library_share: float = 0.3
    """Episodes over library functions."""
    broad_share: float = 0.06
    """Episodes whose commit changes several files, for meta-plan."""
    together_share: float = 0.12
    """Episodes whose commit is two or three changes."""
    raw_share: float = 0.2
    """Raw texts per conversation; they fill what is left of rows."""
    mix: Mix = field(default_factory=Mix)


@dataclass(frozen=True)
class Shard:
    """The conversations of one number, and why others were not taken."""

    number: int
    conversations: tuple[Conversation, ...]
    refused: Counter[str]

    @property
    def data(self) -> bytes:
        """The file of this shard: one JSON document a line."""
        rows = ({"stage": c.stage, "families": c.families, "turns": c.turns} for c in self.conversations)
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()

    @property
    def sha256(self) -> str:
        """Digest of the file."""
        return hashlib.sha256(self.data).hexdigest()


def draw_shard(plan: CorpusPlan, number: int) -> Shard:
    """Return a shard of the corpus; the same bytes wherever and whenever it is drawn."""
    rng = random.Random(f"corpus {plan.seed} shard {number}")  # noqa: S311 - data, not secrets
    taken: list[Conversation] = []
    refused: Counter[str] = Counter()
    cache = FactsCache(max_entries=64)
    while len(taken) < plan.conversations:
        episode, kinds = _episode(plan, rng)
        if episode is None:
            refused["too little to change"] += 1
            continue
        told = lesson(episode, true_scope=rng.random() < plan.mix.true_scope, kinds=kinds, cache=cache)
        if told is None:
            refused["the pipeline does not lead to the commit"] += 1
            continue
        if findings([], versions(episode)):
            refused["a left-out shape"] += 1
            continue
        for made in conversations(told, rng, plan.mix, cache):
            short = made.shortened(plan.chars_max)
            problem = _problem(short, plan.chars_max_long)
            if problem:
                refused[problem] += 1
            else:
                taken.append(short)
    taken = taken[: plan.conversations]
    taken += [Conversation(RAW, (), (("", text),)) for text in _raw_texts(plan, rng)]
    return Shard(number, tuple(taken), refused)


def write_corpus(plan: CorpusPlan, directory: Path, *, workers: int, tell: Any = None) -> dict[str, Any]:  # noqa: ANN401 - any callable of text
    """Write every shard and the index; shards that are there already are drawn again and have to agree."""
    directory.mkdir(parents=True, exist_ok=True)
    numbers = [MEASURING_SHARD, *range(plan.shards)]
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for shard in pool.map(draw_shard, [plan] * len(numbers), numbers):
            write_whole(directory / shard_name(shard.number), shard.data)
            rows.append(_row(shard))
            if tell:
                tell(f"shard {shard.number + 1} of {plan.shards}: {len(shard.conversations)} texts")
    index = {
        "format": 1, "plan": asdict(plan), "prompt_format": PROMPT_FORMAT,
        "library": {"version": stdlib.version(), "sha256": stdlib.digest()},
        "sha256": corpus_digest(row["sha256"] for row in rows), "totals": _totals(rows), "shards": rows,
    }  # fmt: skip
    write_whole(directory / "corpus.json", json.dumps(index, indent=1).encode())
    return index


def plan_from(document: Mapping[str, Any]) -> CorpusPlan:
    """Return the plan that an index or a report holds."""
    return CorpusPlan(**{**document, "mix": Mix(**document["mix"])})


def corpus_digest(shards: Iterable[str]) -> str:
    """Return the digest of a corpus: of the digests of its shards, in order."""
    return hashlib.sha256("\n".join(shards).encode()).hexdigest()


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return "measuring.jsonl" if number == MEASURING_SHARD else f"shard-{number:04d}.jsonl"


def read_shard(path: Path) -> Iterator[Conversation]:
    """Return the conversations of a shard file."""
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            yield Conversation(row["stage"], tuple(row["families"]), tuple((a, b) for a, b in row["turns"]))


def _episode(plan: CorpusPlan, rng: random.Random) -> tuple[Episode | None, tuple[str, ...]]:
    share = rng.random()
    if share < plan.broad_share:
        repository = small_repository(rng, Pool.PRETRAIN, Size(modules=(BREADTH, BREADTH), functions=(1, 2)))
        growing = [family for family in SEEN if family.name == "add-function"] * 2 + list(SEEN)
        episode = draw_episode(rng, repository, growing, Pool.PRETRAIN, per_file=1, together=BREADTH, spread=True)
        return episode, ("meta-plan", "step-plan")
    if rng.random() < plan.library_share:
        repository = library_repository(rng, _library())
    else:
        wide = rng.random() < plan.wide_share
        repository = small_repository(rng, Pool.PRETRAIN, WIDE if wide else None)
    together = rng.choice((2, 3)) if rng.random() < plan.together_share else 1
    episode = draw_episode(rng, repository, SEEN, Pool.PRETRAIN, per_file=rng.choice((2, 3, 4, 5)), together=together)
    return episode, ("meta-plan", "step-plan") if rng.random() < plan.mix.meta_plan else ("step-plan",)


def _problem(made: Conversation, chars_max: int) -> str:
    texts = [text for turn in made.turns for text in turn]
    if made.chars > chars_max:
        return f"too long for {made.stage}"
    if findings(texts, []):
        return "a left-out phrase or shape"
    return "a reserved noun" if any(reserved_words(text) for text in texts) else ""


def _raw_texts(plan: CorpusPlan, rng: random.Random) -> list[str]:
    number = round(plan.conversations * plan.raw_share)
    chosen = (rng.choice(_library()).text for _ in range(number * 2))
    return [text for text in chosen if not findings([text], [])][:number]


@cache
def _library() -> Sequence[LibraryFunction]:
    return [item for item in teachable(stdlib.library()) if not stdlib.is_for_measuring(item.module)]


def _row(shard: Shard) -> dict[str, Any]:
    chars: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    number: Counter[str] = Counter()
    turns: Counter[str] = Counter()
    for made in shard.conversations:
        chars[made.stage] += made.chars
        answers[made.stage] += sum(len(answer) for _, answer in made.turns)
        number[made.stage] += 1
        turns.update(made.families if made.stage == "execute-code" else ())
    return {
        "number": shard.number, "sha256": shard.sha256, "conversations": dict(number), "chars": dict(chars),
        "answer_chars": dict(answers), "execute_families": dict(turns), "refused": dict(shard.refused),
    }  # fmt: skip


def _totals(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    totals: dict[str, Counter[str]] = {}
    for row in rows:
        for name in ("conversations", "chars", "answer_chars", "execute_families", "refused"):
            totals.setdefault(name, Counter()).update(row[name])
    return {name: dict(sorted(counts.items())) for name, counts in totals.items()}

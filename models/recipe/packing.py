"""Rows of equal length from conversations of any length.

Conversations are packed whole, longest first, into rows; what is left of a row is filled with raw text. Each
token has a class that decides its weight in the loss. Nothing is ever cut but the last raw text of a row; a
conversation longer than a row is counted and left out.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from models.recipe.conversations import RAW, Conversation
from models.recipe.tokens import PAD_ID, assistant_text, user_text

IGNORED, SHOWN, ANSWER, PLAIN = range(4)
"""Token classes: later questions and padding, the first question, answers, raw text."""
WEIGHTS = (0.0, 0.2, 1.0, 0.5)


@dataclass(frozen=True)
class Rows:
    """Packed rows, ready for a training loop."""

    ids: Any
    """int32 array (rows, length)."""
    classes: Any
    """int8 array of the same shape."""
    too_long: Counter[str]
    """Conversations that did not fit a row, by stage."""

    def share(self, kind: int) -> float:
        """Return the share of tokens of one class."""
        return float((self.classes == kind).mean()) if self.classes.size else 0.0


def encode(tokenizer: Any, conversation: Conversation) -> tuple[list[int], list[int]]:  # noqa: ANN401
    """Return token ids and their classes; a raw text ends with the padding token."""
    if conversation.stage == RAW:
        ids = [*tokenizer.encode(conversation.turns[0][1]).ids, PAD_ID]
        return ids, [PLAIN] * len(ids)
    ids, classes = [], []
    for number, (question, answer) in enumerate(conversation.turns):
        asked = tokenizer.encode(user_text(question)).ids
        answered = tokenizer.encode(assistant_text(answer)).ids
        ids += asked + answered
        # The line feed after the end of an answer is written by the template, never by the model.
        classes += [SHOWN if number == 0 else IGNORED] * len(asked) + [ANSWER] * (len(answered) - 1) + [IGNORED]
    return ids, classes


def pack(
    tokenizer: Any,  # noqa: ANN401
    conversations: Iterable[Conversation],
    length: int,
    seed: str,
    *,
    longer_than: int = 0,
) -> Rows:
    """Return the rows of the conversations with more than `longer_than` tokens, shuffled by the seed."""
    import numpy as np  # noqa: PLC0415 - not needed by those who only draw

    rng = random.Random(seed)  # noqa: S311 - an order, not a secret
    made = list(conversations)
    too_long: Counter[str] = Counter()
    talks: list[tuple[list[int], list[int]]] = []
    raw: list[tuple[list[int], list[int]]] = []
    for item in made:
        ids, classes = encode(tokenizer, item)
        if item.stage == RAW:
            raw.append((ids, classes))
        elif len(ids) > length:
            too_long[item.stage] += 1
        elif len(ids) > longer_than:
            talks.append((ids, classes))
    bins = _binned(talks, length)
    rng.shuffle(bins)
    filled = [_filled(rng, group, raw, length) for group in bins]
    ids_array = np.array([ids for ids, _ in filled], dtype=np.int32).reshape(-1, length)
    classes_array = np.array([classes for _, classes in filled], dtype=np.int8).reshape(-1, length)
    return Rows(ids_array, classes_array, too_long)


def _binned(talks: Sequence[tuple[list[int], list[int]]], length: int) -> list[list[tuple[list[int], list[int]]]]:
    """First fit, longest first."""
    bins: list[list[tuple[list[int], list[int]]]] = []
    room: list[int] = []
    for talk in sorted(talks, key=lambda item: -len(item[0])):
        size = len(talk[0])
        at = next((number for number, left in enumerate(room) if left >= size), None)
        if at is None:
            bins.append([talk])
            room.append(length - size)
        else:
            bins[at].append(talk)
            room[at] -= size
    return bins


def _filled(
    rng: random.Random,
    group: list[tuple[list[int], list[int]]],
    raw: Sequence[tuple[list[int], list[int]]],
    length: int,
) -> tuple[list[int], list[int]]:
    rng.shuffle(group)
    ids = [token for talk, _ in group for token in talk]
    classes = [kind for _, kinds in group for kind in kinds]
    while len(ids) < length and raw:
        more, kinds = rng.choice(raw)
        ids, classes = ids + more, classes + kinds
    missing = length - len(ids)
    return (ids + [PAD_ID] * missing)[:length], (classes + [IGNORED] * missing)[:length]

"""Greedy answers of a model to many questions at once.

Plain and slow next to llama.cpp, which serves the product; here it needs nothing but the training's own libraries,
and it measures the very weights that are written. Nothing constrains an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.recipe.tokens import END_ID, PAD_ID, user_text


def answers(
    model: Any,  # noqa: ANN401 - a torch module
    tokenizer: Any,  # noqa: ANN401
    questions: Sequence[str],
    *,
    new_tokens: int = 360,
    batch: int = 16,
) -> list[str]:
    """Return the answer to each question; one that is not finished after `new_tokens` comes back as it is."""
    found = [""] * len(questions)
    encoded = [tokenizer.encode(user_text(question)).ids for question in questions]
    order = sorted(range(len(questions)), key=lambda at: len(encoded[at]))
    model.eval()
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        for at, ids in zip(chosen, _greedy(model, [encoded[at] for at in chosen], new_tokens), strict=True):
            found[at] = tokenizer.decode(ids, skip_special_tokens=False)
    return found


def _greedy(model: Any, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[int]]:  # noqa: ANN401
    import torch  # noqa: PLC0415 - seconds

    width = max(map(len, prompts))
    device = next(model.parameters()).device
    ids = torch.full((len(prompts), width), PAD_ID, dtype=torch.long, device=device)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):  # padded on the left, so that all answers begin in one column
        ids[row, width - len(prompt) :] = torch.tensor(prompt, device=device)
        mask[row, width - len(prompt) :] = 1
    made: list[list[int]] = [[] for _ in prompts]
    done = [False] * len(prompts)
    current, past = ids, None
    with torch.no_grad():
        for _ in range(new_tokens):
            positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -current.size(1) :]
            result = model(
                input_ids=current, attention_mask=mask, position_ids=positions, past_key_values=past, use_cache=True,
                logits_to_keep=1,
            )  # fmt: skip
            past = result.past_key_values
            chosen = result.logits[:, -1].argmax(-1)
            for row, token in enumerate(chosen.tolist()):
                done[row] = done[row] or token == END_ID
                if not done[row]:
                    made[row].append(token)
            if all(done):
                break
            current = chosen[:, None]
            mask = torch.cat([mask, torch.ones_like(current)], dim=1)
    return made

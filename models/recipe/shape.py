"""The shape of the model: a small dense Qwen3, so that every tool that serves Qwen3 serves it too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from models.recipe.tokens import END_ID, PAD_ID, VOCABULARY


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a Qwen3."""

    vocabulary: int = VOCABULARY
    hidden: int = 192
    intermediate: int = 512
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    positions: int = 2_048
    rope_theta: float = 10_000.0


SHAPES: Mapping[str, ModelShape] = {
    "small": ModelShape(),
    "medium": ModelShape(hidden=256, intermediate=704, layers=8),
    "tiny": ModelShape(hidden=64, intermediate=128, layers=2, heads=2, kv_heads=1, head_dim=32),
}
"""`small` is trained on 2 cores in under two hours, `medium` wants a GPU, `tiny` is for tests of the recipe."""


def new_model(shape: ModelShape, seed: int) -> Any:  # noqa: ANN401 - a torch module
    """Return a model with fresh weights, the same ones for the same seed."""
    import torch  # noqa: PLC0415 - seconds
    from transformers import Qwen3Config, Qwen3ForCausalLM  # noqa: PLC0415

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim, max_position_embeddings=shape.positions,
        rope_parameters={"rope_theta": shape.rope_theta, "rope_type": "default"}, rms_norm_eps=1e-6,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=END_ID, pad_token_id=PAD_ID, use_cache=True,
        initializer_range=0.02,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    deep = 0.02 / math.sqrt(2 * shape.layers)  # what is added to the stream starts small in a deep stack
    for name, weight in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            torch.nn.init.normal_(weight, std=deep)
    return model


def parameters(model: Any) -> int:  # noqa: ANN401
    """Return the number of weights, tied ones once."""
    return sum(weight.numel() for weight in model.parameters())


def shape_document(shape: ModelShape) -> dict[str, Any]:
    """Return a shape as it is written into reports."""
    return asdict(shape)

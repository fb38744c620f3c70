"""The tokenizer: byte-level BPE with Qwen's way of cutting words, and the ChatML template.

Qwen's cut is one that llama.cpp knows by name, so ids agree there. `<|im_end|>` ends an answer, and padding is a
token of its own that never ends anything. Trained on the first shard; the same shard gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.durable import write_whole
from models.recipe.conversations import Conversation

VOCABULARY = 3_072
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
PAD_ID, START_ID, END_ID = 0, 1, 2
TOKENIZER_NAME = "tokenizer.json"
QWEN_CUT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}"
)


def train_tokenizer(conversations: Sequence[Conversation], vocabulary: int = VOCABULARY) -> bytes:
    """Return the tokenizer.json of these conversations."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers  # noqa: PLC0415

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    cut = pre_tokenizers.Split(Regex(QWEN_CUT), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(_texts(conversations), trainer)
    text: str = tokenizer.to_str(pretty=True)
    return text.encode()


def write_tokenizer(data: bytes, directory: Path, *, length_max: int) -> None:
    """Write what transformers loads: the tokenizer, its configuration and the chat template."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {
        "add_prefix_space": False, "chat_template": CHAT_TEMPLATE, "clean_up_tokenization_spaces": False,
        "eos_token": END, "extra_special_tokens": [START, END], "model_max_length": length_max, "pad_token": PAD,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }  # fmt: skip
    write_whole(directory / TOKENIZER_NAME, data)
    write_whole(directory / "tokenizer_config.json", (json.dumps(config, indent=1) + "\n").encode())


def load_tokenizer(path: Path) -> Any:  # noqa: ANN401 - tokenizers has no types
    """Return the tokenizer of a file or of the directory that holds it."""
    from tokenizers import Tokenizer  # noqa: PLC0415

    return Tokenizer.from_file(str(path / TOKENIZER_NAME if path.is_dir() else path))


def tokenizer_sha256(data: bytes) -> str:
    """Return the digest of a tokenizer.json."""
    return hashlib.sha256(data).hexdigest()


def user_text(question: str) -> str:
    """Return a question as the chat template writes it, up to where the answer begins."""
    return f"{START}user\n{question}{END}\n{START}assistant\n"


def assistant_text(answer: str) -> str:
    """Return an answer as the chat template writes it, its end included."""
    return f"{answer}{END}\n"


def _texts(conversations: Sequence[Conversation]) -> Iterator[str]:
    """Return what words are counted on; a prompt's fixed sentences count once per conversation like all else."""
    for made in conversations:
        for question, answer in made.turns:
            yield f"user\n{question}" if question else ""
            yield f"assistant\n{answer}"

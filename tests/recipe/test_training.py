"""The training: repeatable to the bit, interruptible at any step, and what it writes loads anywhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; it is an optional group")
pytest.importorskip("transformers", reason="transformers is not installed; it is an optional group")
pytest.importorskip("tokenizers", reason="tokenizers is not installed; it is an optional group")

from models.recipe.checkpoint import DOCUMENT, ForeignCheckpoint  # noqa: E402 - only with the libraries
from models.recipe.conversations import Conversation  # noqa: E402
from models.recipe.corpus import CorpusPlan, read_shard, shard_name, write_corpus  # noqa: E402
from models.recipe.decoding import answers  # noqa: E402
from models.recipe.export import ExportRefused, check_digests, export, read_base  # noqa: E402
from models.recipe.muon import Muon, orthogonalised  # noqa: E402
from models.recipe.packing import ANSWER, IGNORED, PLAIN, SHOWN, encode, pack  # noqa: E402
from models.recipe.shape import SHAPES  # noqa: E402
from models.recipe.tokens import END_ID, PAD_ID, load_tokenizer, train_tokenizer, user_text  # noqa: E402
from models.recipe.training import Data, TrainingPlan, learning_rate_share, shard_digests, train  # noqa: E402

TINY = SHAPES["tiny"]
PLAN = TrainingPlan(steps=8, rows=2, length=512, threads=1, checkpoint_every=3, measure_every=8, digest_steps=(1, 4))
RERUN = """
import sys
from pathlib import Path
from models.recipe.shape import SHAPES
from models.recipe.tokens import load_tokenizer
from models.recipe.training import Data, TrainingPlan, train
place = Path(sys.argv[1])
plan = TrainingPlan(steps=8, rows=2, length=512, threads=1, checkpoint_every=3, measure_every=8, digest_steps=(1, 4))
data = Data(place / "corpus", load_tokenizer(place / "tokenizer.json"), {"corpus": "test"})
print(train(SHAPES["tiny"], plan, data, Path(sys.argv[2]), stop_after=4)[1]["first_steps"])
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a small corpus and its tokenizer."""
    directory = tmp_path_factory.mktemp("recipe")
    plan = CorpusPlan(conversations=30, shards=2, library_share=0.0, raw_share=0.0, chars_max=1_200)
    write_corpus(plan, directory / "corpus", workers=1)
    texts = list(read_shard(directory / "corpus" / shard_name(0)))
    (directory / "tokenizer.json").write_bytes(train_tokenizer(texts))
    return directory


@pytest.fixture(scope="module")
def data(place: Path) -> Data:
    """Return what a training reads."""
    return Data(place / "corpus", load_tokenizer(place / "tokenizer.json"), {"corpus": "test"})


@pytest.fixture(scope="module")
def trained(place: Path, data: Data) -> tuple[Any, dict[str, Any]]:
    """Return the model and report of an uninterrupted training."""
    return train(TINY, PLAN, data, place / "whole")


def test_a_tokenizer_is_repeatable(place: Path) -> None:
    """The same texts give the same bytes."""
    texts = list(read_shard(place / "corpus" / shard_name(0)))
    assert train_tokenizer(texts) == (place / "tokenizer.json").read_bytes()


def test_text_survives_the_tokenizer(data: Data) -> None:
    """What is encoded is decoded to the same text, markers of edits and odd characters included."""
    text = '<<<<<<< SEARCH\n    if x:\n=======\n\tpass  # é\n>>>>>>> REPLACE\n\n{"steps": []}'
    assert data.tokenizer.decode(data.tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_the_first_steps_give_the_same_weights_in_another_process(
    place: Path, trained: tuple[Any, dict[str, Any]]
) -> None:
    """With another hash seed, and after being told to stop there."""
    command = [sys.executable, "-c", RERUN, str(place), str(place / "again")]
    done = subprocess.run(command, env={"PYTHONHASHSEED": "99"}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(trained[1]["first_steps"])


def test_an_interrupted_training_ends_with_the_same_weights(
    place: Path, data: Data, trained: tuple[Any, dict[str, Any]]
) -> None:
    """Even when the newest checkpoint was cut while it was written."""
    train(TINY, PLAN, data, place / "cut", stop_after=7)
    shutil.copytree(place / "cut" / "checkpoints" / "step-000007", place / "cut" / "checkpoints" / "step-000008")
    (place / "cut" / "checkpoints" / "step-000008" / DOCUMENT).unlink()
    _, report = train(TINY, PLAN, data, place / "cut")
    assert report["weights_sha256"] == trained[1]["weights_sha256"]
    assert report["first_steps"] == trained[1]["first_steps"]


def test_a_checkpoint_of_other_settings_is_refused(
    place: Path, data: Data, trained: tuple[Any, dict[str, Any]]
) -> None:
    """Another learning rate or another corpus is another training."""
    assert trained[1]["steps_done"] == PLAN.steps
    with pytest.raises(ForeignCheckpoint, match="plan"):
        train(TINY, replace(PLAN, lr_matrices=0.01), data, place / "whole")
    with pytest.raises(ForeignCheckpoint, match="corpus"):
        train(TINY, PLAN, Data(data.corpus, data.tokenizer, {"corpus": "other"}), place / "whole")


def test_the_loss_falls(trained: tuple[Any, dict[str, Any]]) -> None:
    """A few steps are enough to leave chance behind (ln 3072 is 8.03)."""
    assert 0 < trained[1]["losses"][-1]["answer"] < 7.8


def test_a_base_loads_in_transformers(
    place: Path, data: Data, trained: tuple[Any, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Architecture, end of answer, padding and chat template are as a base import expects them."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    export(trained[0], (place / "tokenizer.json").read_bytes(), trained[1], place / "base")
    check_digests(place / "base")
    config = json.loads((place / "base" / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert (config["eos_token_id"], config["pad_token_id"]) == (END_ID, PAD_ID)
    tokenizer = AutoTokenizer.from_pretrained(place / "base")
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    said = tokenizer.apply_chat_template(
        [{"role": "user", "content": "a\n"}], add_generation_prompt=True, tokenize=False
    )
    assert said == user_text("a\n")
    assert tokenizer(said)["input_ids"] == data.tokenizer.encode(said).ids
    model = AutoModelForCausalLM.from_pretrained(place / "base", dtype=torch.float32)
    assert model.generation_config.eos_token_id == END_ID
    assert len(answers(model, data.tokenizer, ["[execute-code]\nTask: a\n"], new_tokens=4)) == 1
    assert sorted(path.suffix for path in (place / "base").iterdir() if path.suffix in {".bin", ".pt"}) == []


def test_a_base_with_a_flipped_byte_is_refused(place: Path, trained: tuple[Any, dict[str, Any]]) -> None:
    """Nothing of it is loaded."""
    export(trained[0], (place / "tokenizer.json").read_bytes(), trained[1], place / "damaged")
    weights = bytearray((place / "damaged" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (place / "damaged" / "model.safetensors").write_bytes(weights)
    with pytest.raises(ExportRefused, match=r"model\.safetensors"):
        read_base(place / "damaged")


def test_answers_do_not_depend_on_who_else_asks(data: Data, trained: tuple[Any, dict[str, Any]]) -> None:
    """A batch of questions of different lengths is answered as each alone."""
    questions = ["[scope]\nTask: b\n", "[execute-code]\nTask: a much longer question than the other one\n" * 3]
    model = trained[0].float()
    alone = [answers(model, data.tokenizer, [question], new_tokens=6)[0] for question in questions]
    assert answers(model, data.tokenizer, questions, new_tokens=6) == alone


def test_rows_hold_whole_conversations(data: Data) -> None:
    """Only raw text is cut; what is too long is counted; answers carry the loss up to their end."""
    talks = [Conversation("execute-code", ("a",), (("one two", "three"), ("four", "five")))] * 3
    raw = [Conversation("raw", (), (("", "def f():\n    return 1\n"),))]
    long = [Conversation("scope", (), (("word " * 400, "x"),))]
    rows = pack(data.tokenizer, [*talks, *raw, *long], 128, "seed")
    assert rows.too_long == {"scope": 1}
    assert rows.ids.shape[1] == 128
    ids, classes = encode(data.tokenizer, talks[0])
    assert list(zip(ids, classes, strict=True)).count((END_ID, ANSWER)) == 2
    assert {SHOWN, ANSWER, IGNORED} == set(classes)
    assert PLAIN in set(rows.classes.flatten().tolist())


def test_learning_rates_follow_steps_alone() -> None:
    """A short rise, a maximum near one, and a small rest at the end."""
    plan = TrainingPlan(steps=100)
    shares = [learning_rate_share(plan, step) for step in range(100)]
    assert shares[0] == pytest.approx(0.5, abs=0.01)
    assert max(shares) == pytest.approx(1.0, abs=0.01)
    assert shares[-1] < 0.04
    assert shares[2:] == sorted(shares[2:], reverse=True)


def test_muon_makes_updates_orthogonal() -> None:
    """Singular values of an update come near one, tall and wide alike, and weights move against the gradient."""
    torch.manual_seed(1)
    for shape in ((3, 16, 8), (3, 8, 16)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape), 5))
        assert 0.5 < float(values.min()) <= float(values.max()) < 1.4
    weight = torch.nn.Parameter(torch.eye(4))
    before = weight.detach().clone()
    weight.grad = torch.eye(4)
    Muon([weight], lr=0.1).step()
    assert bool((torch.diagonal(weight - before) < 0).all())


def test_shards_that_are_there_are_digested(place: Path) -> None:
    """The measuring shard first, then those that are trained on."""
    assert len(shard_digests(place / "corpus")) == 3

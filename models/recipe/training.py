"""The training loop: a fixed number of steps over rows in a fixed order.

Nothing in it reads a clock to decide anything, so the same corpus, seed and settings on the same machine with the
same number of threads give the same weights, interrupted or not; `first_steps` of the report are digests that a
rerun of those steps has to meet. It does not promise the same bits on another processor or build of torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.recipe import checkpoint
from models.recipe.corpus import MEASURING_SHARD, read_shard, shard_name
from models.recipe.muon import Muon
from models.recipe.packing import ANSWER, PLAIN, SHOWN, WEIGHTS, Rows, pack
from models.recipe.shape import ModelShape, new_model

CLASSES = {"shown": SHOWN, "answer": ANSWER, "raw": PLAIN}
MEASURED_ROWS = 24


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides the weights, but the corpus and the tokenizer."""

    steps: int = 7_000
    rows: int = 4
    """Rows of a step."""
    length: int = 1_024
    """Tokens of a row."""
    long_length: int = 2_048
    """Tokens of a row for conversations that are longer than `length`; a step has as many tokens either way."""
    seed: int = 1
    lr_matrices: float = 0.02
    lr_others: float = 0.003
    warm_up_share: float = 0.02
    final_share: float = 0.03
    clip: float = 1.0
    newton_schulz: int = 4
    device: str = "cpu"
    bf16: bool = True
    compiled: bool = False
    threads: int = 2
    checkpoint_every: int = 250
    measure_every: int = 250
    digest_steps: tuple[int, ...] = (1, 5, 20)
    """Steps after which the weights are digested for the report."""


@dataclass(frozen=True)
class Data:
    """Where rows come from."""

    corpus: Path
    tokenizer: Any
    identity: Mapping[str, Any]
    """Digests of the shards and of the tokenizer."""


def learning_rate_share(plan: TrainingPlan, step: int) -> float:
    """Return the factor of the learning rates at a step, counted from 0: a short rise, then a cosine."""
    rise = max(1, round(plan.steps * plan.warm_up_share))
    falling = 0.5 * (1 + math.cos(math.pi * min(1.0, step / plan.steps)))
    return min(1.0, (step + 1) / rise) * (plan.final_share + (1 - plan.final_share) * falling)


def train(
    shape: ModelShape, plan: TrainingPlan, data: Data, out: Path, *, stop_after: int | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Return the model and the report after all steps, or after `stop_after` of them; goes on from a checkpoint."""
    run = _Run(shape, plan, data, out)
    measured = _rows(data, plan, MEASURING_SHARD)
    started, first = time.monotonic(), run.step
    last = min(plan.steps, stop_after or plan.steps)
    for ids, classes in run.batches():
        if run.step >= last:
            break
        loss = run.do(ids, classes)
        if run.step in plan.digest_steps:
            run.digests[str(run.step)] = run.weights_sha256()
        if run.step % plan.measure_every == 0 or run.step == last:
            losses = run.measure(measured)
            run.log.append({"step": run.step, "tokens": run.step * plan.rows * plan.length, **losses})
            seconds = (time.monotonic() - started) / max(1, run.step - first)
            speed = plan.rows * plan.length / max(seconds, 1e-9)
            left = (plan.steps - run.step) * seconds
            progress = f"step {run.step}/{plan.steps} loss {loss:.3f} {_words(losses)}"
            tell(f"{progress} {speed:.0f} tok/s, {left / 60:.0f} min left")
        if run.step % plan.checkpoint_every == 0 or run.step == last:
            run.save()
    return run.model, run.report()


class _Run:
    """The state of one training."""

    def __init__(self, shape: ModelShape, plan: TrainingPlan, data: Data, out: Path) -> None:
        import torch  # noqa: PLC0415 - seconds

        self.plan, self.data, self.out = plan, data, out
        torch.set_num_threads(plan.threads)
        torch.use_deterministic_algorithms(True, warn_only=plan.device != "cpu")  # noqa: FBT003 - torch's own signature
        self.model = new_model(shape, plan.seed).to(plan.device).train()
        self.body = torch.compile(self.model.model) if plan.compiled else self.model.model
        named = sorted(self.model.named_parameters())
        self.matrices = [(name, w) for name, w in named if w.ndim == 2 and "embed" not in name]  # noqa: PLR2004
        self.others = [(name, w) for name, w in named if not (w.ndim == 2 and "embed" not in name)]  # noqa: PLR2004
        self.muon = Muon([w for _, w in self.matrices], lr=plan.lr_matrices, steps=plan.newton_schulz)
        self.adam = torch.optim.AdamW(
            [w for _, w in self.others], lr=plan.lr_others, betas=(0.9, 0.95), weight_decay=0.0
        )
        self.weights = torch.tensor(WEIGHTS, device=plan.device)
        self.step, self.log, self.digests = 0, list[dict[str, Any]](), dict[str, str]()
        settings = {key: value for key, value in asdict(plan).items() if not key.endswith("_every")}
        self.identity = {"shape": asdict(shape), "plan": json.loads(json.dumps(settings)), **data.identity}
        self._resume()

    def batches(self) -> Iterator[tuple[Any, Any]]:
        """Return the rows of every step that is left to do, shard after shard, again from the first at the end."""
        skip, number = self.step, 0
        while True:
            path = self.data.corpus / shard_name(number)
            if not path.exists():
                if number == 0:
                    raise FileNotFoundError(path)
                number = 0
                continue
            steps = _steps(self.data, self.plan, number)
            for ids, classes in steps[skip:]:
                yield self._on_device(ids, classes)
            skip, number = max(0, skip - len(steps)), number + 1

    def do(self, ids: Any, classes: Any) -> float:  # noqa: ANN401
        """Take one step; return its loss."""
        import torch  # noqa: PLC0415

        share = learning_rate_share(self.plan, self.step)
        self.muon.lr = self.plan.lr_matrices * share
        self.adam.param_groups[0]["lr"] = self.plan.lr_others * share
        losses, kinds = self._losses(ids, classes, self.body)
        weights = self.weights[kinds]
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip)
        self.muon.step()
        self.adam.step()
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        return float(loss.item())

    def measure(self, rows: Rows) -> dict[str, float]:
        """Return the mean loss of each class of tokens on rows that are not trained on."""
        import torch  # noqa: PLC0415

        sums = {name: [0.0, 0] for name in CLASSES}
        self.model.eval()
        with torch.no_grad():
            for at in range(0, min(len(rows.ids), MEASURED_ROWS), 4):
                losses, kinds = self._losses(
                    *self._on_device(rows.ids[at : at + 4], rows.classes[at : at + 4]), self.model.model
                )
                for name, kind in CLASSES.items():
                    sums[name][0] += float(losses[kinds == kind].sum())
                    sums[name][1] += int((kinds == kind).sum())
        self.model.train()
        return {name: round(total / max(1, count), 4) for name, (total, count) in sums.items()}

    def weights_sha256(self) -> str:
        """Return the digest of all weights, by name."""
        return weights_sha256(self.model)

    def save(self) -> None:
        """Write a checkpoint."""
        tensors = {f"model.{name}": w for name, w in (*self.matrices, *self.others)}
        tensors |= {f"muon.{name}": b for (name, _), b in zip(self.matrices, self.muon.buffers, strict=True)}
        for name, weight in self.others:
            tensors |= {f"adam.{name}.{key}": value for key, value in self.adam.state[weight].items()}
        state = {"identity": self.identity, "log": self.log, "digests": self.digests}
        checkpoint.save(self.out / "checkpoints", self.step, tensors, state)

    def report(self) -> dict[str, Any]:
        """Return what happened, for report.json; no times, so that a rerun writes the same."""
        return {
            **self.identity, "steps_done": self.step, "tokens": self.step * self.plan.rows * self.plan.length,
            "losses": self.log, "first_steps": self.digests, "weights_sha256": self.weights_sha256(),
            "machine": machine(self.plan),
        }  # fmt: skip

    def _losses(self, ids: Any, classes: Any, body: Any) -> tuple[Any, Any]:  # noqa: ANN401
        import torch  # noqa: PLC0415

        with self._precision():
            hidden = body(input_ids=ids).last_hidden_state[:, :-1]
            chosen = classes[:, 1:] > 0  # the head is run only where the loss counts
            logits = self.model.lm_head(hidden[chosen])
        losses = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][chosen], reduction="none")
        return losses, classes[:, 1:][chosen]

    def _precision(self) -> AbstractContextManager[Any]:
        import torch  # noqa: PLC0415

        return torch.autocast(self.plan.device, torch.bfloat16) if self.plan.bf16 else nullcontext()

    def _on_device(self, ids: Any, classes: Any) -> tuple[Any, Any]:  # noqa: ANN401
        import torch  # noqa: PLC0415

        return torch.from_numpy(ids).long().to(self.plan.device), torch.from_numpy(classes).long().to(self.plan.device)

    def _resume(self) -> None:
        import torch  # noqa: PLC0415

        found = checkpoint.newest(self.out / "checkpoints", self.identity)
        if found is None:
            return
        tensors, state = found
        with torch.no_grad():
            for name, weight in (*self.matrices, *self.others):
                weight.copy_(tensors[f"model.{name}"])
            for (name, _), buffer in zip(self.matrices, self.muon.buffers, strict=True):
                buffer.copy_(tensors[f"muon.{name}"])
            for name, weight in self.others:
                moments = {key: tensors[f"adam.{name}.{key}"] for key in ("exp_avg", "exp_avg_sq", "step")}
                kept = {key: value if key == "step" else value.to(self.plan.device) for key, value in moments.items()}
                self.adam.state[weight] = kept
        self.step, self.log, self.digests = state["step"], state["log"], state["digests"]


def weights_sha256(model: Any) -> str:  # noqa: ANN401
    """Return the digest of a model's weights as 32-bit floats, by name."""
    hasher = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        hasher.update(f"{name} {tuple(weight.shape)}\0".encode())
        hasher.update(weight.detach().float().cpu().contiguous().numpy().tobytes())
    return hasher.hexdigest()


def machine(plan: TrainingPlan) -> dict[str, Any]:
    """Return what the bits of a training depend on besides its inputs."""
    import platform  # noqa: PLC0415

    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    return {
        "torch": torch.__version__, "transformers": transformers.__version__, "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if plan.device == "cuda" else platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(), "threads": plan.threads,
    }  # fmt: skip


def _rows(data: Data, plan: TrainingPlan, number: int) -> Rows:
    conversations = read_shard(data.corpus / shard_name(number))
    return pack(data.tokenizer, conversations, plan.length, f"rows {plan.seed} {number}")


def _steps(data: Data, plan: TrainingPlan, number: int) -> list[tuple[Any, Any]]:
    """Return the (ids, classes) of each step of a shard: several rows, or fewer of the long ones."""
    conversations = list(read_shard(data.corpus / shard_name(number)))
    steps: list[tuple[Any, Any]] = []
    for least, length in ((0, plan.length), (plan.length, plan.long_length)):
        rows = pack(data.tokenizer, conversations, length, f"rows {plan.seed} {number}", longer_than=least)
        size = max(1, plan.rows * plan.length // length)
        starts = range(0, len(rows.ids) - size + 1, size)
        steps += [(rows.ids[at : at + size], rows.classes[at : at + size]) for at in starts]
    random.Random(f"steps {plan.seed} {number}").shuffle(steps)  # noqa: S311 - an order, not a secret
    return steps


def _words(losses: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:.3f}" for name, value in losses.items())


def shard_digests(corpus: Path, most: int | None = None) -> Sequence[str]:
    """Return the digests of the shards that are there, the measuring one first."""
    numbers = [MEASURING_SHARD]
    while (corpus / shard_name(len(numbers) - 1)).exists() and (most is None or len(numbers) <= most):
        numbers.append(len(numbers) - 1)
    return [hashlib.sha256((corpus / shard_name(number)).read_bytes()).hexdigest() for number in numbers]

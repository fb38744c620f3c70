"""The steps of the recipe as commands: `python -m models.recipe --help`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from harness.errors import Failure

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")
MANIFEST = Path(__file__).with_name("left_out.json")
_directory = click.Path(file_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    r"""Make the embedded default base: corpus, tokenizer, training, evaluation.

    \b
    Example, from nothing to a base:
      python -m models.recipe corpus --out var/recipe/corpus
      python -m models.recipe tokenizer --corpus var/recipe/corpus --out var/recipe/tokenizer.json
      python -m models.recipe train --corpus var/recipe/corpus --tokenizer var/recipe/tokenizer.json
             --out var/recipe/base
      python -m models.recipe evaluate var/recipe/base --cases 25
    """
    for name in OFFLINE:  # nothing here may look for a hub
        os.environ[name] = "1"


@cli.command()
@click.option("--out", type=_directory, required=True, help="Where the shards and corpus.json go.")
@click.option("--seed", default=1, show_default=True, help="Seed of everything that is drawn.")
@click.option("--shards", default=64, show_default=True, help="Number of shards; training reads them in order.")
@click.option("--conversations", default=1_000, show_default=True, help="Conversations of a shard.")
@click.option("--workers", default=2, show_default=True, help="Processes that draw shards.")
def corpus(out: Path, seed: int, shards: int, conversations: int, workers: int) -> None:
    r"""Draw the corpus; the same seed gives the same digest.

    \b
    Example: python -m models.recipe corpus --out var/recipe/corpus --workers 2
    """
    from models.recipe.corpus import CorpusPlan, write_corpus  # noqa: PLC0415 - every command loads what it needs

    plan = CorpusPlan(seed=seed, shards=shards, conversations=conversations)
    index = write_corpus(plan, out, workers=workers, tell=_tell)
    _print({"sha256": index["sha256"], "totals": index["totals"]})


@cli.command()
@click.option("--corpus", "source", type=_directory, required=True, help="A directory that `corpus` wrote.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The tokenizer.json.")
@click.option("--shards", default=2, show_default=True, help="How many shards the words are counted on.")
def tokenizer(source: Path, out: Path, shards: int) -> None:
    r"""Train the tokenizer on the first shards.

    \b
    Example: python -m models.recipe tokenizer --corpus var/recipe/corpus --out var/recipe/tokenizer.json
    """
    from harness.durable import write_whole  # noqa: PLC0415
    from models.recipe.corpus import read_shard, shard_name  # noqa: PLC0415
    from models.recipe.tokens import tokenizer_sha256, train_tokenizer  # noqa: PLC0415

    texts = [made for number in range(shards) for made in read_shard(source / shard_name(number))]
    data = train_tokenizer(texts)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, data)
    _print({"sha256": tokenizer_sha256(data), "bytes": len(data)})


@cli.command()
@click.option("--corpus", "source", type=_directory, required=True, help="A directory that `corpus` wrote.")
@click.option("--tokenizer", "words", type=click.Path(dir_okay=False, exists=True, path_type=Path), required=True)
@click.option("--out", type=_directory, required=True, help="The base; checkpoints lie below it until it is done.")
@click.option("--steps", default=7_000, show_default=True, help="Steps of the whole schedule.")
@click.option("--stop-after", type=int, help="Stop after so many steps of the schedule; go on with the same command.")
@click.option(
    "--shape", "shape_name", default="small", show_default=True, type=click.Choice(["small", "medium", "tiny"])
)
@click.option("--rows", default=4, show_default=True, help="Rows of a step.")
@click.option("--length", default=1_024, show_default=True, help="Tokens of a row.")
@click.option("--seed", default=1, show_default=True)
@click.option("--device", default="cpu", show_default=True, type=click.Choice(["cpu", "cuda"]))
@click.option("--threads", default=2, show_default=True, help="Threads of torch; the weights depend on the number.")
@click.option("--bf16/--no-bf16", default=True, show_default=True, help="Products in bfloat16.")
@click.option("--compile/--no-compile", "compiled", default=False, show_default=True, help="Use torch.compile.")
@click.option("--report-every", default=250, show_default=True, help="Steps between measurements and checkpoints.")
def train(
    *,
    source: Path,
    words: Path,
    out: Path,
    stop_after: int | None,
    shape_name: str,
    report_every: int,
    **settings: Any,  # noqa: ANN401 - fields of TrainingPlan, typed by the options above
) -> None:
    r"""Train for a fixed number of steps, go on where an interrupted training stopped, write the base.

    \b
    Example: python -m models.recipe train --corpus var/recipe/corpus --tokenizer var/recipe/tokenizer.json
             --out var/recipe/base --steps 7000
    On a GPU: --device cuda --shape medium --rows 16
    """
    if settings["device"] == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before torch: its products are repeatable then
    from models.recipe.export import export  # noqa: PLC0415
    from models.recipe.shape import SHAPES, parameters  # noqa: PLC0415
    from models.recipe.tokens import load_tokenizer, tokenizer_sha256  # noqa: PLC0415
    from models.recipe.training import Data, TrainingPlan, shard_digests  # noqa: PLC0415
    from models.recipe.training import train as run  # noqa: PLC0415

    data = words.read_bytes()
    identity = {"shards": shard_digests(source), "tokenizer_sha256": tokenizer_sha256(data)}
    plan = TrainingPlan(**settings, checkpoint_every=report_every, measure_every=report_every)
    model, report = run(
        SHAPES[shape_name], plan, Data(source, load_tokenizer(words), identity), out, stop_after=stop_after, tell=_tell
    )
    if report["steps_done"] < plan.steps:
        _tell(f"stopped after {report['steps_done']} of {plan.steps} steps; the same command goes on")
    index = json.loads((source / "corpus.json").read_bytes())
    report["corpus"] = {key: index[key] for key in ("sha256", "plan", "prompt_format", "library")}
    report["parameters"] = parameters(model)
    digests = export(model, data, report, out)
    _print({"sha256": digests["sha256"], "bytes": digests["bytes"], "losses": report["losses"][-1:]})


@cli.command()
@click.argument("base", type=_directory)
@click.option("--cases", "number", default=25, show_default=True, help="Commits of each family.")
@click.option("--seed", default=7, show_default=True, help="Seed of the commits.")
@click.option("--threads", default=2, show_default=True)
@click.option("--batch", default=16, show_default=True, help="Questions answered at once.")
def evaluate(base: Path, number: int, seed: int, threads: int, batch: int) -> None:
    r"""Measure a base on unseen functions by executed tests; the result goes into its report.

    \b
    Example: python -m models.recipe evaluate var/recipe/base --cases 25
    """
    import torch  # noqa: PLC0415

    from models.recipe.decoding import answers  # noqa: PLC0415
    from models.recipe.evaluation import evaluate as measure  # noqa: PLC0415
    from models.recipe.export import read_base, write_report  # noqa: PLC0415

    torch.set_num_threads(threads)
    model, words, report = read_base(base)
    result = measure(lambda questions: answers(model, words, questions, batch=batch), number=number, seed=seed)
    report["evaluation"] = result
    write_report(base, report)
    _print(result)


@cli.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when the file is not up to date.")
def manifest(check: bool) -> None:
    r"""Write the list of the task families that are left out of the training.

    \b
    Example: python -m models.recipe manifest --check
    """
    from harness.durable import write_whole  # noqa: PLC0415
    from models.recipe.left_out import document  # noqa: PLC0415

    data = (json.dumps(document(), indent=1) + "\n").encode()
    if check and (not MANIFEST.exists() or MANIFEST.read_bytes() != data):
        _tell(f"{MANIFEST} is out of date: run python -m models.recipe manifest")
        sys.exit(12)
    if not check:
        write_whole(MANIFEST, data)
    _print({"left_out": [row["family"] for row in document()["left_out"]]})


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _print(document: Any) -> None:  # noqa: ANN401
    click.echo(json.dumps(document, indent=1))


def main() -> None:
    """Run a command; a failure is a line with its next step and an exit code."""
    try:
        cli(prog_name="python -m models.recipe")
    except Failure as err:
        _tell(f"{err.code}: {err}\n  {err.hint}")
        sys.exit(err.exit_code)


if __name__ == "__main__":
    main()

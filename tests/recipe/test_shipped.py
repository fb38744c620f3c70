"""The base that is shipped: whole, small enough, and what its first steps give when they are done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.recipe.corpus import MEASURING_SHARD, draw_shard, plan_from, shard_name
from models.recipe.export import TOTAL_BYTES_MAX, check_digests
from models.recipe.left_out import LEFT_OUT
from models.recipe.stdlib import digest

BASE = Path(__file__).parents[2] / "models" / "default-base"
RERUN_STEPS = 5

pytestmark = pytest.mark.skipif(not BASE.is_dir(), reason="no default base is shipped with this checkout yet")


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """Return the report that lies beside the weights."""
    document: dict[str, Any] = json.loads((BASE / "report.json").read_bytes())
    return document


def test_the_base_is_whole_and_small() -> None:
    """Every file has its digest, and all of them stay below 20 MB."""
    check_digests(BASE)
    assert sum(path.stat().st_size for path in BASE.iterdir()) <= TOTAL_BYTES_MAX


def test_the_base_knows_nothing_that_is_left_out(report: dict[str, Any]) -> None:
    """Exactly zero, on enough cases of every family."""
    left = report["evaluation"]["left_out"]
    assert set(left["families"]) == {item.family.name for item in LEFT_OUT}
    assert left["total"]["code"] == left["total"]["both"] == 0
    assert left["total"]["cases"] >= 100


def test_the_base_does_what_it_was_taught(report: dict[str, Any]) -> None:
    """On unseen names: most edits pass executed tests, nearly all plans name the right place."""
    seen = report["evaluation"]["seen"]["total"]
    assert seen["code"] >= 0.85 * seen["cases"]
    assert seen["plan"] >= 0.90 * seen["cases"]


def test_the_first_steps_can_be_done_again(report: dict[str, Any], tmp_path: Path) -> None:
    """On a machine like the one of the report, the first shard and the first steps give the same digests."""
    pytest.importorskip("torch", reason="torch is not installed; it is an optional group")
    from models.recipe.shape import ModelShape
    from models.recipe.tokens import load_tokenizer
    from models.recipe.training import Data, TrainingPlan, machine, train

    plan = TrainingPlan(**{**report["plan"], "digest_steps": tuple(report["plan"]["digest_steps"])})
    if report["corpus"]["library"]["sha256"] != digest():
        pytest.skip("another version of the standard library: the corpus is another one")
    if plan.device != "cpu" or report["machine"] != machine(plan):
        pytest.skip(f"trained on another kind of machine: {report['machine']}")
    corpus = plan_from(report["corpus"]["plan"])
    for at, number in enumerate((MEASURING_SHARD, 0)):
        shard = draw_shard(corpus, number)
        assert shard.sha256 == report["shards"][at]
        (tmp_path / shard_name(number)).write_bytes(shard.data)
    data = Data(tmp_path, load_tokenizer(BASE), {})
    _, again = train(ModelShape(**report["shape"]), plan, data, tmp_path / "out", stop_after=RERUN_STEPS)
    assert again["first_steps"] == {
        step: sha for step, sha in report["first_steps"].items() if int(step) <= RERUN_STEPS
    }

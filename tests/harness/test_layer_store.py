"""Stored layers carry a digest: what a power cut or a failing disk made of one is not believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.durable import NEW_PREFIX
from harness.envs.layer import LayerStore
from harness.envs.template import Template
from tests.trees import tree_of

REASON = "the project has no packaging files"


@pytest.mark.parametrize("damage", ["altered", "torn", "empty", "zeros", "another document"])
def test_a_stored_layer_that_was_damaged_is_made_again(damage: str, template: Template, tmp_path: Path) -> None:
    """One word changed in a document that is still whole is found, too."""
    tree = tree_of({"module.py": "x = 1\n"})
    whole = LayerStore(tmp_path).get(template, tree, {})
    assert REASON in whole.how
    [stored] = tmp_path.rglob("*.json")
    raw = stored.read_bytes()
    stored.write_bytes(
        {
            "altered": raw.replace(b"no packaging", b"odd packaging"), "torn": raw[: len(raw) // 2], "empty": b"",
            "zeros": bytes(len(raw)), "another document": b'{"files": {}, "generated": {}, "roots": [], "how": "x"}',
        }[damage]
    )  # fmt: skip
    assert LayerStore(tmp_path).get(template, tree, {}) == whole
    assert stored.read_bytes() == raw
    assert list(tmp_path.rglob(f"{NEW_PREFIX}*")) == []

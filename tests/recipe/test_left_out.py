"""What is left out of the training is recognised wherever it turns up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.recipe.families import compose, sites
from models.recipe.left_out import LEFT_OUT, LeftOut, document, edit_families, findings
from tests.recipe.test_families import changes_of

MANIFEST = Path(__file__).parents[2] / "models" / "recipe" / "left_out.json"


@pytest.mark.parametrize("item", LEFT_OUT, ids=lambda item: item.family.name)
def test_a_left_out_family_is_recognised(item: LeftOut) -> None:
    """By its sentence, by its edit in either direction, and by its code where that is telling."""
    for lines, change in changes_of(item.family, range(15)):
        before, after = compose(lines, [change]), compose(lines, [change], committed=[change])
        assert any(found.startswith(f"{item.family.name}: phrase") for found in findings([change.task], []))
        assert item.family.name in edit_families(before, after)
        assert item.family.name in edit_families(after, before)
        assert not item.code_shape or item.has_code(before) or item.has_code(after)


@pytest.mark.parametrize(
    "sentence",
    ["fix `a_b`: The arguments of `pow` are swapped.", "Raise ValueError in `mean` when `values` is empty",
     "Also:\n- Add keyword argument `title=None` to `csv_report`.", "Apply the null\nrule to `f`"],
)  # fmt: skip
def test_sentences_are_found_inside_other_text(sentence: str) -> None:
    """Case, line breaks and what stands around do not hide a phrase."""
    assert findings([f"Some title\n\n{sentence} And more."], [])


def test_two_edits_in_one_file_are_both_looked_at() -> None:
    """The functions of a file are compared one by one, methods included."""
    old = "def a(x, y):\n    return pow(x, y)\n\n\nclass B:\n    def c(self, n):\n        return list(range(n))\n"
    new = old.replace("pow(x, y)", "pow(y, x)").replace("range(n)", "range(n - 1)")
    assert set(edit_families(old, new)) == {"swap", "range-end"}


def test_an_ordinary_edit_is_none_of_them() -> None:
    """Another constant, another name, another operator."""
    old = "def a(x, y=2):\n    if x > y:\n        return x - y\n    return pow(x, 3)\n"
    for a, b in (("y=2", "y=3"), ("x > y", "x >= y"), ("x - y", "x + y"), ("pow(x, 3)", "pow(x, 4)"), ("pow", "max")):
        assert edit_families(old, old.replace(a, b)) == []


def test_the_manifest_is_what_the_code_says() -> None:
    """`python -m models.recipe manifest` writes it."""
    assert json.loads(MANIFEST.read_text()) == document()


def test_every_site_of_the_manifest_is_a_family() -> None:
    """Sites without parameters or loops are simply not used."""
    site = sites("a.py", "def f():\n    return 1\n")[0]
    import random

    from models.recipe.names import Namer, Pool

    rng = random.Random(1)
    found = [item.family.name for item in LEFT_OUT if list(item.family.changes(site, rng, Namer(rng, Pool.PRETRAIN)))]
    assert found == []

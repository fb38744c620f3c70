"""Plans as values: dependency order, unknown and repeated ids, one verdict per question."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import AnswerInvalid
from harness.plan import parse_meta_plan, parse_part_plan, parse_precision, parse_scope, parse_task_analysis


def step(number: int, *needs: int) -> dict[str, Any]:
    """Return a step document."""
    return {"id": f"s{number}", "file": f"{number}.py", "symbol": "", "action": "modify", "description": "d",
            "depends_on": [f"s{need}" for need in needs]}  # fmt: skip


def order(*steps: dict[str, Any]) -> list[str]:
    """Return the ids of a parsed plan."""
    return [step.id for step in parse_part_plan({"steps": list(steps)}).steps]


def test_steps_come_in_dependency_order() -> None:
    """What is needed comes first, through several levels."""
    assert order(step(1, 3), step(2), step(3, 4), step(4)) == ["s2", "s4", "s3", "s1"]


def test_order_without_dependencies_is_the_order_of_the_answer() -> None:
    """Nothing is moved without a reason, and ten does not sort before two."""
    assert order(step(10), step(2), step(1)) == ["s10", "s2", "s1"]


def test_an_empty_plan_is_a_plan() -> None:
    """No steps is an answer."""
    assert order() == []


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([step(1), step(1)], "share an id"),
        ([step(1, 9)], "'s9', which is not a step"),
        ([step(1, 1)], "circle"),
        ([step(1, 2), step(2, 3), step(3, 1)], "circle"),
    ],
    ids=["repeated", "unknown", "itself", "circle"],
)
def test_impossible_dependencies_are_no_answer(steps: list[dict[str, Any]], words: str) -> None:
    """Each kind of impossible plan is refused with its reason."""
    with pytest.raises(AnswerInvalid, match=words):
        order(*steps)


def test_parts_are_ordered_and_checked_like_steps() -> None:
    """A meta-plan follows the same rules, and its reasons speak of parts."""

    def part(name: str, *needs: str) -> dict[str, Any]:
        return {"id": name, "description": "d", "files": ["a.py"], "depends_on": list(needs)}

    assert [p.id for p in parse_meta_plan({"parts": [part("p1", "p2"), part("p2")]}).parts] == ["p2", "p1"]
    with pytest.raises(AnswerInvalid, match="not a part"):
        parse_meta_plan({"parts": [part("p1", "p7")]})


def test_values_are_taken_over_as_they_are() -> None:
    """Fields of a document arrive in the dataclasses."""
    plan = parse_part_plan({"steps": [{**step(1), "symbol": "A.b", "action": "create"}]})
    assert (plan.steps[0].file, plan.steps[0].symbol, plan.steps[0].action) == ("1.py", "A.b", "create")
    analysis = parse_task_analysis({"intent": "fix", "keywords": ["a"], "files": ["a.py"]})
    assert (analysis.intent, analysis.keywords, analysis.files) == ("fix", ("a",), ("a.py",))


def rows(*paths: str) -> dict[str, Any]:
    """Return a scope document."""
    return {"files": [{"path": path, "relevance": "relevant"} for path in paths]}


def test_scope_has_one_verdict_per_file_in_the_order_asked() -> None:
    """The order of the answer does not matter."""
    assert list(parse_scope(rows("b.py", "a.py"), ["a.py", "b.py"])) == ["a.py", "b.py"]


@pytest.mark.parametrize(
    "answered", [(), ("a.py",), ("a.py", "b.py", "c.py"), ("a.py", "a.py", "b.py"), ("a.py", "c.py")],
    ids=["none", "one missing", "one too many", "repeated", "another"],
)  # fmt: skip
def test_scope_that_does_not_answer_what_was_asked_is_no_answer(answered: tuple[str, ...]) -> None:
    """Missing, invented and repeated files are all refused."""
    with pytest.raises(AnswerInvalid, match="each of 2 files"):
        parse_scope(rows(*answered), ["a.py", "b.py"])


def test_precision_tells_symbols_of_equal_name_in_two_files_apart() -> None:
    """The key is file and symbol; a verdict about the other file is none."""
    doc = {"symbols": [{"file": "a.py", "symbol": "f", "tier": "primary"}]}
    assert parse_precision(doc, [("a.py", "f")]) == {("a.py", "f"): "primary"}
    with pytest.raises(AnswerInvalid, match="each of 1 symbols"):
        parse_precision(doc, [("b.py", "f")])

"""Plan-diff alignment: hand-made plans with exact expected numbers."""

from __future__ import annotations

import json

from harness.alignment import align
from harness.plan import Step


def step(number: int, file: str, symbol: str, *needs: int, action: str = "modify") -> Step:
    """Return a step that depends on the steps of these numbers."""
    return Step(f"s{number}", file, symbol, action, "Do it.", tuple(f"s{need}" for need in needs))


GOLD = [
    step(1, "a.py", "helper"),
    step(2, "b.py", "Parser.feed", 1),
    step(3, "b.py", "", 1),
    step(4, "c.py", "", 2, action="create"),
]


def test_the_gold_plan_is_perfectly_aligned() -> None:
    """A plan compared with itself has every share at 1 and nothing to report."""
    result = align(GOLD, ["a.py", "b.py", "c.py"], GOLD)
    assert [value for value in result.as_dict().values() if value != []] == [1.0] * 5


def test_exact_numbers_of_a_partly_right_plan() -> None:
    """Each number is what one counts by hand."""
    plan = [
        step(1, "b.py", "Parser"),  # holds Parser.feed
        step(2, "a.py", "helper"),  # too late: Parser.feed needs it
        step(3, "a.py", "other"),
        step(4, "d.py", ""),
    ]
    result = align(plan, ["a.py", "e.py", "b.py"], GOLD)
    assert result.file_recall == 2 / 3
    assert result.file_precision == 2 / 3
    assert result.symbol_recall == 2 / 4
    assert result.symbol_precision == 2 / 4
    assert result.order_consistency == 0.0
    assert result.unplanned_edits == ("e.py",)
    assert result.missing_files == ("c.py",)


def test_order_counts_only_dependencies_with_both_ends_planned() -> None:
    """Of three gold dependencies one has an end that is not planned, and one of the other two is kept."""
    plan = [step(1, "b.py", ""), step(2, "a.py", "helper"), step(3, "b.py", "Parser.feed")]
    assert align(plan, [], GOLD).order_consistency == 1 / 2


def test_one_step_over_both_ends_contradicts_nothing() -> None:
    """A class planned as a whole keeps the order of its methods."""
    gold = [step(1, "a.py", "C.one"), step(2, "a.py", "C.two", 1)]
    result = align([step(1, "a.py", "C")], [], gold)
    assert (result.order_consistency, result.symbol_recall, result.symbol_precision) == (1.0, 1.0, 1.0)


def test_containment_is_by_name_and_not_by_prefix() -> None:
    """`Parser` does not hold `ParserError.args`, and module-level code holds nothing but itself."""
    gold = [step(1, "a.py", "ParserError.args")]
    assert align([step(1, "a.py", "Parser")], [], gold).symbol_recall == 0.0
    assert align([step(1, "a.py", "")], [], gold).symbol_recall == 0.0
    assert align([step(1, "b.py", "ParserError.args")], [], gold).symbol_recall == 0.0


def test_files_that_come_or_go_are_one_symbol() -> None:
    """Which symbols a plan names inside of a new file makes no difference."""
    gold = [step(1, "new.py", "", action="create"), step(2, "old.py", "", action="delete")]
    plan = [step(1, "new.py", "f", action="create"), step(2, "new.py", "g"), step(3, "old.py", "h", action="delete")]
    result = align(plan, [], gold)
    assert (result.symbol_recall, result.symbol_precision) == (1.0, 1.0)


def test_empty_plans() -> None:
    """Planning nothing is right only when there is nothing to do."""
    nothing = align([], ["a.py"], GOLD)
    assert (nothing.file_recall, nothing.file_precision, nothing.symbol_recall, nothing.symbol_precision) == (
        0,
        0,
        0,
        0,
    )
    assert nothing.order_consistency == 1.0
    assert nothing.unplanned_edits == ("a.py",)
    idle = align([], [], [])
    assert (idle.file_recall, idle.file_precision, idle.symbol_recall, idle.symbol_precision) == (1, 1, 1, 1)


def test_the_stored_form_is_json() -> None:
    """What is stored reads back as the same values."""
    stored = align(GOLD[:1], ["x.py"], GOLD).as_dict()
    assert json.loads(json.dumps(stored)) == stored
    assert stored["missing_files"] == ["b.py", "c.py"]

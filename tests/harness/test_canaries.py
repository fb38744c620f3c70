"""Canaries: what is drawn, and what is said about how they behaved."""

from __future__ import annotations

import ast
import warnings

import pytest

from harness.canaries import MOST_FOLDERS, Canary, Seen, draw, folders_of, is_canary, judge
from tests.trees import tree_of

PLACED = {"t": "placed", "root": ".", "folders": ["tests"]}
PASSED = frozenset({"tests/test_a.py"})


def good(canaries: tuple[Canary, ...]) -> list[Seen]:
    """Return what is seen of canaries that behave."""
    seen = []
    for canary in canaries:
        where = f"{canary.folder}/test_{canary.name}.py::test_"
        seen += [Seen(where + canary.passing, "passed", ""),
                 Seen(where + canary.failing, "failed", f"AssertionError: {canary.mark}\nassert 1 == 2")]  # fmt: skip
    return seen


def test_every_folder_gets_an_opening_and_a_closing_one() -> None:
    """Two modules for each folder, with names that no other module or function has."""
    canaries = draw(["tests", "tests/deep"])
    assert [(canary.folder, canary.opening) for canary in canaries] == [
        ("tests", True), ("tests", False), ("tests/deep", True), ("tests/deep", False),
    ]  # fmt: skip
    names = [name for canary in canaries for name in (canary.name, canary.passing, canary.failing, canary.mark)]
    assert len(set(names)) == len(names)
    assert {canary.name for canary in draw(["tests"])}.isdisjoint({canary.name for canary in draw(["tests"])})


def test_one_function_passes_and_the_other_fails() -> None:
    """Run as they are, the passing one returns and the failing one raises an assertion error with its mark."""
    for canary in draw(["x"] * 40):
        text = canary.text.replace(f"<{canary.passing}>", "good").replace(f"<{canary.failing}>", "bad")
        scope: dict[str, object] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # as projects do
            exec(compile(ast.parse(text), "canary", "exec"), scope)
        assert scope["good"]() is None  # type: ignore[operator]
        with pytest.raises(AssertionError, match=canary.mark):
            scope["bad"]()  # type: ignore[operator]


def test_folders_are_those_of_the_files_that_are_run() -> None:
    """Each folder once; for the whole suite the first ones that hold test modules."""
    tree = tree_of(
        {f"tests/part{number:02}/test_x.py": "" for number in range(20)} | {"src/a.py": "", "tests/d.txt": ""}
    )
    assert folders_of(tree, ("tests/a/test_1.py", "tests/b/test_2.py", "tests/a/test_3.py")) == ("tests/a", "tests/b")
    assert folders_of(tree, ()) == tuple(f"tests/part{number:02}" for number in range(MOST_FOLDERS))
    assert folders_of(tree_of({"app/tests.py": "", "app/views.py": ""}), ()) == ("app",)
    assert folders_of(tree_of({"app/checks.py": ""}), ()) == ("",)


def test_a_canary_at_the_top_stands_for_a_suite_whose_modules_no_name_tells() -> None:
    """Where the folders of the declared suite are unknown, anything that passes asks for the canaries at the top."""
    canaries, placed = draw([""]), {"root": ".", "folders": [""]}
    assert "in the top folder was not run" in judge(canaries, [], placed, PASSED, every_folder=False)[0]
    assert judge(canaries, [], placed, frozenset(), every_folder=False)[0] == ""


def test_canaries_that_behave_are_evidence_and_no_problem() -> None:
    """Every canary is listed with what it had to do and did."""
    canaries = draw(["tests"])
    problem, results = judge(canaries, good(canaries), PLACED, PASSED, every_folder=True)
    assert problem == ""
    assert sorted(result.outcome for result in results) == ["failed", "failed", "passed", "passed"]
    assert all(result.outcome == result.expected for result in results)


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("outcome", ["passed", "failed", "skipped", "error", "unfinished", "xfailed", None])
def test_any_other_outcome_is_a_problem(index: int, outcome: str | None) -> None:
    """A canary that is skipped, missing or in another state than it must be is named by its place."""
    canaries = draw(["tests"])
    seen = good(canaries)
    if outcome == seen[index].outcome:
        return
    if outcome is None:
        del seen[index]
    else:
        seen[index] = Seen(seen[index].node_id, outcome, seen[index].words)
    problem, results = judge(canaries, seen, PLACED, PASSED, every_folder=True)
    assert problem.startswith(
        f"a{'n' if index < 2 else ''} {'opening' if index < 2 else 'closing'} canary beside the tests in tests"
    )
    assert any(result.outcome == (outcome or "absent") for result in results)


def test_failing_in_another_way_is_a_problem() -> None:
    """A fixture that breaks every test is not our assertion."""
    canaries = draw(["tests"])
    seen = [Seen(test.node_id, test.outcome, "ValueError: else") for test in good(canaries)]
    problem, _ = judge(canaries, seen, PLACED, PASSED, every_folder=True)
    assert "failed in another way" in problem


def test_where_nothing_passed_nothing_is_asked_of_canaries() -> None:
    """A folder whose tests could not be collected resolves nothing, with or without canaries."""
    canaries = draw(["tests"])
    assert judge(canaries, [], PLACED, frozenset(), every_folder=True) == ("", ())
    assert judge(canaries, [], PLACED, frozenset({"other/test_b.py"}), every_folder=True)[0] == ""
    assert "no canary was written" in judge(canaries, [], {}, PASSED, every_folder=True)[0]


def test_folders_count_by_their_place_in_the_tree_whatever_the_root_directory() -> None:
    """Node ids are relative to pytest's root directory, which need not be the tree."""
    canaries = draw(["sub/tests"])
    placed = {"root": "sub", "folders": ["sub/tests"]}
    assert "was not run" in judge(canaries, [], placed, PASSED, every_folder=True)[0]
    assert judge(canaries, good(canaries), placed, PASSED, every_folder=True)[0] == ""


def test_only_written_folders_count_for_a_declared_suite() -> None:
    """Which folders belong to the declared suite is known to pytest alone."""
    canaries = draw(["tests", "more"])
    seen = good(canaries[:2])
    passed = frozenset({"tests/test_a.py", "more/test_b.py"})
    assert judge(canaries, seen, PLACED, passed, every_folder=False)[0] == ""
    assert "beside the tests in more" in judge(canaries, seen, PLACED, passed, every_folder=True)[0]


def test_canaries_of_parametrized_fixtures_count_each() -> None:
    """A fixture with parameters that every test gets makes several tests of one function; each has to behave."""
    canaries = draw(["tests"])
    seen = [Seen(f"{t.node_id}[{n}]", t.outcome, t.words) for t in good(canaries) for n in ("a", "x::y.py::z")]
    assert judge(canaries, seen, PLACED, PASSED, every_folder=True)[0] == ""
    seen[3] = Seen(seen[3].node_id, "passed", "")
    assert "must have failed is passed" in judge(canaries, seen, PLACED, PASSED, every_folder=True)[0]


def test_tests_of_the_project_are_not_taken_for_ours() -> None:
    """Only a function's name counts, not a parameter that looks like it."""
    canaries = draw(["tests"])
    name = canaries[0].passing
    assert is_canary(f"tests/test_x.py::TestY::test_{name}", canaries)
    assert not is_canary(f"tests/test_x.py::test_y[test_{name}]", canaries)
    assert not is_canary(f"tests/{name}/test_x.py::test_y", canaries)

"""The comparison of documents, and what it says about differences."""

from __future__ import annotations

from typing import Any

import pytest

from harness.grade import Grade, Verdict
from harness.oracle.contract import Contract
from harness.oracle.judge import confirmed, judge
from harness.oracle.recording import Call, Evidence, Recording, Replies

F = {"t": "float", "v": (0.5).hex()}
ONE, TWO = {"t": "list", "v": [1]}, {"t": "list", "v": [2]}


def outcome(value: object) -> dict[str, Any]:
    """Return the outcome of a call that gives a value."""
    return {"value": value, "changed": []}


def verdict_of(expected: dict[str, Any], got: dict[str, Any] | None, **more: Any) -> tuple[bool, str]:
    """Return whether one call agrees, and the first difference."""
    do = {"op": "call", "name": "m:f", "args": [1, F], "kwargs": [["key", "x"]]}
    recording = Recording("c", (Call(0, do, expected, "t"),))
    given = {"completed": True, "returncode": 0, "timed_out": False, "seconds": 1.0} | more
    verdict = judge(recording, Replies({} if got is None else {0: got}, **given))
    return verdict.agrees, verdict.first


def obj(name: str, *mro: str, **fields: object) -> dict[str, Any]:
    """Return the document of a value class."""
    return {
        "t": "object",
        "c": f"m:{name}",
        "mro": [name, *mro],
        "v": [[key, key, value] for key, value in fields.items()],
    }


SAME = [
    (outcome(1), outcome(1)),
    (outcome({"t": "dict", "k": "dict", "v": [["a", 1], ["b", 2]]}), outcome({"t": "dict", "k": "defaultdict", "f": None, "v": [["b", 2], ["a", 1]]})),
    (outcome({"t": "set", "v": [1, 2]}), outcome({"t": "set", "v": [2, 1]})),
    (outcome(1), outcome({"t": "float", "v": (1.0).hex()})),
    (outcome(F), outcome({"t": "float", "v": (0.5 + 1e-12).hex()})),
    (outcome({"t": "float", "v": "nan"}), outcome({"t": "float", "v": "nan"})),
    (outcome({"t": "float", "v": "inf"}), outcome({"t": "float", "v": "inf"})),
    (outcome({"t": "int", "v": "f" * 400}), outcome({"t": "int", "v": "f" * 400})),
    (outcome(200), outcome({"t": "enum", "c": "http:HTTPStatus", "v": "OK", "b": 200, "w": 200})),
    (outcome({"t": "dict", "k": "dict", "v": [["a", 1]]}), outcome({**obj("D"), "b": {"t": "dict", "k": "dict", "v": [["a", 1]]}})),
    (outcome({**obj(""), "c": "", "b": ONE}), outcome(ONE)),
    ({**outcome(None), "self": obj("A", x=1)}, {**outcome(None), "self": obj("A", x=1, y=2)}),
    ({**outcome(None), "unread": ["0"]}, {"value": None, "changed": [[0, ONE]]}),
    ({"raised": {"c": "KeyError", "or": ["ValueError"]}}, {"raised": {"c": "m:E", "mro": ["E", "ValueError"]}}),
    (outcome({"t": "opaque", "c": ""}), outcome(5)),
    (outcome({"t": "opaque", "c": "m:A"}), outcome(obj("B", "A"))),
    (outcome(obj("A", x=1)), outcome(obj("A", x=1, more=2))),
    ({"raised": {"c": "ValueError"}}, {"raised": {"c": "m:Mine", "mro": ["Mine", "ValueError"]}}),
    ({"raised": {"c": ""}}, {"raised": {"c": "m:Mine", "mro": ["Mine"]}}),
]  # fmt: skip
DIFFERENT = [
    (outcome(1), outcome(True)),
    (outcome(ONE), outcome(TWO)),
    (outcome(ONE), outcome({"t": "tuple", "v": [1]})),
    (outcome(1), outcome({"t": "float", "v": (1.001).hex()})),
    (outcome(F), outcome({"t": "float", "v": (0.5 + 1e-8).hex()})),
    (outcome(1 << 52), outcome((1 << 52) + 1)),
    (outcome(1), outcome({"t": "object", "c": "m:Number", "mro": ["Number", "int"], "b": 2, "v": []})),
    (outcome({"t": "float", "v": "nan"}), outcome(0)),
    (outcome({**obj("A"), "b": ONE}), outcome({**obj("A"), "b": TWO})),
    (outcome({**obj("A"), "b": ONE}), outcome(ONE)),
    (outcome({"t": "enum", "c": "m:E", "v": "A", "w": 1}), outcome({"t": "enum", "c": "m:E", "v": "A", "w": 2})),
    ({**outcome(None), "self": obj("A", x=1)}, {**outcome(None), "self": obj("A", x=2)}),
    ({**outcome(None), "self": obj("A", x=1)}, outcome(None)),
    ({**outcome(None), "unread": ["0"]}, {"value": None, "changed": [[1, ONE]]}),
    ({"raised": {"c": "KeyError", "or": ["ValueError"]}}, {"raised": {"c": "m:E", "mro": ["E", "TypeError"]}}),
    (outcome({"t": "bytes", "v": "YQ=="}), outcome("a")),
    (outcome({"t": "set", "v": [1, 2]}), outcome({"t": "set", "v": [1, 1]})),
    (outcome({"t": "dict", "k": "OrderedDict", "v": [[1, 1], [2, 2]]}), outcome({"t": "dict", "k": "OrderedDict", "v": [[2, 2], [1, 1]]})),
    (outcome({"t": "opaque", "c": "m:A"}), outcome({"t": "opaque", "c": "m:Yes", "mro": ["Yes", "object"]})),
    (outcome(obj("A", x=1)), outcome(obj("A", x=2))),
    (outcome(obj("A", x=1)), outcome({"t": "opaque", "c": "m:A", "mro": ["A"]})),
    (outcome(3), outcome({"t": "opaque", "c": "m:Yes", "mro": ["Yes"]})),
    ({"raised": {"c": "ValueError"}}, {"raised": {"c": "KeyError", "mro": ["KeyError", "LookupError"]}}),
    ({"raised": {"c": ""}}, outcome(None)),
    (outcome(None), {"raised": {"c": "E", "mro": ["E"]}}),
    (outcome(None), {"timeout": True}),
    (outcome(None), {"unready": "AttributeError"}),
    ({"value": None, "changed": [[0, ONE]]}, outcome(None)),
    (outcome(None), {"value": None, "changed": [[0, ONE]]}),
    (outcome({"t": "set", "v": [1]}), outcome({"t": "set"})),
    (outcome({"t": "dict", "k": "dict", "v": [[1, 1]]}), outcome({"t": "dict", "k": "dict", "v": [[]]})),
    (outcome(1), {"value": {"t": []}}),
    (outcome(1), {}),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "got"), SAME)
def test_what_agrees(expected: dict[str, Any], got: dict[str, Any]) -> None:
    """Order of dictionaries and sets, subclasses, extra fields and what was never compared make no difference."""
    assert verdict_of(expected, got) == (True, "")


@pytest.mark.parametrize(("expected", "got"), DIFFERENT)
def test_what_disagrees(expected: dict[str, Any], got: dict[str, Any]) -> None:
    """Type, value, effect, exception and malformed answers do, and there is a sentence about each."""
    agrees, words = verdict_of(expected, got)
    assert not agrees
    assert words.startswith("f(1, 0.5, key='x') ")


@pytest.mark.parametrize(("more", "words"), [
    ({"returncode": -11, "completed": False}, "signal 11 ended the replay"),
    ({"timed_out": True, "completed": False, "seconds": 60.0}, "did not end within 60 s"),
    ({"returncode": 3, "completed": False}, "ended with status 3"),
])  # fmt: skip
def test_an_answer_that_is_missing_disagrees(more: dict[str, Any], words: str) -> None:
    """Silence is no agreement, and the reason says how it came about."""
    agrees, first = verdict_of(outcome(1), None, **more)
    assert not agrees
    assert words in first


def test_a_tampered_pipe_disagrees() -> None:
    """Right answers through a pipe that somebody else wrote to do not count."""
    assert verdict_of(outcome(1), outcome(1), tampering="a line of somebody else") == (
        False, "the replay was interfered with: a line of somebody else",
    )  # fmt: skip


def test_names_that_only_the_solution_knows_are_not_expected() -> None:
    """Private and unmentioned classes, and exceptions below the one that tests name, leave the recording."""
    contract = Contract(frozenset({"New", "NewError"}), frozenset({"LookupError"}))
    assert contract.outcome(outcome({"t": "opaque", "c": "m:New", "mro": ["New"]}))["value"]["c"] == ""
    assert contract.outcome(outcome({"t": "opaque", "c": "m:_Old", "mro": ["_Old"]}))["value"]["c"] == ""
    assert contract.outcome(outcome({"t": "opaque", "c": "m:Old", "mro": ["Old"]}))["value"]["c"] == "m:Old"
    assert contract.outcome(outcome({"t": "opaque", "c": "builtins:generator", "mro": []}))["value"]["c"] == ""
    assert contract.outcome(outcome({**obj("New", x=1)}))["value"] == {"t": "object", "c": "", "v": [["x", "x", 1]]}
    raised = {"raised": {"c": "m:NewError", "mro": ["NewError", "KeyError", "LookupError", "Exception"]}}
    assert contract.outcome(raised) == {"raised": {"c": "LookupError"}}
    assert Contract(frozenset({"NewError"}), frozenset()).outcome(raised) == {"raised": {"c": "KeyError"}}
    assert Contract(frozenset(), frozenset({"Exception"})).outcome(raised) == {"raised": {"c": ""}}


@pytest.mark.parametrize(
    ("answer", "returncode", "timed_out", "verdict"),
    [
        (1, 0, False, Verdict.RESOLVED),
        (2, 0, False, Verdict.TAMPERED),
        (2, -9, True, Verdict.TAMPERED),
        (None, 0, False, Verdict.TAMPERED),
        (None, -11, False, Verdict.TAMPERED),
        (None, -9, True, Verdict.TIMEOUT),
        (None, -9, False, Verdict.ENV_BROKEN),
    ],
)
def test_resolved_needs_both_verdicts(answer: int | None, returncode: int, timed_out: bool, verdict: Verdict) -> None:
    """A difference or a silence is TAMPERED; being killed from outside says nothing about the code."""
    do = {"op": "call", "name": "m:f", "args": [], "kwargs": []}
    recording = Recording("c", (Call(0, do, outcome(1), "t"),))
    told = {} if answer is None else {0: outcome(answer)}
    replies = Replies(told, completed=True, returncode=returncode, timed_out=timed_out, seconds=1.0)
    passed = Grade(Verdict.RESOLVED, "every required test passed", 1, 1)
    assert confirmed(passed, Evidence(recording.text, replies.text)).verdict is verdict


def test_the_oracle_never_improves_a_verdict() -> None:
    """What the tests refused stays refused, and without an oracle the tests decide."""
    failed = Grade(Verdict.NOT_RESOLVED, "one failed", 0, 1)
    assert confirmed(failed, Evidence("no recording", "no replies")) is failed
    passed = Grade(Verdict.RESOLVED, "every required test passed", 1, 1)
    assert confirmed(passed, None) is passed

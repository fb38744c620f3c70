"""Choosing calls, keeping recordings, and the reasons for having none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.grade import Required
from harness.oracle.make import Made, WhyNone
from harness.oracle.recording import Call, OracleMissing, Recording, load, oracle_path, save
from harness.oracle.select import MOST_PER_TEST, Seen, chosen, read_seen, shapes_of, without

REQUIRED = Required(frozenset({"t::new"}), frozenset({"t::old", "t::many[1]", "t::many[2]"}))


def seen(number: int, test: str = "t::new", *, on: int | None = None, touched: bool = True, arg: int = 0) -> Seen:
    """Return an entry call, on the result of another one or by itself."""
    do: dict[str, Any] = {"op": "call", "name": "m:f", "args": [arg or number], "kwargs": []}
    if on is not None:
        do |= {"op": "method", "name": "go", "on": {"t": "ref", "v": [on]}}
    return Seen(Call(number, do, {"value": number, "changed": []}, test), f"a.py:{number % 7}", touched)


def test_a_call_brings_along_what_made_its_receiver() -> None:
    """Earlier calls on the same object are made but not compared; later and unrelated ones are left out."""
    calls = chosen([
        seen(0, touched=False), seen(1, on=0, touched=False), seen(2, touched=False), seen(3, on=0), seen(4, on=0, touched=False),
    ], REQUIRED)  # fmt: skip
    assert [(call.id, call.expected is not None) for call in calls] == [(0, False), (1, False), (3, True)]


def test_a_call_on_something_that_was_not_recorded_is_left_out() -> None:
    """What it rests on is missing, so it cannot be made."""
    assert chosen([seen(3, on=1)], REQUIRED) == ()


def test_the_same_question_is_asked_once() -> None:
    """Equal calls without a receiver say the same."""
    assert [call.id for call in chosen([seen(0, arg=5), seen(1, arg=5)], REQUIRED)] == [0]


def test_deciding_tests_come_first_and_no_test_takes_everything() -> None:
    """A test with many calls gets its share, fail-to-pass tests before all others."""
    many = [seen(n, "t::many[1]", arg=n + 1) for n in range(100)]
    calls = chosen([*many, seen(200)], REQUIRED)
    assert 200 in {call.id for call in calls}
    assert sum(call.test == "t::many[1]" for call in calls) == MOST_PER_TEST


def test_only_required_tests_that_passed_are_read() -> None:
    """What a failing or flaky test did is no contract."""
    row = {
        "id": 0,
        "do": {"op": "call", "name": "m:f", "args": []},
        "outcome": {"value": 1, "changed": []},
        "fn": "",
        "touched": True,
    }
    records = [
        {"t": "calls", "test": test, "calls": [row | {"id": number}]}
        for number, test in enumerate(("t::new", "t::old", "t::flaky"))
    ]
    ends = [
        {"t": "test", "id": "t::new", "passed": True},
        {"t": "test", "id": "t::old", "passed": False},
        {"t": "test", "id": "t::flaky", "passed": True},
    ]
    assert [item.call.test for item in read_seen([*records, *ends], REQUIRED)] == ["t::new"]


def test_unstable_calls_leave_with_what_only_they_needed() -> None:
    """A call that is no longer compared stays as long as another one needs it."""
    calls = [seen(0).call, seen(1, on=0).call, seen(2).call, seen(3, on=2).call]
    left = without(calls, {0, 3})
    assert [(call.id, call.expected is not None) for call in left] == [(0, False), (1, True), (2, True)]


def test_shapes_are_the_fields_of_expected_objects() -> None:
    """Nested objects count, nameless ones do not."""
    inner = {"t": "object", "c": "m:In", "v": [["x", "x", 1]]}
    outer = {"t": "object", "c": "m:Out", "v": [["in", "in", inner], ["y", "y", 2]]}
    call = Call(0, {}, {"value": {"t": "list", "v": [outer, {"t": "object", "c": "", "v": []}]}, "changed": []}, "t")
    assert shapes_of([call]) == {"In": ("x",), "Out": ("in", "y")}


def test_a_recording_is_read_back_by_its_digest(tmp_path: Path) -> None:
    """What was saved comes back; one changed byte, another commit or a missing file is no oracle."""
    recording = Recording("c" * 40, (seen(0).call,), {"A": ("x",)}, 1)
    sha256 = save(tmp_path, recording)
    assert load(tmp_path, recording.commit, sha256) == recording
    path = oracle_path(tmp_path, recording.commit)
    path.write_bytes(path.read_bytes().replace(b'"discriminating":1', b'"discriminating":2'))
    with pytest.raises(OracleMissing, match="has the digest"):
        load(tmp_path, recording.commit, sha256)
    with pytest.raises(OracleMissing, match="cannot be read"):
        load(tmp_path, "d" * 40, sha256)


COUNT = "def count(items):\n    return len(items)\n"


@pytest.mark.parametrize(("before", "after", "test", "why"), [
    ("", "def go(callback):\n    return callback()\n", "from a import go\ndef test():\n    assert go(lambda: 3) == 3\n", WhyNone.UNSEEN),
    ("X = 1\n", "X = 2\n", "import a\ndef test():\n    assert a.X == 2\n", WhyNone.UNTOUCHED),
    ("", "import time\ndef now(x):\n    return time.time_ns()\n", "from a import now\ndef test():\n    assert now(1)\n", WhyNone.UNSTABLE),
    ("", "import os\ndef die():\n    return 3\n", "import os\nfrom a import die\ndef test():\n    assert die() == 3\ndef test_z():\n    import sys\n    if sys.getprofile(): os._exit(3)\n", WhyNone.CRASHED),
])  # fmt: skip
def test_why_a_commit_has_no_oracle(record: Callable[..., Made], before: str, after: str, test: str, why: str) -> None:
    """Each reason is one word."""
    made = record({"a.py": before, "tests/test_a.py": test}, {"a.py": after, "tests/test_a.py": test})
    assert (made.recording, made.why) == (None, why)


def test_without_time_there_is_no_oracle(record: Callable[..., Made]) -> None:
    """A spent budget is a reason, not a failure."""
    files = {"tests/test_a.py": "from a import count\ndef test():\n    assert count([1]) == 1\n"}
    made = record({**files, "a.py": ""}, {**files, "a.py": COUNT}, budget_s=0.01)
    assert (made.recording, made.why) == (None, WhyNone.BUDGET)


def test_what_a_test_patches_drops_out(record: Callable[..., Made]) -> None:
    """A call whose answer came from a patch of the test is not expected of anybody; the others stay."""
    test = (
        "import a\ndef test(monkeypatch):\n    assert a.size(2) == 4\n    monkeypatch.setattr(a, 'FACTOR', 10)\n"
        "    assert a.size(3) == 30\n    assert a.FACTOR == 10\n"
    )
    made = record(
        {"a.py": "FACTOR = 1\n", "tests/test_a.py": test},
        {"a.py": "FACTOR = 2\n\n\ndef size(n):\n    return n * FACTOR\n", "tests/test_a.py": test},
    )
    assert made.recording is not None
    assert [call.do["args"] for call in made.recording.calls] == [[2]]

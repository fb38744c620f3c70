"""What the code that is asked can know and do: this call and those before it, and no harm to the answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.grade import Grade, Verdict
from harness.oracle.judge import confirmed
from harness.oracle.make import Made
from harness.oracle.process import replay, without_tests
from harness.oracle.recording import Evidence, Recording, Replies
from harness.oracle.spoken import spoken
from harness.paths import Role, role
from tests.harness.oracle.conftest import RequestFor
from tests.trees import tree_of

GOLD = "def encode(text):\n    return text[::-1]\n\n\ndef decode(text):\n    return text[::-1]\n"
FILES = {"tests/test_a.py": "import a\n\ndef test():\n    assert a.decode(a.encode('abc')) == 'abc'\n"}
SEARCH = (
    "import gc, json, os, re, sys\n\n\ndef found():\n    texts, frame = [], sys._getframe()\n    while frame:\n"
    "        texts.append(repr(frame.f_locals))\n        frame = frame.f_back\n"
    "    texts += [repr(thing) for thing in gc.get_objects() if type(thing) in (dict, list, tuple) and len(thing) < 1000 and 'calls' in repr(thing)]\n"
    "    for path in ('/proc/%d/mem' % os.getppid(), '/proc/%d/fd' % os.getppid()):\n        try:\n"
    "            texts.append(os.listdir(path) if path.endswith('fd') else open(path, 'rb').read(1))\n"
    "        except PermissionError:\n            continue\n        except OSError:\n            pass\n        return 'the other process lies open'\n"
    "    return 'a later call' if any('cba' in text for text in texts) else 'nothing'\n\n\ndef encode(text):\n    return found()\n\n\ndef decode(text):\n    return text\n"
)  # fmt: skip


@pytest.fixture(scope="module")
def recording(record: Callable[..., Made]) -> Recording:
    """Return the recording of a round trip."""
    made = record({**FILES, "a.py": ""}, {**FILES, "a.py": GOLD})
    assert made.recording is not None, made.why
    return made.recording


def answered(recording: Recording, request_for: RequestFor, text: str) -> Replies:
    """Return what a module answers."""
    request = request_for({**FILES, "a.py": text})
    return replay(request, request.tree, recording.calls, recording.shapes)


def test_later_calls_are_not_there_to_be_found(recording: Recording, request_for: RequestFor) -> None:
    """Neither frames nor the garbage collector nor /proc lead to the argument of a later call."""
    replies = answered(recording, request_for, SEARCH)
    assert [outcome.get("value") for outcome in replies.outcomes.values()] == ["nothing", "cba"]


@pytest.mark.parametrize(("code", "words"), [
    ("import os\nos.kill(os.getpid(), 15)", "signal 15 ended the replay"),
    ("import os\nos._exit(3)", "the replay ended with status 3"),
    ("import os\nos.closerange(3, 4096)", "the replay ended with status 1"),
    ("import os\nfor fd in range(3, 200):\n    try:\n        os.write(fd, b'[\"\", {\"value\": \"cba\"}]\\n')\n    except OSError:\n        pass", "interfered"),
])  # fmt: skip
def test_what_it_does_to_its_own_process_is_its_doing(
    recording: Recording, request_for: RequestFor, code: str, words: str
) -> None:
    """An end, a closed pipe and a forged answer all disagree, and none looks like trouble from outside."""
    replies = answered(recording, request_for, f"{code}\n{GOLD}")
    passed = Grade(Verdict.RESOLVED, "every required test passed", 1, 1)
    judged = confirmed(passed, Evidence(recording.text, replies.text))
    assert judged.verdict is Verdict.TAMPERED
    assert words in f"{judged.reason} {replies.tampering and 'interfered'}"


def test_memory_that_it_may_not_have_is_its_doing(recording: Recording) -> None:
    """Being ended for the memory one takes is a difference, not trouble of the machine."""
    replies = Replies({}, completed=False, returncode=-9, timed_out=False, seconds=1.0, out_of_memory=True)
    passed = Grade(Verdict.RESOLVED, "every required test passed", 1, 1)
    judged = confirmed(passed, Evidence(recording.text, replies.text))
    assert (judged.verdict, "more memory" in judged.reason) == (Verdict.TAMPERED, True)


def test_hollow_functions_say_which_calls_discriminate(record: Callable[..., Made]) -> None:
    """A new function that gives None anyway discriminates nothing, although the parent does not have it."""
    gold = "def show(items):\n    print(sum(items))\n"
    test = {
        "tests/test_a.py": "import a\n\ndef test(capsys):\n    a.show([1])\n    assert capsys.readouterr().out == '1\\n'\n"
    }
    made = record({**test, "a.py": ""}, {**test, "a.py": gold})
    assert made.recording is not None
    assert (len(made.recording.checked), made.recording.discriminating) == (1, 0)


def test_tests_under_any_name_leave_the_tree() -> None:
    """A file that defines a recorded test goes, wherever it lies; a module with a test in a docstring stays."""
    tree = tree_of(
        {"checks/check_x.py": "def check_net(): pass\n", "shop/core.py": "def net(): pass\n", "conftest.py": ""}
    )
    assert role("checks/check_x.py") is Role.SOURCE
    named = ("checks/check_x.py::check_net[1]", "shop/core.py::shop.core.net")
    assert sorted(without_tests(tree, named)) == ["shop/core.py"]
    assert spoken(tree, ["checks/check_x.py"]).names == frozenset()


def test_the_words_of_tests() -> None:
    """Attributes however they are read, classes by the name they have at home, exceptions that go together."""
    words = spoken(tree_of({"tests/test_a.py": (
        "from a import Money as M\nM(1).amount\ngetattr(x, 'unit')\nattrgetter('in.out')\nx._private\n"
        "match x:\n    case M(side=1):\n        pass\nwith pytest.raises((KeyError, m.OtherError)):\n    pass\n"
    )}))  # fmt: skip
    assert {"amount", "unit", "in", "out", "side"} <= words.attributes
    assert "_private" not in words.attributes
    assert "Money" in words.called
    assert words.accepted == (frozenset({"KeyError", "OtherError"}),)

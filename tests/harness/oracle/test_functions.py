"""What a commit changes: functions, and who uses what it changes."""

from __future__ import annotations

from harness.oracle.functions import changed_functions, class_names
from harness.oracle.spoken import spoken
from tests.trees import tree_of

BEFORE = """\
LIMIT = 1


def same():
    return 1


def uses_limit(x):
    return x < LIMIT


def signature(a):
    return a


class A:
    kind = 1

    def one(self):
        return 1

    def two(self):
        return 2


class B:
    def three(self):
        return 3
"""
AFTER = (
    BEFORE.replace("LIMIT = 1", "LIMIT = 2").replace("signature(a)", "signature(a, b=1)").replace("return 2", "return 22")
    .replace("kind = 1", "kind = 2") + "\n    def fresh(self):\n        return same()\n"
)  # fmt: skip


def names(after: str, before: str = BEFORE) -> tuple[list[str], list[str]]:
    """Return the functions with new bodies, and the first code line of everything touched."""
    changed = changed_functions(tree_of({"a.py": before}), tree_of({"a.py": after}))
    lines = after.splitlines()
    spans = changed.touched.get("a.py", ())
    return [node.name for node in changed.bodies.get("a.py", ())], [lines[first - 1].strip() for first, _ in spans]


def test_bodies_and_what_depends_on_changed_definitions() -> None:
    """New bodies are two and fresh; a constant, a signature and a class attribute touch more than that."""
    bodies, touched = names(AFTER)
    assert bodies == ["two", "fresh"]
    assert touched == [
        "def uses_limit(x):", "def signature(a, b=1):", "def one(self):", "def two(self):", "def fresh(self):",
    ]  # fmt: skip


def test_docstrings_comments_and_positions_change_nothing() -> None:
    """A function that says the same is the same."""
    after = BEFORE.replace("def same():\n", "# why\n\n\ndef same():\n    '''Doc.'''\n")
    assert names(after) == ([], [])


def test_a_moved_function_is_new_where_it_arrives() -> None:
    """Another file is another place to look for it."""
    changed = changed_functions(tree_of({"a.py": BEFORE}), tree_of({"b.py": BEFORE}))
    assert [node.name for node in changed.bodies["b.py"]] == ["same", "uses_limit", "signature", "one", "two", "three"]


def test_decorators_belong_to_the_span() -> None:
    """A code object starts at its first decorator, and so does the span."""
    changed = changed_functions(tree_of({}), tree_of({"a.py": "import x\n\n@x.y\n@x.z\ndef f():\n    return 1\n"}))
    assert changed.touched["a.py"] == ((3, 6),)


def test_tests_and_unreadable_files_have_no_functions() -> None:
    """Only source files of this Python count."""
    gold = tree_of(
        {"tests/test_a.py": "def test(): return 1\n", "old.py": "print 'x'\n", "conftest.py": "def f(): return 1\n"}
    )
    changed = changed_functions(tree_of({}), gold)
    assert (dict(changed.bodies), dict(changed.touched)) == ({}, {})


def test_names_of_classes_and_names_that_tests_say() -> None:
    """Nested classes have qualified names; classes inside functions have none."""
    tree = tree_of({
        "a.py": "class A:\n    class B: pass\ndef f():\n    class C: pass\n",
        "tests/test_a.py": "from a import A as Z\nZ.thing(x)\n",
    })  # fmt: skip
    assert class_names(tree) == {"A", "A.B"}
    assert {"A", "Z", "thing", "x"} <= spoken(tree).names

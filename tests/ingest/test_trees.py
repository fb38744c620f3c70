"""Trees of listed commits: read once, bounded, and nothing in them leads out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from ingest.trees import Trees, TreesTooLarge, link_problem, name_problem, parse_tree, read_trees

FILE, FOLDER, LINK, SUBMODULE = b"100644", b"40000", b"120000", b"160000"


def _row(mode: bytes, name: bytes, oid: int) -> bytes:
    return mode + b" " + name + b"\0" + oid.to_bytes(20, "big")


def _id(number: int) -> str:
    return number.to_bytes(20, "big").hex()


def _read(store: dict[int, bytes], *roots: int) -> Trees:
    def read(ids: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        for oid in ids:
            yield oid, store.get(int(oid, 16))

    return read_trees((_id(root) for root in roots), read)


def test_what_two_trees_share_is_listed_once() -> None:
    """Contents, links and names of several roots come out once each, submodules not at all."""
    shared = _row(FILE, b"a.py", 21) + _row(LINK, b"l", 22)
    store = {
        1: _row(FOLDER, b"pkg", 10) + _row(FILE, b"x", 20),
        2: _row(b"040000", b"pkg", 10) + _row(FILE, b"x", 23) + _row(SUBMODULE, b"sub", 99),
        10: shared,
    }
    trees = _read(store, 1, 2)
    assert trees.blobs == {_id(20): b"x", _id(21): b"pkg/a.py", _id(23): b"x"}
    assert list(trees.links) == [(b"pkg/l", _id(22))]
    assert set(trees.names) == {b"pkg", b"x", b"a.py", b"l", b"sub"}
    assert trees.longest == b"pkg/a.py"


def test_a_folder_within_itself_ten_times_on_ten_levels_is_cut_off() -> None:
    """Ten objects that unfold to ten thousand million files are refused, not unfolded."""
    store = {level: b"".join(_row(FOLDER, b"%d" % i, level + 1) for i in range(10)) for level in range(1, 11)}
    store[11] = b"".join(_row(FILE, b"%d" % i, 50) for i in range(10))
    with pytest.raises(TreesTooLarge, match="distinct files"):
        _read(store, 1)


def test_a_tree_that_is_missing_or_no_list_is_named() -> None:
    """What cannot be read is reported by its id and not guessed at."""
    assert _read({1: _row(FOLDER, b"a", 5)}, 1).broken == _id(5)
    assert _read({1: b"100644 cut off"}, 1).broken == _id(1)


def test_rows_are_only_believed_when_they_fill_the_object() -> None:
    """A row that ends early, or bytes behind the last row, make the whole unreadable."""
    good = _row(FILE, b"a", 1) + _row(b"0100644", b"b", 2)
    assert parse_tree(good) == {_row(FILE, b"a", 1), _row(b"0100644", b"b", 2)}
    assert parse_tree(b"") == frozenset()
    assert parse_tree(good[:-1]) is None
    assert parse_tree(good + b"x") is None


@pytest.mark.parametrize(
    "name", [b"a.py", "naïve.py".encode(), "⊗.txt".encode(), b"with space", b"x" * 255, b"README.MD"]
)
def test_names_that_projects_have(name: bytes) -> None:
    """UTF-8, spaces and capitals are nothing special."""
    assert name_problem(name) is None


@pytest.mark.parametrize(
    "name", [b"\xff.py", b"a\nb", b"\x1b[2J", b"\x7f", "\u0085".encode(), "a\u2028b".encode(), b"x" * 256]
)
def test_names_that_are_refused(name: bytes) -> None:
    """Bytes that are no text, control characters and what no disk can hold are problems."""
    assert name_problem(name)


LINKS = {
    b"here": b".", b"deep": b"a/b/c", b"p/q/up": b"../..", b"loop": b"loop/../loop", b"abs": b"/etc",
    b"p/back": b"..",
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "target", "escapes"),
    [
        (b"a", b"b", False), (b"a", b"./b//c", False), (b"a/b", b"../c", False), (b"a/b/c", b"../../d", False),
        (b"a", b"missing/../b", False), (b"a", b"b..c/..d", False), (b"a", b"..", True), (b"a", b"../x", True),
        (b"a/b", b"../../x", True), (b"a", b"b/../../x", True), (b"a", b"missing/../../x", True), (b"a", b"/etc/passwd", True),
        (b"a", b"/", True), (b"a", b"", True), (b"a", b"b\0c", True), (b"a", b"x/" * 2001, True),
        (b"a", b"deep/../../../x", False), (b"a", b"deep/../../../../x", True), (b"p/q/a", b"up/../x", True), (b"a", b"here/../x", True),
        (b"p/a", b"back/../x", True), (b"p/q/a", b"../x/../../y", False), (b"a", b"abs/../x", True),
        (b"a", b"loop/..", False),
    ],
)  # fmt: skip
def test_where_a_link_leads(path: bytes, target: bytes, *, escapes: bool) -> None:
    """A target is walked like the kernel walks it, through other links and folders that do not exist."""
    follow = {key: (value,) for key, value in LINKS.items()}
    assert bool(link_problem(path, target, follow, set())) is escapes


def test_a_link_that_leads_out_in_one_of_the_trees_is_refused() -> None:
    """Where commits differ in what lies on the way, the worst case counts: another target, or a folder."""
    target = b"d/../../x"
    assert link_problem(b"l", target, {b"d": (b"a/b/c",)}, set()) is None
    assert link_problem(b"l", target, {b"d": (b"a/b/c", b".")}, set())
    assert link_problem(b"l", target, {b"d": (b"a/b/c",)}, {b"d"})


def test_links_that_multiply_end() -> None:
    """Links with many targets that lead to each other are given up as a problem, in bounded time."""
    many = tuple(b"%d/../n" % number for number in range(50))
    assert link_problem(b"l", b"n/..", {b"n": many}, set())

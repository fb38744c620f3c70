"""Trees as values: editing, overlaying, digests, the tar stream."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from types import MappingProxyType

import pytest

from harness.tree import EXECUTABLE_MODE, FILE_MODE, SYMLINK_MODE, Entry, Tree, blob_id, changed_paths, write_tar
from tests.trees import tree_of


def with_modes(tree: Tree, modes: dict[str, str]) -> Tree:
    """Return the tree with other modes."""
    entries = {path: Entry(modes.get(path, entry.mode), entry.blob) for path, entry in tree.entries.items()}
    return Tree(MappingProxyType(entries), tree.read_blob)


def tar_of(tree: Tree, **extra: bytes) -> bytes:
    """Return the tar stream of a tree."""
    out = io.BytesIO()
    write_tar(tree, out, prefix="tree", extra=extra)
    return out.getvalue()


def test_blob_id_is_the_one_git_gives(tmp_path: Path) -> None:
    """The id of some content equals what `git hash-object` prints."""
    (tmp_path / "f").write_bytes(b"caf\xc3\xa9\r\n\0")
    printed = subprocess.run(
        ["git", "hash-object", "--no-filters", str(tmp_path / "f")], capture_output=True, check=True
    )
    assert blob_id(b"caf\xc3\xa9\r\n\0") == printed.stdout.decode().strip()


def test_replace_leaves_the_old_tree_alone() -> None:
    """Replacing and removing files makes a new tree; the old one reads as before."""
    old = tree_of({"a.py": "one", "b.py": "two"})
    new = old.replace({"a.py": b"changed", "c.py": b"new"}, remove=["b.py"])
    assert {path: new.text(path) for path in new} == {"a.py": "changed", "c.py": "new"}
    assert {path: old.text(path) for path in old} == {"a.py": "one", "b.py": "two"}


def test_replace_keeps_modes_but_never_turns_text_into_a_link() -> None:
    """An executable stays one; a symbolic link that is replaced becomes a plain file."""
    old = with_modes(tree_of({"run": "x", "link": "run", "a": "a"}), {"run": EXECUTABLE_MODE, "link": SYMLINK_MODE})
    new = old.replace({"run": b"y", "link": b"z", "fresh": b"f"})
    modes = {path: entry.mode for path, entry in new.entries.items()}
    assert modes == {"run": EXECUTABLE_MODE, "link": FILE_MODE, "a": FILE_MODE, "fresh": FILE_MODE}


def test_missing_file_is_a_key_error_and_binary_is_not_text() -> None:
    """Reading what is not there, or is not UTF-8, raises what the docstring promises."""
    tree = tree_of({"b.bin": b"\xff\xfe"})
    with pytest.raises(KeyError):
        tree.read("a.py")
    with pytest.raises(UnicodeDecodeError):
        tree.text("b.bin")


def test_overlay_takes_wanted_paths_with_their_absence() -> None:
    """Wanted paths come from the other tree, and those it lacks are gone."""
    mine = tree_of({"src/a.py": "mine", "tests/old.py": "mine", "tests/same.py": "mine"})
    other = tree_of({"src/a.py": "other", "tests/same.py": "other", "tests/new.py": "other"})
    both = mine.overlay(other, lambda path: path.startswith("tests/"))
    texts = {path: both.text(path) for path in both}
    assert texts == {"src/a.py": "mine", "tests/same.py": "other", "tests/new.py": "other"}


def test_digest_sees_path_mode_and_content_but_not_order() -> None:
    """Equal trees have equal digests however they were made; every single difference shows."""
    base = tree_of({"a": "1", "b": "2"})
    assert base.sha256 == tree_of({"b": "2", "a": "1"}).sha256
    others = [
        tree_of({"a": "1", "b": "3"}),
        tree_of({"a": "1", "c": "2"}),
        tree_of({"a": "1"}),
        with_modes(base, {"a": EXECUTABLE_MODE}),
    ]
    assert len({base.sha256, *(tree.sha256 for tree in others)}) == 5


def test_changed_paths_lists_content_mode_and_presence() -> None:
    """Every kind of difference is listed, sorted; equal files are not."""
    old = tree_of({"same": "s", "text": "1", "mode": "m", "gone": "g"})
    new = with_modes(tree_of({"same": "s", "text": "2", "mode": "m", "new": "n"}), {"mode": EXECUTABLE_MODE})
    assert changed_paths(old, new) == ("gone", "mode", "new", "text")


def test_tar_is_the_same_bytes_every_time_and_unpacks_to_the_tree(tmp_path: Path) -> None:
    """The stream is deterministic and carries contents, the executable bit, links and long or odd names."""
    long = "deep/" * 40 + "ä name with spaces.py"
    tree = with_modes(tree_of({"run.sh": "#!", long: "x", "link": "run.sh"}), {"run.sh": EXECUTABLE_MODE})
    tree = with_modes(tree, {"run.sh": EXECUTABLE_MODE, "link": SYMLINK_MODE})
    stream = tar_of(tree, extra=b"beside")
    assert stream == tar_of(tree, extra=b"beside")
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)  # not in every 3.11
        tar.extractall(tmp_path)
    assert (tmp_path / "tree/run.sh").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "tree" / long).read_text() == "x"
    assert (tmp_path / "tree/link").readlink() == Path("run.sh")
    assert (tmp_path / "extra").read_bytes() == b"beside"


def test_names_that_are_not_utf8_survive() -> None:
    """A path with bytes that are no UTF-8 is digested and packed without an error."""
    name = b"caf\xe9.py".decode("utf-8", "surrogateescape")
    tree = tree_of({name: "x"})
    with tarfile.open(fileobj=io.BytesIO(tar_of(tree)), encoding="utf-8", errors="surrogateescape") as tar:
        assert tar.getnames() == [f"tree/{name}"]
    assert len(tree.sha256) == 64

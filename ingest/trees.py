"""The trees of listed commits, read once: each distinct folder at each place, each distinct blob.

Commits of one history share nearly everything, so what was seen is not looked at again: a thousand
commits cost what they changed. Pure, given a reader for tree objects.

Invariant: the number of steps is bounded by `MAX_ENTRIES` whatever the objects say; folders that
contain one another ten times on ten levels are cut off, not unfolded. Not protected against: names
that differ in case only. They are two files on every file system that the appliance uses.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

MAX_ENTRIES = 300_000
"""Distinct paths with distinct contents over all listed trees; all 39,000 commits of Sphinx have 100,000."""
MAX_TREE_BYTES = 1 << 30
"""All tree objects that are read; all 28,000 commits of pytest need 120 MiB."""
MAX_NAME_BYTES = 255
"""NAME_MAX of every Linux file system that the trees are unpacked to."""
MAX_PATH_BYTES = 4000
"""PATH_MAX is 4096 and counts the directory that a tree is unpacked to."""
MAX_LINKS = 10_000
MAX_HOPS = 40
"""The kernel gives up after as many symbolic links."""
MAX_STEPS = 5_000
"""Parts of paths that are tried for one link; a link in a real project takes a dozen."""

LINK = 0o120000
FOLDER = 0o040000
SUBMODULE = 0o160000
_KIND = 0o170000
_ROW = re.compile(rb"[0-7]{1,7} [^\0]+\0.{20}", re.DOTALL)
_ID_BYTES = 20


class TreesTooLarge(Exception):
    """The trees hold more than may be looked at; the message says of what."""


@dataclass
class Trees:
    """What a set of root trees holds, each thing once."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    """Id of each distinct file content to the first path it was met at."""
    links: dict[tuple[bytes, str], None] = field(default_factory=dict)
    """Each distinct pair of path and target id of a symbolic link, in the order they were met."""
    names: dict[bytes, bytes] = field(default_factory=dict)
    """Each distinct name to the first path it was met at."""
    folders: set[bytes] = field(default_factory=set)
    """The path of each folder, without the roots."""
    longest: bytes = b""
    """The longest path."""
    broken: str = ""
    """Id of a tree object that is no list of entries, or is missing."""


TreeReader = Callable[[Iterable[str]], Iterator[tuple[str, bytes | None]]]
"""Names of trees to pairs of name and raw content; None when there is no such tree."""


def read_trees(roots: Iterable[str], read: TreeReader) -> Trees:
    """Walk root trees level by level; TreesTooLarge when there is more than the limits allow.

    Roots are names that the reader takes: ids, or `COMMIT^{tree}`.
    """
    trees = Trees()
    seen: dict[bytes, set[bytes]] = {}
    level: dict[str, set[bytes]] = {root: {b""} for root in roots}
    size = entries = 0
    while level:
        below: dict[str, set[bytes]] = {}
        for oid, raw in read(level):
            rows = None if raw is None else parse_tree(raw)
            if raw is None or rows is None:
                trees.broken = oid
                return trees
            size += len(raw)
            for prefix in sorted(level[oid]):
                known = seen.setdefault(prefix, set())
                fresh = rows - known
                known |= fresh
                entries += len(fresh)
                _check_limits(size, entries, len(trees.links))
                _sort_in(trees, prefix, sorted(fresh), below)
        level = below
    return trees


def _check_limits(size: int, entries: int, links: int) -> None:
    if size > MAX_TREE_BYTES:
        raise TreesTooLarge(f"tree objects of more than {MAX_TREE_BYTES} bytes")
    if entries > MAX_ENTRIES:
        raise TreesTooLarge(f"more than {MAX_ENTRIES} distinct files")
    if links > MAX_LINKS:
        raise TreesTooLarge(f"more than {MAX_LINKS} symbolic links")


def _sort_in(trees: Trees, prefix: bytes, rows: Iterable[bytes], below: dict[str, set[bytes]]) -> None:
    for row in rows:
        mode, _, name = row[: -_ID_BYTES - 1].partition(b" ")
        oid = row[-_ID_BYTES:].hex()
        path = prefix + name
        if len(path) > len(trees.longest):
            trees.longest = path
        if name not in trees.names:
            trees.names[name] = path
        kind = int(mode, 8) & _KIND
        if kind == FOLDER:
            trees.folders.add(path)
            if len(path) <= MAX_PATH_BYTES:
                below.setdefault(oid, set()).add(path + b"/")
        elif kind == LINK:
            trees.links[path, oid] = None
        elif kind != SUBMODULE:
            trees.blobs.setdefault(oid, path)


def parse_tree(raw: bytes) -> frozenset[bytes] | None:
    """Return the rows of a tree object (mode, name, raw id), or None when it is not a list of rows to the end."""
    rows: list[bytes] = _ROW.findall(raw)
    return frozenset(rows) if sum(map(len, rows)) == len(raw) else None


def name_problem(name: bytes) -> str | None:
    """Return what is wrong with one name of a tree: bytes that are no text, control characters, its length."""
    if len(name) > MAX_NAME_BYTES:
        return f"a name of {len(name)} bytes"
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return "a name that is not UTF-8"
    if not text.isprintable() and any(unicodedata.category(char) in {"Cc", "Zl", "Zp"} for char in text):
        return "a name with control characters"
    return None


def link_problem(
    path: bytes, target: bytes, follow: Mapping[bytes, Sequence[bytes]], folders: Container[bytes]
) -> str | None:
    """Return why a symbolic link must not be unpacked, or None.

    The target is walked as the kernel would walk it, through links on the way. `follow` has the
    targets of links in any of the trees by path, and each is tried; `folders` has the paths that
    are folders in any of them. A part that is neither counts as a folder: a test may make it.
    """
    if not target or b"\0" in target or len(target) > MAX_PATH_BYTES:
        return "a target that is no path"
    if target.startswith(b"/"):
        return "an absolute target"
    if b".." not in target.split(b"/"):
        return None  # the links it meets on the way down are judged for themselves
    walks = [_Walk(tuple(path.split(b"/")[:-1]), tuple(target.split(b"/")), 0)]
    for _ in range(MAX_STEPS):
        if not walks:
            return None
        walk = walks.pop()
        further = _step(walk, follow, folders)
        if further is None:
            return "a target outside the tree"
        walks += further
    return "a target that takes too many turns"


@dataclass(frozen=True)
class _Walk:
    """Where the kernel would be on its way to a target."""

    here: tuple[bytes, ...]
    ahead: tuple[bytes, ...]
    hops: int


def _step(walk: _Walk, follow: Mapping[bytes, Sequence[bytes]], folders: Container[bytes]) -> list[_Walk] | None:
    """Return where one more part of the target may lead to, nowhere at the end; None when out of the tree."""
    if not walk.ahead or walk.hops > MAX_HOPS:
        return []
    part, ahead = walk.ahead[0], walk.ahead[1:]
    if part in {b"", b"."}:
        return [_Walk(walk.here, ahead, walk.hops)]
    if part == b"..":
        return [_Walk(walk.here[:-1], ahead, walk.hops)] if walk.here else None
    below = (*walk.here, part)
    place = b"/".join(below)
    onward = follow.get(place, ())
    if any(other.startswith(b"/") for other in onward):
        return None
    turns = [_Walk(walk.here, (*other.split(b"/"), *ahead), walk.hops + 1) for other in onward]
    return turns if onward and place not in folders else [_Walk(below, ahead, walk.hops), *turns]

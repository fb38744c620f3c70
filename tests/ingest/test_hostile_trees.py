"""Histories made to write outside their tree, to lie or to flood: none comes in, and honest oddities do."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.git import git_environment
from ingest.gitimport import MAX_BLOB_BYTES
from ingest.gitlayout import MAX_REFS
from ingest.importer import ImportReport
from ingest.policy import Policy, UnsignedPackages
from tests.ingest.conftest import Desk
from tests.ingest.gitobjects import blob, feed, listed, raw_tree
from tests.packages import git, reseal, without_runs

LIMIT_S = 10


def _named(name: bytes, mode: str = "100644") -> Callable[[Path], str]:
    return lambda repo: raw_tree(repo, (mode, name, blob(repo, b"x")))


def _link(target: bytes) -> Callable[[Path], str]:
    return lambda repo: raw_tree(repo, ("120000", b"link", blob(repo, target)))


def _link_in_folder(target: bytes) -> Callable[[Path], str]:
    return lambda repo: raw_tree(repo, ("40000", b"folder", _link(target)(repo)))


def _link_through_link(repo: Path) -> str:
    inner = raw_tree(repo, ("120000", b"a", blob(repo, b"top/../secret")), ("120000", b"top", blob(repo, b"..")))
    return raw_tree(repo, ("40000", b"folder", inner))


def _bomb(repo: Path) -> str:
    tree = _named(b"file")(repo)
    for _ in range(10):
        tree = raw_tree(repo, *(("40000", b"%d" % number, tree) for number in range(10)))
    return tree


def _dot_git(repo: Path) -> str:
    return raw_tree(repo, ("40000", b".git", _named(b"config")(repo)))


def _modules(text: str) -> Callable[[Path], str]:
    return lambda repo: raw_tree(repo, ("100644", b".gitmodules", blob(repo, text.encode())))


EVIL_TREES: dict[str, tuple[Callable[[Path], str], str]] = {
    ".git": (_dot_git, "GIT_OBJECTS"),
    ".GIT": (_named(b".GIT"), "GIT_OBJECTS"),
    "git~1": (_named(b"git~1"), "GIT_OBJECTS"),
    "..": (_named(b".."), "GIT_OBJECTS"),
    ".": (_named(b"."), "GIT_OBJECTS"),
    "a/b": (_named(b"a/b"), "GIT_OBJECTS"),
    "../../etc/passwd": (_named(b"../../etc/passwd"), "GIT_OBJECTS"),
    "twice": (lambda r: raw_tree(r, *[("100644", b"a", blob(r, t)) for t in (b"1", b"2")]), "GIT_OBJECTS"),
    "unsorted": (lambda r: raw_tree(r, *[("100644", n, blob(r, n)) for n in (b"b", b"a")]), "GIT_OBJECTS"),
    "cut off": (
        lambda r: feed(r, b"100644 a\0short", "hash-object", "-w", "-t", "tree", "--literally", "--stdin"),
        "GIT_OBJECTS",
    ),
    "submodule command": (_modules('[submodule "a"]\n\tpath = a\n\turl = /x\n\tupdate = !touch /x\n'), "GIT_OBJECTS"),
    "submodule option": (_modules('[submodule "a"]\n\tpath = a\n\turl = -u./payload\n'), "GIT_OBJECTS"),
    "submodule name": (_modules('[submodule "../../x"]\n\tpath = a\n\turl = /x\n'), "GIT_OBJECTS"),
    "absolute link": (_link(b"/etc/passwd"), "TREE_SYMLINK"),
    "link to the root": (_link(b"/"), "TREE_SYMLINK"),
    "link above the tree": (_link(b"../x"), "TREE_SYMLINK"),
    "link out of a folder": (_link_in_folder(b"../../x"), "TREE_SYMLINK"),
    "link by a detour": (_link_in_folder(b"a/../../../x"), "TREE_SYMLINK"),
    "link through a link": (_link_through_link, "TREE_SYMLINK"),
    "link to nothing": (_link(b""), "TREE_SYMLINK"),
    "endless link": (_link(b"a/" * 3000), "TREE_SYMLINK"),
    "newline": (_named(b"a\nb"), "TREE_NAME"),
    "escape": (_named(b"\x1b]0;x\x07"), "TREE_NAME"),
    "no text": (_named(b"\xff\xfe"), "TREE_NAME"),
    "long name": (_named(b"x" * 300), "TREE_NAME"),
    "folders without end": (_bomb, "TREE_SIZE"),
}


def _long_path(repo: Path) -> str:
    tree = _named(b"file")(repo)
    for _ in range(20):
        tree = raw_tree(repo, ("40000", b"x" * 250, tree))
    return tree


EVIL_TREES["long path"] = (_long_path, "TREE_NAME")


@pytest.mark.parametrize("evil", EVIL_TREES)
def test_evil_trees_are_refused(evil: str, package: Path, desk: Desk) -> None:
    """What would write outside its tree, or cannot be unpacked, does not come in."""
    make, code = EVIL_TREES[evil]
    listed(package, make(package / "repo"))
    started = time.monotonic()
    report = desk.bring(without_runs(package))
    assert time.monotonic() - started < LIMIT_S
    assert {finding.code for finding in report.findings} == {code}
    assert (report.state, desk.records) == ("quarantined", [])
    assert sorted(path.name for path in Path(report.quarantine).iterdir()) == ["package", "quarantine.json"]


def test_links_within_the_tree_and_submodules_come_in(package: Path, desk: Desk) -> None:
    """What real projects have is no finding: links inside, dangling ones, capitals, executables, submodules."""
    repo = package / "repo"
    inner = raw_tree(repo, ("100755", b"run.sh", blob(repo, b"#!/bin/sh\n")), ("120000", b"up", blob(repo, b"../x")))
    tree = raw_tree(
        repo, ("100644", b"A", blob(repo, b"A")), ("100644", b"a", blob(repo, b"a")), ("40000", b"f", inner),
        ("120000", b"l", blob(repo, b"f/../f/run.sh")), ("120000", b"n", blob(repo, b"nowhere")),
        ("160000", b"s", "1" * 40), ("100644", "\u2297.txt".encode(), blob(repo, b"x")),
    )  # fmt: skip
    listed(package, tree)
    assert desk.bring(without_runs(package)).findings == []


WHO = "Test <test@example.invalid>"
ODD_COMMITS = {
    "bad time zone": (f"{WHO} 1700000000 +051800", WHO + " 1700000000 +0000"),
    "no space before the date": (WHO + " 1700000000 +0000", f"{WHO}1700000000 +0000"),
    "no space before the address": ("Test<test@example.invalid> 1700000000 +0000", WHO + " 1700000000 +0000"),
}


@pytest.mark.parametrize("oddity", ["zero-padded mode", *ODD_COMMITS])
def test_oddities_of_healthy_old_histories_come_in(oddity: str, package: Path, desk: Desk) -> None:
    """Well-known projects have such objects; refusing them would refuse the project."""
    repo = package / "repo"
    above = git(repo, "rev-parse", "main").strip()
    author, committer = ODD_COMMITS.get(oddity, (WHO + " 1700000000 +0000",) * 2)
    tree = git(repo, "rev-parse", "main^{tree}").strip()
    if oddity == "zero-padded mode":
        tree = raw_tree(repo, ("040000", b"src", git(repo, "rev-parse", "main:src").strip()))
    raw = f"tree {tree}\nparent {above}\nauthor {author}\ncommitter {committer}\n\nAdd the thing\n"
    sha = feed(repo, raw.encode(), "hash-object", "-w", "-t", "commit", "--literally", "--stdin")
    git(repo, "update-ref", "refs/heads/main", sha)
    reseal(package, lambda m: replace(m, head=sha, commits=(replace(m.commits[-1], sha=sha, parent=above),)))
    assert desk.bring(without_runs(package)).findings == []


def _zeros(repo: Path, size: int) -> str:
    """Write a loose blob of zeros without ever holding it."""
    hasher, packer, out = hashlib.sha1(usedforsecurity=False), zlib.compressobj(1), bytearray()
    for chunk in (b"blob %d\0" % size, *([bytes(1 << 20)] * (size >> 20))):
        hasher.update(chunk)
        out += packer.compress(chunk)
    oid = hasher.hexdigest()
    path = repo / "objects" / oid[:2] / oid[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(out + packer.flush()))
    return oid


@pytest.mark.parametrize(
    ("size", "words"), [(MAX_BLOB_BYTES + (1 << 20), "blob"), (300 << 20, "over limit")], ids=["large", "bomb"]
)
def test_a_blob_that_no_source_file_is_as_large_as(size: int, words: str, package: Path, desk: Desk) -> None:
    """Hundreds of megabytes of zeros in one is refused from its size alone, wherever in the history it lies."""
    repo = package / "repo"
    tree = raw_tree(repo, ("100644", b"zeros", _zeros(repo, size)))
    git(repo, "update-ref", "refs/heads/side", git(repo, "commit-tree", tree, "-m", "Add zeros").strip())
    reseal(package)
    started = time.monotonic()
    [finding] = desk.bring(without_runs(package)).findings
    assert time.monotonic() - started < LIMIT_S
    assert finding.code == "GIT_OVERSIZED"
    assert words in finding.found
    assert sum(path.stat().st_size for path in desk.root.rglob("*") if path.is_file()) < 60 << 20


def test_a_pack_that_claims_too_many_objects(package: Path, desk: Desk) -> None:
    """The count in the header of a pack is believed when it speaks against the package."""
    pack = next((package / "repo" / "objects" / "pack").glob("*.pack"))
    data = bytearray(pack.read_bytes())
    data[8:12] = (2_000_000).to_bytes(4, "big")
    pack.chmod(0o644)
    pack.write_bytes(data)
    reseal(package)
    assert [finding.code for finding in desk.bring(package).findings] == ["GIT_OVERSIZED"]


def test_a_sha256_repository_is_named_as_such(package: Path, desk: Desk) -> None:
    """Another object format is said in words that lead to a cure."""
    shutil.rmtree(package / "repo")
    git(package, "init", "-q", "--bare", "--template=", "--object-format=sha256", "repo")
    reseal(package)
    [finding] = desk.bring(package).findings
    assert (finding.code, finding.found) == ("GIT_FORMAT", "object format sha256")


def test_grafts_and_replacements_change_no_history(package: Path, desk: Desk) -> None:
    """What the package says instead of its objects does not count: the true parents come in."""
    repo = package / "repo"
    main, older = git(repo, "rev-parse", "main", "main~2").split()
    (repo / "info").mkdir(exist_ok=True)
    (repo / "info" / "grafts").write_text(f"{main}\n")
    git(repo, "update-ref", f"refs/replace/{main}", older)
    reseal(package)
    assert desk.bring(without_runs(package)).state == "integrated"
    [ours] = (desk.root / "repo_packages").glob("*/repo")
    assert len(git(ours, "rev-list", main).split()) == 4


@pytest.mark.parametrize("cut", [1, 2])
def test_a_shallow_history_is_refused(cut: int, package: Path, desk: Desk) -> None:
    """A clone that was cut off is no package, even where the listed commits are there."""
    whole = (package / "repo").rename(package.parent / "whole")
    git(package, "clone", "-q", "--bare", f"--depth={cut}", f"file://{whole}", "repo")
    reseal(package)
    assert [finding.code for finding in desk.bring(package).findings] == ["GIT_SHALLOW"]


def test_a_missing_object_of_the_history_is_found(package: Path, desk: Desk) -> None:
    """A history with a hole, deep below the listed commits, does not come in."""
    repo = package / "repo"
    hole = git(repo, "rev-parse", "main~3:src/abacus/tools.py").strip()
    pack = next((repo / "objects" / "pack").glob("*.pack")).rename(package.parent / "pack")
    shutil.rmtree(repo / "objects" / "pack")
    with pack.open("rb") as stream:
        subprocess.run(["git", "unpack-objects", "-q"], cwd=repo, stdin=stream, env=git_environment(), check=True)
    (repo / "objects" / hole[:2] / hole[2:]).unlink()
    reseal(package)
    assert [finding.code for finding in desk.bring(package).findings] == ["GIT_OBJECTS"]


def test_a_parent_that_git_does_not_see_is_no_parent(package: Path, desk: Desk) -> None:
    """A root commit that names a parent further down, where only a careless reader looks for it, is not its child."""
    repo = package / "repo"
    above, tree = git(repo, "rev-parse", "main", "main^{tree}").split()
    who = "A <a@example.invalid> 1767225600 +0000"
    text = f"tree {tree}\nauthor {who}\ncommitter {who}\nparent {above}\n\nAdd the thing\n"
    sha = feed(repo, text.encode(), "hash-object", "-w", "-t", "commit", "--literally", "--stdin")
    git(repo, "update-ref", "refs/heads/orphan", sha)
    reseal(package, lambda m: replace(m, head=sha, commits=(replace(m.commits[-1], sha=sha, parent=above),)))
    assert [finding.code for finding in desk.bring(package).findings] == ["COMMIT_PARENT"]


def test_a_flood_of_refs_is_refused_before_git_writes_them_out(package: Path, desk: Desk) -> None:
    """Each ref of a copied repository may cost a file; a package with more than any project has is kept out."""
    main = git(package / "repo", "rev-parse", "main").strip()
    rows = [f"{main} refs/heads/b{number:05}\n" for number in range(MAX_REFS + 1)]
    (package / "repo" / "packed-refs").write_text("# pack-refs with: sorted\n" + "".join(rows))
    reseal(package)
    [finding] = desk.bring(package).findings
    assert (finding.code, "refs" in finding.found) == ("GIT_OVERSIZED", True)


def test_refs_come_in_as_one_file(package: Path, desk: Desk) -> None:
    """However many branches there are, our repository names them in one file."""
    main = git(package / "repo", "rev-parse", "main").strip()
    for number in range(50):
        git(package / "repo", "update-ref", f"refs/heads/b{number}", main)
    reseal(package)
    assert desk.bring(without_runs(package)).findings == []
    [ours] = (desk.root / "repo_packages").glob("*/repo")
    assert len(git(ours, "for-each-ref").splitlines()) > 50
    assert sum(path.is_file() for path in (ours / "refs").rglob("*")) == 0


@pytest.fixture
def unreachable(package: Path) -> str:
    """Return a listed commit that no ref of the package reaches."""
    repo = package / "repo"
    main = git(repo, "rev-parse", "main").strip()
    sha = listed(package, git(repo, "rev-parse", "main^{tree}").strip())
    git(repo, "update-ref", "refs/heads/main", main)
    reseal(package)
    return sha


def test_a_listed_commit_that_no_ref_reaches_is_fetched_by_its_id(unreachable: str, package: Path, desk: Desk) -> None:
    """Such a commit comes through the same sandbox, under a ref of its own."""
    assert desk.bring(without_runs(package)).findings == []
    [ours] = (desk.root / "repo_packages").glob("*/repo")
    assert git(ours, "for-each-ref", "--format=%(objectname)", "refs/listed/").split() == [unreachable]


def test_of_unreachable_and_missing_commits_only_the_missing_are_named(
    unreachable: str, package: Path, desk: Desk
) -> None:
    """One commit that is nowhere does not hide that another one is there."""
    gone = "e" * 40
    reseal(package, lambda m: replace(m, commits=(*m.commits, replace(m.commits[0], sha=gone))))
    [finding] = desk.bring(package).findings
    assert (finding.code, finding.expected) == ("COMMIT_MISSING", f"commit {gone}")


def test_programs_archives_and_pickles_wait_for_an_operator(package: Path, desk: Desk) -> None:
    """Each is named with path, kind, digest and the command that lets it in; allowed ones come in."""
    repo = package / "repo"
    files = {
        b"icon.png": Path(sys.executable).resolve().read_bytes()[:4096], b"model.bin": b"\x80\x04K\x01.",
        b"notes.txt": b"\x1f\x8b\x08" + bytes(20), b"picture.png": b"\x89PNG\r\n\x1a\n" + bytes(20),
    }  # fmt: skip
    listed(package, raw_tree(repo, *(("100644", name, blob(repo, data)) for name, data in sorted(files.items()))))
    report = desk.bring(without_runs(package))
    found = {finding.file: finding for finding in report.findings}
    assert {finding.code for finding in report.findings} == {"FILE_TYPE"}
    assert set(found) == {"icon.png", "model.bin", "notes.txt"}
    digests = {name.decode(): hashlib.sha256(data).hexdigest() for name, data in files.items()}
    for name, finding in found.items():
        assert digests[name] in finding.found
        assert f"appliance ingest allow {digests[name]} --reason" in finding.next_step
    desk.policy = Policy(
        unsigned=UnsignedPackages.ACCEPT, allowed=frozenset({digests["icon.png"], digests["model.bin"]})
    )
    assert [finding.file for finding in desk.bring(package).findings] == ["notes.txt"]
    desk.policy = replace(desk.policy, allowed=frozenset(digests.values()))
    assert desk.bring(package).findings == []


def test_what_lies_beside_the_listed_commits_is_not_judged(package: Path, desk: Desk) -> None:
    """An archive on another branch is history; only trees that will be unpacked count."""
    repo = package / "repo"
    tree = raw_tree(repo, ("100644", b"old.gz", blob(repo, b"\x1f\x8b\x08" + bytes(20))))
    git(repo, "update-ref", "refs/heads/side", git(repo, "commit-tree", tree, "-m", "Add an archive").strip())
    reseal(package)
    report: ImportReport = desk.bring(without_runs(package))
    assert report.findings == []

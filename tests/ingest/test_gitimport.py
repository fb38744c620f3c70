"""Bringing objects in: all branches and tags arrive, nothing of the package's repository acts here."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from harness.errors import GitFailed
from harness.git import GitRepo, git_environment
from ingest.gitimport import RepositoryTooLarge, _run_limited, import_commits, import_objects
from ingest.objectstream import MISSING, object_sizes, read_objects
from tests.packages import corrupt_pack, git


def test_every_branch_and_tag_arrives(package: Path, tmp_path: Path) -> None:
    """Branches and tags are there under names of our own, and the objects are readable."""
    head = git(package / "repo", "rev-parse", "main").strip()
    git(package / "repo", "tag", "v1", f"{head}~1")
    git(package / "repo", "branch", "side", f"{head}~2")
    import_objects(package / "repo", tmp_path / "ours")
    refs = git(tmp_path / "ours", "for-each-ref", "--format=%(refname)").split()
    assert refs == ["refs/heads/main", "refs/heads/side", "refs/tags/v1"]
    with GitRepo(tmp_path / "ours") as repo:
        assert "src/abacus/tools.py" in repo.tree(head)


def test_the_repository_is_not_written_to(package: Path, tmp_path: Path) -> None:
    """The source is only read."""
    before = _content(package / "repo")
    import_objects(package / "repo", tmp_path / "ours")
    assert _content(package / "repo") == before


def test_the_neutral_attributes_and_nothing_of_the_package_configure_ours(package: Path, tmp_path: Path) -> None:
    """Our repository holds our attributes, our configuration and no hooks."""
    (package / "repo" / "info").mkdir(exist_ok=True)
    (package / "repo" / "info" / "attributes").write_text("* filter=x diff=x\n")
    (package / "repo" / "config").write_text((package / "repo" / "config").read_text() + "[alias]\n\tx = !payload\n")
    import_objects(package / "repo", tmp_path / "ours")
    assert "payload" not in (tmp_path / "ours" / "config").read_text()
    assert "-export-ignore" in (tmp_path / "ours" / "info" / "attributes").read_text()
    assert "filter=x" not in (tmp_path / "ours" / "info" / "attributes").read_text()
    assert not (tmp_path / "ours" / "hooks").exists()


def test_attributes_of_a_tree_leave_its_files_alone(package: Path, tmp_path: Path) -> None:
    """What is read or exported later is what was committed, whatever .gitattributes asks for."""
    repo = package / "repo"
    blobs = {".gitattributes": b"* eol=crlf ident\nt.py export-ignore\n", "a.py": b"$Id$\nx\n", "t.py": b"t\n"}
    rows = "".join(
        f"100644 blob {_feed(repo, data, 'hash-object', '-w', '--stdin')}\t{name}\n" for name, data in blobs.items()
    )
    git(
        repo,
        "update-ref",
        "refs/heads/odd",
        git(repo, "commit-tree", _feed(repo, rows.encode(), "mktree"), "-m", "Odd").strip(),
    )
    import_objects(repo, tmp_path / "ours")
    archive = subprocess.run(
        ["git", "archive", "refs/heads/odd"],
        cwd=tmp_path / "ours",
        env=git_environment(),
        capture_output=True,
        check=True,
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        assert sorted(tar.getnames()) == [".gitattributes", "a.py", "t.py"]
        member = tar.extractfile("a.py")
        assert member is not None
        assert member.read() == blobs["a.py"]


def test_paths_with_spaces_and_quotes(package: Path, tmp_path: Path) -> None:
    """The name of a directory is no command."""
    odd = tmp_path / "a b'$(touch c)\"d"
    odd.mkdir()
    import_objects((package / "repo").rename(odd / "repo"), odd / "ours")
    with GitRepo(odd / "ours") as repo:
        assert repo.has_commit(git(odd / "repo", "rev-parse", "main").strip())
    assert not list(tmp_path.rglob("c"))


def test_relative_paths(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Source and target may be named from the working directory."""
    monkeypatch.chdir(package)
    import_objects(Path("repo"), Path("ours"))
    sizes = {oid: kind for oid, kind, _ in object_sizes(Path("ours"))}
    head = git(package / "repo", "rev-parse", "main").strip()
    assert sizes[head] == "commit"
    [found, gone] = read_objects(Path("ours"), [f"{head}^{{tree}}", "f" * 40])
    assert (found.kind, sizes[found.oid], gone.kind) == ("tree", "tree", MISSING)


def test_a_commit_without_a_ref_is_fetched_by_its_id(package: Path, tmp_path: Path) -> None:
    """It gets a ref of its own; one that is not there is a failure that names it."""
    repo = package / "repo"
    import_objects(repo, tmp_path / "ours")
    sha = git(repo, "commit-tree", "main^{tree}", "-p", "main", "-m", "Nobody points here").strip()
    import_commits(repo, tmp_path / "ours", [sha])
    assert git(tmp_path / "ours", "rev-parse", f"refs/listed/{sha}").strip() == sha
    with pytest.raises(GitFailed, match="f" * 40):
        import_commits(repo, tmp_path / "ours", ["f" * 40])


def test_git_that_takes_too_long_ends_with_all_its_processes(tmp_path: Path) -> None:
    """At the end of its time nothing of it is left, children included."""
    mark = "31415.9265"
    with pytest.raises(RepositoryTooLarge, match="did not end within 1 s"):
        _run_limited(["sh", "-c", f"sleep {mark} & sleep {mark}"], cwd=tmp_path, file_bytes=1 << 20, timeout_s=1)
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    assert not [line for line in running if mark.encode() in line]


def test_git_that_writes_too_much_is_stopped(package: Path, tmp_path: Path) -> None:
    """A limit on the size of files holds for every process of the fetch."""
    with pytest.raises(RepositoryTooLarge):
        _run_limited(
            ["git", "clone", "-q", "--bare", "--no-local", str(package / "repo"), "ours"],
            cwd=tmp_path,
            file_bytes=1000,
            timeout_s=30,
        )


def test_alternates_do_not_reach_other_repositories(package: Path, tmp_path: Path) -> None:
    """A package cannot borrow objects from a repository of this machine."""
    secret = tmp_path / "secret"
    (package / "repo").rename(secret)
    head = git(secret, "rev-parse", "main").strip()
    for folder in ("objects/info", "objects/pack", "refs/heads"):
        (package / "repo" / folder).mkdir(parents=True)
    (package / "repo" / "HEAD").write_text("ref: refs/heads/main\n")
    (package / "repo" / "refs" / "heads" / "main").write_text(head + "\n")
    (package / "repo" / "objects" / "info" / "alternates").write_text(f"{secret}/objects\n")
    try:
        import_objects(package / "repo", tmp_path / "ours")
    except GitFailed:
        return
    with GitRepo(tmp_path / "ours") as repo:
        assert not repo.has_commit(head)


def test_a_flipped_byte_in_a_pack_is_refused(package: Path, tmp_path: Path) -> None:
    """Git's own checksums are checked on the way in."""
    corrupt_pack(package)
    with pytest.raises(GitFailed):
        import_objects(package / "repo", tmp_path / "ours")


def test_a_tree_that_would_write_into_dot_git_is_refused(package: Path, tmp_path: Path) -> None:
    """Objects that git's fsck calls dangerous do not come in."""
    repo = package / "repo"
    blob = _feed(repo, b"[core]\n", "hash-object", "-w", "--stdin")
    inner = _feed(repo, f"100644 blob {blob}\tconfig\n".encode(), "mktree")
    raw = b"40000 .git\0" + bytes.fromhex(inner)
    tree = _feed(repo, raw, "hash-object", "-w", "-t", "tree", "--literally", "--stdin")
    bad = git(repo, "commit-tree", tree, "-m", "Hide a configuration").strip()
    git(repo, "update-ref", "refs/heads/bad", bad)
    with pytest.raises(GitFailed, match="hasDotgit"):
        import_objects(repo, tmp_path / "ours")


def test_what_is_no_repository_is_refused(tmp_path: Path) -> None:
    """A directory without a repository is a failure, not an empty import."""
    (tmp_path / "repo").mkdir()
    with pytest.raises(GitFailed):
        import_objects(tmp_path / "repo", tmp_path / "ours")


def _content(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def _feed(repo: Path, data: bytes, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=repo, input=data, env=git_environment(), capture_output=True, check=True
    )
    return done.stdout.decode().strip()

"""Bringing objects in: all branches and tags arrive, nothing of the package's repository acts here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.errors import GitFailed
from harness.git import GitRepo, git_environment
from ingest.gitimport import import_objects
from tests.packages import corrupt_pack, git


def test_every_branch_and_tag_arrives(package: Path, tmp_path: Path) -> None:
    """Branches and tags are there under names of our own, and the objects are readable."""
    head = git(package / "repo", "rev-parse", "main").strip()
    git(package / "repo", "tag", "v1", f"{head}~1")
    git(package / "repo", "branch", "side", f"{head}~2")
    import_objects(package / "repo", tmp_path / "ours")
    refs = git(tmp_path / "ours", "for-each-ref", "--format=%(refname)").split()
    assert refs == ["refs/import/heads/main", "refs/import/heads/side", "refs/import/tags/v1"]
    with GitRepo(tmp_path / "ours") as repo:
        assert "src/abacus/tools.py" in repo.tree(head)


def test_the_repository_is_not_written_to(package: Path, tmp_path: Path) -> None:
    """The source is only read."""
    before = _content(package / "repo")
    import_objects(package / "repo", tmp_path / "ours")
    assert _content(package / "repo") == before


@pytest.mark.parametrize(
    "lines",
    [
        "[core]\n\tfsmonitor = {payload}\n\tpager = {payload}\n\teditor = {payload}\n\tsshCommand = {payload}\n"
        "\thooksPath = {hooks}\n[pager]\n\tupload-pack = {payload}\n[uploadpack]\n\tpackObjectsHook = {payload}\n",
        "[include]\n\tpath = {included}\n",
        '[filter "x"]\n\tclean = {payload}\n\tsmudge = {payload}\n\trequired = true\n[diff]\n\texternal = {payload}\n'
        "[gpg]\n\tprogram = {payload}\n[gc]\n\tauto = 1\n[receive]\n\tfsckObjects = false\n",
    ],
    ids=["commands", "include", "filters"],
)
def test_configuration_and_hooks_of_the_package_do_not_act(lines: str, package: Path, tmp_path: Path) -> None:
    """No program that the package's configuration or hooks name is run, and none of it comes along."""
    canary = tmp_path / "canary"
    payload = package / "repo" / "payload"
    payload.write_text(f"#!/bin/sh\ntouch {canary}\n")
    payload.chmod(0o755)
    included = package / "repo" / "included"
    included.write_text(f"[core]\n\tfsmonitor = {payload}\n")
    hooks = package / "repo" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "reference-transaction", "pre-auto-gc", "post-update", "update", "pre-receive"):
        (hooks / name).write_bytes(payload.read_bytes())
        (hooks / name).chmod(0o755)
    config = package / "repo" / "config"
    config.write_text(config.read_text() + lines.format(payload=payload, hooks=hooks, included=included))
    (package / "repo" / "info").mkdir(exist_ok=True)
    (package / "repo" / "info" / "attributes").write_text("* filter=x diff=x\n")
    import_objects(package / "repo", tmp_path / "ours")
    assert not canary.exists()
    ours = "".join(path.read_text() for path in ((tmp_path / "ours" / "config"), *(tmp_path / "ours").glob("hooks/*")))
    assert "payload" not in ours
    assert "filter=x" not in (tmp_path / "ours" / "info" / "attributes").read_text()


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

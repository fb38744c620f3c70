"""Git objects as a hostile hand would write them, and commits of a package that have them."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from harness.git import git_environment
from tests.packages import git, reseal


def feed(repo: Path, data: bytes, *arguments: str) -> str:
    """Run git in a repository with something on its standard input; return what it prints."""
    done = subprocess.run(
        ["git", *arguments], cwd=repo, input=data, env=git_environment(), capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def listed(package: Path, tree: str, *, parent: str | None = None) -> str:
    """Put a commit with this tree on top of the history, as the last commit that the manifest lists."""
    repo = package / "repo"
    above = parent or git(repo, "rev-parse", "main").strip()
    sha = git(repo, "commit-tree", tree, "-p", above, "-m", "Add the thing").strip()
    git(repo, "update-ref", "refs/heads/main", sha)
    reseal(package, lambda m: replace(m, head=sha, commits=(replace(m.commits[-1], sha=sha, parent=above),)))
    return sha


def raw_tree(repo: Path, *rows: tuple[str, bytes, str]) -> str:
    """Write a tree object with these rows, whatever git thinks of them; return its id."""
    raw = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in rows)
    return feed(repo, raw, "hash-object", "-w", "-t", "tree", "--literally", "--stdin")


def blob(repo: Path, data: bytes) -> str:
    """Write a blob; return its id."""
    return feed(repo, data, "hash-object", "-w", "--stdin")

"""A full bare clone of the operator's repository, stripped to what a package should carry.

The clone goes through git's own transport (`--no-local`), so it holds one pack of reachable objects
and nothing of the source's configuration, hooks, reflogs or alternates. It always keeps one loose
ref, because a copy that follows the manifest's file list would otherwise lose the empty `refs/`
directory, without which git does not recognise a repository. A local repository may belong to
somebody else: naming it is the operator's decision, and git reads it only, without its hooks.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import GitFailed
from harness.git import run_git
from ingest.errors import CloneFailed

CLONE_TIMEOUT_S = 3600
NETWORK_VARIABLES = (
    "http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSH_AUTH_SOCK",
)  # fmt: skip
SAFE_OPTIONS = ("-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never", "-c", "core.fsmonitor=false")
CONFIG = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
DETACHED_BRANCH = "refs/heads/package-head"


@dataclass(frozen=True)
class Clone:
    """A repository that was brought in."""

    path: Path
    head: str
    """Commit id of the default branch."""
    branch: str
    """Full name of the default branch, e.g. refs/heads/main."""
    upstream: str
    """Where the history comes from: a URL without credentials, or `local:<name>`."""


def clone(source: str, target: Path) -> Clone:
    """Clone `source` (a git directory, a worktree or a URL) to the bare repository `target`."""
    address = source if _is_url(source) else str(_local_repository(source))
    try:
        with _trusting(source) as trust:
            run_git(
                [*SAFE_OPTIONS, "clone", "--bare", "--no-local", "--no-recurse-submodules", "--template=", "--quiet",
                 "--", address, str(target)],
                extra_env={**_network_environment(), **trust}, timeout_s=CLONE_TIMEOUT_S,
            )  # fmt: skip
    except GitFailed as err:
        raise CloneFailed(f"cannot clone {_without_credentials(source)}: {_without_credentials(str(err))}") from err
    if (target / "shallow").exists():
        raise CloneFailed(
            f"{_without_credentials(source)} is a shallow clone, its history is cut off",
            hint="Complete it first: git fetch --unshallow --tags",
        )
    try:
        head = run_git(["--git-dir", str(target), "rev-parse", "--verify", "HEAD^{commit}"]).decode().strip()
    except GitFailed as err:
        raise CloneFailed(f"{_without_credentials(source)} has no commit on its default branch") from err
    _single_pack(target)
    branch = _anchor_head(target, head)
    (target / "config").write_text(CONFIG, "utf-8")
    return Clone(target, head, branch, _upstream(source))


def nearest_tag(repo: Path, sha: str) -> str | None:
    """Return the closest tag with a digit in its name that `sha` descends from, or None."""
    try:
        found = run_git(["--git-dir", str(repo), "describe", "--tags", "--abbrev=0", "--match", "*[0-9]*", sha])
    except GitFailed:
        return None
    return found.decode().strip() or None


def _is_url(source: str) -> bool:
    return "://" in source or re.match(r"^[\w.-]+@[\w.-]+:", source) is not None


def _local_repository(source: str) -> Path:
    path = Path(source).expanduser().resolve()
    if not path.is_dir():
        raise CloneFailed(f"{source} is neither a directory nor a URL")
    return path


def _network_environment() -> Mapping[str, str]:
    return {name: os.environ[name] for name in NETWORK_VARIABLES if name in os.environ}


@contextmanager
def _trusting(source: str) -> Iterator[Mapping[str, str]]:
    """Yield the variables that let git read a local repository of another user.

    In a file, because git does not hand options or GIT_CONFIG_COUNT on to the upload-pack of a local clone.
    """
    if _is_url(source):
        yield {}
        return
    with tempfile.NamedTemporaryFile("w", suffix=".gitconfig", encoding="utf-8") as config:
        config.write("[safe]\n\tdirectory = *\n")
        config.flush()
        yield {"GIT_CONFIG_GLOBAL": config.name}


def _single_pack(target: Path) -> None:
    packs = list((target / "objects" / "pack").glob("*.pack"))
    others = {child.name for child in (target / "objects").iterdir()} - {"pack", "info"}
    if len(packs) != 1 or others:
        run_git(["--git-dir", str(target), "repack", "-a", "-d", "-q"], timeout_s=CLONE_TIMEOUT_S)


def _anchor_head(target: Path, head: str) -> str:
    text = (target / "HEAD").read_text("utf-8").strip()
    branch = text.removeprefix("ref: ") if text.startswith("ref: ") else DETACHED_BRANCH
    loose = target / branch
    loose.parent.mkdir(parents=True, exist_ok=True)
    loose.write_text(head + "\n", "utf-8")
    (target / "HEAD").write_text(f"ref: {branch}\n", "utf-8")
    return branch


def _upstream(source: str) -> str:
    if _is_url(source):
        return _without_credentials(source)
    path = _local_repository(source)
    try:
        with _trusting(source) as trust:
            url = run_git(["-C", str(path), "config", "--get", "remote.origin.url"], extra_env=trust).decode().strip()
    except GitFailed:
        url = ""
    return _without_credentials(url) if _is_url(url) else f"local:{path.name}"


def _without_credentials(text: str) -> str:
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1", text)

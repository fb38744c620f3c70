"""Reading our own bare repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import GitFailed
from harness.git import CACHE_BYTES, BlobMissing, GitRepo, git_environment, run_git
from harness.tree import EXECUTABLE_MODE, SYMLINK_MODE
from tests.conftest import commit_ids

MISSING = "0123456789" * 4


@pytest.fixture
def repo(make_repo: Callable[..., Path]) -> Iterator[GitRepo]:
    """Return an open repository with two commits."""
    path = make_repo(
        [("First subject\n\nA body.", {"a.py": "one\n", "däta/b.txt": "bé\n"}), ("Second", {"a.py": "two\n"})]
    )
    with GitRepo(path) as opened:
        yield opened


def test_tree_holds_the_files_of_the_commit_asked_for(repo: GitRepo) -> None:
    """Each commit has its own contents, non-ASCII names included."""
    first, second = commit_ids(repo.path)
    assert repo.tree(first).text("a.py") == "one\n"
    assert repo.tree(second).text("a.py") == "two\n"
    assert repo.tree(second).text("däta/b.txt") == "bé\n"


def test_modes_and_links_are_kept_and_submodules_left_out(tmp_path: Path) -> None:
    """Executable bits and symbolic links come through; a submodule entry is not a file."""
    env = git_environment() | {
        f"GIT_{who}_{key}": "t@t" for who in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")
    }

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=tmp_path, env=env, check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "link").symlink_to("run")
    git("add", "-A")
    git("update-index", "--add", "--cacheinfo", f"160000,{MISSING},vendored")
    git("commit", "-qm", "All kinds")
    with GitRepo(tmp_path / ".git") as opened:
        tree = opened.tree("HEAD")
        modes = {path: entry.mode for path, entry in tree.entries.items()}
        assert modes == {"run": EXECUTABLE_MODE, "link": SYMLINK_MODE}
        assert tree.read("link") == b"run"


def test_body_and_parents(repo: GitRepo) -> None:
    """The message comes whole, and the parents are the ids git has."""
    first, second = commit_ids(repo.path)
    assert repo.commit_body(first) == "First subject\n\nA body.\n"
    assert (repo.parents(first), repo.parents(second)) == ((), (first,))


def test_has_commit_knows_commits_from_everything_else(repo: GitRepo) -> None:
    """A commit is there; a missing id, a blob and a word are not commits."""
    first = commit_ids(repo.path)[0]
    blob = repo.tree(first).entries["a.py"].blob
    assert repo.has_commit(first)
    assert not any(repo.has_commit(name) for name in (MISSING, blob, "no-such-branch"))


def test_reading_goes_on_after_a_missing_object(repo: GitRepo) -> None:
    """A missing blob is a failure of git, by name, and leaves the long-lived process in step."""
    tree = repo.tree("HEAD")
    tree.read("a.py")
    process = repo._process
    with pytest.raises(BlobMissing, match=MISSING) as failed:
        repo.blob(MISSING)
    assert isinstance(failed.value, GitFailed)
    assert repo._process is process
    assert tree.text("a.py") == "two\n"


def test_a_missing_commit_is_git_failed_in_the_words_of_git(repo: GitRepo) -> None:
    """The failure names the command and what git said, and carries a hint."""
    with pytest.raises(GitFailed, match=r"ls-tree.*ended with 128.*fatal") as failed:
        repo.tree(MISSING)
    assert "fsck" in failed.value.hint


def test_a_directory_without_a_repository_is_git_failed(tmp_path: Path) -> None:
    """Reading from a place that holds no repository fails loudly, not with an empty tree."""
    with GitRepo(tmp_path) as opened, pytest.raises(GitFailed):
        opened.blob(MISSING)


def test_threads_share_one_reader(repo: GitRepo) -> None:
    """Eight threads that read at once all get the right bytes."""
    first, second = (repo.tree(sha) for sha in commit_ids(repo.path))
    wrong: list[bytes] = []

    def read() -> None:
        for _ in range(40):
            for tree, want in ((first, b"one\n"), (second, b"two\n")):
                data = repo._object(tree.entries["a.py"].blob)[1]  # past the cache
                if data != want:
                    wrong.append(data)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_blob_cache_stays_below_its_bound(make_repo: Callable[..., Path]) -> None:
    """Reading more than the cache holds drops the oldest and keeps the count right."""
    size = CACHE_BYTES // 9
    files = {f"{number}.txt": str(number) * size for number in range(10)}
    with GitRepo(make_repo([("Add much text", files)])) as opened:
        tree = opened.tree("HEAD")
        for path in tree:
            assert len(tree.read(path)) == size
        assert opened._cached_bytes == sum(map(len, opened._cache.values())) <= CACHE_BYTES
        assert len(opened._cache) < 10


def test_close_ends_the_process_and_reading_starts_another(repo: GitRepo) -> None:
    """After close no git process is left, and the repository can still be read."""
    tree = repo.tree("HEAD")
    tree.read("a.py")
    process = repo._process
    assert process is not None
    repo.close()
    assert process.returncode is not None
    assert repo._object(tree.entries["a.py"].blob)[1] == b"two\n"  # past the cache


def test_configuration_of_the_user_does_not_act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a global configuration nor GIT_ variables of the caller reach our git."""
    (tmp_path / ".gitconfig").write_text("[alias]\n\tzap = !echo zapped\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / ".gitconfig"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert "GIT_DIR" not in git_environment()
    with pytest.raises(GitFailed, match="zap"):
        run_git(["zap"])


def test_a_git_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command over its time limit is a failure that names the limit."""
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(GitFailed, match="did not end within 0 s"):
        run_git(["status"], timeout_s=0.2)


def test_a_git_that_died_is_replaced(repo: GitRepo) -> None:
    """When the long-lived process is gone, the next read starts another and nothing is left open."""
    tree = repo.tree("HEAD")
    tree.read("a.py")
    process = repo._process
    assert process is not None
    process.kill()
    process.wait()
    assert repo._object(tree.entries["a.py"].blob) == ("blob", b"two\n")  # past the cache
    assert process.stdout is not None
    assert process.stdout.closed


@pytest.mark.parametrize("said", ["", "{name} blob 4", "{name} blob 4\\ntw", "{name} blob 4\\ntwo."], ids=str)
def test_an_answer_that_breaks_off_is_read_once_more(
    repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """A git that ends in the middle of an answer is not believed; the second try reads the whole object."""
    blob = repo.tree("HEAD").entries["a.py"].blob
    real = shutil.which("git")
    flag = tmp_path / "broke-off"
    fake = f"[ -e {flag} ] && exec {real} \"$@\"\ntouch {flag}\nread name\nprintf '{said.format(name=blob)}'\n"
    put_git(tmp_path, monkeypatch, fake)
    assert repo.blob(blob) == b"two\n"


def test_a_git_that_always_breaks_off_is_a_failure(
    repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short object is never returned, and the failure says what was read."""
    blob = repo.tree("HEAD").entries["a.py"].blob
    put_git(tmp_path, monkeypatch, f"read name\nprintf '{blob} blob 4\\ntw'\n")
    with pytest.raises(GitFailed, match=f"ended early while reading {blob}"):
        repo.blob(blob)
    assert repo._process is None


def put_git(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program named git in front of the real one."""
    program = folder / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

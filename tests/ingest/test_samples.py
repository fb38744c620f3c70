"""Samples are rebuilt from patches with the same commit ids everywhere, or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.git import run_git
from ingest.samples import SampleBroken, SampleTargetExists, build_sample, load_sample, sample_names

SAMPLES = Path(__file__).resolve().parents[2] / "repo_packages" / "samples"
NAMES = sample_names(SAMPLES)
ONE = "ledgerline"
MODULE_LINES = 60


def head(repo: Path) -> str:
    """Return the id of the commit that is checked out."""
    return run_git(["rev-parse", "HEAD"], cwd=repo).decode().strip()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a copy of one delivered sample, free to be damaged."""
    return shutil.copytree(SAMPLES / ONE, tmp_path / ONE)


def test_samples_are_found_by_their_description(tmp_path: Path) -> None:
    """A directory is a sample when it holds sample.json, and names come back sorted."""
    for name in ("zeta", "alpha"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sample.json").write_text("{}")
    (tmp_path / "notes").mkdir()
    assert sample_names(tmp_path) == ("alpha", "zeta")


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_builds(name: str, tmp_path: Path) -> None:
    """A sample becomes a clean repository on main with one commit per patch and short modules."""
    sample = load_sample(SAMPLES / name)
    repo = build_sample(SAMPLES / name, tmp_path / name)
    assert (repo / ".git").is_dir()
    assert run_git(["symbolic-ref", "HEAD"], cwd=repo) == b"refs/heads/main\n"
    assert run_git(["status", "--porcelain"], cwd=repo) == b""
    assert run_git(["rev-list", "--min-parents=2", "main"], cwd=repo) == b""
    commits = int(run_git(["rev-list", "--count", "main"], cwd=repo))
    assert commits == len(sample.patches)
    assert 12 <= commits <= 20
    modules = sorted(repo.rglob("*.py"))
    assert modules
    assert {path.name: n for path in modules if (n := len(path.read_text().splitlines())) > MODULE_LINES} == {}


@pytest.mark.parametrize("name", NAMES)
def test_author_and_committer_agree(name: str, tmp_path: Path) -> None:
    """Committer and both dates come from the patches, in UTC and in order."""
    repo = build_sample(SAMPLES / name, tmp_path / name)
    rows = run_git(["log", "--reverse", "--format=%an <%ae> %aI|%cn <%ce> %cI", "main"], cwd=repo).decode().splitlines()
    pairs = [row.split("|") for row in rows]
    assert all(author == committer for author, committer in pairs)
    dates = [author.rpartition(" ")[2] for author, _ in pairs]
    assert dates == sorted(dates)
    assert all(date.endswith(("Z", "+00:00")) for date in dates)


def test_building_twice_gives_the_same_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the user's configuration, nor identity, nor time zone reaches the commit ids."""
    first = build_sample(SAMPLES / ONE, tmp_path / "first")
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = Other\n[core]\n\tautocrlf = true\n[am]\n\tkeepcr = true\n")
    for key, value in {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "TZ": "Pacific/Auckland",
        "GIT_COMMITTER_NAME": "Other",
        "GIT_COMMITTER_DATE": "2001-01-01T00:00:00Z",
        "GIT_DEFAULT_HASH": "sha256",
    }.items():
        monkeypatch.setenv(key, value)
    second = build_sample(SAMPLES / ONE, tmp_path / "deep" / "second")
    assert head(first) == head(second)


def test_a_patch_that_does_not_apply_is_named(copied: Path, tmp_path: Path) -> None:
    """A changed context line stops the build, names the patch, and leaves nothing behind."""
    third = load_sample(copied).patches[2]
    lines = third.read_text().splitlines(keepends=True)
    hunk = next(number for number, line in enumerate(lines) if line.startswith("@@ -") and "-0,0" not in line)
    context = next(number for number in range(hunk + 1, len(lines)) if lines[number].startswith(" "))
    lines[context] = " never was in this file\n"
    third.write_text("".join(lines))
    with pytest.raises(SampleBroken, match=third.name):
        build_sample(copied, tmp_path / "out" / "repo")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_patch_without_a_diff_is_named(copied: Path, tmp_path: Path) -> None:
    """A patch that lost its diff is reported instead of skipped."""
    second = load_sample(copied).patches[1]
    second.write_text(second.read_text().partition("\ndiff --git")[0] + "\n")
    with pytest.raises(SampleBroken, match=second.name):
        build_sample(copied, tmp_path / "repo")


def test_two_mails_in_one_file_are_refused(copied: Path, tmp_path: Path) -> None:
    """A file that holds two patches would shift the numbering, so it is refused."""
    patches = load_sample(copied).patches
    patches[-2].write_bytes(patches[-2].read_bytes() + b"\n" + patches[-1].read_bytes())
    patches[-1].unlink()
    with pytest.raises(SampleBroken, match="commits"):
        build_sample(copied, tmp_path / "repo")


def test_a_hole_in_the_numbering_is_refused(copied: Path) -> None:
    """A missing patch is noticed before git runs."""
    load_sample(copied).patches[4].unlink()
    with pytest.raises(SampleBroken, match="expected patch 0005"):
        load_sample(copied)


def test_a_patch_without_sender_is_refused(copied: Path, tmp_path: Path) -> None:
    """Without a sender there is no committer that would be the same everywhere."""
    first = load_sample(copied).patches[0]
    first.write_text("".join(line for line in first.read_text().splitlines(True) if not line.startswith("From: ")))
    with pytest.raises(SampleBroken, match="names no sender"):
        build_sample(copied, tmp_path / "repo")


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "not JSON"), ('{"name": "x"}', "exactly the keys"), ("[]", "exactly the keys")],
)
def test_a_broken_description_is_refused(copied: Path, text: str, words: str) -> None:
    """What is wrong with sample.json is said in one sentence."""
    (copied / "sample.json").write_text(text)
    with pytest.raises(SampleBroken, match=words):
        load_sample(copied)


def test_a_description_has_text_and_the_right_name(copied: Path) -> None:
    """Empty values and a name other than the directory's are refused."""
    doc = json.loads((copied / "sample.json").read_text())
    (copied / "sample.json").write_text(json.dumps(doc | {"license": ""}))
    with pytest.raises(SampleBroken, match="not empty"):
        load_sample(copied)
    (copied / "sample.json").write_text(json.dumps(doc | {"name": "another"}))
    with pytest.raises(SampleBroken, match="expected the name"):
        load_sample(copied)
    (copied / "sample.json").unlink()
    with pytest.raises(SampleBroken, match="missing"):
        load_sample(copied)


def test_an_existing_target_is_left_alone(tmp_path: Path) -> None:
    """A directory that is already there is not written into."""
    (tmp_path / "repo").mkdir()
    with pytest.raises(SampleTargetExists):
        build_sample(SAMPLES / ONE, tmp_path / "repo")
    assert list((tmp_path / "repo").iterdir()) == []

"""Real repositories with their full history through the import checks, beside a plain fetch and hashing.

    python tests/bench/imports.py GIT_DIR [GIT_DIR ...] [--repeat 3] [--listed N]

For each repository: what the checks found, which fsck oddities were tolerated, and the time of copying and
checking as a multiple of `git fetch` into an empty repository plus one hash of every file. Both are timed in turns
in one run, the page cache warm. Environments are left out: a Python that nobody has is named, so that wheels and the
gold gate add nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from harness.envs.template import TemplateStore
from harness.git import git_environment
from harness.manifest import MANIFEST_NAME, Environment, Lock, Manifest, manifest_bytes
from ingest.checks.candidate import Candidate
from ingest.checks.table import first_findings
from ingest.policy import Policy, UnsignedPackages
from ingest.prepare.clone import clone
from ingest.prepare.commits import CommitRules, select
from ingest.prepare.write import file_entries
from ingest.staging import copy_in

ODDITIES = ("zeroPaddedFilemode", "badTimezone", "missingSpaceBeforeDate", "missingSpaceBeforeEmail")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("git_dirs", nargs="+", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--listed", type=int, help="list only so many commits (default: all that qualify)")
    options = parser.parse_args()
    print("| repository | MiB | commits, listed | findings | tolerated | fetch + hash s | import checks s | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for git_dir in options.git_dirs:
        with tempfile.TemporaryDirectory() as scratch:
            print(row(git_dir, Path(scratch), options.repeat, options.listed), flush=True)


def row(git_dir: Path, scratch: Path, repeat: int, listed: int | None) -> str:
    package = scratch / "stick" / "package-1"
    package.mkdir(parents=True)
    cloned = clone(str(git_dir), package / "repo")
    selection = select(cloned.path, cloned.head, CommitRules(5, 200, None, listed))
    write_manifest(package, cloned.head, selection.selected)
    plain, checked, findings = [], [], []
    for number in range(repeat):
        plain.append(timed(lambda at=number: fetch_and_hash(package, scratch / f"plain-{at}")))
        started = time.perf_counter()
        candidate, findings = check(package, scratch / f"checked-{number}")
        checked.append(time.perf_counter() - started)
    size_mib = sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) / (1 << 20)
    name = git_dir.parent.name if git_dir.name == "repo" else git_dir.name
    codes = ", ".join(f"{count} {code}" for code, count in Counter(finding.code for finding in findings).items())
    before, after = statistics.median(plain), statistics.median(checked)
    return (
        f"| {name} | {size_mib:.1f} | {selection.seen}, {len(selection.selected)} | {codes or 'none'} "
        f"| {tolerated(candidate)} | {before:.2f} | {after:.2f} | {after / before:.2f} |"
    )


def write_manifest(package: Path, head: str, commits: tuple) -> None:
    (package / "packages").mkdir()
    listed = tuple(type(commit)(**{**vars(commit), "environment": "none"}) for commit in commits)
    environment = Environment("none", "3.99", (), {}, Lock("none", None))
    manifest = Manifest(
        name="package", sequence=1, upstream="", license="", organisation="", domain="", head=head,
        files=file_entries(package), environments=(environment,), test_command=("pytest",), test_scope="affected",
        commits=listed,
    )  # fmt: skip
    (package / MANIFEST_NAME).write_bytes(manifest_bytes(manifest))


def check(package: Path, target: Path) -> tuple[Candidate, list]:
    """Copy and check a package the way an import does."""
    staged = copy_in(package, target)
    candidate = Candidate(
        staged, TemplateStore(target / "environments"), lambda _: 0, Policy(unsigned=UnsignedPackages.ACCEPT)
    )
    return candidate, first_findings(candidate)[1]


def fetch_and_hash(package: Path, target: Path) -> None:
    """Do the least that anybody would do: fetch everything, and hash every file."""
    env = git_environment()
    subprocess.run(["git", "init", "-q", "--bare", str(target)], env=env, check=True)
    subprocess.run(
        ["git", "--git-dir", str(target), "-c", "safe.directory=*", "fetch", "-q", "--no-tags",
         f"file://{package / 'repo'}", "+refs/*:refs/import/*"],
        env=env, check=True,
    )  # fmt: skip
    for path in package.rglob("*"):
        if path.is_file():
            hashlib.sha256(path.read_bytes()).digest()


def tolerated(candidate: Candidate) -> str:
    """Return how often each tolerated oddity occurs in the history."""
    if candidate.repo is None:
        return "-"
    done = subprocess.run(
        ["git", "--git-dir", str(candidate.repo), "fsck", "--no-dangling", "--no-progress"],
        env=git_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    words = (done.stdout + done.stderr).split()
    counts = Counter(word.rstrip(":") for word in words if word.rstrip(":") in ODDITIES)
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"


def timed(action) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()

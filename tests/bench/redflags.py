"""How many real commits would have a hard red flag if they were a model's solution: the screen's false alarms.

    python tests/bench/redflags.py GIT_DIR [GIT_DIR ...] [--count 150] [--names]

For each repository the newest non-merge commits that change one to five sources are screened against their parent,
with the parent in the place of the true solution, so that nothing is excused. One table: commits, those with a soft
flag, those with a hard one, and the share of the latter. `--names` lists the hard flags below it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.git import GitRepo, run_git
from harness.paths import Role, role
from harness.redflags import RedFlag, screen

MOST_SOURCES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("git_dirs", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=150, help="commits of each repository at the most")
    parser.add_argument("--names", action="store_true", help="list every hard flag")
    options = parser.parse_args()
    print("| repository | commits | soft only | hard | hard, share |")
    print("|---|---|---|---|---|")
    rows, named = [], []
    for git_dir in options.git_dirs:
        found = list(screened(git_dir, options.count))
        hard = [(sha, flags) for sha, flags in found if any(flag.hard for flag in flags)]
        soft = sum(bool(flags) for _, flags in found) - len(hard)
        rows.append((len(found), soft, len(hard)))
        named += [f"{git_dir} {sha[:10]} {flag}" for sha, flags in hard for flag in flags if flag.hard]
        print_row(git_dir.parent.name if git_dir.name == "repo" else git_dir.name, rows[-1:])
    print_row("all", rows)
    if options.names:
        print("", *named, sep="\n")


def print_row(name: str, rows: list[tuple[int, int, int]]) -> None:
    commits, soft, hard = (sum(column) for column in zip(*rows, strict=True))
    print(f"| {name} | {commits} | {soft} | {hard} | {hard / max(commits, 1):.1%} |", flush=True)


def screened(git_dir: Path, count: int) -> Iterator[tuple[str, tuple[RedFlag, ...]]]:
    """Yield the newest commits that qualify, each with what the screen says about it."""
    repo = GitRepo(git_dir)
    for number, (sha, parent) in enumerate(commits(git_dir)):
        if number == count:
            break
        before = repo.tree(parent)
        yield sha, screen(before, repo.tree(sha), before)
    repo.close()


def commits(git_dir: Path) -> Iterator[tuple[str, str]]:
    """Yield (commit, parent), newest first, where one to five Python sources change."""
    log = run_git(["--git-dir", str(git_dir), "log", "--no-merges", "--format=%x00%H %P", "--name-only", "HEAD"])
    for record in log.decode("utf-8", "surrogateescape").split("\0")[1:]:
        head, *names = [line for line in record.splitlines() if line]
        ids = head.split()
        sources = [name for name in names if name.endswith(".py") and role(name) is Role.SOURCE]
        if len(ids) == 2 and 1 <= len(sources) <= MOST_SOURCES:
            yield ids[0], ids[1]


if __name__ == "__main__":
    main()

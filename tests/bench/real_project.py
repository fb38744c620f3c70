"""A real project the whole way: prepare, import, gold attempts; prints the figures as a table.

    python tests/bench/real_project.py GIT_DIR WORK_DIR [--since 2023-06-06] [--limit N] [--workers 2]

WORK_DIR receives the package and an appliance home and is kept, so that it can be looked into. The
package index must be reachable.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("git_dir")
    parser.add_argument("work", type=Path)
    parser.add_argument("--since")
    parser.add_argument("--limit")
    parser.add_argument("--workers", default="2")
    options = parser.parse_args()
    home = options.work / "home"
    home.mkdir(parents=True)
    (home / "appliance.toml").write_text(f'[harness]\nworkers = {options.workers}\n[trust]\nunsigned = "accept"\n')
    chosen = [word for name in ("since", "limit") if (value := getattr(options, name)) for word in (f"--{name}", value)]
    prepared = appliance(home, "package", "prepare", options.git_dir, "--out", str(options.work / "out"), *chosen)[-1]
    imported = appliance(home, "ingest", "import", prepared["package"])[-1]
    summary = appliance(home, "harness", "run", "--package", imported["package"], "--answerer", "gold", "--no-cache")
    report(prepared, imported, summary[-1]["summary"], home)


def appliance(home: Path, *arguments: str) -> list[dict]:
    """Run a command with --json and return its documents."""
    code = "from appliance.cli.main import main; main()"
    env = os.environ | {"APPLIANCE_HOME": str(home), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--json"], env=env, stdout=subprocess.PIPE, check=False
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def report(prepared: dict, imported: dict, gold: dict, home: Path) -> None:
    validated = imported["validated"]
    print(f"| {imported['package']} | figure |")
    print("|---|---|")
    print(f"| commits seen, chosen | {prepared['commits_seen']}, {prepared['commits_selected']} |")
    left_out = ", ".join(f"{row['count']} {row['reason']}" for row in prepared["yield"] if row["reason"] != "selected")
    print(f"| left out | {left_out} |")
    locks = [env["lock"]["taken"] for env in prepared["environments"]]
    print(f"| environments (era / newest lock) | {len(locks)} ({locks.count('era')} / {locks.count('newest')}) |")
    print(f"| prepare | {sum(prepared['seconds'].values()):.0f} s |")
    rejected = ", ".join(f"{number} {reason}" for reason, number in imported["rejected"].items()) or "none"
    print(f"| validated, rejected | {validated} of {imported['commits']}; {rejected} |")
    spent = [row["seconds"] for row in imported["details"]]
    print(f"| gold gate | {imported['seconds']['gate']:.0f} s, {sum(spent) / len(spent):.1f} s per commit |")
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in gold["verdicts"].items())
    print(f"| gold attempts | {verdicts} |")
    shown = ("checkout", "index", "retrieve", "plan", "code", "edit", "test", "total")
    phases = ", ".join(f"{name} {gold['median_seconds'].get(name, 0.0):.3f}" for name in shown)
    print(f"| seconds per attempt by stage (medians) | {phases} |")
    parts = {name: size(home / name) for name in ("repo_packages", "var/environments", "var/cache", "var/raw.db")}
    whole = ", ".join(f"{name} {mib:.1f}" for name, mib in parts.items())
    print(f"| disk, MiB | {whole} |")
    print(f"| disk per validated commit | {sum(parts.values()) / max(validated, 1):.1f} MiB |")


def size(path: Path) -> float:
    """Return the MiB that a file or directory takes."""
    files = [path] if path.is_file() else list(path.rglob("*"))
    return sum(file.lstat().st_blocks * 512 for file in files) / (1 << 20)


if __name__ == "__main__":
    main()

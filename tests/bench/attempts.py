"""Attempts side by side with the literal recipe: venv, pip install, run the tests, delete.

    python tests/bench/attempts.py PACKAGE [--commits 10] [--home DIR]

For each validated commit of an integrated package, one gold attempt (nothing cached) and one pass
of the recipe, alternating, one at a time. Prints medians and ratios; nothing is stored.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from appliance.home import find_home, open_home
from appliance.runs import RunOptions, plan_jobs
from appliance.store.curated import CuratedStore
from harness.answerers.routes import make_routes
from harness.attempt import AttemptJob, run_attempt
from harness.sandbox.bwrap import Sandbox, run
from harness.tree import write_tar
from harness.workbench import Workbench, open_workbench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package")
    parser.add_argument("--commits", type=int, default=10)
    parser.add_argument("--home", type=Path)
    options = parser.parse_args()
    home = open_home(options.home) if options.home else find_home()
    curated = CuratedStore(home.curated_db)
    run_options = RunOptions(
        options.package, make_routes("gold", {}, None), options.commits, 1, 1, 0, 0.0, use_cache=False
    )
    jobs = plan_jobs(home, curated, run_options)
    bench = open_workbench(jobs[0].places)
    run_attempt(jobs[0])  # warm: template, layer, index
    ours, recipe, bare, phases, verdicts = [], [], [], [], []
    for job in jobs:
        record, seconds = timed(lambda job=job: run_attempt(job))
        ours.append(seconds)
        phases.append(record.seconds)
        verdicts.append(record.grade.verdict.value)
        parts = literal_recipe(bench, job)
        recipe.append(sum(parts.values()))
        bare.append(parts["test"])
        print(f"{job.commit.sha[:10]}  ours {seconds:6.2f} s  recipe {recipe[-1]:6.2f} s  bare test {bare[-1]:6.2f} s",
              file=sys.stderr)  # fmt: skip
    report(ours, recipe, bare, phases, verdicts, environment_seconds(bench, jobs[0]))


def report(ours, recipe, bare, phases, verdicts, view_s) -> None:
    median = statistics.median
    over = median(a - b for a, b in zip(ours, bare, strict=True))
    print(f"| {len(ours)} gold attempts, one at a time | median |")
    print("|---|---|")
    print(f"| RESOLVED | {verdicts.count('RESOLVED')} of {len(verdicts)} |")
    print(f"| whole attempt | {median(ours):.2f} s |")
    print(f"| bare test process (same files, plain venv) | {median(bare):.2f} s |")
    print(f"| attempt above the bare test process | {over:.2f} s |")
    print(f"| throwaway environment (sandbox start above bare `python -c pass`) | {view_s * 1000:.1f} ms |")
    print(f"| literal recipe | {median(recipe):.2f} s |")
    print(f"| attempts per hour, ours : recipe | {3600 / median(ours):.0f} : {3600 / median(recipe):.0f} = "
          f"{median(recipe) / median(ours):.1f} x |")  # fmt: skip
    for name in sorted({name for row in phases for name in row} - {"total"}):
        print(f"| phase {name} | {median(row.get(name, 0.0) for row in phases):.3f} s |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| peak memory of the harness process | {peak:.0f} MiB |")


def literal_recipe(bench: Workbench, job: AttemptJob) -> dict[str, float]:
    """Do what seed 004, 6.9 says literally, for one commit; return seconds by part."""
    environment = bench.manifest.environment(job.commit.environment)
    packages = bench.places.package / "packages"
    wheels = [str(packages / name) for name in environment.wheels]
    interpreter = bench.template(environment).interpreter.executable
    scratch = Path(tempfile.mkdtemp(prefix="recipe-"))
    seconds: dict[str, float] = {}

    def part(name: str, action: Callable[[], object]) -> None:
        seconds[name] = timed(action)[1]

    def tree() -> None:
        case = bench.case(job.commit)
        with tempfile.TemporaryFile() as tar:
            write_tar(case.gold_graded, tar, prefix="tree")
            tar.seek(0)
            subprocess.run(["tar", "-x", "-C", str(scratch)], stdin=tar, check=True)

    def call(*command: str) -> None:
        env = {"PATH": "/usr/bin:/bin", "HOME": str(scratch), "CI": "true", **environment.env}
        done = subprocess.run(command, cwd=scratch / "tree", env=env, capture_output=True, text=True, check=False)
        if done.returncode not in {0, 1} or ("pytest" in command and " passed" not in done.stdout):
            raise SystemExit(
                f"the recipe failed at {' '.join(command)[:120]}: {done.stdout[-500:]}{done.stderr[-500:]}"
            )

    python = str(scratch / "venv" / "bin" / "python")
    pip = (python, "-m", "pip", "install", "-q", "--no-index", "--disable-pip-version-check")
    part("tree", tree)
    part("venv", lambda: call(str(interpreter), "-m", "venv", str(scratch / "venv")))
    part("install", lambda: call(*pip, "--find-links", str(packages), "--no-deps", *wheels))
    part("project", lambda: call(*pip, "--no-deps", "--no-build-isolation", str(scratch / "tree")))
    part("test", lambda: call(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *job.test_files))
    part("delete", lambda: shutil.rmtree(scratch))
    return seconds


def environment_seconds(bench: Workbench, job: AttemptJob, rounds: int = 20) -> float:
    """Return what entering the throwaway environment costs above starting its interpreter bare."""
    template = bench.template(bench.manifest.environment(job.commit.environment))
    inside = Sandbox([template.python, "-c", "pass"], read_only=template.mounts())
    bare = [str(template.directory / "venv" / "bin" / "python"), "-c", "pass"]
    with_box = statistics.median(timed(lambda: run(inside))[1] for _ in range(rounds))
    without = statistics.median(timed(lambda: subprocess.run(bare, check=True))[1] for _ in range(rounds))
    return with_box - without


def timed(action):
    started = time.perf_counter()
    result = action()
    return result, time.perf_counter() - started


if __name__ == "__main__":
    main()

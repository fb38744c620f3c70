"""What the sandbox adds to the start of a process: the same command bare and in it, side by side.

    python tests/bench/sandbox_start.py [--rounds 60]

Each round starts every variant once, so that whatever else the machine does falls on all of them.
Root gives itself up for an unprivileged uid first; the last column is the median above the bare process.
On a busy machine the figures grow with the load, which is printed: a target is judged on an idle one.
As root an ordinary user is measured, too (in a process of its own, with /usr/bin/python3).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from harness.sandbox.bwrap import Sandbox  # noqa: E402
from harness.sandbox.cgroup import hierarchies  # noqa: E402
from harness.sandbox.process import execute  # noqa: E402
from harness.sandbox.selftest import prove  # noqa: E402

TARGET_MS = 15.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    started = time.perf_counter()
    prove()
    print(f"self-test: {(time.perf_counter() - started) * 1000:.0f} ms; control groups: {hierarchies()}")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {options.rounds} rounds, milliseconds")
    print("| who | what | median | min | above bare |\n|---|---|---|---|---|")
    measure("root" if os.geteuid() == 0 else "ordinary user", options.rounds)
    if os.geteuid() == 0:
        ordinary = ["setpriv", "--reuid=64000", "--regid=64000", "--clear-groups", "/usr/bin/python3", "-B"]
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.bench.sandbox_start import measure; "
        sys.stdout.flush()
        subprocess.run([*ordinary, "-c", f"{code}measure('ordinary user', {options.rounds})"], check=True)


def measure(who: str, rounds: int) -> None:
    """Print the rows of one user."""
    variants = {"bare process": bare, "full sandbox": sandboxed}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 3):
        for name, start in variants.items():
            began = time.perf_counter()
            start()
            if number >= 3:  # the first rounds warm the caches
                seconds[name].append((time.perf_counter() - began) * 1000)
    floor = statistics.median(seconds["bare process"])
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(f"| {who} | {name} | {middle:.1f} | {min(values):.1f} | {middle - floor:.1f} |")
    above = statistics.median(seconds["full sandbox"]) - floor
    print(
        f"{who}: {above:.1f} ms above the bare process, target {TARGET_MS:.0f}: {'met' if above <= TARGET_MS else 'MISSED'}"
    )


def bare() -> None:
    subprocess.run(["/usr/bin/true"], check=True)


def sandboxed() -> None:
    assert execute(Sandbox(["/usr/bin/true"])).returncode == 0


if __name__ == "__main__":
    main()

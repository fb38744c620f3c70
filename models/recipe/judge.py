"""Whether code does what it should, by running it: the observations of two versions are compared.

Code that a model wrote runs in the harness's sandbox and nowhere else; without one, nothing is run. Jobs of a
batch share a sandbox and have processes of their own, so a hostile answer could spoil its neighbours' scores,
which are only ever used to describe the base.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.sandbox.bwrap import Sandbox, run
from harness.sandbox.limits import Limits

BATCH = 60
INSIDE = "/judge/judge_inside.py"


class JudgeFailed(HarnessError):
    """The judge gave no answer about a batch of versions."""

    code = "JUDGE_FAILED"
    hint = "Run the evaluation again; if it stays, look at the output that the message quotes."


@dataclass(frozen=True)
class Job:
    """One version of a package and how to call one function of it."""

    files: Mapping[str, str]
    module: str
    symbol: str
    made_with: tuple[int, ...]
    probes: str
    """Argument lists as a Python literal."""


def observations(jobs: Sequence[Job]) -> list[tuple[str, ...]]:
    """Return what each version shows; equal observations are equal behaviour as far as the probes reach."""
    seen: list[tuple[str, ...]] = []
    for at in range(0, len(jobs), BATCH):
        seen += _batch(jobs[at : at + BATCH])
    return seen


def _batch(jobs: Sequence[Job]) -> list[tuple[str, ...]]:
    request = json.dumps([{**asdict(job), "files": dict(job.files)} for job in jobs]).encode()
    python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    mounts = {} if sys.base_prefix == "/usr" else {sys.base_prefix: sys.base_prefix}
    mounts[INSIDE] = str(Path(__file__).with_name("judge_inside.py"))
    limits = Limits(wall_s=30.0 + 5.0 * len(jobs), cpu_s=60 + 5 * len(jobs), scratch_bytes=64 << 20, processes=64)
    with tempfile.TemporaryFile() as stdin:
        stdin.write(request)
        stdin.seek(0, io.SEEK_SET)
        os.set_inheritable(stdin.fileno(), True)  # noqa: FBT003 - the function's own signature
        done = run(Sandbox([str(python), "-I", "-S", "-B", INSIDE], mounts, limits=limits), stdin=stdin)
    try:
        answers = json.loads(bytes(done.records))
    except ValueError as err:
        tail = done.output.decode(errors="replace").strip()[-300:]
        raise JudgeFailed(f"the judge ended with status {done.returncode} and no answer: {tail}") from err
    if len(answers) != len(jobs):
        raise JudgeFailed(f"the judge answered {len(answers)} of {len(jobs)} jobs")
    return [tuple(answer) for answer in answers]

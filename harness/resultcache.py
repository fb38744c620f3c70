"""Results of test runs by content address: the key names everything that decides the result.

One file per key, written beside and renamed, with a digest of its content: a torn or altered file
is no entry. Only complete runs are kept; a timeout or a crash is run again.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.canaries import CanaryResult
from harness.durable import keep_cached
from harness.results import Outcome, RunResult, TestResult


class ResultCache:
    """Stored runs below one directory; safe across processes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str) -> RunResult | None:
        """Return the stored run, or None."""
        try:
            raw = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        body = raw[32:]
        if hashlib.sha256(body).digest() != raw[:32]:
            return None
        return run_from_document(json.loads(zlib.decompress(body)))

    def put(self, key: str, run: RunResult) -> None:
        """Keep a complete run; others are ignored."""
        if not run.completed:
            return
        body = zlib.compress(json.dumps(asdict(run), sort_keys=True).encode())
        keep_cached(self._path(key), hashlib.sha256(body).digest() + body)

    def _path(self, key: str) -> Path:
        return self.root / key[:2] / key


def run_from_document(doc: dict[str, Any]) -> RunResult:
    """Read a run back from its JSON form."""
    tests = {
        node: TestResult(node, Outcome(row["outcome"]), float(row["seconds"]), row["message"])
        for node, row in doc["tests"].items()
    }
    canaries = tuple(CanaryResult(**row) for row in doc["canaries"])
    return RunResult(**{**doc, "tests": tests, "canaries": canaries})

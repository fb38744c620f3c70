"""Tests of the input that code under test cannot change."""

from __future__ import annotations

import os

import pytest

from harness.sandbox.bwrap import Sandbox, run
from harness.sandbox.sealed import sealed_file

REOPEN = """
import os, sys
for name in ("/proc/self/fd/0", "/proc/1/fd/0"):
    try:
        with open(name, "r+b", buffering=0) as stream:
            stream.write(b"changed")
            print(name, "written")
    except OSError as err:
        print(name, "refused")
"""


def test_nobody_can_write_to_it() -> None:
    """Neither through the descriptor nor through a new one can the content change."""
    with sealed_file(lambda out: out.write(b"content")) as stream:
        with pytest.raises(OSError, match="not permitted"):
            os.write(stream.fileno(), b"x")
        assert stream.read() == b"content"


def test_code_in_the_sandbox_cannot_write_through_its_input() -> None:
    """Reopening stdin, its own or that of the namespace's first process, gives no way out of the sandbox."""
    with sealed_file(lambda out: out.write(b"content")) as stream:
        done = run(Sandbox(["/usr/bin/python3", "-c", REOPEN]), stdin=stream)
        stream.seek(0)
        assert stream.read() == b"content"
    assert b"written" not in done.output
    assert done.output.count(b"refused") == 2

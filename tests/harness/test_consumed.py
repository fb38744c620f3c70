"""Inputs that are gone once they were read."""

from __future__ import annotations

import os
from typing import IO

import pytest

from harness.sandbox.bwrap import Sandbox, run
from harness.sandbox.consumed import consumed_input


@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
def test_everything_arrives_once(size: int) -> None:
    """What was written is read to its end, and there is nothing behind it."""
    data = os.urandom(size)
    with consumed_input(lambda out: out.write(data)) as stream:  # type: ignore[arg-type]
        assert stream.read() == data
        assert stream.read() == b""


def test_a_reader_that_does_not_read_to_the_end_holds_nobody_up() -> None:
    """Leaving early ends the writer, too."""
    with consumed_input(lambda out: out.write(b"x" * 5_000_000)) as stream:  # type: ignore[arg-type]
        assert stream.read(3) == b"xxx"


def test_nothing_is_left_for_a_process_inside_the_sandbox() -> None:
    """The sandbox's first process keeps its standard input open; what was read from it is not there any more."""

    def secret(out: IO[bytes]) -> None:
        out.write(b"the secret")

    code = (
        "import os, select, sys; sys.stdin.read(); seen = []\n"
        "for process in filter(str.isdigit, os.listdir('/proc')):\n"
        "    for name in os.listdir('/proc/%s/fd' % process) if os.access('/proc/%s/fd' % process, os.R_OK) else ():\n"
        "        try:\n"
        "            fd = os.open('/proc/%s/fd/%s' % (process, name), os.O_RDONLY | os.O_NONBLOCK)\n"
        "            seen.append(os.read(fd, 1000))\n"
        "        except OSError: pass\n"
        "print(any(b'the secret' in data for data in seen), len(seen))"
    )
    with consumed_input(secret) as stream:
        done = run(Sandbox(["/usr/bin/python3", "-c", code]), stdin=stream)
    assert done.output.startswith(b"False"), done.output

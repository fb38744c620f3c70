"""An input for the sandbox that is gone once it was read.

bubblewrap's first process stays beside the tests and keeps its standard input open, where they can
open it again through /proc. A pipe that was read to its end holds nothing for them; a file would
still hold the key of the run.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

from harness.sandbox.sealed import sealed_file

_PIPE_BYTES = 1 << 20


@contextmanager
def consumed_input(write: Callable[[IO[bytes]], None]) -> Iterator[IO[bytes]]:
    """Return the reading end of a pipe that carries what `write` wrote, once, to whoever reads it."""
    with sealed_file(write) as source:
        reading, writing = os.pipe()
        with suppress(OSError):  # a smaller pipe is slower, not wrong
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        feeder = threading.Thread(target=_feed, args=(source.fileno(), writing), daemon=True)
        feeder.start()
        try:
            with os.fdopen(reading, "rb", buffering=0) as stream:
                yield stream
        finally:
            feeder.join()


def _feed(source: int, writing: int) -> None:
    try:
        at, size = 0, os.fstat(source).st_size
        while at < size:
            at += os.sendfile(writing, source, at, size - at)
    except BrokenPipeError:
        pass  # the reader ended early and has its own way of saying so
    finally:
        os.close(writing)

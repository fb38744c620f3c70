"""An input for the sandbox that nobody can change any more: a sealed in-memory file.

Whoever inherits a descriptor can reopen it through /proc with more rights; a seal belongs to the
file itself, so code under test cannot write to it, and no file system of the host is behind it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO


@contextmanager
def sealed_file(write: Callable[[IO[bytes]], None]) -> Iterator[IO[bytes]]:
    """Return a file at its start, holding what `write` wrote, that is read-only for everybody."""
    fd = os.memfd_create("sandbox-input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(fd, "w+b") as stream:
        write(stream)
        stream.flush()
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        stream.seek(0)
        yield stream

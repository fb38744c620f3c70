"""Record pipes for tests: written by the very sender that runs in the sandbox."""

from __future__ import annotations

import os
import tempfile

from harness.inside.sandbox_stream import make_sender

KEY = bytes(range(32))


def sealed(*records: object, key: bytes = KEY) -> bytes:
    """Return the bytes that the sender of a run with this key writes for these records."""
    with tempfile.TemporaryFile() as stream:
        send = make_sender(os.dup(stream.fileno()), key)
        for record in records:
            send(record)
        stream.seek(0)
        return stream.read()

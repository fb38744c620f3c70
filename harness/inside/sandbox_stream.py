"""Inside the sandbox: how both programs start. The tree comes in on stdin, records go out on a pipe."""

import json
import os
import sys
import tarfile


def receive():
    """Unpack the stream below /work; return the request that came with it and the record descriptor."""
    fd = int(os.environ.pop("HARNESS_RECORD_FD"))
    os.set_inheritable(fd, False)  # noqa: FBT003 - positional only
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
        if hasattr(tarfile, "fully_trusted_filter"):
            tar.extraction_filter = tarfile.fully_trusted_filter
        tar.extractall("/work")
    with open("/work/request.json") as stream:
        request = json.load(stream)
    os.unlink("/work/request.json")
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry != here]
    return request, fd


def send(fd, record):
    """Write one record as a line; a pipe may take it in pieces."""
    data = json.dumps(record).encode() + b"\n"
    while data:
        data = data[os.write(fd, data) :]

"""Inside the sandbox: unpack the tree from stdin, run pytest on it, report through the pipe.

Arguments: a JSON object with `args` (pytest arguments), `roots` (import roots below the tree),
`shuffle` (seed or null). The last record, `end`, says that pytest returned by itself; a run
without it did not complete. Any in-process report can be forged by the code under test, so what
arrives here is necessary, not sufficient, for a verdict.
"""

import json
import os
import sys
import tarfile

TREE = "/work/tree"


def main():
    request = json.loads(sys.argv[1])
    fd = int(os.environ.pop("HARNESS_RECORD_FD"))
    os.set_inheritable(fd, False)  # noqa: FBT003 - positional only
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
        if hasattr(tarfile, "fully_trusted_filter"):
            tar.extraction_filter = tarfile.fully_trusted_filter
        tar.extractall("/work")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.chdir(TREE)
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry != here]
    if request["module"]:
        sys.path.insert(0, TREE)

    sys.path_importer_cache.clear()  # the tree did not exist when the interpreter looked for it

    import pytest  # noqa: PLC0415 - the tree must be in place first

    sys.path.append(here)
    from results_plugin import ResultsPlugin  # noqa: PLC0415

    sys.path.remove(here)
    plugin = ResultsPlugin(fd, request["shuffle"])
    code = pytest.main(request["args"], plugins=[plugin])
    plugin.write({"t": "end", "exit": int(code), "collected": plugin.collected})
    sys.stdout.flush()
    sys.stderr.flush()


if __name__ == "__main__":
    main()

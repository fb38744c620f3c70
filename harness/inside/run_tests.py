"""Inside the sandbox: unpack the tree from stdin, run pytest on it, report through the pipe.

Argument: a JSON object with `args` (pytest arguments), `module` (called as `python -m pytest`) and
`shuffle` (seed or null). The last record, `end`, says that pytest returned by itself; a run
without it did not complete. Any in-process report can be forged by the code under test, so what
arrives here is necessary, not sufficient, for a verdict.
"""

import os
import sys

from sandbox_stream import receive

TREE = "/work/tree"


def main():
    request, fd = receive()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.chdir(TREE)
    if request["module"]:
        sys.path.insert(0, TREE)

    sys.path_importer_cache.clear()  # the tree did not exist when the interpreter looked for it

    import pytest  # noqa: PLC0415 - the tree must be in place first

    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(here)
    from results_plugin import ResultsPlugin  # noqa: PLC0415

    sys.path.remove(here)
    for name in ("sandbox_stream", "results_plugin"):  # the project may have modules of these names
        sys.modules.pop(name, None)
    plugin = ResultsPlugin(fd, request["shuffle"])
    code = pytest.main(request["args"], plugins=[plugin])
    plugin.write({"t": "end", "exit": int(code), "collected": plugin.collected})
    sys.stdout.flush()
    sys.stderr.flush()


if __name__ == "__main__":
    main()

"""Inside the sandbox: unpack the tree from stdin, run pytest on it, report through the pipe.

The request holds `args` (pytest arguments), `module` (called as `python -m pytest`) and
`shuffle` (seed or null). The last record, `end`, says that pytest returned by itself; a run
without it did not complete. Any in-process report can be forged by the code under test, so what
arrives here is necessary, not sufficient, for a verdict.
"""

import importlib.util
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

    plugin = _our_plugin().ResultsPlugin(fd, request["shuffle"])
    code = pytest.main(request["args"], plugins=[plugin])
    plugin.write({"t": "end", "exit": int(code), "collected": plugin.collected})
    sys.stdout.flush()
    sys.stderr.flush()


def _our_plugin():
    """Load the plugin by path: a module of its name in the project must not take its place."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results_plugin.py")
    spec = importlib.util.spec_from_file_location("results_plugin", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules.pop("sandbox_stream", None)  # the project may have a module of this name, too
    return module


if __name__ == "__main__":
    main()

"""Inside the sandbox: unpack the tree from stdin, run pytest on it, report through the pipe.

The request holds `args` (pytest arguments), `module` (called as `python -m pytest`), `shuffle`
(seed or null), `canaries` (see results_plugin) and the key of the run. The last record, `end`, says
that pytest returned by itself; a run without it did not complete. Code under test shares this
process, so what arrives is necessary, not sufficient, for a verdict.
"""

import importlib.util
import os
import sys

from sandbox_stream import receive

TREE = "/work/tree"


def main():
    request, send = receive()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.chdir(TREE)
    if request["module"]:
        sys.path.insert(0, TREE)

    sys.path_importer_cache.clear()  # the tree did not exist when the interpreter looked for it

    import pytest  # noqa: PLC0415 - the tree must be in place first

    plugin, finish = _our_plugin()(send, request)
    del send
    finish(int(pytest.main(request["args"], plugins=[plugin])))
    sys.stdout.flush()
    sys.stderr.flush()


def _our_plugin():
    """Load the plugin by path: a module of its name in the project must not take its place."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results_plugin.py")
    spec = importlib.util.spec_from_file_location("results_plugin", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules.pop("sandbox_stream", None)  # the project may have a module of this name, too
    return module.make_plugin


if __name__ == "__main__":
    main()

"""Inside the sandbox: let the project's own build backend say what the project is called and needs.

Unpacks the tree from stdin, asks the PEP 517 backend for an editable wheel (or a plain one where
it cannot), and sends back through the pipe: the .dist-info files, the import roots, and files that
the build generated in the tree (version files, compiled extensions). The request holds `backend`
and `backend_path`.
"""

import ast
import base64
import glob
import importlib
import os
import sys
import zipfile

from sandbox_stream import receive

TREE = "/work/tree"
OUT = "/work/out"
LIMIT_BYTES = 48 << 20
SKIPPED_DIRS = ("build", "dist", "__pycache__", ".git")


def main():
    request, send = receive()
    os.makedirs(OUT)
    os.chdir(TREE)
    before = set(_files())
    for entry in reversed(request["backend_path"]):
        sys.path.insert(0, os.path.join(TREE, entry))
    module, _, attribute = request["backend"].partition(":")
    backend = importlib.import_module(module)
    for name in filter(None, attribute.split(".")):
        backend = getattr(backend, name)
    answer = _ask(backend)
    generated = sorted(path for path in set(_files()) - before if not path.endswith(".pyc"))
    answer["generated"] = _read(TREE, generated)
    send(answer)


def _ask(backend):
    """An editable wheel knows the import roots; a plain one still runs the build hooks."""
    problems = []
    for how in ("editable", "wheel"):
        try:
            wheel = os.path.join(OUT, getattr(backend, "build_" + how)(OUT))
        except (Exception, SystemExit) as err:
            problems.append("%s: %s: %s" % (how, type(err).__name__, err))
            continue
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(OUT + "/wheel")
        files = [name for name in _files(OUT + "/wheel") if ".dist-info/" in name]
        roots = _roots(OUT + "/wheel") if how == "editable" else None
        return {"how": "; ".join([how, *problems]), "files": _read(OUT + "/wheel", files), "roots": roots}
    raise SystemExit("; ".join(problems))


def _roots(wheel):
    """Import roots that the editable wheel points at, relative to the tree; None if it says none."""
    roots = []
    for listing in glob.glob(wheel + "/*.pth"):
        with open(listing) as lines:
            roots += [line.strip() for line in lines if line.startswith("/")]
    for finder in glob.glob(wheel + "/__editable__*.py"):
        with open(finder) as source:
            for node in ast.parse(source.read()).body:
                targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
                if any(getattr(target, "id", "") == "MAPPING" for target in targets):
                    roots += [os.path.dirname(path) for path in ast.literal_eval(node.value).values()]
    inside = sorted({os.path.relpath(root, TREE) for root in roots if (root + "/").startswith(TREE + "/")})
    return inside or None


def _files(top="."):
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in SKIPPED_DIRS and not name.endswith(".egg-info")]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), top)


def _read(top, names):
    content, total = {}, 0
    for name in names:
        path = os.path.join(top, name)
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        total += os.path.getsize(path)
        if total > LIMIT_BYTES:
            raise SystemExit("the build made more than %d bytes" % LIMIT_BYTES)
        with open(path, "rb") as stream:
            content[name] = base64.b64encode(stream.read()).decode()
    return content


if __name__ == "__main__":
    main()

"""Our pytest plugin: what became of every test, as records on a pipe, and canaries beside the tests.

Ids travel as JSON strings, so brackets, spaces and newlines in parameters survive. Each record is
sent at once, so a run that is killed leaves every record that was finished before.

Canaries are tests of ours in the folders of the project's tests: of each pair one must pass and one
must fail. The request holds their texts; whether they behaved is decided outside. They stay in the
run whatever is deselected, the opening ones first and the closing ones last.
"""

import os
import random

import pytest

MESSAGE_CHARS = 4000
ENDING_CHARS = 300
TREE = "/work/tree"


def make_plugin(send, order):
    """Return the plugin and the function that sends the completion record.

    Sender and state live in closures: the plugin is in reach of whoever has pytest's configuration.
    """
    collected = [0]

    class ResultsPlugin(_collection(send, order["canaries"], order["shuffle"], collected), _running(send)):
        pass

    def finish(code):
        send({"t": "end", "exit": code, "collected": collected[0]})

    return ResultsPlugin(), finish


def _collection(send, modules, seed, collected):
    """Hooks that place the canaries, keep them in the run and say what was collected."""

    class Collection:
        @pytest.hookimpl(trylast=True)
        def pytest_configure(self, config):
            root = str(getattr(config, "rootpath", None) or config.rootdir)
            paths, folders = _place(config, modules)
            config.args[:] = [*config.args, *paths]
            send({"t": "placed", "folders": folders, "root": os.path.relpath(root, TREE)})

        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_collection_modifyitems(self, items):
            canaries = [item for item in items if _canary(item, modules) is not None]
            yield
            ours = {item.nodeid: item for item in canaries}
            rest = [item for item in items if item.nodeid not in ours]
            if seed is not None:
                random.Random(seed).shuffle(rest)
            first = [item for item in ours.values() if _canary(item, modules)["opening"]]
            last = [item for item in ours.values() if not _canary(item, modules)["opening"]]
            items[:] = [*first, *rest, *last]

        def pytest_collection_finish(self, session):
            collected[0] = len(session.items)
            send({"t": "collected", "n": collected[0]})

        def pytest_collectreport(self, report):
            if report.failed:
                send({"t": "uncollectable", "id": report.nodeid, "message": _text(report)})

    return Collection


def _running(send):
    """Hooks that say what became of a test, and how its function really ended."""
    called, ended = {}, {}

    class Running:
        def pytest_runtest_logstart(self, nodeid):
            ended.pop(nodeid, None)
            send({"t": "start", "id": nodeid})

        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_runtest_call(self, item):
            outcome = yield
            if outcome.excinfo is not None:
                ended[item.nodeid] = _ending(outcome.excinfo)
            elif type(item) is pytest.Function:  # what its report will say is known here already
                ended[item.nodeid] = called.pop(item.nodeid, "not called")

        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_pyfunc_call(self, pyfuncitem):
            outcome = yield
            called[pyfuncitem.nodeid] = "" if outcome.excinfo is None else _ending(outcome.excinfo)

        def pytest_runtest_logreport(self, report):
            record = {
                "t": "phase",
                "id": report.nodeid,
                "when": report.when,
                "outcome": report.outcome,
                "s": round(report.duration, 6),
            }
            if report.when == "call" and report.nodeid in ended:
                record["ended"] = ended[report.nodeid]
            if hasattr(report, "wasxfail"):
                record["xfail"] = True
            if report.failed:
                record["message"] = _text(report)
            send(record)

    return Running


def _place(config, modules, open_file=open):
    """Write the canary modules where the project's tests are; return their paths and folders."""
    files = [p for p in config.getini("python_files") if "*" in p and p.endswith(".py") and not set("?[]/") & set(p)]
    names = [p for p in config.getini("python_functions") if p and not set("?[]") & set(p)]
    wanted = [os.path.abspath(str(arg).partition("::")[0]) for arg in config.args]
    paths, folders = [], []
    for module in modules:
        folder = os.path.normpath(os.path.join(TREE, module["folder"]))
        is_within = any((folder + "/").startswith(arg + "/") for arg in wanted)
        if not is_within and not any(os.path.dirname(arg) == folder for arg in wanted):
            continue
        path = os.path.join(folder, (files or ["test_*.py"])[0].replace("*", module["name"]))
        text = module["text"]
        for name in module["functions"]:
            text = text.replace("<%s>" % name, _function((names or ["test"])[0], name))
        with open_file(path, "x") as stream:
            stream.write(text)
        config.getini("python_files").append(os.path.basename(path))  # where its folder is collected as a whole
        if not is_within:  # pytest 8 forgets the rest of a folder that is given beside one of its files
            paths.append(path)
        folders.append(module["folder"])
    return paths, folders


def _function(pattern, name):
    return pattern.replace("*", name, 1).replace("*", "") if "*" in pattern else "%s_%s" % (pattern.rstrip("_"), name)


def _canary(item, modules):
    """Return the canary module that a collected test belongs to, or None."""
    for module in modules:
        if any(name in item.name for name in module["functions"]):
            return module
    return None


def _ending(excinfo):
    try:
        text = "%s: %s" % (excinfo[0].__name__, excinfo[1])
    except Exception as err:
        text = "no representation: %r" % (err,)
    return text[:ENDING_CHARS]


def _text(report):
    try:
        text = str(report.longrepr)
    except Exception as err:
        text = "no representation: %r" % (err,)
    return text[-MESSAGE_CHARS:]

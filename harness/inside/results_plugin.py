"""Our pytest plugin: node id, outcome, phase and duration of every test, as JSON lines on a pipe.

Ids travel as JSON strings, so brackets, spaces and newlines in parameters survive. Each record is
one write, so a run that is killed leaves every record that was finished before.
"""

import random

import pytest
from sandbox_stream import send

MESSAGE_CHARS = 4000


class ResultsPlugin:
    def __init__(self, fd, shuffle_seed):
        self._fd = fd
        self._shuffle_seed = shuffle_seed
        self.collected = 0

    def write(self, record):
        send(self._fd, record)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        if self._shuffle_seed is not None:
            random.Random(self._shuffle_seed).shuffle(items)

    def pytest_collection_finish(self, session):
        self.collected = len(session.items)
        self.write({"t": "collected", "n": self.collected})

    def pytest_collectreport(self, report):
        if report.failed:
            self.write({"t": "uncollectable", "id": report.nodeid, "message": _text(report)})

    def pytest_runtest_logstart(self, nodeid):
        self.write({"t": "start", "id": nodeid})

    def pytest_runtest_logreport(self, report):
        record = {
            "t": "phase",
            "id": report.nodeid,
            "when": report.when,
            "outcome": report.outcome,
            "s": round(report.duration, 6),
        }
        if hasattr(report, "wasxfail"):
            record["xfail"] = True
        if report.failed:
            record["message"] = _text(report)
        self.write(record)


def _text(report):
    try:
        text = str(report.longrepr)
    except Exception as err:
        text = "no representation: %r" % (err,)
    return text[-MESSAGE_CHARS:]

"""Inside the sandbox: run the gold tests once more and write down what they call and what comes back.

An entry call is a call of a project function whose nearest Python caller is a test file: what the
tests rely on, other than the solution's own inner calls. `sys.setprofile` sees it start and end; the
tests run as they always do. What an exception was is not seen here; the replay on gold tells.

The request holds what `run_tests` takes, and `oracle`: `source` and `tests` (paths), `touched` (path to
line spans of changed functions). Records: `calls` (those of one test), `test` (whether it passed), `end`.
"""

import collections
import dis
import inspect
import json
import os
import sys

from oracle_calls import CallWriter
from oracle_names import OTHER, TEST, Names
from oracle_static import Sights, Unencodable
from oracle_values import Encoder, canonical
from sandbox_stream import receive

TREE = "/work/tree"
MOST_CALLS = 200
MOST_ITEMS = 500
MOST_RECORDED_BYTES = 48 << 20
TOUCHED = "touched"


class _Entry:
    __slots__ = (
        "before", "document", "frame", "id", "is_gone_through", "items", "made", "outcome", "receiver", "touched",
        "unwatched", "watched",
    )  # fmt: skip

    def __init__(self, frame, touched):
        self.frame, self.touched = frame, touched
        self.document = self.made = self.outcome = self.id = self.items = None
        self.is_gone_through = False
        self.watched, self.unwatched, self.before, self.receiver = [], [], [], None


class Recorder:
    def __init__(self, spec, names):
        self.names, self.spans = names, spec["touched"]
        self.sights = Sights(spec["attributes"], spec["called"])
        self.kinds, self.known, self.held = {}, {}, []
        self.entries, self.generators, self.active = [], {}, None
        self.next_id, self.test, self.sent_bytes = 0, "", 0
        self.dropped = collections.Counter()
        self.arguments = Encoder(names.reference, known=lambda value: self.known.get(id(value)))
        self.writer = CallWriter(names, self.arguments, self._add_new)

    def start(self, test):
        self.test = test
        if self.sent_bytes < MOST_RECORDED_BYTES:
            sys.setprofile(self._profile)

    def stop(self):
        sys.setprofile(None)
        self.active = None

    def finish_test(self, send):
        """Send the calls of a test if a changed function ran in any of them, and forget its objects."""
        whole = [entry for entry in self.entries if entry.outcome is not None]
        _keep_last_states(whole)
        if any(entry.touched for entry in whole):
            record = {"t": "calls", "test": self.test, "calls": [self._record(entry) for entry in whole]}
            self.sent_bytes += len(json.dumps(record))
            send(record)
        self.entries, self.generators, self.held = [], {}, []
        self.known.clear()

    def _record(self, entry):
        code = entry.frame.f_code if entry.frame is not None else None
        where = "%s:%d" % (self.names.path_of(code.co_filename), code.co_firstlineno) if code else ""
        return {"id": entry.id, "do": entry.document, "outcome": entry.outcome, "touched": entry.touched, "fn": where}

    def _kind(self, code):
        found = self.kinds.get(id(code))
        if found is None:
            kind = self.names.role_of(code.co_filename)
            if kind not in (OTHER, TEST):
                spans = self.spans.get(self.names.path_of(code.co_filename), ())
                if any(first <= code.co_firstlineno <= last for first, last in spans):
                    kind = TOUCHED
            found = self.kinds[id(code)] = kind, code
        return found[0]

    def _profile(self, frame, event, arg):
        if event == "call":
            kind = self._kind(frame.f_code)
            if kind not in (OTHER, TEST):
                self._called(frame, kind == TOUCHED)
        elif event == "return" and self.active is not None and self.active.frame is frame:
            self._returned(frame, arg)

    def _called(self, frame, touched):
        if self.active is not None:
            self.active.touched = self.active.touched or touched
            return
        entry = self.generators.get(id(frame))
        if entry is not None:  # resumed
            self.active = entry
            entry.touched = entry.touched or touched
            return
        caller = frame.f_back
        if caller is None or self._kind(caller.f_code) != TEST or _is_under_way(frame):
            return
        entry = self.active = _Entry(frame, touched)
        if len(self.entries) >= MOST_CALLS:
            self.dropped["many"] += 1
            return
        try:
            entry.document, entry.made = self.writer.write(frame)
            entry.watched, entry.unwatched = self.writer.watched, self.writer.unwatched
            entry.receiver = self.writer.receiver
            entry.is_gone_through = self.writer.takes_items and entry.document["op"] in ("call", "method")
            entry.before = [canonical(self._result(value)) for _, value in entry.watched]
        except Unencodable as why:
            entry.document = None
            self.dropped[str(why)] += 1
        except Exception as err:
            entry.document = None
            self.dropped[type(err).__name__] += 1
        if entry.document is not None:
            self._add(entry)

    def _returned(self, frame, value):
        entry, self.active = self.active, None
        if entry.document is None:
            self._forget(frame)
            return
        last = dis.opname[frame.f_code.co_code[frame.f_lasti]]
        if last == "YIELD_VALUE":
            self._yielded(entry, value)
        elif not last.startswith(("RETURN", "INSTRUMENTED_RETURN")):
            entry.outcome = {"raised": None}
        elif frame.f_code.co_flags & inspect.CO_GENERATOR or entry.items is not None:
            self._exhausted(entry)
        else:
            self._ended(entry, entry.made if entry.made is not None else value)

    def _ended(self, entry, value):
        def found(thing, path):
            if id(thing) not in self.known:
                self.known[id(thing)] = [entry.id, *path]
                self.held.append(thing)

        if inspect.isgenerator(value) and value.gi_frame is not None:
            entry.outcome, entry.items = None, []
            entry.frame = value.gi_frame  # what the test takes from it is the result
            self.generators[id(value.gi_frame)] = entry
            return
        entry.outcome = self._outcome(entry, value, found)

    def _outcome(self, entry, value, found):
        try:
            outcome = {"value": self._result(value, found)}
            if entry.is_gone_through and type(value) in (list, tuple) and len(value) <= MOST_ITEMS:
                entry.document["items"] = True
                outcome["value"]["t"] = "list"
            changed = []
            for (place, argument), before in zip(entry.watched, entry.before):  # noqa: B905 - Python 3.8
                after = self._result(argument)
                if canonical(after) != before:
                    changed.append([place, after])
        except Unencodable as why:
            self.dropped["result " + str(why)] += 1
            return {"value": {"t": "opaque", "c": "", "mro": []}, "changed": []}
        outcome["changed"] = changed
        if entry.unwatched:
            outcome["unread"] = entry.unwatched
        if entry.receiver is not None:
            self._add_state(outcome, entry.receiver)
        return outcome

    def _add_state(self, outcome, receiver):
        """Write down what tests can see of an object after a call on it."""
        try:
            state = self._result(receiver)
        except Unencodable as why:
            self.dropped["state " + str(why)] += 1
            return
        if state["t"] == "object":
            outcome["self"] = state

    def _result(self, value, found=lambda *_: None):
        return Encoder(self.names.reference, found=found, sights=self.sights).encode(value)

    def _yielded(self, entry, value):
        if entry.items is None:
            entry.items = []
            self.generators[id(entry.frame)] = entry
        if entry.items is not False and len(entry.items) < MOST_ITEMS:
            try:
                entry.items.append(self._result(value))
            except Unencodable:
                entry.items = False
        else:
            entry.items = False

    def _exhausted(self, entry):
        self.generators.pop(id(entry.frame), None)
        if entry.items is False:
            entry.outcome = {"value": {"t": "opaque", "c": "", "mro": []}, "changed": []}
            return
        entry.document["items"] = True
        entry.outcome = {"value": {"t": "list", "v": entry.items or []}, "changed": []}

    def _add(self, entry):
        entry.id, self.next_id = self.next_id, self.next_id + 1
        self.entries.append(entry)

    def _add_new(self, document, made):
        """Write down the construction of an object whose class has no constructor to be seen."""
        entry = _Entry(None, touched=False)
        entry.document = document
        self._add(entry)
        self._ended(entry, made)

    def _forget(self, frame):
        """A call that cannot be made again may have changed its receiver: nothing rests on it any more."""
        code = frame.f_code
        if code.co_argcount and code.co_varnames[0] in frame.f_locals:
            self.known.pop(id(frame.f_locals[code.co_varnames[0]]), None)


def _keep_last_states(entries):
    """Leave the state of an object with the last call of changed code on it: a solution may get there another way."""
    done = set()
    for entry in reversed(entries):
        if "self" not in entry.outcome:
            continue
        if not entry.touched or id(entry.receiver) in done:
            del entry.outcome["self"]
        else:
            done.add(id(entry.receiver))


def _is_under_way(frame):
    """Return whether a generator has yielded before: then somebody else started it."""
    code = frame.f_code
    if not code.co_flags & inspect.CO_GENERATOR:
        return False
    return any(at.offset <= frame.f_lasti and at.opname == "YIELD_VALUE" for at in dis.get_instructions(code))


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

    spec = request["oracle"]
    recorder = Recorder(spec, Names(spec["source"], spec["tests"]))
    for name in ("sandbox_stream", "oracle_calls", "oracle_names", "oracle_static", "oracle_values"):
        sys.modules.pop(name, None)  # the project may have modules of these names, too
    code = pytest.main(request["args"], plugins=[_plugin(pytest, recorder, send)])
    send({"t": "end", "exit": int(code), "dropped": dict(recorder.dropped)})
    sys.stdout.flush()
    sys.stderr.flush()


def _plugin(pytest, recorder, send):
    class OraclePlugin:
        def __init__(self):
            self.passed = {}

        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_runtest_setup(self, item):
            recorder.start(item.nodeid)
            yield
            recorder.stop()

        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_runtest_call(self, item):
            recorder.start(item.nodeid)
            yield
            recorder.stop()

        def pytest_runtest_logreport(self, report):
            fine = self.passed.get(report.nodeid, True) and report.outcome == "passed"
            self.passed[report.nodeid] = fine
            if report.when == "teardown":
                recorder.finish_test(send)
                send({"t": "test", "id": report.nodeid, "passed": fine})

    return OraclePlugin()


if __name__ == "__main__":
    main()

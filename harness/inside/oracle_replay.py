"""Inside the sandbox: make recorded calls against a tree that has no tests in it, and say what comes back.

No test framework and no expected outcome is here; the code that is asked knows what it is asked and
nothing else. The request holds `calls` (documents of `oracle_calls` by id, with `read`: the fields of a
result whose class nobody knows), `shapes` (fields to read from
objects of a class), `call_s` (seconds per call) and `module`. Each reply is one record.
"""

import importlib
import itertools
import operator
import os
import signal
import sys

from oracle_rebuild import ResultMissing, rebuild, resolve
from oracle_values import Encoder, Unencodable, canonical, defined_at, lineage
from sandbox_stream import receive

TREE = "/work/tree"
MOST_ITEMS = 501
MUTABLE = ("list", "dict", "set", "bytearray")
_BUILTIN = {"len": len, "str": str, "repr": repr, "bool": bool, "iter": iter}


class TooLong(BaseException):
    """One call took longer than it may."""


def _too_long(_signal, _frame):
    raise TooLong


class Replay:
    def __init__(self, request):
        self.shapes, self.call_s = request["shapes"], request["call_s"]
        self.results = {}

    def reply(self, call):
        """Make one call; return its outcome."""
        do = call["do"]
        try:
            function, args, kwargs = self._ready(do)
        except TooLong:
            raise
        except BaseException as err:
            return {"unready": "an earlier result is missing" if isinstance(err, ResultMissing) else type(err).__name__}
        try:
            value = function(*args, **kwargs)
            if do.get("items"):
                value = list(itertools.islice(value, MOST_ITEMS))
        except TooLong:
            raise
        except BaseException as err:
            kind = type(err)
            return {"raised": {"c": "%s:%s" % (kind.__module__, kind.__qualname__), "mro": lineage(kind)}}
        self.results[call["id"]] = value
        return self._outcome(call, value, args, kwargs)

    def timed(self, call):
        signal.setitimer(signal.ITIMER_REAL, self.call_s)
        try:
            return self.reply(call)
        except TooLong:
            return {"timeout": True}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _ready(self, do):
        args = [rebuild(item, self.results) for item in do["args"]]
        kwargs = {name: rebuild(item, self.results) for name, item in do.get("kwargs", ())}
        op, name = do["op"], do["name"]
        if op in ("call", "new"):
            return resolve(name), args, kwargs
        if op == "operator":
            return _BUILTIN.get(name) or getattr(operator, name), args, kwargs
        on = rebuild(do["on"], self.results)
        if op == "get":
            return getattr, [on, name], {}
        if op == "set":
            return setattr, [on, name, *args], {}
        return getattr(on, name), args, kwargs

    def _outcome(self, call, value, args, kwargs):
        try:
            document = self._encode(value, call.get("read"))
            return {"value": document, "changed": self._changed(call["do"], args, kwargs)}
        except Unencodable:
            return {"value": {"t": "opaque", "c": "", "mro": []}, "changed": []}

    def _encode(self, value, read=None):
        return Encoder(defined_at, found=lambda *_: None, shapes=self.shapes, read=read).encode(value)

    def _changed(self, do, args, kwargs):
        if do["op"] in ("get", "operator"):
            return []
        pairs = enumerate(zip(do["args"], args))  # noqa: B905 - Python 3.8
        places = [(at, document, value) for at, (document, value) in pairs]
        places += [(name, document, kwargs[name]) for name, document in do.get("kwargs", ())]
        changed = []
        for place, document, value in places:
            if isinstance(document, dict) and document.get("t") in MUTABLE:
                after = self._encode(value)
                if canonical(after) != canonical(document):
                    changed.append([place, after])
        return changed


def main():
    request, send = receive()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.chdir(TREE)
    sys.path.append(TREE)
    if request["module"]:
        sys.path.insert(0, TREE)
    sys.path_importer_cache.clear()  # the tree did not exist when the interpreter looked for it
    importlib.invalidate_caches()
    signal.signal(signal.SIGALRM, _too_long)
    replay = Replay(request)
    for name in ("sandbox_stream", "oracle_rebuild", "oracle_values"):
        sys.modules.pop(name, None)
    for call in request["calls"]:
        outcome = replay.timed(call)
        send({"t": "reply", "id": call["id"], **outcome})
        if "timeout" in outcome:
            break  # one is enough to disagree, and the next would hang as well
    send({"t": "end"})
    sys.stdout.flush()
    os._exit(0)  # threads and exit handlers of the code that was asked have nothing to add


if __name__ == "__main__":
    main()

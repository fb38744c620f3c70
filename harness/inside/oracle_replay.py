"""Inside the sandbox: make recorded calls against a tree that has no tests in it, and say what comes back.

No test framework and no expected outcome is here. Two processes: the first has the request, the key and
the record pipe, and hands the second one call at a time; the second, forked before any of that came in,
imports the project. So the code that is asked knows what it was asked so far and is asked now, but no
later question: the argument of `decode` is the answer of the `encode` before it.

The request holds `calls` (documents of `oracle_calls` by id, with `read`: the attributes of objects
whose class nobody knows, and `look`: whether the receiver is looked at afterwards), `shapes` (fields to
read from objects of a class), `call_s` (seconds per call) and `module`. Records: `reply` (one for each
call), `interfered` (an answer that is not the second process's own), `died` (a signal ended it), `end`.
"""

import importlib
import itertools
import json
import operator
import os
import signal
import sys
import time
import types

from oracle_rebuild import ResultMissing, rebuild, resolve
from oracle_static import Unencodable, lineage
from oracle_values import Encoder, canonical, defined_at
from sandbox_stream import receive

TREE = "/work/tree"
MOST_ITEMS = 501
MOST_LINE_BYTES = 16 << 20
NONCE_BYTES = 16
NOT_DUMPABLE = (4, 0, 0, 0, 0)
"""prctl(PR_SET_DUMPABLE, 0): nobody but root reads this process's memory and descriptors through /proc."""
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
        self.receiver = None

    def reply(self, call):
        """Make one call; return its outcome."""
        do = call["do"]
        try:
            function, args, kwargs = self._ready(do)
            watched = self._watched(do, args, kwargs, call.get("read"))
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
        return self._outcome(call, value, watched)

    def timed(self, call):
        signal.setitimer(signal.ITIMER_REAL, self.call_s)
        try:
            return self.reply(call)
        except TooLong:
            return {"timeout": True}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _ready(self, do):
        self.receiver = None
        args = [rebuild(item, self.results) for item in do["args"]]
        kwargs = {name: rebuild(item, self.results) for name, item in do.get("kwargs", ())}
        op, name = do["op"], do["name"]
        if op in ("call", "new"):
            return resolve(name), args, kwargs
        if op == "operator":
            self.receiver = args[0]
            return _BUILTIN.get(name) or getattr(operator, name), args, kwargs
        on = self.receiver = rebuild(do["on"], self.results)
        if op == "get":
            return getattr, [on, name], {}
        if op == "set":
            return setattr, [on, name, *args], {}
        return getattr(on, name), args, kwargs

    def _outcome(self, call, value, watched):
        read = call.get("read")
        try:
            outcome = {"value": self._encode(value, read), "changed": self._changed(watched, read)}
        except Unencodable:
            outcome = {"value": {"t": "opaque", "c": "", "mro": []}, "changed": []}
        if call.get("look"):
            try:
                outcome["self"] = self._encode(self.receiver, read)
            except Unencodable:
                outcome["self"] = {"t": "opaque", "c": "", "mro": []}
        return outcome

    def _encode(self, value, read):
        return Encoder(defined_at, found=lambda *_: None, shapes=self.shapes, read=read).encode(value)

    def _watched(self, do, args, kwargs, read):
        """Return (place, value, text) of the arguments that a call may change, as they are before it."""
        if do["op"] in ("get", "operator"):
            return []
        pairs = enumerate(zip(do["args"], args))  # noqa: B905 - Python 3.8
        places = [(at, document, value) for at, (document, value) in pairs]
        places += [(name, document, kwargs[name]) for name, document in do.get("kwargs", ())]
        return [
            (place, value, canonical(self._encode(value, read)))
            for place, document, value in places
            if isinstance(document, dict) and document.get("t") in MUTABLE
        ]

    def _changed(self, watched, read):
        rows = [(place, before, self._encode(value, read)) for place, value, before in watched]
        return [[place, after] for place, before, after in rows if canonical(after) != before]


class Lines:
    """Reads a pipe line by line, and knows whether there is more than one line in it."""

    def __init__(self, fd):
        self.fd, self.data = fd, b""

    def next(self):
        """Return the next line, or None at the end; a line without an end or of any length is none."""
        while b"\n" not in self.data:
            more = os.read(self.fd, 1 << 16) if len(self.data) < MOST_LINE_BYTES else b""
            if not more:
                return None
            self.data += more
        line, _, self.data = self.data.partition(b"\n")
        return line


def put(fd, document):
    """Write one document as a line; return whether anybody is there to read it."""
    data = json.dumps(document).encode() + b"\n"
    try:
        while data:
            data = data[os.write(fd, data) :]
    except BrokenPipeError:
        return False
    return True


def ask_all(request, send, ask, answers):
    """Hand out one call at a time and send what comes back; return whether the other process is still there."""
    calls = request.pop("calls")
    if not put(ask, request):
        return False
    for call in calls:
        nonce = os.urandom(NONCE_BYTES).hex()
        line = answers.next() if put(ask, {"nonce": nonce, "call": call}) else None
        if line is None:
            return False
        try:
            said, outcome = json.loads(line.decode())
        except (ValueError, TypeError, RecursionError):
            said, outcome = "", {}
        if said != nonce or answers.data or type(outcome) is not dict:
            send({"t": "interfered", "id": call["id"]})
            return True
        send({**outcome, "t": "reply", "id": call["id"]})
        if "timeout" in outcome:
            return True  # one is enough to disagree, and the next would hang as well
    return True


def answer(questions, tell):
    """Make the calls that come in, until none comes any more."""
    sys.path[:] = [entry for entry in sys.path if entry != os.path.dirname(os.path.abspath(__file__))]
    line = questions.next()
    if line is None:
        return
    request = json.loads(line.decode())
    os.chdir(TREE)
    sys.path.append(TREE)
    if request["module"]:
        sys.path.insert(0, TREE)
    sys.path_importer_cache.clear()  # the tree did not exist when the interpreter looked for it
    importlib.invalidate_caches()
    signal.signal(signal.SIGALRM, _too_long)
    replay = Replay(request)
    for name in ("sandbox_stream", "oracle_rebuild", "oracle_static", "oracle_values"):
        sys.modules.pop(name, None)
    sys.modules["__main__"] = types.ModuleType("__main__")  # nothing of this program is found by name
    dumps, load = json.dumps, json.loads
    while True:
        line = questions.next()
        if line is None:
            break
        question = load(line.decode())
        data = dumps([question["nonce"], replay.timed(question["call"])]).encode() + b"\n"
        while data:
            data = data[os.write(tell, data) :]
    sys.stdout.flush()
    sys.stderr.flush()


def _keep_to_myself():
    """Close this process's memory to the other one, where the system allows it."""
    try:
        import ctypes  # noqa: PLC0415 - only after the fork: nobody needs it there

        ctypes.CDLL(None).prctl(*NOT_DUMPABLE)
    except (ImportError, OSError, AttributeError):
        return


def _status_of(child):
    """Return how the other process ended; one that only closed its pipes is ended here."""
    for _ in range(100):
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return 1 << 8


def main():
    null = os.open(os.devnull, os.O_RDONLY)
    (asked, ask), (told, tell) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.dup2(null, 0)
        for fd in (null, ask, told, int(os.environ.pop("HARNESS_RECORD_FD"))):
            os.close(fd)
        answer(Lines(asked), tell)
        os._exit(0)  # threads and exit handlers of the code that was asked have nothing to add
    os.close(asked)
    os.close(tell)
    request, send = receive()
    os.dup2(null, 0)
    _keep_to_myself()
    is_there = ask_all(request, send, ask, Lines(told))
    if not is_there:
        status = _status_of(child)
        if os.WIFSIGNALED(status):
            send({"t": "died", "signal": os.WTERMSIG(status)})
        os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0)
    send({"t": "end"})
    os._exit(0)


if __name__ == "__main__":
    main()

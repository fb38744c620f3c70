"""Runs inside the sandbox: call a function of each given package and write down what can be observed.

Reads a JSON list of jobs from stdin, answers with a JSON list on the record descriptor. Every job has a process of
its own and a few seconds; one that crashes or hangs is an observation like any other. Imports nothing of ours.
"""

import ast
import contextlib
import importlib
import inspect
import io
import json
import os
import signal
import sys
import tempfile

JOB_SECONDS = 4
PROBE_SECONDS = 0.4
TEXT_CHARS = 400


class _TooLongError(BaseException):
    """A probe ran out of time; not an Exception, so that code under test does not catch it by accident."""


def main() -> None:
    """Answer every job of stdin."""
    jobs = json.load(sys.stdin)
    record = int(os.environ["HARNESS_RECORD_FD"])
    answers = json.dumps([observe(job) for job in jobs]).encode()
    while answers:
        answers = answers[os.write(record, answers) :]


def observe(job: dict[str, object]) -> list[str]:
    """Return what one job shows, from a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(JOB_SECONDS)
        try:
            seen = _seen(job)
        except BaseException as err:  # noqa: BLE001 - a module that does not load is an observation
            seen = [f"does not load: {type(err).__name__}"]
        with os.fdopen(writing, "w") as stream:
            json.dump(seen, stream)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    try:
        seen = json.loads(text)
    except ValueError:
        seen = ["crashed or timed out"]
    return [str(item) for item in seen]


def _seen(job: dict[str, object]) -> list[str]:
    files = job["files"]
    assert isinstance(files, dict)
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            target = os.path.join(root, path)  # noqa: PTH118 - few imports, fast start
            os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
            with open(target, "w", encoding="utf-8") as stream:  # noqa: PTH123
                stream.write(text)
        sys.path[:0] = [os.path.join(root, "src"), root]  # noqa: PTH118
        sys.dont_write_bytecode = True
        with contextlib.redirect_stdout(io.StringIO()):
            module = importlib.import_module(str(job["module"]))
        return _observations(module, job)


def _observations(module: object, job: dict[str, object]) -> list[str]:
    public = sorted(name for name in vars(module) if not name.startswith("_"))
    found: object = module
    owner = None
    for name in str(job["symbol"]).split("."):
        owner, found = found, getattr(found, name, None)
    seen = [f"names {public}"]
    if found is None:
        return [*seen, "no such function"]
    assert callable(found)
    seen += [f"signature {inspect.signature(found)}", f"doc {found.__doc__!r}"]
    signal.signal(signal.SIGALRM, _stop)
    for arguments in ast.literal_eval(str(job["probes"])):
        seen.append(_call(found, owner if inspect.isclass(owner) else None, job, arguments))
    return seen


def _call(function: object, owner: object, job: dict[str, object], arguments: list[object]) -> str:
    printed = io.StringIO()
    signal.setitimer(signal.ITIMER_REAL, PROBE_SECONDS)
    try:
        with contextlib.redirect_stdout(printed):
            made = [owner(*job["made_with"])] if callable(owner) else []  # type: ignore[misc]
            value = function(*made, *arguments)  # type: ignore[operator]
        result = repr(value)
    except _TooLongError:
        result = "timed out"
    except BaseException as err:  # noqa: BLE001 - what it raises is what it does
        result = type(err).__name__
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return f"{result[:TEXT_CHARS]}|{printed.getvalue()[:TEXT_CHARS]}"


def _stop(_number: int, _frame: object) -> None:
    raise _TooLongError


if __name__ == "__main__":
    main()

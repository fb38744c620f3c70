"""Failures that a person can act on.

Every failure carries a stable `code`, the process `exit_code` it maps to, and a `hint`: the next
step. The message says what happened, where, and what was expected. Only the process edge (the
command line, a worker) turns a failure into text; libraries raise it.
"""

from __future__ import annotations


class Failure(Exception):
    """Something a person can act on went wrong."""

    code = "FAILURE"
    exit_code = 1
    hint = "Run the command again with --debug and keep the output."

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint

    def __reduce__(self) -> tuple[type[Failure], tuple[str], dict[str, str]]:
        """Survive the trip from a worker process with the hint intact."""
        return (type(self), (str(self),), {"hint": self.hint})


class HarnessError(Failure):
    """Root of what the harness can report."""

    code = "HARNESS"


class GitFailed(HarnessError):
    """A git command on one of our own repositories did not succeed."""

    code = "GIT_FAILED"
    hint = "Check that the repository is complete: git -C <repo> fsck --connectivity-only"


class BadManifest(HarnessError):
    """The manifest does not follow the package format."""

    code = "MANIFEST_SCHEMA"
    exit_code = 12
    hint = "Prepare the package again with `appliance package prepare`."


class PythonMissing(HarnessError):
    """No interpreter of the version that an environment names is on this machine."""

    code = "PYTHON_MISSING"
    exit_code = 14
    hint = "Install that Python, or prepare the package for one that this machine has."


class EnvironmentUnresolvable(HarnessError):
    """The wheels of the package do not make a working environment."""

    code = "ENV_UNRESOLVABLE"
    exit_code = 14
    hint = "Prepare the package again on the connected side; the message names what is missing."


class SandboxUnavailable(HarnessError):
    """Untrusted code cannot be isolated on this machine, so it is not run."""

    code = "SANDBOX_UNAVAILABLE"
    exit_code = 14
    hint = "Install bubblewrap (apt-get install bubblewrap) and allow user namespaces; see `appliance doctor`."


class DiskFull(HarnessError):
    """The disk has no room for what was to be written; nothing was half-written."""

    code = "DISK_FULL"
    exit_code = 14
    hint = "Free some space and run the same command again; it goes on where it stopped."


class AnswerInvalid(HarnessError):
    """An answer does not follow the schema of its stage."""

    code = "ANSWER_INVALID"


class ContextOverflow(HarnessError):
    """A prompt does not fit the window of its stage."""

    code = "CONTEXT_OVERFLOW"


class EditRejected(HarnessError):
    """An edit cannot be applied: its SEARCH part does not occur exactly once, or it may not go there."""

    code = "EDIT_REJECTED"


class ReplayMissing(HarnessError):
    """The replay file holds no answer for a stage call."""

    code = "REPLAY_MISSING"
    exit_code = 10
    hint = "Record the calls first: appliance harness run --answerer gold --record FILE"

"""Failures of the machine as a whole; the command line turns them into exit codes."""

from __future__ import annotations

from harness.errors import Failure


class ApplianceError(Failure):
    """Root of what the appliance itself can report."""

    code = "APPLIANCE"


class NoHome(ApplianceError):
    """No appliance home was found."""

    code = "NO_HOME"
    exit_code = 10
    hint = "Change to the directory that holds appliance.toml, or set APPLIANCE_HOME."


class BadConfig(ApplianceError):
    """appliance.toml has settings that make no sense."""

    code = "BAD_CONFIG"
    exit_code = 2
    hint = "Correct the settings that the message names; docs/reference.md lists them all."


class NotFound(ApplianceError):
    """What was asked for by name does not exist here."""

    code = "NOT_FOUND"
    exit_code = 10
    hint = "`appliance ingest list` shows the packages, `appliance status` the last attempts."


class Ambiguous(ApplianceError):
    """A name fits more than one thing, and nothing is guessed."""

    code = "AMBIGUOUS"
    exit_code = 2
    hint = "Say which one is meant by its full id; `appliance ingest list` shows them."


class OsFailure(ApplianceError):
    """The operating system refused something."""

    code = "OS_FAILURE"
    exit_code = 14
    hint = "Mend what the message names (permissions, a missing program or file) and run the same command again."


class Busy(ApplianceError):
    """Another process is doing this already."""

    code = "BUSY"
    exit_code = 11
    hint = "Wait for it to end, then run the same command again."


class EvidenceMismatch(ApplianceError):
    """Stored evidence does not give the stored verdict."""

    code = "EVIDENCE_MISMATCH"
    exit_code = 12
    hint = "Keep the databases as they are and have an auditor look at the attempts named above."


class WorkerFailed(ApplianceError):
    """A worker met something that nobody foresaw; what was finished by then is stored."""

    code = "WORKER_FAILED"
    hint = (
        "Run the same command again: what is stored is not made again. If it fails each time, attempt the other "
        "commits with --only SHA, and keep the output of --debug."
    )


class WorkerDied(ApplianceError):
    """A worker process was ended from outside, by the kernel for lack of memory as a rule."""

    code = "WORKER_DIED"
    hint = "Run the same command again; finished attempts are stored. Fewer --workers need less memory."


class ManifestChanged(ApplianceError):
    """The manifest of an integrated package is not the one that was integrated."""

    code = "MANIFEST_CHANGED"
    exit_code = 12
    hint = "Keep the package as it is for an auditor; put back its manifest.json from the medium it came from."


class DatabaseDamaged(ApplianceError):
    """A database cannot be read as one."""

    code = "DATABASE_DAMAGED"
    exit_code = 12
    hint = "Keep the file as it is, and put back the last good copy of it together with its -wal file."

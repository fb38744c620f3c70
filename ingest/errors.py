"""What can go wrong with repo packages, each as something a person can act on.

`IngestError` is the root of this room. Exit codes are the fixed ones of the command line: 2 usage,
10 not found, 11 busy, 12 integrity, 13 not trusted, 14 environment not ready.
"""

from __future__ import annotations

from harness.errors import Failure


class IngestError(Failure):
    """Root of what preparing, inspecting and importing packages can report."""

    code = "INGEST"


class BadOptions(IngestError):
    """The options of a preparation contradict each other or cannot be used."""

    code = "BAD_OPTIONS"
    exit_code = 2
    hint = "See `appliance package prepare --help`."


class CloneFailed(IngestError):
    """The source repository could not be cloned in full."""

    code = "CLONE_FAILED"
    exit_code = 10
    hint = "Check the path or URL; a private or shallow repository has to be cloned in full by hand first."


class NothingSelected(IngestError):
    """No commit of the repository qualifies as a task."""

    code = "NOTHING_SELECTED"
    exit_code = 10
    hint = "Read the yield table in the message; widen --since or --limit, or pick another repository."


class ToolMissing(IngestError):
    """A program that preparation needs is not installed beside the appliance."""

    code = "TOOL_MISSING"
    exit_code = 14
    hint = "Install it into the environment of the appliance: python -m pip install uv pip"


class LockUnresolved(IngestError):
    """The resolver found no set of wheels that satisfies the requirements."""

    code = "LOCK_UNRESOLVED"
    exit_code = 14
    hint = "The message quotes the resolver; add or pin what is missing with --requirement."


class DownloadFailed(IngestError):
    """A pinned distribution could not be fetched or built as a wheel."""

    code = "DOWNLOAD_FAILED"
    exit_code = 14
    hint = "Check the network and the index; a distribution without wheels needs its build tools installed here."


class PackageExists(IngestError):
    """The package to be written is already there; packages are never overwritten."""

    code = "PACKAGE_EXISTS"
    exit_code = 11
    hint = "Choose a higher --sequence, or leave it out to take the next one."


class PackageMissing(IngestError):
    """No package was found where one was named."""

    code = "PACKAGE_MISSING"
    exit_code = 10
    hint = "Name the directory that holds manifest.json."


class CopyFailed(IngestError):
    """The package could not be copied in whole; nothing of it was integrated."""

    code = "COPY_FAILED"
    exit_code = 12
    hint = "Check that the medium is still there, or copy the package anew, and import it again."


class AlreadyImporting(IngestError):
    """Another import is under way."""

    code = "IMPORT_RUNNING"
    exit_code = 11
    hint = "Wait until it has ended and import again."


class AlreadyIntegrated(IngestError):
    """A package of this name and the same or a newer sequence is here already."""

    code = "ALREADY_INTEGRATED"
    exit_code = 11
    hint = "Nothing to do; prepare with a higher --sequence to bring new commits of the same repository."

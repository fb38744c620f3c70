"""Bring the objects of a package's repository into a bare repository of our own.

No git process ever runs inside the package: `upload-pack` runs in bubblewrap with only the package
in view, `fetch` runs in our fresh repository with fsck on (security reference, 3a). The exit code
is not evidence; `checks` looks at every listed commit afterwards.
"""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

from harness.git import run_git
from harness.sandbox.bwrap import bwrap_path

FETCH_TIMEOUT_S = 600
_ATTRIBUTES = "* -text -ident -filter -export-ignore -export-subst -working-tree-encoding\n"
_TOLERATED = ("zeroPaddedFilemode", "badTimezone", "missingSpaceBeforeDate")


def import_objects(source: Path, target: Path) -> None:
    """Fetch every branch and tag of the repository at `source` into a new bare one at `target`.

    GitFailed when git refuses an object or the repository cannot be read.
    """
    run_git(["init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(target)])
    info = target / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text(_ATTRIBUTES)
    with tempfile.TemporaryDirectory() as scratch:
        wrapper = _upload_pack_wrapper(Path(scratch), source)
        tolerated = [word for name in _TOLERATED for word in ("-c", f"fetch.fsck.{name}=warn")]
        run_git(
            [
                "--git-dir", str(target), "-c", "protocol.allow=never", "-c", "protocol.file.allow=always",
                "-c", "fetch.fsckObjects=true", "-c", "transfer.fsckObjects=true", *tolerated,
                "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0",
                "-c", "maintenance.auto=false", "-c", "submodule.recurse=false",
                "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
                f"--upload-pack={wrapper}", f"file://{source}",
                "+refs/heads/*:refs/import/heads/*", "+refs/tags/*:refs/import/tags/*",
            ],
            timeout_s=FETCH_TIMEOUT_S,
        )  # fmt: skip


def _upload_pack_wrapper(scratch: Path, source: Path) -> Path:
    """Write the script that git calls instead of upload-pack: the same, seeing only the package."""
    config = scratch / "gitconfig"
    config.write_text("[safe]\n\tdirectory = *\n")
    command = [
        bwrap_path(), "--unshare-all", "--die-with-parent", "--new-session", "--clearenv",
        "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "GIT_CONFIG_NOSYSTEM", "1",
        "--setenv", "GIT_CONFIG_GLOBAL", "/gitconfig", "--setenv", "GIT_NO_LAZY_FETCH", "1",
        "--setenv", "GIT_NO_REPLACE_OBJECTS", "1", "--setenv", "HOME", "/nonexistent",
        "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
        "--symlink", "usr/bin", "/bin", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",  # noqa: S108
        "--ro-bind", str(config), "/gitconfig", "--ro-bind", str(source), "/src",
        "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL", "--",
        "prlimit", "--cpu=600", "--as=8589934592", "git", "upload-pack", "--strict", "--timeout=120", "/src",
    ]  # fmt: skip
    script = scratch / "upload-pack"
    protocol = '--setenv GIT_PROTOCOL "${GIT_PROTOCOL:-}"'
    words = [shlex.quote(word) for word in command]
    words.insert(words.index("--ro-bind"), protocol)
    script.write_text("#!/bin/sh\nexec " + " ".join(words) + "\n")
    script.chmod(0o700)
    return script

"""The self-test against sandboxes that do not isolate: each is found out, and nothing is run in it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.errors import SandboxUnavailable
from harness.sandbox.probes import PROBES
from harness.sandbox.process import Finished
from harness.sandbox.selftest import Check, State, judge, prove, remedy, require

ROOT = Path(__file__).parent.parent.parent
RUN = """
import sys
from harness.errors import SandboxUnavailable
from harness.sandbox.bwrap import Sandbox, run
try: print("RAN", run(Sandbox(["/bin/echo", "hostile"])).output)
except SandboxUnavailable as err: print(err.exit_code, err.code, err, "HINT", err.hint)
"""
EACH = 'n=$#; while [ $n -gt 0 ]; do a=$1; shift; n=$((n-1)); case "$a" in %s *) set -- "$@" "$a";; esac; done'
SABOTAGE = {
    "no filter": (EACH % "--seccomp) shift; n=$((n-1));;", "network, by filter"),
    "no network namespace": (
        EACH % '--unshare-all) set -- "$@" --unshare-user --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup;;',
        "network, by namespace",
    ),
    "no ipc namespace": (
        EACH % '--unshare-all) set -- "$@" --unshare-user --unshare-pid --unshare-net --unshare-uts --unshare-cgroup;;',
        "namespaces: shared with the host: ipc",
    ),
    "a writable environment": (EACH % '--ro-bind) set -- "$@" --bind;;', "writes"),
    "a writable root": (EACH % "--remount-ro) shift; n=$((n-1));;", "writes"),
    "files of the host": ('set -- --ro-bind-try /etc /etc "$@"', "host files"),
    "no bound on the disk": (EACH % "--size) shift; n=$((n-1));;", "disk"),
    "nested namespaces": (EACH % "--disable-userns);; --seccomp) shift; n=$((n-1));;", "nested namespaces"),
    "capabilities": (
        EACH % '--cap-drop) shift; n=$((n-1)); set -- "$@" --cap-add ALL;;', "user: "
    ),
    "nothing at all": ('while [ "$1" != -- ]; do shift; done; shift; exec "$@"', "nothing untrusted is run"),
}  # fmt: skip
"""A wrapper in front of bubblewrap, in shell, and what the self-test has to say."""


def say(path: Path, *, prefix: Sequence[str] = (), python: str = sys.executable) -> str:
    """Run something untrusted in a fresh process with this directory first on PATH; return what it says."""
    env = {"PATH": f"{path}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*prefix, python, "-B", "-c", RUN], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def wrapper(directory: Path, shell: str) -> Path:
    """Put a bwrap that is not what it seems into a directory that everybody may read."""
    path = directory / "bin"
    path.mkdir()
    (path / "bwrap").write_text(f'#!/bin/sh\n{shell}\nexec /usr/bin/bwrap "$@"\n')
    (path / "bwrap").chmod(0o755)
    return path


def test_on_a_machine_that_isolates_every_probe_is_refused() -> None:
    """All escapes fail, and the whole of it takes no second."""
    started = time.monotonic()
    checks = prove()
    assert time.monotonic() - started < 3  # 0.15 s on an idle machine
    assert [check for check in checks if check.state is State.FAILED] == []
    assert [check.name for check in checks] == ["start", *PROBES, "memory of the whole run"]


def test_with_an_honest_wrapper_the_run_goes_on(tmp_path: Path) -> None:
    """A wrapper by itself is no offence: what counts is what holds."""
    assert say(wrapper(tmp_path, ":")).startswith("RAN b'hostile")


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_sandbox_that_does_not_isolate_is_refused(name: str, tmp_path: Path) -> None:
    """The failure has exit code 14, names what went through and a next step, and nothing was executed."""
    shell, words = SABOTAGE[name]
    said = say(wrapper(tmp_path, shell))
    assert said.startswith("14 SANDBOX_UNAVAILABLE the self-test of the sandbox failed, nothing untrusted is run")
    assert words in said
    assert "HINT" in said
    assert "appliance doctor" in said


def test_without_user_namespaces_nothing_is_run(tmp_path: Path) -> None:
    """On a machine that forbids them (here: a namespace that does) the failure says how to allow them."""
    forbidden = [
        "bwrap",
        "--dev-bind",
        "/",
        "/",
        "--unshare-user",
        "--disable-userns",
        "--uid",
        "1000",
        "--gid",
        "1000",
    ]
    said = say(tmp_path, prefix=[*forbidden, "--"], python="/usr/bin/python3")
    assert said.startswith("14 SANDBOX_UNAVAILABLE")
    assert "no sandbox could be started" in said
    assert "user namespaces" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="tried as root; otherwise all other tests are run by an ordinary user")
def test_an_ordinary_user_is_isolated_as_well() -> None:
    """Without any privilege every escape is refused; only the memory of a whole run is not bounded."""
    code = (
        "from harness.sandbox.selftest import prove\nfor check in prove(): print(check.state, check.name, check.detail)"
    )
    ordinary = ["setpriv", "--reuid=64000", "--regid=64000", "--clear-groups", "/usr/bin/python3", "-B", "-c", code]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(ordinary, env=env, capture_output=True, text=True, check=False, timeout=60)
    states = [line.split()[0] for line in done.stdout.splitlines()]
    assert states == ["passed"] * (1 + len(PROBES)) + ["unavailable"], done.stdout + done.stderr


def finished(records: bytes, output: bytes = b"") -> Finished:
    """Return a run that reported this."""
    return Finished(0, False, 0.1, output, len(output), records, False)


def test_silence_is_a_failure() -> None:
    """A probe that is not reported has not been refused, and a sandbox that says nothing did not start."""
    assert {check.state for check in judge(finished(b'{"user": ""}'), {}) if check.name not in {"start", "user"}} == {
        State.FAILED
    }
    [check] = judge(finished(b"", b"bwrap: No permissions to create new namespace"), {})
    assert (check.name, check.state) == ("start", State.FAILED)
    assert "No permissions" in check.detail


def test_what_the_host_sees_counts_over_what_the_probe_says() -> None:
    """A survivor is a failure although the probe inside reported nothing."""
    import json

    said = json.dumps(dict.fromkeys(PROBES, "")).encode()
    failed = [check for check in judge(finished(said), {"survivors": "one lives"}) if check.state is State.FAILED]
    assert failed == [Check("survivors", State.FAILED, "one lives")]


def test_a_missing_limit_is_no_reason_to_refuse() -> None:
    """Unavailable is for the doctor to say; failed is for nobody to pass."""
    require([Check("memory", State.UNAVAILABLE, "no groups"), Check("user", State.PASSED, "")])
    with pytest.raises(SandboxUnavailable, match=r"disk: much; user: root"):
        require([Check("disk", State.FAILED, "much"), Check("user", State.FAILED, "root")])


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces="),
        ("/proc/sys/user/max_user_namespaces", "100", "apt-get install"),
    ],
)
def test_the_next_step_fits_the_machine(path: str, value: str, words: str) -> None:
    """A setting that forbids user namespaces is named with the command that allows them."""
    assert words in remedy({path: value})

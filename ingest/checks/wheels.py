"""Whether each wheel is what it claims to be and leaves the interpreter alone, before an installer opens it.

A wheel is read once, however many environments list it, and wheels that none lists are read, too.
What a person may decide, `appliance ingest allow` decides: by the digest of the wheel, or of the one
file in it; where two wheels clash, both have to be let through. A broken or ambiguous wheel stays out
in any case.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from harness.envs.interpreters import find_interpreter
from harness.errors import PythonMissing
from harness.manifest import Environment
from ingest.checks.candidate import AGAIN, SHOWN_WORDS, Candidate
from ingest.findings import Finding
from ingest.inspect import printable
from ingest.wheelgate.clashes import Clash, WheelFacts, clashes
from ingest.wheelgate.examine import examine
from ingest.wheelgate.faults import Fault
from ingest.wheelgate.limits import MAX_FAULTS
from ingest.wheelgate.metadata import fitting_tags, misfit

FOLDER = "packages/"
EMPTY_SHA256 = hashlib.sha256().hexdigest()
"""Says nothing about a wheel: every empty file has it, so it is nobody's decision about any one of them."""


def check_wheels(candidate: Candidate) -> Iterator[Finding]:
    """Find wheels that are damaged, ambiguous or would act unasked, and wheels that do not go together."""
    facts: dict[str, WheelFacts] = {}
    for path, entry in candidate.staged.files.items():
        if not path.startswith(FOLDER):
            continue
        examined = examine(candidate.staged.directory / path, entry.sha256)
        left = [fault for fault in examined.faults if not _is_allowed(candidate, fault, entry.sha256)]
        yield from (_finding(path, fault, entry.sha256) for fault in left[:MAX_FAULTS])
        if examined.facts is not None and not left:  # what stays out need not go together with the rest
            facts[path.removeprefix(FOLDER)] = examined.facts
    seen: set[tuple[str, str, str]] = set()
    for environment in candidate.known.environments:
        wheels = [facts[name] for name in environment.wheels if name in facts]
        yield from _misfits(environment, wheels, seen)
        for clash in clashes(wheels):
            key = (clash.code, clash.first.file_name, clash.second.file_name)
            if key not in seen and not _is_settled(candidate, clash):
                seen.add(key)  # one line per pair: where one file clashes, a hundred do
                yield _clash(environment, clash)


def _misfits(
    environment: Environment, wheels: Iterable[WheelFacts], seen: set[tuple[str, str, str]]
) -> Iterator[Finding]:
    try:
        find_interpreter(environment.python)
    except PythonMissing:  # its commits are rejected later, the rest of the package goes on
        return
    fitting = fitting_tags(environment.python)
    for wheel in wheels:
        key = ("WHEEL_MISFIT", wheel.file_name, environment.python)
        if key not in seen and misfit(wheel.tags, fitting):
            seen.add(key)
            expected = f"a wheel for CPython {environment.python} on this machine, named by {environment.id}"
            tags = ", ".join(sorted(str(tag) for tag in wheel.tags))
            yield Finding("WHEEL_MISFIT", FOLDER + wheel.file_name, expected, _shown(tags), AGAIN)


def _is_allowed(candidate: Candidate, fault: Fault, wheel_sha256: str) -> bool:
    return fault.is_decision and _is_let_through(candidate, (fault.member_sha256, wheel_sha256))


def _is_settled(candidate: Candidate, clash: Clash) -> bool:
    """Return whether somebody let both sides through, each by its wheel or by the file that clashes.

    One side is not enough: it would let any other wheel replace a file of the one that was looked into.
    """
    if not clash.path:
        return False
    wheels = (clash.first.sha256, clash.second.sha256)
    sides = zip(wheels, (digest for _, _, digest in _sides(clash)), strict=True)
    return all(_is_let_through(candidate, (file, wheel)) for wheel, file in sides)


def _is_let_through(candidate: Candidate, digests: Iterable[str]) -> bool:
    """Ask for one digest after the other: the policy notes which decision an import leaned on."""
    return any(digest in candidate.policy.allowed for digest in digests if digest != EMPTY_SHA256)


def _sides(clash: Clash) -> Iterator[tuple[str, str, str]]:
    for wheel, path in ((clash.first, clash.path), (clash.second, clash.other_path)):
        yield wheel.file_name, path, wheel.files[path]


def _finding(path: str, fault: Fault, wheel_sha256: str) -> Finding:
    next_step = AGAIN
    if fault.is_decision:
        digest = wheel_sha256 if fault.member_sha256 in {"", EMPTY_SHA256} else fault.member_sha256
        next_step = f'Leave it out, or look into it and run: appliance ingest allow {digest} --reason "..."'
    return Finding(fault.code, _shown(path), _shown(fault.expected), _shown(fault.found), next_step)


def _clash(environment: Environment, clash: Clash) -> Finding:
    file = FOLDER + clash.second.file_name
    if not clash.path:
        expected = f"{clash.second.distribution} once in {environment.id}"
        return Finding(clash.code, file, expected, f"{clash.first.file_name}, too", AGAIN)
    sides = [f"{path} of {name} with sha256 {digest}" for name, path, digest in _sides(clash)]
    return Finding(
        clash.code, file, f"files that go together with those of {clash.first.file_name}", _shown("; ".join(sides)),
        "Leave one of the two out, or look into both and run: " + " and ".join(
            f'appliance ingest allow {sha256} --reason "..."' for sha256 in (clash.first.sha256, clash.second.sha256)
        ),
    )  # fmt: skip


def _shown(text: str) -> str:
    """Return text of a wheel as a terminal may get it, cut where it gets long."""
    cut = text if len(text) <= SHOWN_WORDS else text[: SHOWN_WORDS - 3] + "..."
    words = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in printable(cut))
    return words if len(words) <= SHOWN_WORDS else words[: SHOWN_WORDS - 3] + "..."

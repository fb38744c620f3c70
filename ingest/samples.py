"""The sample repositories: small libraries that ship as patch series and are built into real git histories.

A repository cannot live inside ours, so a sample is kept as what a maintainer would mail:
`0001-*.patch` ... plus `sample.json`. `build_sample` replays the series with `git am`.

Invariant: the commit ids depend on the patches alone. The committer of every commit is the sender
of the first patch, both dates are the date of the patch, and no configuration, template, attribute
file, hook or time zone of the machine takes part. It does not protect against hostile patches:
samples are files of this project, not packages that came over the gap.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.utils import parseaddr
from pathlib import Path

from harness.errors import Failure, GitFailed
from harness.git import run_git

BRANCH = "main"
SAMPLE_NAME = "sample.json"
FIELDS = ("name", "organisation", "domain", "license", "description")


class SampleBroken(Failure):
    """A sample repository cannot be built from its files."""

    code = "SAMPLE_BROKEN"
    exit_code = 12
    hint = "Restore the directory of the sample from the release; the message names the file."


class SampleTargetExists(Failure):
    """The place where a sample is to be built is already taken."""

    code = "SAMPLE_TARGET_EXISTS"
    exit_code = 2
    hint = "Name a directory that does not exist yet."


@dataclass(frozen=True)
class Sample:
    """What a sample says about itself, and the patches that make its history."""

    name: str
    organisation: str
    domain: str
    license: str
    """SPDX identifier."""
    description: str
    patches: tuple[Path, ...]
    """In the order in which they apply, numbered from 0001 without a hole."""


def sample_names(root: Path) -> tuple[str, ...]:
    """Return the names of the samples in `root`, sorted."""
    return tuple(sorted(path.parent.name for path in root.glob(f"*/{SAMPLE_NAME}")))


def load_sample(directory: Path) -> Sample:
    """Read the description and list the patches of one sample; SampleBroken names the file at fault."""
    described = _description(directory / SAMPLE_NAME)
    name = described["name"]
    if name != directory.name:
        raise SampleBroken(f"{directory / SAMPLE_NAME}: expected the name {directory.name!r}, not {name!r}")
    patches = tuple(sorted(directory.resolve().glob("*.patch")))
    if not patches:
        raise SampleBroken(f"{directory} holds no patches, expected 0001-*.patch and on")
    for number, patch in enumerate(patches, start=1):
        if not patch.name.startswith(f"{number:04d}-"):
            raise SampleBroken(f"{directory}: expected patch {number:04d}, found {patch.name}")
    return Sample(**described, patches=patches)


def build_sample(directory: Path, out: Path) -> Path:
    """Make `out` a git repository with the history of the sample on branch main; return `out`.

    Nothing is left behind when the series does not apply.
    """
    sample = load_sample(directory)
    if out.exists():
        raise SampleTargetExists(f"{out} exists, and sample {sample.name} would be built there")
    out.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{sample.name}-", dir=out.parent))
    try:
        tree = workshop / "repository"
        run_git(["init", "--quiet", "--template=", f"--initial-branch={BRANCH}", str(tree)])
        _apply(sample, tree)
        tree.rename(out)  # the name appears only once the history is whole
    finally:
        shutil.rmtree(workshop)
    return out


def _apply(sample: Sample, tree: Path) -> None:
    name, address = _sender(sample.patches[0])
    command = ["am", "--quiet", "--no-gpg-sign", "--patch-format=mbox", "--committer-date-is-author-date"]
    extra_env = {"GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": address, "TZ": "UTC", "GIT_ATTR_NOSYSTEM": "1"}
    try:
        run_git([*command, *map(str, sample.patches)], cwd=tree, extra_env=extra_env)
    except GitFailed as err:
        raise SampleBroken(f"sample {sample.name}: {_culprit(sample, tree)} does not apply: {err}") from err
    commits = int(run_git(["rev-list", "--count", BRANCH], cwd=tree))
    if commits != len(sample.patches):  # a file with two mails, say, would shift every later patch
        raise SampleBroken(f"sample {sample.name}: {len(sample.patches)} patches gave {commits} commits")


def _sender(patch: Path) -> tuple[str, str]:
    header = BytesHeaderParser().parsebytes(patch.read_bytes())
    name, address = parseaddr(header.get("From", ""))
    if not name or not address:
        raise SampleBroken(f"{patch} names no sender, expected `From: Name <address>`")
    return name, address


def _culprit(sample: Sample, tree: Path) -> str:
    """Return the file name of the patch at which `git am` stopped."""
    counter = tree / ".git" / "rebase-apply" / "next"
    number = int(counter.read_text()) if counter.is_file() else 0
    return sample.patches[number - 1].name if 0 < number <= len(sample.patches) else "the series"


def _description(path: Path) -> dict[str, str]:
    try:
        doc = json.loads(path.read_bytes())
    except FileNotFoundError as err:
        raise SampleBroken(f"{path} is missing") from err
    except ValueError as err:
        raise SampleBroken(f"{path} is not JSON: {err}") from err
    if not isinstance(doc, dict) or set(doc) != set(FIELDS):
        raise SampleBroken(f"{path}: expected exactly the keys {', '.join(FIELDS)}")
    if not all(isinstance(value, str) and value for value in doc.values()):
        raise SampleBroken(f"{path}: every value must be text that is not empty")
    return doc

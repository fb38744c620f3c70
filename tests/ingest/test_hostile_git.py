"""Repositories made to run code, to read other repositories or to flood the disk: none does, all through the import.

Each vector is planted into a good package, whose manifest lists the files as they then are. Where a
vector fires, it leaves a canary; where it reads, a secret repository or file of this machine would
turn up among the imported objects.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.git import git_environment
from tests.ingest.conftest import Desk
from tests.ingest.gitobjects import feed
from tests.packages import git, reseal, without_runs

ROOT = Path(__file__).parent.parent.parent
PYTHONPATH = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
SECRET = "the secret of another repository"

CONFIG = {
    "core.fsmonitor": "[core]\n\tfsmonitor = {run}\n",
    "core.hooksPath": "[core]\n\thooksPath = {hooks}\n",
    "include.path": "[include]\n\tpath = {included}\n",
    "includeIf": '[includeIf "gitdir:/**"]\n\tpath = {included}\n',
    "filter": '[filter "x"]\n\tclean = {run}\n\tsmudge = {run}\n\tprocess = {run}\n\trequired = true\n',
    "promisor and uploadpack": '[core]\n\trepositoryformatversion = 1\n[extensions]\n\tpartialClone = o\n[remote "o"]\n'
    "\turl = /\n\tpromisor = true\n\tuploadpack = {run}\n",
    "gpg.program": "[log]\n\tshowSignature = true\n[gpg]\n\tprogram = {run}\n",
    "gpg.ssh.program": '[log]\n\tshowSignature = true\n[gpg]\n\tformat = ssh\n[gpg "ssh"]\n\tprogram = {run}\n'
    "\tdefaultKeyCommand = {run}\n",
    "diff.external": "[diff]\n\texternal = {run}\n",
    "diff.textconv": '[diff "x"]\n\ttextconv = {run}\n\tcommand = {run}\n',
    "core.pager": "[core]\n\tpager = {run}\n[pager]\n\tlog = {run}\n\tupload-pack = {run}\n",
    "core.sshCommand": '[core]\n\tsshCommand = {run}\n[remote "evil"]\n\turl = ssh://host/x\n',
    "remote.uploadpack": '[remote "evil"]\n\turl = /\n\tuploadpack = {run}\n\treceivepack = {run}\n',
    "ext url": '[protocol "ext"]\n\tallow = always\n[remote "evil"]\n\turl = ext::{run}\n\tfetch = +refs/*:refs/*\n',
    "packObjectsHook": "[uploadpack]\n\tpackObjectsHook = {run}\n",
    "alias": "[alias]\n\tfetch = !{run}\n\tupload-pack = !{run}\n\tfsck = !{run}\n\tlog = !{run}\n",
    "credential.helper": "[credential]\n\thelper = !{run}\n",
    "merge driver": '[merge "x"]\n\tdriver = {run}\n',
    "submodule update": '[submodule "s"]\n\turl = /\n\tactive = true\n\tupdate = !{run}\n',
    "alternateRefsCommand": "[core]\n\talternateRefsCommand = {run}\n",
    "recentObjectsHook": "[gc]\n\trecentObjectsHook = {run}\n\tauto = 1\n[maintenance]\n\tauto = true\n",
    "core.editor": "[core]\n\teditor = {run}\n[sequence]\n\teditor = {run}\n",
    "core.worktree": "[core]\n\tbare = false\n\tworktree = {elsewhere}\n",
    "core.gitProxy": '[core]\n\tgitProxy = {run}\n[remote "evil"]\n\turl = git://host/x\n',
    "url.insteadOf": '[url "ext::{run} "]\n\tinsteadOf = file://\n\tinsteadOf = /\n[protocol]\n\tallow = always\n',
    "tar command": '[tar "tar.gz"]\n\tcommand = {run}\n[tar "x"]\n\tcommand = {run}\n\tremote = true\n',
    "askPass": "[core]\n\taskPass = {run}\n",
    "trailer command": '[trailer "x"]\n\tcommand = {run}\n\tcmd = {run}\n',
    "bundle uri": "[fetch]\n\tbundleURI = ext::{run}\n[transfer]\n\tbundleURI = true\n[uploadpack]\n\tadvertiseBundleURIs = true\n",
}  # fmt: skip
HOOKS = (
    "applypatch-msg", "fsmonitor-watchman", "post-checkout", "post-commit", "post-index-change", "post-merge",
    "post-receive", "post-update", "pre-auto-gc", "pre-commit", "pre-receive", "proc-receive", "push-to-checkout",
    "reference-transaction", "sendemail-validate", "update",
)  # fmt: skip
FIRES_INSIDE = (
    "hooks", "core.fsmonitor", "core.hooksPath", "include.path", "filter", "gpg.program", "diff.external", "diff.textconv",
    "core.sshCommand", "remote.uploadpack", "ext url", "tar command",
)  # fmt: skip
"""Those that are seen to fire when git runs in the package itself: the corpus is alive."""


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """Return the file that is there once something fired."""
    return tmp_path / "canary"


def _payload(canary: Path) -> Path:
    script = canary.with_name("payload")
    script.write_text(f"#!/bin/sh\necho $0 $* >> {canary}\ncat /dev/null\n")
    script.chmod(0o755)
    return script


def _plant(vector: str, package: Path, canary: Path) -> None:
    """Add a vector's configuration to the package, with what it refers to, and a signed head that asks gpg."""
    repo, run = package / "repo", _payload(canary)
    (repo / "info").mkdir(exist_ok=True)
    (repo / "info" / "attributes").write_text("* filter=x diff=x merge=x\n")
    raw = git(repo, "cat-file", "commit", "main")
    armour = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n aaaa\n -----END PGP SIGNATURE-----\n"
    signed = feed(
        repo, raw.replace("\n\n", f"\n{armour}\n", 1).encode(), "hash-object", "-t", "commit", "-w", "--stdin"
    )
    git(repo, "update-ref", "refs/heads/signed", signed)
    included = canary.with_name("included")
    included.write_text(f"[core]\n\tfsmonitor = {run}\n\thooksPath = {repo}/hooks\n")
    canary.with_name("elsewhere").mkdir()
    config = CONFIG.get(vector, "").format(
        run=run, hooks=repo / "hooks", included=included, elsewhere=canary.with_name("elsewhere")
    )
    (repo / "config").write_text((repo / "config").read_text() + config)
    if vector in {"hooks", "core.hooksPath", "include.path", "includeIf"}:
        (repo / "hooks").mkdir(exist_ok=True)
        for name in HOOKS:
            shutil.copy(run, repo / "hooks" / name)
    reseal(package)


def _work_in(git_dir: Path, worktree: Path) -> None:
    """Do in a repository what a careless program would do."""
    worktree.mkdir(exist_ok=True)
    base = ["git", f"--git-dir={git_dir}", f"--work-tree={worktree}", "-c", "core.bare=false"]
    head = next(
        ref
        for ref in git(worktree.parent, *base[1:2], "for-each-ref", "--format=%(refname)").split()
        if "signed" in ref
    )
    for command in (
        ["read-tree", head], ["checkout-index", "-a", "-f"], ["add", "-A"], ["status"], ["log", "-1", head],
        ["diff", f"{head}~1", head], ["log", "-p", "-2", head], ["archive", "--format=tar.gz", "-o", "x.tar.gz", head],
        ["fetch", "evil"], ["checkout", "-f", head],
    ):  # fmt: skip
        subprocess.run(
            [*base, *command], cwd=worktree, env=git_environment(), capture_output=True, check=False, timeout=60
        )


@pytest.mark.parametrize("vector", FIRES_INSIDE)
def test_the_vectors_are_alive(vector: str, package: Path, canary: Path, tmp_path: Path) -> None:
    """Run inside the package, git does what the configuration of the package says: the canary fires."""
    _plant(vector, package, canary)
    assert not canary.exists()
    _work_in(package / "repo", tmp_path / "worktree")
    assert canary.exists()


@pytest.mark.parametrize("vector", ["hooks", *CONFIG])
def test_nothing_that_a_package_configures_fires(
    vector: str, package: Path, canary: Path, desk: Desk, tmp_path: Path
) -> None:
    """The import brings the objects in or refuses the package; neither it nor later work in the import runs anything."""
    _plant(vector, package, canary)
    report = desk.bring(without_runs(package))
    assert not canary.exists()
    if vector == "promisor and uploadpack":
        assert [finding.code for finding in report.findings] == ["GIT_PARTIAL"]
        return
    assert report.state == "integrated", report.findings
    [integrated] = (desk.root / "repo_packages").iterdir()
    assert not any("hooks" in path.parts for path in integrated.rglob("*"))
    _work_in(integrated / "repo", tmp_path / "worktree")
    assert not canary.exists()


def _secret_repository(root: Path) -> tuple[Path, str]:
    """Make a repository of this machine with one file; return it and the id of its commit."""
    work = root / "machine" / "secret"
    work.mkdir(parents=True)
    git(work, "init", "-q", "-b", "main", "--template=")
    (work / "secret.txt").write_text(SECRET)
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "Keep the secret")
    return work / ".git", git(work, "rev-parse", "HEAD").strip()


def _alternates(text: str) -> Callable[[Path, Path, str], None]:
    def plant(repo: Path, secret: Path, commit: str) -> None:
        (repo / "objects" / "info").mkdir(exist_ok=True)
        relative = os.path.relpath(secret / "objects", repo / "objects")
        (repo / "objects" / "info" / "alternates").write_text(
            text.format(absolute=secret / "objects", relative=relative)
        )
        (repo / "refs" / "heads" / "stolen").write_text(commit + "\n")

    return plant


def _http_alternates(repo: Path, secret: Path, commit: str) -> None:
    (repo / "objects" / "info").mkdir(exist_ok=True)
    (repo / "objects" / "info" / "http-alternates").write_text(f"file://{secret}/objects\n")


def _linked_objects(repo: Path, secret: Path, commit: str) -> None:
    shutil.rmtree(repo / "objects")
    (repo / "objects").symlink_to(secret / "objects")


def _linked_pack(repo: Path, secret: Path, commit: str) -> None:
    git(secret, "repack", "-adq")
    for path in (secret / "objects" / "pack").iterdir():
        (repo / "objects" / "pack" / path.name).symlink_to(path)


def _git_file(repo: Path, secret: Path, commit: str) -> None:
    shutil.rmtree(repo)
    repo.write_text(f"gitdir: {secret}\n")


def _git_file_within(repo: Path, secret: Path, commit: str) -> None:
    (repo / ".git").write_text(f"gitdir: {secret}\n")


def _common_dir(repo: Path, secret: Path, commit: str) -> None:
    (repo / "commondir").write_text(f"{secret}\n")
    (repo / "gitdir").write_text(f"{secret}\n")


def _symbolic_ref(repo: Path, secret: Path, commit: str) -> None:
    (repo / "refs" / "heads" / "stolen").write_text(f"ref: ../../../{os.path.relpath(secret, repo)}/refs/heads/main\n")


def _linked_ref(repo: Path, secret: Path, commit: str) -> None:
    (repo / "refs" / "heads" / "stolen").symlink_to(secret / "refs" / "heads" / "main")


def _config_of_another(repo: Path, secret: Path, commit: str) -> None:
    (secret.parent / "secret.txt").write_text(f"[user]\n\tname = {SECRET}\n")
    (repo / "config").write_text((repo / "config").read_text() + f"[include]\n\tpath = {secret.parent}/secret.txt\n")


READERS: dict[str, tuple[Callable[[Path, Path, str], None], str]] = {
    "alternates": (_alternates("{absolute}\n"), "GIT_ALTERNATES"),
    "relative alternates": (_alternates("# more\n\n{relative}\n"), "GIT_ALTERNATES"),
    "quoted alternates": (_alternates('"{absolute}"\n'), "GIT_ALTERNATES"),
    "http alternates": (_http_alternates, "GIT_ALTERNATES"),
    "linked objects": (_linked_objects, "FILE_SYMLINK"),
    "linked pack": (_linked_pack, "FILE_SYMLINK"),
    "git file": (_git_file, "UNEXPECTED_FILE"),
    "git file within": (_git_file_within, ""),
    "commondir": (_common_dir, ""),
    "symbolic ref": (_symbolic_ref, ""),
    "linked ref": (_linked_ref, "FILE_SYMLINK"),
    "included file": (_config_of_another, ""),
}


@pytest.mark.parametrize("reader", READERS)
def test_no_byte_of_another_repository_comes_in(reader: str, package: Path, desk: Desk, tmp_path: Path) -> None:
    """Whatever a package refers to on this machine, only what it holds is imported or kept."""
    secret, commit = _secret_repository(tmp_path)
    plant, code = READERS[reader]
    plant(package / "repo", secret, commit)
    reseal(package)
    report = desk.bring(without_runs(package))
    assert {finding.code for finding in report.findings} == ({code} if code else set())
    objects = 0
    for repo in (desk.root / "repo_packages").glob("*/repo"):
        listing = feed(repo, b"", "cat-file", "--batch-all-objects", "--batch-check")
        objects = len(listing.splitlines())
        assert commit not in listing
        assert feed(repo, SECRET.encode(), "hash-object", "--stdin") not in listing
    assert bool(objects) is not bool(code)
    for path in desk.root.rglob("*"):
        assert path.is_symlink() or not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_alternates_are_out_of_sight_even_when_nobody_refuses_them(package: Path, tmp_path: Path) -> None:
    """The sandboxed upload-pack does not see the file: its commit is not served, although it is there to be read."""
    from harness.errors import GitFailed
    from ingest.gitimport import import_objects

    secret, commit = _secret_repository(tmp_path)
    _alternates("{absolute}\n/usr/share\n")(package / "repo", secret, commit)
    (tmp_path / "ours").mkdir()
    with pytest.raises(GitFailed):
        import_objects(package / "repo", tmp_path / "ours" / "repo")
    assert git(package / "repo", "cat-file", "-t", commit).strip() == "commit"


def _wrapped_git(log: Path) -> str:
    """Return a PATH on which git writes down where and how it was called, and then does it."""
    place = log.with_name("wrapped")
    place.mkdir()
    script = place / "git"
    variables = "$(env | grep -E '^GIT_(DIR|WORK_TREE|CONFIG|OBJECT|ALTERNATE|INDEX|COMMON)' | tr '\\n' ' ')"
    script.write_text(f'#!/bin/sh\necho "$PWD|$*|{variables}" >> {log}\nexec {shutil.which("git")} "$@"\n')
    script.chmod(0o755)
    return f"{place}:{os.environ['PATH']}"


def test_no_git_process_is_started_in_a_package(
    package: Path, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started from within the stick, with variables that point there: all git processes work in our repository."""
    log = tmp_path / "calls"
    monkeypatch.setenv("PATH", _wrapped_git(log))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_CONFIG_GLOBAL"):
        monkeypatch.setenv(name, str(package / "repo"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"touch {tmp_path}/canary")
    monkeypatch.chdir(package / "repo")
    assert desk.bring(without_runs(package)).state == "integrated"
    calls = [line.split("|") for line in log.read_text().splitlines()]
    assert len(calls) > 4
    for cwd, arguments, variables in calls:
        assert Path(cwd).is_relative_to(desk.root / "incoming"), (cwd, arguments)
        assert "package" not in Path(cwd).parts
        assert "stick" not in arguments
        assert not re.search(r"/package(/|\s|$)", arguments)
        assert set(variables.split()) == {"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}


CHECK = """
import sys
from pathlib import Path
from harness.envs.template import TemplateStore
from ingest.checks.candidate import Candidate
from ingest.checks.table import first_findings
from ingest.policy import Policy, UnsignedPackages
from ingest.staging import copy_in
staged = copy_in(Path(sys.argv[1]), Path(sys.argv[2]))
policy = Policy(unsigned=UnsignedPackages.ACCEPT)
print(first_findings(Candidate(staged, TemplateStore(Path(sys.argv[3])), lambda _: 0, policy)))
"""


def test_no_git_process_outside_the_sandbox_opens_a_file_of_a_package(package: Path, tmp_path: Path) -> None:
    """A trace of all processes: only our own program and the sandbox touch stick and copy, git never does."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    without_runs(package)
    stage = tmp_path / "incoming" / "package"
    log = tmp_path / "trace"
    done = subprocess.run(
        [strace, "-f", "--seccomp-bpf", "-qq", "-s", "4096", "-e", "trace=execve,open,openat,chdir", "-o", str(log),
         sys.executable, "-c", CHECK, str(package), str(stage), str(tmp_path / "environments")],
        cwd=package / "repo", env={**os.environ, "PYTHONPATH": PYTHONPATH}, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    if "ptrace" in done.stderr:
        pytest.skip("tracing takes privileges")
    assert done.stdout.strip() == "('', [])", done.stderr
    program: dict[str, str] = {}
    touched: dict[str, set[str]] = {}
    for line in log.read_text(errors="replace").splitlines():
        pid, call = line.split(maxsplit=1)
        if call.startswith("execve(") and call.endswith("= 0"):
            program[pid] = Path(call.split('"')[1]).name
        for path in re.findall(r'"(/[^"]*)"', call):
            if path.startswith((f"{package}/", f"{stage}/")) and not call.startswith("execve("):
                touched.setdefault(program.get(pid, "python"), set()).add(path)
    assert "git" in program.values()
    assert not {name for name in touched if name.startswith("git")}
    assert any(name.startswith("python") for name in touched)

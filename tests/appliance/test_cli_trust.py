"""Trust on the command line: sign, verify, refuse, override, relay; and what is on record afterwards."""

from __future__ import annotations

import getpass
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.cli import main
from ingest.seal import sign_package
from tests.appliance.conftest import Done, query
from tests.keys import fingerprint, line, make_key
from tests.packages import PACKAGE_ID, commit, git, reseal, with_sequence, without_runs

Run = Callable[..., Done]
A = "a" * 64
DECISIONS = "SELECT kind, subject, outcome, reason FROM decisions ORDER BY id"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the operator's key."""
    return make_key(tmp_path_factory.mktemp("keys"), "alice")


@pytest.fixture
def strict_home(new_home: Path, key: Path) -> Path:
    """Return a home that says nothing about unsigned packages and trusts one key."""
    (new_home / "appliance.toml").write_text("[harness]\nworkers = 2\n")
    (new_home / "trust").mkdir()
    (new_home / "trust" / "allowed_signers").write_text(line("alice", key))
    return new_home


def _rows(home: Path) -> list[tuple[str, ...]]:
    return query(home / "var" / "curated.db", DECISIONS)


def test_an_unsigned_package_is_not_trusted_without_a_word(strict_home: Path, package: Path, run: Run) -> None:
    """Exit 13, in quarantine, on record, and with both ways on in the next step."""
    done = run(strict_home, "ingest", "import", str(without_runs(package)), "--json")
    assert (done.code, done.json["state"], done.json["failed_check"]) == (13, "quarantined", "signature")
    [finding] = done.json["findings"]
    assert finding["code"] == "UNSIGNED"
    [(kind, subject, outcome, reason)] = _rows(strict_home)
    assert (kind, outcome, reason) == ("quarantine", "quarantined", "UNSIGNED")
    assert subject == Path(done.json["quarantine"]).name
    [(inputs,)] = query(strict_home / "var" / "curated.db", "SELECT inputs FROM decisions")
    assert '"manifest_sha256": "' in inputs


def test_sign_verify_import_show(strict_home: Path, package: Path, key: Path, run: Run) -> None:
    """The way of a signed package, from the connected side to the record of who signed it."""
    without_runs(package)
    signed = run(strict_home, "package", "sign", str(package), "--key", str(key), "--json")
    assert (signed.code, signed.json["fingerprint"]) == (0, fingerprint(key))
    verified = run(strict_home, "package", "verify", str(package), "--json")
    assert (verified.code, verified.json["signer"], verified.json["wrong"]) == (0, "alice", [])
    assert run(strict_home, "ingest", "import", str(package)).code == 3
    [listed] = run(strict_home, "ingest", "list", "--json").json["packages"]
    assert (listed["signer"], listed["fingerprint"], listed["overrides"]) == ("alice", fingerprint(key), [])
    shown = run(strict_home, "ingest", "show", "abacus", "--json").json
    assert (shown["signer"], shown["manifest_sha256"]) == ("alice", verified.json["manifest_sha256"])
    assert [decision["kind"] for decision in shown["decisions"]] == ["integrate"]
    assert f"signed by alice ({fingerprint(key)})" in run(strict_home, "ingest", "show", "abacus").out
    assert _rows(strict_home) == [("integrate", PACKAGE_ID, "integrated", "signed by alice")]


def test_verify_says_what_is_wrong_and_how_bad(tmp_path: Path, package: Path, key: Path, run: Run) -> None:
    """13 for what nobody vouches for, 12 for a changed file, and no home is needed with --signers."""
    signers = tmp_path / "signers"
    signers.write_text(line("alice", key))
    arguments = ("package", "verify", str(package), "--signers", str(signers))
    unsigned = run(tmp_path, *arguments)
    assert (unsigned.code, "NOT TRUSTED: UNSIGNED" in unsigned.out) == (13, True)
    sign_package(package, key)
    assert run(tmp_path, *arguments).code == 0
    (package / "packages" / "extra.whl").write_text("x")
    damaged = run(tmp_path, *arguments)
    assert (damaged.code, "unlisted    packages/extra.whl" in damaged.out) == (12, True)
    assert run(tmp_path, "package", "verify", str(package)).code == 10


def test_a_key_that_cannot_sign_is_known_before_the_work(tmp_path: Path, package: Path, key: Path, run: Run) -> None:
    """`package prepare --sign-key` tries the key first; nothing is cloned, fetched or written when it fails."""
    arguments = ("package", "prepare", str(package / "repo"), "--out", str(tmp_path / "out"), "--dry-run", "--json")
    refused = run(tmp_path, *arguments, "--sign-key", str(tmp_path / "nothing"))
    assert (refused.code, refused.error["error"], refused.out) == (2, "SIGNING_KEY", "")
    assert not (tmp_path / "out").exists()
    done = run(tmp_path, *arguments, "--sign-key", str(key))
    assert (done.code, done.json["signed"]) == (0, False)
    assert list((tmp_path / "out").iterdir()) == []


def test_accepting_unsigned_packages_is_on_record(new_home: Path, package: Path, run: Run) -> None:
    """Under the policy an unsigned package comes in, and the decision names the policy and the digest."""
    assert run(new_home, "ingest", "import", str(without_runs(package))).code == 3
    rows = {kind: reason for kind, _, _, reason in _rows(new_home)}
    assert set(rows) == {"integrate", "unsigned"}
    assert 'unsigned = "accept"' in rows["unsigned"]
    assert "not signed" in run(new_home, "ingest", "list").out
    whos = {row[0].split(" ")[0] for row in query(new_home / "var" / "curated.db", "SELECT who FROM decisions")}
    assert whos == {getpass.getuser()}


def test_a_bad_signature_is_refused_even_where_none_would_do(
    new_home: Path, package: Path, key: Path, run: Run
) -> None:
    """Accepting unsigned packages does not accept unknown signers."""
    sign_package(without_runs(package), key)
    done = run(new_home, "ingest", "import", str(package), "--json")
    assert (done.code, done.json["findings"][0]["code"]) == (13, "SIGNER_UNKNOWN")


def test_a_number_is_given_once(imported_copy: Path, package: Path, run: Run) -> None:
    """Another manifest under an integrated number is 13 and said so; the very same is 11."""
    reseal(package, lambda manifest: replace(manifest, domain="something else"))
    done = run(imported_copy, "ingest", "import", str(package), "--json")
    assert (done.code, done.json["findings"][0]["code"]) == (13, "SEQUENCE_REUSED")


def test_an_older_package_needs_a_reason(new_home: Path, package: Path, run: Run) -> None:
    """A replay is refused with 13; with a reason it comes in, and the reason is on record."""
    newer = with_sequence(without_runs(package), 2)
    assert run(new_home, "ingest", "import", str(newer)).code == 3
    older = with_sequence(newer, 1)
    refused = run(new_home, "ingest", "import", str(older), "--json")
    assert (refused.code, refused.json["findings"][0]["code"]) == (13, "REPLAY")
    assert run(new_home, "ingest", "import", str(older), "--accept-older").code == 2
    assert run(new_home, "ingest", "import", str(older), "--reason", "x").code == 2
    done = run(new_home, "ingest", "import", str(older), "--accept-older", "--reason", "2 was withdrawn")
    assert done.code == 3
    assert ("accept-older", "abacus-1", "accepted", "2 was withdrawn") in _rows(new_home)
    shown = run(new_home, "ingest", "show", "abacus-1", "--json").json
    assert "accept-older" in [decision["kind"] for decision in shown["decisions"]]


def test_overrides_are_made_with_a_reason_and_can_be_taken_back(new_home: Path, run: Run) -> None:
    """Allow, list, revoke: every step is a row, and the list shows all of them."""
    made = run(new_home, "ingest", "allow", A.upper(), "--reason", "a fixture, looked at", "--json")
    assert (made.code, made.json["allowed"]) == (0, [A])
    assert run(new_home, "ingest", "allow", A, "--revoke", "--reason", "replaced", "--json").json["allowed"] == []
    assert [row[2:] for row in _rows(new_home)] == [("allowed", "a fixture, looked at"), ("revoked", "replaced")]
    listed = run(new_home, "ingest", "allow", "--list")
    assert (listed.out.count(A), "a fixture, looked at" in listed.out) == (2, True)
    again = run(new_home, "ingest", "allow", A, "--revoke", "--reason", "x", "--json")
    assert (again.code, again.error["error"]) == (10, "NOT_FOUND")


def test_what_was_let_through_is_named_with_the_package(new_home: Path, package: Path, run: Run) -> None:
    """A refused file is allowed by the digest that the refusal shows, and the record of the package names it."""
    elf = b"\x7fELF\x02\x01\x01" + bytes(200)
    work = package.parent / "work"
    git(package.parent, "clone", "-q", "--no-hardlinks", str(package / "repo"), str(work))
    (work / "tool").write_bytes(elf)
    commit(work, "Add a tool to the project", 20)
    git(work, "push", "-q", "origin", "HEAD:main")
    parent, sha = git(work, "rev-parse", "HEAD~1", "HEAD").split()
    without_runs(package)
    reseal(package, lambda m: replace(m, head=sha, commits=(replace(m.commits[-1], sha=sha, parent=parent),)))
    refused = run(new_home, "ingest", "import", str(package), "--json")
    [finding] = refused.json["findings"]
    assert (refused.code, finding["code"]) == (12, "FILE_TYPE")
    digest = hashlib.sha256(elf).hexdigest()
    assert f"appliance ingest allow {digest}" in finding["next_step"]
    run(new_home, "ingest", "allow", A, "--reason", "another file")
    assert run(new_home, "ingest", "allow", digest, "--reason", "a fixture, looked at").code == 0
    assert run(new_home, "ingest", "import", str(package)).code == 3
    shown = run(new_home, "ingest", "show", "abacus", "--json").json
    assert (shown["overrides"], shown["decisions"][0]["inputs"]["overrides"]) == ([digest], [digest])
    assert f"let through: {digest}" in run(new_home, "ingest", "show", "abacus").out


@pytest.mark.parametrize(
    "arguments",
    [(A,), (A, "--reason", "  "), ("abc", "--reason", "x"), ("g" * 64, "--reason", "x"), (), (A, "--list"),
     (A[:-1] + "\uff11", "--reason", "x"), (hashlib.sha256().hexdigest(), "--reason", "every empty file")],
)  # fmt: skip
def test_no_override_without_a_reason_and_a_whole_digest(
    arguments: tuple[str, ...], new_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no way to let something through in passing."""
    monkeypatch.chdir(new_home)
    assert main.run(["ingest", "allow", *arguments]) == 2
    assert not (new_home / "var" / "curated.db").exists()


def test_a_relay_needs_no_home(tmp_path: Path, package: Path, key: Path, run: Run) -> None:
    """On the diode laptop there is no appliance: source, destination and trusted keys are enough."""
    sign_package(package, key)
    (tmp_path / "black").mkdir()
    (tmp_path / "signers").write_text(line("alice", key))
    arguments = ("ingest", "relay", str(package), str(tmp_path / "black"), "--signers", str(tmp_path / "signers"))
    done = run(tmp_path, *arguments, "--json")
    assert (done.code, done.json["state"], done.json["signer"]["principal"]) == (0, "relayed", "alice")
    again = run(tmp_path, *arguments)
    assert (again.code, "PRESENT abacus-1" in again.out) == (0, True)
    (package / "packages" / "odd").write_text("x")
    refused = run(tmp_path, *arguments, "--json")
    assert (refused.code, refused.error["error"]) == (12, "NOT_AS_LISTED")


def test_a_trust_file_with_a_slip_is_named(strict_home: Path, package: Path, run: Run) -> None:
    """A line without a key stops the import before the package is looked at."""
    (strict_home / "trust" / "allowed_signers").write_text("alice\n")
    done = run(strict_home, "ingest", "import", str(package), "--json")
    assert (done.code, done.error["error"]) == (2, "TRUST_FILE")
    assert not (strict_home / "var" / "quarantine").exists()


def test_a_refusal_that_a_power_cut_kept_off_the_record_gets_on_it(new_home: Path, package: Path, run: Run) -> None:
    """The next import writes the decision that is missing, once."""
    database = new_home / "var" / "curated.db"
    (package / "manifest.json").write_text("{}")
    run(new_home, "ingest", "import", str(package))
    query(database, "DELETE FROM decisions")
    run(new_home, "ingest", "import", str(package))
    assert query(database, "SELECT kind, reason FROM decisions") == [("quarantine", "MANIFEST_SCHEMA")] * 2

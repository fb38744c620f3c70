"""curated.db: a package with its environments and commits in one transaction, found by name or id."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import Ambiguous, NotFound
from appliance.store.curated import CuratedStore, Entry
from appliance.store.decisions import Decision
from harness.gate import GateVerdict, Rejection, reject
from harness.goldgate import NO_ORACLE, GateReport, OracleNote
from harness.grade import Required
from harness.manifest import Commit, Environment, Lock, Manifest

DIGEST = "d" * 64
REQUIRED = Required(frozenset({"t.py::test_new"}), frozenset({"t.py::test_old"}))


def _commit(letter: str) -> Commit:
    return Commit(
        sha=letter * 40, parent="0" * 40, task="Add a function", kinds=("step-plan",), environment="env-1",
        source_paths=("a.py",), test_paths=("t.py",), lines_changed=3, committed_at="2026-01-01T00:00:00Z",
    )  # fmt: skip


MANIFEST = Manifest(
    name="abacus", sequence=1, upstream="https://example.invalid", license="MIT", organisation="Example",
    domain="arithmetic", head="b" * 40, files={},
    environments=(Environment("env-1", "3.11", ("a-1-py3-none-any.whl",), {}, Lock("newest", None)),),
    test_command=("pytest",), test_scope="affected", commits=(_commit("b"), _commit("a")),
)  # fmt: skip
ORACLE = OracleNote("f" * 64, 12, 7, "")
PASSED = GateVerdict(None, "1 fail-to-pass tests", REQUIRED, frozenset({"t.py::test_odd"}), 20.0)
REPORTS = (
    GateReport(_commit("b"), PASSED, ("t.py",), "e" * 32, 6, 9.0, 8.0, "static", "failed", ORACLE),
    GateReport(_commit("a"), reject(Rejection.NO_F2P, "all pass"), (), "e" * 32, 2, 3.0, 2.0),
)


@pytest.fixture
def curated(tmp_path: Path) -> Iterator[CuratedStore]:
    """Return an empty store."""
    store = CuratedStore(tmp_path / "curated.db")
    yield store
    store.close()


def test_commits_come_back_in_manifest_order_with_what_the_gate_found(curated: CuratedStore) -> None:
    """Required tests, test files, limit and reason are read back as they were judged."""
    curated.add_package(MANIFEST, DIGEST, REPORTS)
    first, second = curated.commits("abacus-1")
    assert (first.sha, first.state, first.required, first.test_files) == ("b" * 40, "validated", REQUIRED, ("t.py",))
    assert first.limit_s == 100.0
    assert (second.sha, second.state, second.reason, second.detail) == ("a" * 40, "rejected", "no_f2p", "all pass")
    assert (first.oracle, second.oracle) == (ORACLE, NO_ORACLE)


def test_the_summary_counts_commits_by_package(curated: CuratedStore) -> None:
    """One row per package, with the number of its commits and of the validated ones."""
    curated.add_package(MANIFEST, DIGEST, REPORTS)
    [row] = curated.summary()
    assert (row["id"], row["sequence"], row["commits"], row["validated"]) == ("abacus-1", 1, 2, 1)


def test_a_package_without_commits_has_zero_validated(curated: CuratedStore) -> None:
    """A package that lists no commit is in the summary with numbers, not with gaps."""
    curated.add_package(replace(MANIFEST, commits=()), DIGEST, ())
    [row] = curated.summary()
    assert (row["commits"], row["validated"]) == (0, 0)


def test_a_package_that_cannot_be_written_whole_leaves_nothing(curated: CuratedStore) -> None:
    """A commit listed twice undoes the package and its environments."""
    with pytest.raises(sqlite3.IntegrityError):
        curated.add_package(MANIFEST, DIGEST, (REPORTS[0], REPORTS[0]))
    assert [curated.db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("packages", "environments")] == [
        0,
        0,
    ]


def test_a_sequence_is_written_once(curated: CuratedStore) -> None:
    """The same package cannot be written twice."""
    curated.add_package(MANIFEST, DIGEST, REPORTS)
    with pytest.raises(sqlite3.IntegrityError):
        curated.add_package(MANIFEST, DIGEST, REPORTS)
    assert len(curated.summary()) == 1


def test_a_package_keeps_how_it_came_in(curated: CuratedStore) -> None:
    """Signer, fingerprint and overrides are with the package, its decisions in the same transaction."""
    decision = Decision("integrate", "abacus-1", "integrated", "signed by alice", {"manifest_sha256": DIGEST})
    curated.add_package(MANIFEST, DIGEST, REPORTS, Entry("alice", "SHA256:x", ("a" * 64,), (decision,)))
    row = curated.package("abacus-1")
    assert (row["signer"], row["fingerprint"], row["overrides"]) == ("alice", "SHA256:x", ["a" * 64])
    [summary] = curated.summary()
    assert (summary["signer"], summary["overrides"]) == ("alice", ["a" * 64])
    assert [made["reason"] for made in curated.decisions("integrate", "abacus-1")] == ["signed by alice"]
    assert curated.integrated("abacus") == {1: DIGEST}
    assert (curated.has_manifest(DIGEST), curated.has_manifest("e" * 64)) == (True, False)


def test_a_package_that_cannot_be_written_leaves_no_decision(curated: CuratedStore) -> None:
    """What did not come in was not decided."""
    decision = Decision("integrate", "abacus-1", "integrated", "every check passed")
    with pytest.raises(sqlite3.IntegrityError):
        curated.add_package(MANIFEST, DIGEST, (REPORTS[0], REPORTS[0]), Entry(decisions=(decision,)))
    assert curated.decisions("integrate") == []


def test_names_and_ids_resolve(curated: CuratedStore) -> None:
    """A package is found by its name and by its id."""
    curated.add_package(MANIFEST, DIGEST, REPORTS)
    assert (curated.resolve("abacus"), curated.resolve("abacus-1")) == ("abacus-1", "abacus-1")


def test_an_unknown_name_is_answered_with_the_known_ones(curated: CuratedStore) -> None:
    """NotFound lists what is integrated."""
    with pytest.raises(NotFound, match="integrated are: none"):
        curated.resolve("nothing")
    curated.add_package(MANIFEST, DIGEST, REPORTS)
    with pytest.raises(NotFound, match="integrated are: abacus-1"):
        curated.resolve("nothing")


def test_a_name_with_several_sequences_is_never_guessed(curated: CuratedStore) -> None:
    """Two sequences of one name are both offered, and each is found by its id."""
    curated.add_package(MANIFEST, DIGEST, REPORTS)
    curated.add_package(replace(MANIFEST, sequence=2), DIGEST, REPORTS)
    with pytest.raises(Ambiguous) as caught:
        curated.resolve("abacus")
    assert "abacus-2, abacus-1" in caught.value.hint
    assert curated.resolve("abacus-2") == "abacus-2"


def test_the_latest_sequence_of_an_unknown_package_is_zero(curated: CuratedStore) -> None:
    """Sequences start at one, so zero lets every package in."""
    assert curated.latest_sequence("abacus") == 0
    curated.add_package(replace(MANIFEST, sequence=7), DIGEST, REPORTS)
    assert (curated.latest_sequence("abacus"), curated.latest_sequence("other")) == (7, 0)


def test_an_exact_id_wins_over_a_package_of_that_name(curated: CuratedStore) -> None:
    """A package that is named like the id of another one does not hide it, and has an id of its own."""
    curated.add_package(MANIFEST, DIGEST, ())
    curated.add_package(replace(MANIFEST, name="abacus-1", sequence=5), "e" * 64, ())
    curated.add_package(replace(MANIFEST, name="abacus-1", sequence=6), "f" * 64, ())
    assert [curated.resolve(name) for name in ("abacus-1", "abacus-1-5", "abacus")] == [
        "abacus-1", "abacus-1-5", "abacus-1",
    ]  # fmt: skip

"""The manifest: round trip, references, and documents that must be refused."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

import pytest

from harness.errors import BadManifest
from harness.manifest import Manifest, manifest_bytes, parse_manifest

SHA = "0123456789abcdef0123456789abcdef01234567"
Change = Callable[[dict[str, Any]], object]


def document() -> dict[str, Any]:
    """Return a complete, good document."""
    return {
        "format": 1, "name": "demo", "sequence": 3, "upstream": "https://example.invalid/demo", "license": "MIT",
        "organisation": "Example", "domain": "tests", "head": SHA,
        "files": {
            "repo/HEAD": {"sha256": "0" * 64, "bytes": 23},
            "packages/demo_dep-1.0+local-py3-none-any.whl": {"sha256": "1" * 64, "bytes": 4},
        },
        "environments": [
            {
                "id": "py311", "python": "3.11", "wheels": ["demo_dep-1.0+local-py3-none-any.whl"],
                "env": {"SETUPTOOLS_SCM_PRETEND_VERSION": "1.2.3"},
                "lock": {"taken": "era", "exclude_newer": "2026-01-01", "note": "näher"},
                "requirements": ["demo-dep"], "undeclared_imports": [],
            }
        ],
        "test_command": ["python", "-m", "pytest"], "test_scope": "affected",
        "commits": [
            {
                "sha": SHA, "parent": SHA[::-1], "task": "Add the thing", "message": "thing", "kinds": ["step-plan"],
                "environment": "py311", "source_paths": ["src/a.py"], "test_paths": ["tests/test_a.py"],
                "lines_changed": 4, "committed_at": "2026-01-02T03:04:05Z",
            }
        ],
    }  # fmt: skip


def parse(doc: object) -> Manifest:
    """Parse a document."""
    return parse_manifest(json.dumps(doc).encode())


def changed(change: Change) -> dict[str, Any]:
    """Return the good document after one change."""
    doc = copy.deepcopy(document())
    change(doc)
    return doc


def test_round_trip() -> None:
    """Writing what was read gives the same values, and the same bytes every time."""
    manifest = parse(document())
    raw = manifest_bytes(manifest)
    assert parse_manifest(raw) == manifest
    assert manifest_bytes(parse_manifest(raw)) == raw
    assert json.loads(raw) == document()


def test_optional_texts_stay_away_when_empty() -> None:
    """A commit without an original message, and a lock without a note, are written without them."""
    doc = document()
    del doc["commits"][0]["message"]
    del doc["environments"][0]["lock"]["note"]
    assert json.loads(manifest_bytes(parse(doc))) == doc


def test_bytes_do_not_depend_on_the_order_of_keys() -> None:
    """Equal manifests have equal bytes, so that a signature covers the meaning."""
    turned = dict(reversed(document().items()))
    assert manifest_bytes(parse(turned)) == manifest_bytes(parse(document()))


def test_lookups() -> None:
    """Package id, environment and wheel digest come from the document."""
    manifest = parse(document())
    assert manifest.package_id == "demo-3"
    assert manifest.environment("py311").python == "3.11"
    assert manifest.wheel_sha256("demo_dep-1.0+local-py3-none-any.whl") == "1" * 64


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["environments"].append(d["environments"][0]), "share an id"),
        (lambda d: d["commits"].append(d["commits"][0]), "listed twice"),
        (lambda d: d["environments"][0]["wheels"].append(d["environments"][0]["wheels"][0]), "names a wheel twice"),
        (lambda d: d["commits"][0].update(kinds=["step-plan", "step-plan"]), "names a kind twice"),
        (lambda d: d["files"].pop("packages/demo_dep-1.0+local-py3-none-any.whl"), "`files` does not list"),
        (lambda d: d["commits"][0].update(environment="py399"), "names environment 'py399', known are py311"),
        (lambda d: d["files"].update({"repo/../x": {"sha256": "0" * 64, "bytes": 1}}), "not a plain relative path"),
        (lambda d: d["files"].update({"repo/./x": {"sha256": "0" * 64, "bytes": 1}}), "not a plain relative path"),
        (lambda d: d["files"].update({"repo//x": {"sha256": "0" * 64, "bytes": 1}}), "not a plain relative path"),
    ],
)
def test_references_are_checked(change: Change, words: str) -> None:
    """What a schema cannot say is checked, and the message names the culprit."""
    with pytest.raises(BadManifest, match=words) as failed:
        parse(changed(change))
    assert failed.value.exit_code == 12


BAD: dict[str, Change] = {
    "unknown key": lambda d: d.update(extra=1),
    "unknown key in a commit": lambda d: d["commits"][0].update(shell="rm"),
    "unknown key in an environment": lambda d: d["environments"][0].update(index_url="x"),
    "other format": lambda d: d.update(format=2),
    "format as a string": lambda d: d.update(format="1"),
    "name with a slash": lambda d: d.update(name="a/b"),
    "name with dots first": lambda d: d.update(name="..a"),
    "name with a newline": lambda d: d.update(name="demo\n"),
    "upper-case name": lambda d: d.update(name="Demo"),
    "sequence zero": lambda d: d.update(sequence=0),
    "sequence as a fraction": lambda d: d.update(sequence=1.0),
    "sequence that no database column holds": lambda d: d.update(sequence=1 << 63),
    "sequence above its limit": lambda d: d.update(sequence=1 << 31),
    "endless size": lambda d: d["files"]["repo/HEAD"].update(bytes=1 << 64),
    "endless change": lambda d: d["commits"][0].update(lines_changed=1 << 63),
    "a wheel that is no text": lambda d: d["environments"][0].update(wheels=[{"a": 1}]),
    "sequence as true": lambda d: d.update(sequence=True),
    "short head": lambda d: d.update(head=SHA[:12]),
    "head with a newline": lambda d: d.update(head=SHA + "\n"),
    "upper-case sha": lambda d: d["commits"][0].update(sha=SHA.upper()),
    "sha as an option": lambda d: d["commits"][0].update(sha="--upload-pack=x"),
    "sha as a revision": lambda d: d["commits"][0].update(parent=SHA + "^"),
    "command as a string": lambda d: d.update(test_command="pytest"),
    "empty command": lambda d: d.update(test_command=[]),
    "unknown scope": lambda d: d.update(test_scope="some"),
    "no kinds": lambda d: d["commits"][0].update(kinds=[]),
    "unknown kind": lambda d: d["commits"][0].update(kinds=["code"]),
    "empty task": lambda d: d["commits"][0].update(task=""),
    "endless task": lambda d: d["commits"][0].update(task="x" * 20_001),
    "no source": lambda d: d["commits"][0].update(source_paths=[]),
    "time without zone": lambda d: d["commits"][0].update(committed_at="2026-01-02T03:04:05"),
    "python with a patch level": lambda d: d["environments"][0].update(python="3.11.4"),
    "python as a path": lambda d: d["environments"][0].update(python="/tmp/python"),
    "python with a newline": lambda d: d["environments"][0].update(python="3.11\n"),
    "wheel with a slash": lambda d: d["environments"][0].update(wheels=["../evil.whl"]),
    "wheel with a space": lambda d: d["environments"][0].update(wheels=["a b.whl"]),
    "wheel as an option": lambda d: d["environments"][0].update(wheels=["--index-url.whl"]),
    "source distribution": lambda d: d["environments"][0].update(wheels=["demo-1.0.tar.gz"]),
    "lower-case variable": lambda d: d["environments"][0].update(env={"path": "x"}),
    "variable that is no string": lambda d: d["environments"][0].update(env={"A": 1}),
    "unknown lock": lambda d: d["environments"][0]["lock"].update(taken="guess"),
    "file elsewhere": lambda d: d["files"].update({"etc/passwd": {"sha256": "0" * 64, "bytes": 1}}),
    "absolute file": lambda d: d["files"].update({"/repo/x": {"sha256": "0" * 64, "bytes": 1}}),
    "file with a control character": lambda d: d["files"].update({"repo/a\x07": {"sha256": "0" * 64, "bytes": 1}}),
    "file with a last newline": lambda d: d["files"].update({"repo/a\n": {"sha256": "0" * 64, "bytes": 1}}),
    "short digest": lambda d: d["files"]["repo/HEAD"].update(sha256="0" * 63),
    "negative size": lambda d: d["files"]["repo/HEAD"].update(bytes=-1),
    "half a surrogate pair": lambda d: d["commits"][0].update(task="Add \ud83d"),
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_bad_documents_are_refused(change: Change) -> None:
    """Each single change makes the document one that nobody downstream gets to see."""
    with pytest.raises(BadManifest):
        parse(changed(change))


@pytest.mark.parametrize("key", sorted(document()))
def test_every_key_is_required(key: str) -> None:
    """Without any one of its keys a manifest is refused, and the message names the key."""
    with pytest.raises(BadManifest, match=key):
        parse(changed(lambda d: d.pop(key)))


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b"[]", b"\xff", b"[" * 100_000, b'{"format": NaN}', b"1" * 5_000])
def test_bytes_that_are_no_manifest_are_refused(raw: bytes) -> None:
    """Whatever the bytes, the answer is a BadManifest."""
    with pytest.raises(BadManifest):
        parse_manifest(raw)


HOSTILE: dict[str, Change] = {
    "wheels": lambda d: d["environments"][0].update(wheels=[{"a": number} for number in range(30_000)]),
    "few wheels": lambda d: d["environments"][0].update(wheels=[{"a": number} for number in range(5_000)]),
    "kinds": lambda d: d["commits"][0].update(kinds=[{"a": number} for number in range(30_000)]),
    "commands": lambda d: d.update(test_command=[[number] for number in range(30_000)]),
    "environments": lambda d: d.update(environments=[{"id": number} for number in range(30_000)]),
}
LIMIT_S = 5


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_list_that_cannot_be_sorted_takes_no_longer_than_another(change: Change) -> None:
    """Nobody has vouched for a manifest that is being read: its answer comes within seconds."""
    started = time.monotonic()
    with pytest.raises(BadManifest):
        parse(changed(change))
    assert time.monotonic() - started < LIMIT_S


def test_a_manifest_of_millions_of_values_is_not_looked_at_one_by_one() -> None:
    """Each list may be within its limits and all of them together beyond any."""
    commit = document()["commits"][0] | {"source_paths": ["a"] * 10_000}
    started = time.monotonic()
    with pytest.raises(BadManifest, match="values"):
        parse(changed(lambda d: d.update(commits=[commit | {"sha": f"{n:040x}"} for n in range(110)])))
    assert time.monotonic() - started < LIMIT_S


def test_no_schema_compares_every_item_with_every_other_one_or_leaves_a_list_open() -> None:
    """What crosses an edge is checked in time that grows with its size, and no faster."""
    for path in files("harness.schemas").iterdir():
        if path.name.endswith(".schema.json"):
            for part in _parts(json.loads(path.read_text("utf-8"))):
                assert "uniqueItems" not in part, path.name
                assert part.get("type") != "array" or "maxItems" in part, (path.name, part)
                assert part.get("type") != "integer" or "maximum" in part, (path.name, part)


def _parts(node: object) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for below in node.values():
            yield from _parts(below)
    elif isinstance(node, list):
        for below in node:
            yield from _parts(below)

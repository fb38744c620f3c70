"""The reference is complete: what the program has and docs/reference.md does not name turns this red."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from appliance.cli.main import cli
from appliance.store.schema_curated import migrations as curated
from appliance.store.schema_raw import migrations as raw
from harness.answerers.routes import ANSWERERS
from harness.gate import Rejection
from harness.grade import Verdict
from harness.stages import Stage

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference.md"
HARNESS = ROOT / "docs" / "harness.md"
EXIT_CODES = (0, 1, 2, 3, 10, 11, 12, 13, 14, 20, 21, 130)


def _walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from _walk(child, (*path, name))


COMMANDS = dict(_walk(cli, ("appliance",)))
OPTIONS = sorted({
    (name, flag)
    for name, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option)
    for flag in option.opts
    if flag.startswith("--")
})  # fmt: skip
SETTINGS = [
    (section, key)
    for section, table in tomllib.loads((ROOT / "appliance.toml").read_text()).items()
    for key in table
]  # fmt: skip


def _tables() -> list[str]:
    from sqlite_utils import Database

    names: list[str] = []
    for migrations in (raw, curated):
        database = Database(memory=True)
        migrations.apply(database)
        names += [name for name in (*database.table_names(), *database.view_names()) if not name.startswith("_")]
        database.close()
    return sorted(names)


@cache
def _reference() -> str:
    if not REFERENCE.is_file():
        pytest.fail(f"{REFERENCE.relative_to(ROOT)} is missing")
    return REFERENCE.read_text("utf-8")


def _names(word: str) -> bool:
    """Return whether the reference has the word."""
    return _is_in(word, _reference())


def _is_in(word: str, text: str) -> bool:
    """Return whether a text has the word, not only as a part of a longer one."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_reference(name: str) -> None:
    """Each command is named as it is typed."""
    assert _names(name)


@pytest.mark.parametrize(("command", "flag"), OPTIONS)
def test_every_option_is_in_the_reference(command: str, flag: str) -> None:
    """Each option of a command is named."""
    assert _names(flag), f"{command} has {flag}"


@pytest.mark.parametrize("code", EXIT_CODES)
def test_every_exit_code_is_in_the_reference(code: int) -> None:
    """Each exit code has a row of its own in the table of exit codes."""
    assert re.search(rf"^\|\s*`?{code}`?\s*\|", _reference(), re.MULTILINE)


@pytest.mark.parametrize(("section", "key"), SETTINGS)
def test_every_setting_is_in_the_reference(section: str, key: str) -> None:
    """Each setting of appliance.toml is named with its section."""
    assert _names(f"{section}.{key}") or (_names(f"[{section}]") and _names(key))


@pytest.mark.parametrize("table", _tables())
def test_every_table_is_in_the_reference(table: str) -> None:
    """Each table and view of both databases is named."""
    assert _names(table)


@pytest.mark.parametrize("word", [*Verdict, *ANSWERERS])
def test_every_verdict_and_answerer_is_in_the_reference(word: str) -> None:
    """Each verdict and each answerer is named."""
    assert _names(word)


@pytest.mark.parametrize("word", [*Rejection, *Stage])
def test_every_reason_and_stage_is_explained(word: str) -> None:
    """Each reason of the gold gate and each stage is named in the reference or the page about the harness."""
    assert _names(word) or _is_in(word, HARNESS.read_text("utf-8"))

"""Help: every command explains itself with an example, and the top level stays instant."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from appliance.cli.main import COMMANDS, cli
from tests.appliance.conftest import ROOT, environ

HEAVY = (
    "sqlite_utils",
    "rich",
    "jsonschema",
    "harness",
    "numpy",
    "bm25s",
    "virtualenv",
    "pydriller",
    "multiprocessing",
)
PROBE = f"""
import sys
from appliance.cli.main import run
status = run(sys.argv[1:])
print(status, *sorted(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
"""
TALKS_ONLY = {"demo"}  # a guided tour for people; each command in it has --json itself


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command of the tree with its path, groups included."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from walk(child, (*path, name))


TREE = {" ".join(path): command for path, command in walk(cli)}
LEAVES = {name: command for name, command in TREE.items() if not isinstance(command, click.Group)}


def _help(name: str, command: click.Command) -> str:
    return command.get_help(click.Context(command, info_name=f"appliance {name}"))


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_has_an_example_of_itself(name: str) -> None:
    """The help of a command shows at least one line that calls it."""
    text = _help(name, LEAVES[name])
    assert "Example" in text
    assert f"appliance {name}" in text.partition("Example")[2]


@pytest.mark.parametrize("name", LEAVES)
def test_every_option_and_command_says_what_it_is_for(name: str) -> None:
    """No command without a first sentence, and no option without help but where its name and default say it all."""
    assert LEAVES[name].get_short_help_str()
    bare = [
        option.name
        for option in LEAVES[name].params
        if isinstance(option, click.Option) and not option.help and not option.show_default
    ]
    assert bare == []


@pytest.mark.parametrize("name", sorted(set(LEAVES) - TALKS_ONLY))
def test_every_command_speaks_json(name: str) -> None:
    """--json is there for every command that has a result."""
    assert "--json" in {flag for option in LEAVES[name].params for flag in option.opts}


def test_an_import_can_be_tried_first() -> None:
    """The command that changes what the appliance is has a dry run."""
    assert "--dry-run" in {flag for option in LEAVES["ingest import"].params for flag in option.opts}


def test_the_table_describes_each_command_as_the_command_does() -> None:
    """The texts of `appliance --help` are those of the commands themselves."""
    assert {name: text for name, (_, text) in COMMANDS.items()} == {
        name: TREE[name].get_short_help_str(limit=200) for name in COMMANDS
    }


def test_the_top_level_imports_nothing_heavy() -> None:
    """`appliance --help` lists every command without importing what they need."""
    done = _probe("--help")
    assert all(name in done.stdout for name in COMMANDS)
    assert done.stderr.split() == ["0"]


@pytest.mark.parametrize("name", LEAVES)
def test_help_of_a_command_loads_no_database(name: str) -> None:
    """Asking a command for help imports neither databases nor the sandboxed machinery."""
    done = _probe(*name.split(), "--help")
    assert done.stdout.startswith(f"Usage: appliance {name}")
    assert set(done.stderr.split()) <= {"0", "harness"}


def test_short_and_long_help_are_the_same() -> None:
    """-h works like --help."""
    assert _probe("-h").stdout == _probe("--help").stdout


def _probe(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command line; stderr is its status and the heavy modules that were imported."""
    return subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], env=environ(), cwd=ROOT, capture_output=True, text=True, check=True
    )

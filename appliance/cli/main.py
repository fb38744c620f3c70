"""The command `appliance`: finds the sub-command, runs it, and turns failures into exit codes.

Only the table of names is loaded here; each command module is imported when it is used, so that
`appliance --help` stays instant. Exit codes are the fixed ones of docs/reference.md.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import click

EXIT_INTERRUPTED = 130
EXIT_UNEXPECTED = 1

COMMANDS: Mapping[str, tuple[str, str]] = {
    "package": ("appliance.cli.package:group", "Prepare, sign, verify and inspect repo packages."),
    "ingest": ("appliance.cli.ingest:group", "Bring packages in: import, watch, relay, allow, list, show."),
    "harness": ("appliance.cli.harness:group", "Attempt commits, show and regrade the evidence."),
    "doctor": ("appliance.cli.doctor:command", "Try real escapes from the sandbox and look over this machine."),
    "status": ("appliance.cli.status:command", "Say in a few lines what is here and what to do next."),
    "demo": ("appliance.cli.demo:command", "Prepare, import and attempt the sample packages."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on use; help texts of the top level are in the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
@click.version_option(package_name="code-appliance", prog_name="appliance")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Improve a small coding model from repo packages, with no network.

    \b
    Example:
      appliance ingest import /media/usb/structlog-1
      appliance harness run --package structlog --answerer gold
    """  # noqa: D301 - \b is click's mark for text that must not be wrapped
    ctx.obj = {"debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    os.umask(0o022)  # what is mounted into a sandbox must be readable by the user of the run
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever stops us gets the clean way out
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run a command line and return the exit status."""
    try:
        result: Any = cli.main(arguments, prog_name="appliance", standalone_mode=False)
    except click.exceptions.Exit as err:
        return err.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as err:
        err.show()
        return err.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_UNEXPECTED
    except Exception as err:
        failure = _as_failure(err)
        if failure is None or "--debug" in arguments:
            raise
        _report(failure, as_json="--json" in arguments)
        return int(failure.exit_code)
    return result if isinstance(result, int) else 0


def _as_failure(err: Exception) -> Any:  # noqa: ANN401 - keeps the top of this module to click alone
    """Return the failure that a person can act on, or None for what is a bug."""
    import sqlite3  # noqa: PLC0415 - `--help` must stay fast

    from harness.errors import DiskFull, Failure  # noqa: PLC0415

    if isinstance(err, OSError) and err.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(str(err))
    if isinstance(err, (OSError, sqlite3.OperationalError)):
        from appliance.errors import OsFailure  # noqa: PLC0415

        return OsFailure(str(err))
    return err if isinstance(err, Failure) else None


def _report(err: Any, *, as_json: bool) -> None:  # noqa: ANN401 - Failure is imported late
    if as_json:
        document = {"error": err.code, "message": str(err), "next": err.hint, "exit_code": err.exit_code}
        click.echo(json.dumps(document), err=True)
    else:
        from ingest.inspect import printable  # noqa: PLC0415 - a message may quote what came on a stick

        words = "\n".join(printable(line) for line in str(err).split("\n"))
        click.echo(f"error {err.code}: {words}\nnext: {err.hint}", err=True)

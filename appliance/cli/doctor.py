"""`appliance doctor`: try the isolation, look at the machine, say what to do next."""

from __future__ import annotations

import click

from appliance.cli.output import emit, json_option


@click.command("doctor")
@json_option
def command(as_json: bool) -> int:
    """Try real escapes from the sandbox and look over this machine.

    Exit status: 0 all is well, 3 with warnings, 14 untrusted code is refused until a FAIL is mended.

    \b
    Example:
      appliance doctor
    """  # noqa: D301 - \b is click's mark for text that must not be wrapped
    from appliance.doctor import examine  # noqa: PLC0415 - commands import what they use when they run

    report = examine()
    if as_json:
        items = [
            {"name": item.name, "level": item.level.value, "detail": item.detail, "next": item.next_step}
            for item in report.items
        ]
        emit({"items": items, "exit_code": report.exit_code})
        return report.exit_code
    width = max(len(item.name) for item in report.items)
    for item in report.items:
        click.echo(f"{item.level.value:<4}  {item.name:<{width}}  {item.detail}")
        if item.next_step:
            click.echo(f"{'':<4}  {'':<{width}}  next: {item.next_step}")
    return report.exit_code

"""`appliance status`: in a few lines, what is here and what to do next."""

from __future__ import annotations

from typing import Any

import click

from appliance.cli.output import emit, json_option, table

SHOWN_ATTEMPTS = 5


@click.command("status")
@json_option
def command(as_json: bool) -> int:
    """Say in a few lines what is here and what to do next.

    \b
    Example:
      appliance status
    """  # noqa: D301 - \b is click's mark for text that must not be wrapped
    from appliance.home import find_home  # noqa: PLC0415 - commands import what they use when they run
    from appliance.intake import quarantined  # noqa: PLC0415
    from appliance.store.curated import CuratedStore  # noqa: PLC0415
    from appliance.store.raw import RawStore  # noqa: PLC0415
    from appliance.watch import read_status  # noqa: PLC0415

    home = find_home()
    packages = CuratedStore(home.curated_db).summary()
    raw = RawStore(home.raw_db)
    verdicts = {package: dict(counts) for package, counts in raw.verdicts().items()}
    refused = quarantined(home)
    last = raw.last_attempts(SHOWN_ATTEMPTS)
    watch = read_status(home)
    next_step = _next_step(packages, verdicts, refused)
    if as_json:
        emit(
            {"home": str(home.root), "packages": packages, "verdicts": verdicts, "quarantined": len(refused),
             "last_attempts": last, "watch": watch, "next": next_step}
        )  # fmt: skip
        return 0
    validated = sum(package["validated"] or 0 for package in packages)
    attempts = sum(sum(counts.values()) for counts in verdicts.values())
    click.echo(
        f"{len(packages)} packages, {validated} validated commits, {attempts} attempts, {len(refused)} in quarantine"
    )
    rows = [
        (package["id"], package["validated"] or 0,
         ", ".join(f"{number} {verdict}" for verdict, number in verdicts.get(package["id"], {}).items()) or "-")
        for package in packages
    ]  # fmt: skip
    if rows:
        click.echo(table(("package", "validated", "attempts"), rows))
    for attempt in last:
        click.echo(f"last: {attempt['id']} {attempt['package']} {attempt['commit_sha'][:12]} {attempt['verdict']}")
    if watch:
        click.echo(describe_watch(watch))
    click.echo(f"next: {next_step}")
    return 0


def describe_watch(watch: dict[str, Any]) -> str:
    """Return what `ingest watch` did last, for a person."""
    line = f"watch: {watch.get('state')} {watch.get('directory')} (since {watch.get('at')})"
    last = watch.get("last")
    if isinstance(last, dict):
        line += f"; last: {last.get('package')} {last.get('outcome')} {last.get('code') or ''}".rstrip()
        line += f" at {last.get('at')}"
    waiting = watch.get("put_off")
    for one in waiting if isinstance(waiting, list) else []:
        if isinstance(one, dict):
            line += f"\n  put off: {one.get('package')} ({one.get('path')}): {one.get('code')} {one.get('detail')}"
    return line


def _next_step(
    packages: list[dict[str, Any]], verdicts: dict[str, dict[str, int]], refused: list[dict[str, Any]]
) -> str:
    if not packages:
        return "appliance ingest import DIR"
    untried = [str(package["id"]) for package in packages if package["id"] not in verdicts and package["validated"]]
    if untried:
        return f"appliance harness run --package {untried[0]} --answerer lexical"
    if refused:
        return "appliance ingest list shows why packages were refused"
    return "bring more packages: appliance ingest import DIR"

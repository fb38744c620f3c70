"""`appliance ingest`: bring packages in and see what is here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from appliance.cli.output import Progress, dry_run_option, emit, json_option, table

EXIT_WITH_WARNINGS = 3
EXIT_INTEGRITY = 12


@click.group()
def group() -> None:
    """Bring packages in: import, list, show."""


@group.command("import")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(1), help="Commits gated at the same time (default: appliance.toml).")
@click.option("--gate-budget", type=click.FloatRange(1), help="Sandbox seconds the gate may spend on one commit.")
@dry_run_option
@json_option
def import_(directory: Path, workers: int | None, gate_budget: float | None, dry_run: bool, as_json: bool) -> int:
    """Copy a package in, check it, gate its commits, integrate it or put it into quarantine.

    \b
    Example:
      appliance ingest import /media/usb/structlog-1
    """  # noqa: D301 - \b is click's mark for text that must not be wrapped
    from appliance.home import find_home  # noqa: PLC0415 - commands import what they use when they run
    from appliance.intake import import_into  # noqa: PLC0415

    progress = Progress()
    report = import_into(
        find_home(), directory, workers=workers, gate_budget_s=gate_budget, dry_run=dry_run, progress=progress
    )
    progress.done()
    if as_json:
        emit(report.as_dict())
    else:
        click.echo(describe_import(report.as_dict()))
    if report.findings:
        return EXIT_INTEGRITY
    return 0 if report.validated or dry_run else EXIT_WITH_WARNINGS


@group.command("list")
@json_option
def list_(as_json: bool) -> int:
    """List integrated packages and what waits in quarantine.

    \b
    Example:
      appliance ingest list
    """  # noqa: D301
    from appliance.home import find_home  # noqa: PLC0415
    from appliance.intake import quarantined  # noqa: PLC0415
    from appliance.store.curated import CuratedStore  # noqa: PLC0415

    home = find_home()
    packages = CuratedStore(home.curated_db).summary()
    refused = quarantined(home)
    if as_json:
        emit({"packages": packages, "quarantine": refused})
        return 0
    if packages:
        rows = [(p["id"], p["organisation"], p["domain"], p["commits"], p["validated"]) for p in packages]
        click.echo(table(("package", "organisation", "domain", "commits", "validated"), rows))
    else:
        click.echo("No package is integrated. Next: appliance ingest import DIR")
    for item in refused:
        finding = item["findings"][0] if item["findings"] else {}
        click.echo(f"quarantined {item['package']}: {finding.get('code', '?')} ({item['path']})")
    return 0


@group.command("show")
@click.argument("package")
@json_option
def show(package: str, as_json: bool) -> int:
    """Show a package commit by commit: validated, or the reason why not.

    \b
    Example:
      appliance ingest show structlog
    """  # noqa: D301
    from appliance.home import find_home  # noqa: PLC0415
    from appliance.store.curated import CuratedStore  # noqa: PLC0415

    curated = CuratedStore(find_home().curated_db)
    package_id = curated.resolve(package)
    commits = curated.commits(package_id)
    if as_json:
        rows = [
            {"commit": c.sha, "state": c.state, "reason": c.reason, "detail": c.detail, "f2p": sorted(c.required.f2p),
             "p2p": len(c.required.p2p), "test_files": list(c.test_files), "limit_s": c.limit_s,
             "gate_seconds": c.gate_seconds}
            for c in commits
        ]  # fmt: skip
        emit({"package": package_id, "commits": rows})
        return 0
    rows_shown = [
        (c.sha[:12], c.state, c.reason or "-", len(c.required.f2p), len(c.required.p2p), f"{c.gate_seconds:.1f}",
         c.detail[:70])
        for c in commits
    ]  # fmt: skip
    click.echo(table(("commit", "state", "reason", "F2P", "P2P", "gate s", "detail"), rows_shown))
    return 0


def describe_import(report: dict[str, Any]) -> str:
    """Return what became of a package, for a person."""
    if report["findings"]:
        first = report["findings"][0]
        more = f" ({len(report['findings'])} findings in all)" if len(report["findings"]) > 1 else ""
        where = f" in {first['file']}" if first["file"] else ""
        return (
            f"REFUSED {report['package']}: {first['code']}{where}{more}\n"
            f"  expected: {first['expected']}\n  found:    {first['found']}\n  next:     {first['next_step']}\n"
            + (f"  kept in:  {report['quarantine']}" if report["quarantine"] else "  nothing was kept (dry run)")
        )
    if report["state"] == "checked":
        return f"{report['package']} passes every check; the gold gate was not run (dry run)."
    next_step = f"appliance harness run --package {report['package']} --answerer lexical"
    if not report["validated"]:
        next_step = f"appliance ingest show {report['package']} says why no commit can be attempted"
    rejected = ", ".join(f"{number} {reason}" for reason, number in report["rejected"].items()) or "none"
    return (
        f"INTEGRATED {report['package']}: {report['validated']} of {report['commits']} commits validated; "
        f"rejected: {rejected}\n  next: {next_step}"
    )

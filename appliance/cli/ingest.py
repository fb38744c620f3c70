"""`appliance ingest`: bring packages in and see what is here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from appliance.cli.output import Progress, dry_run_option, emit, json_option, table

EXIT_WITH_WARNINGS = 3
EXIT_INTEGRITY = 12
EXIT_NOT_TRUSTED = 13
HEX_DIGITS = 64


@click.group()
def group() -> None:
    """Bring packages in: import, watch, relay, allow, list, show."""


@group.command("import")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(1), help="Commits gated at the same time (default: appliance.toml).")
@click.option("--gate-budget", type=click.FloatRange(1), help="Sandbox seconds the gate may spend on one commit.")
@click.option("--accept-older", is_flag=True, help="Take in a lower sequence than one that is here; needs --reason.")
@click.option("--reason", default="", help="Why the older package is taken in; logged as a decision.")
@dry_run_option
@json_option
def import_(  # noqa: PLR0917 - click passes options by name
    directory: Path, workers: int | None, gate_budget: float | None, accept_older: bool, reason: str, dry_run: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Copy a package in, check it, gate its commits, integrate it or put it into quarantine.

    \b
    Example:
      appliance ingest import /media/usb/structlog-1
    """  # noqa: D301 - \b is click's mark for text that must not be wrapped
    from appliance.home import find_home  # noqa: PLC0415 - commands import what they use when they run
    from appliance.intake import import_into  # noqa: PLC0415
    from ingest.policy import TRUST_CHECKS  # noqa: PLC0415

    if accept_older != bool(reason.strip()):
        raise click.UsageError("--accept-older and --reason go together.")
    progress = Progress()
    report = import_into(
        find_home(), directory, workers=workers, gate_budget_s=gate_budget, dry_run=dry_run, progress=progress,
        accept_older=reason.strip(),
    )  # fmt: skip
    progress.done()
    if as_json:
        emit(report.as_dict())
    else:
        click.echo(describe_import(report.as_dict()))
    if report.findings:
        return EXIT_NOT_TRUSTED if report.failed_check in TRUST_CHECKS else EXIT_INTEGRITY
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
        rows = [
            (p["id"], p["organisation"], p["domain"], p["commits"], p["validated"], p["signer"] or "not signed",
             len(p["overrides"]) or "-")
            for p in packages
        ]  # fmt: skip
        click.echo(
            table(("package", "organisation", "domain", "commits", "validated", "signer", "files let through"), rows)
        )
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
    from ingest.inspect import printable  # noqa: PLC0415

    curated = CuratedStore(find_home().curated_db)
    package_id = curated.resolve(package)
    commits = curated.commits(package_id)
    entry = curated.package(package_id)
    if as_json:
        rows = [
            {"commit": c.sha, "state": c.state, "reason": c.reason, "detail": c.detail, "f2p": sorted(c.required.f2p),
             "p2p": len(c.required.p2p), "test_files": list(c.test_files), "limit_s": c.limit_s,
             "gate_seconds": c.gate_seconds}
            for c in commits
        ]  # fmt: skip
        kinds = ("integrate", "unsigned", "accept-older")
        made = [decision for kind in kinds for decision in curated.decisions(kind, package_id)]
        facts = {
            name: entry[name] for name in ("manifest_sha256", "integrated_at", "signer", "fingerprint", "overrides")
        }
        emit({"package": package_id, **facts, "decisions": made, "commits": rows})
        return 0
    by = f"signed by {printable(entry['signer'])} ({entry['fingerprint']})" if entry["signer"] else "not signed"
    click.echo(f"{package_id}: {by}, integrated {entry['integrated_at']}")
    for sha256 in entry["overrides"]:
        click.echo(f"let through: {sha256} (appliance ingest allow --list says why)")
    rows_shown = [
        (c.sha[:12], c.state, c.reason or "-", len(c.required.f2p), len(c.required.p2p), f"{c.gate_seconds:.1f}",
         c.detail[:70])
        for c in commits
    ]  # fmt: skip
    click.echo(table(("commit", "state", "reason", "F2P", "P2P", "gate s", "detail"), rows_shown))
    return 0


@group.command("allow")
@click.argument("sha256", required=False)
@click.option("--reason", default="", help="Why this file is let through, or no more; logged as a decision.")
@click.option("--revoke", is_flag=True, help="Let the file through no more.")
@click.option("--list", "show_list", is_flag=True, help="List every such decision.")
@json_option
def allow(sha256: str | None, reason: str, revoke: bool, show_list: bool, as_json: bool) -> int:
    """Let one file through although its kind is refused; the decision is logged.

    \b
    Example:
      appliance ingest allow 9f86d081884c7d65... --reason "test fixture, looked at with the author"
      appliance ingest allow --list
    """  # noqa: D301
    from appliance.errors import NotFound  # noqa: PLC0415
    from appliance.home import find_home  # noqa: PLC0415
    from appliance.store.curated import CuratedStore  # noqa: PLC0415
    from appliance.store.decisions import ALLOW, ALLOWED, REVOKED, Decision  # noqa: PLC0415
    from ingest.checks.wheels import EMPTY_SHA256  # noqa: PLC0415

    digest = (sha256 or "").lower()
    if show_list == bool(sha256):
        raise click.UsageError("Name one SHA256, or --list.")
    if sha256 and (len(digest) != HEX_DIGITS or set(digest) - set("0123456789abcdef")):
        raise click.BadParameter(f"a sha256 has {HEX_DIGITS} hexadecimal digits", param_hint="SHA256")
    if digest == EMPTY_SHA256 and not revoke:
        raise click.BadParameter("every empty file has this digest; name that of the wheel", param_hint="SHA256")
    if sha256 and not reason.strip():
        raise click.UsageError("--reason is missing: say why, an auditor will ask.")
    curated = CuratedStore(find_home().curated_db)
    if sha256:
        if revoke and digest not in curated.allowed():
            raise NotFound(f"{digest} is not let through", hint="appliance ingest allow --list")
        curated.decide(Decision(ALLOW, digest, REVOKED if revoke else ALLOWED, reason.strip()))
    made = curated.decisions(ALLOW, digest)[-1:] if sha256 else curated.decisions(ALLOW)
    if as_json:
        emit({"allowed": sorted(curated.allowed()), "decisions": made})
        return 0
    rows = [(row["subject"], row["outcome"], row["decided_at"], row["who"], row["reason"]) for row in made]
    click.echo(table(("sha256", "outcome", "at", "who", "reason"), rows) if rows else "No file was ever let through.")
    return 0


@group.command("relay")
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.argument("destination", metavar="DST", type=click.Path(path_type=Path))
@click.option("--signers", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Keys of which one must have signed the package (OpenSSH allowed_signers).")  # fmt: skip
@json_option
def relay(source: Path, destination: Path, signers: Path | None, as_json: bool) -> int:
    """Stream a package from one stick to another, hashes checked on both; keeps nothing, needs no home.

    \b
    Example:
      appliance ingest relay /media/red/structlog-1 /media/black
    """  # noqa: D301
    from ingest.inspect import printable  # noqa: PLC0415
    from ingest.relay import relay as stream  # noqa: PLC0415
    from ingest.signing import read_trust  # noqa: PLC0415

    progress = Progress()
    done = stream(source, destination, trust=read_trust(signers) if signers else None, progress=progress)
    progress.done()
    if as_json:
        emit(done.as_dict())
        return 0
    by = f"signed by {done.signer.principal} ({done.signer.fingerprint})" if done.signer else "signature not looked at"
    click.echo(
        f"{done.state.upper()} {done.package}: {done.files} files right on the destination, {done.copied} copied now "
        f"({done.copied_bytes / (1 << 20):.1f} MiB in {done.seconds:.1f} s); {by}\n"
        f"  next: unmount {printable(str(destination))}, then on the appliance: appliance ingest import DIR"
    )
    return 0


@group.command("watch")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="End when nothing is left to do (for a systemd unit).")
@click.option("--interval", type=click.FloatRange(0.1), default=10.0, show_default=True,
              help="Seconds between two looks at the directory.")  # fmt: skip
@click.option("--settle", type=click.FloatRange(0), default=5.0, show_default=True,
              help="Seconds that a package must not have changed before it is imported.")  # fmt: skip
@json_option
def watch(directory: Path, once: bool, interval: float, settle: float, as_json: bool) -> int:
    """Import every package that appears below a mount point; one line per outcome, until SIGTERM.

    \b
    Example:
      appliance ingest watch /media
    """  # noqa: D301
    import signal  # noqa: PLC0415
    from dataclasses import asdict  # noqa: PLC0415

    from appliance.home import find_home  # noqa: PLC0415
    from appliance.watch import Watch  # noqa: PLC0415

    progress = Progress()
    watched = Watch(
        find_home().root, directory, settle, interval, progress=progress,
        tell=lambda one: emit(asdict(one)) if as_json else click.echo(
            f"{one.at} {one.outcome} {one.package} ({one.path}): {one.code} {one.detail}".replace(": : ", ": ")
        ),
    )  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: watched.stop.set())
    fine = watched.run(once=once)
    progress.done()
    return 0 if fine or not once else EXIT_WITH_WARNINGS


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

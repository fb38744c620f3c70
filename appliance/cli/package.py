"""`appliance package`: the connected side, and a look at what a package holds."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from appliance.cli.output import Progress, dry_run_option, emit, json_option, table

EXIT_WITH_WARNINGS = 3
EXIT_INTEGRITY = 12
NOTE_CHARS = 90


@click.group()
def group() -> None:
    """Prepare, sign, verify and inspect repo packages."""


@group.command("prepare")
@click.argument("source", metavar="GIT_DIR_OR_URL")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory that receives NAME-SEQUENCE/.")
@click.option("--name", help="Package name (default: the project's own).")
@click.option("--limit", type=click.IntRange(1), help="At most this many commits; source and test commits come first.")
@click.option("--since", metavar="DATE", help="Only commits since this date, e.g. 2023-06-01.")
@click.option("--requirement", "requirements", multiple=True, metavar="R", help="One more requirement for the tests.")
@click.option("--test-command", default="python -m pytest", show_default=True, help="How the tests are run.")
@click.option("--test-scope", type=click.Choice(["affected", "suite"]), default="affected", show_default=True,
              help="Test files per commit: those it affects, or all.")  # fmt: skip
@click.option("--python", default="3.11", show_default=True, help="Minor version that the environments are for.")
@click.option("--organisation", default="", help="Who makes the project.")
@click.option("--domain", default="", help="What it is about, e.g. logging.")
@click.option("--license", "license_", default="", help="Licence (default: what the project declares).")
@click.option("--sequence", type=click.IntRange(1), help="Number of the package (default: the next one).")
@click.option("--no-proof", is_flag=True, help="Do not run the project's tests once.")
@click.option("--sign-key", type=click.Path(path_type=Path), help="Sign the package with this OpenSSH key.")
@dry_run_option
@json_option
def prepare(  # noqa: PLR0917 - click passes options by name
    source: str, out: Path, name: str | None, limit: int | None, since: str | None, requirements: tuple[str, ...],
    test_command: str, test_scope: str, python: str, organisation: str, domain: str, license_: str,
    sequence: int | None, no_proof: bool, sign_key: Path | None, dry_run: bool, as_json: bool,
) -> int:  # fmt: skip
    """Turn a git repository into a repo package: commits, wheels, manifest. Needs the network.

    \b
    Example:
      appliance package prepare https://example.org/tool.git --out /media/usb --since 2024-01-01
    """  # noqa: D301 - \b is click's mark for text that must not be wrapped
    from harness.testrun import UnknownTestCommand, parse_test_command  # noqa: PLC0415 - commands import what they use when they run
    from ingest.prepare.options import PrepareOptions  # noqa: PLC0415
    from ingest.prepare.prepare import prepare as write_package  # noqa: PLC0415
    from ingest.prepare.trial import prove_in_sandbox  # noqa: PLC0415
    from ingest.seal import sign_package  # noqa: PLC0415
    from ingest.signing import sign as sign_bytes  # noqa: PLC0415

    try:
        command = tuple(shlex.split(test_command))
        parse_test_command(command)
    except (ValueError, UnknownTestCommand) as err:
        raise click.BadParameter(str(err), param_hint="--test-command") from err
    options = PrepareOptions(
        source=source, out=out.absolute(), name=name, python=python, limit=limit, since=since,
        requirements=requirements,
        test_command=command, test_scope=test_scope, organisation=organisation, domain=domain, license=license_,
        sequence=sequence, dry_run=dry_run,
    )  # fmt: skip
    if sign_key:
        sign_bytes(b"a first try, so that a key that cannot sign is known before the work and not after it", sign_key)
    progress = Progress()
    prove = None if no_proof else (lambda package, manifest: prove_in_sandbox(package, manifest, progress))
    report = write_package(options, progress=progress, prove=prove)
    if sign_key and not dry_run:
        sign_package(report.package, sign_key)
    progress.done()
    document = report.as_dict() | {"signed": bool(sign_key) and not dry_run}
    if as_json:
        emit(document)
    else:
        click.echo(describe_prepared(document, dry_run=dry_run))
    return EXIT_WITH_WARNINGS if report.has_warnings else 0


@group.command("inspect")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--files", "show_files", is_flag=True, help="List every file with its sha256.")
@json_option
def inspect(directory: Path, show_files: bool, as_json: bool) -> int:
    """List what a package holds; executes nothing and writes nothing.

    \b
    Example:
      appliance package inspect /media/usb/structlog-1
    """  # noqa: D301
    from ingest.inspect import inspect_package  # noqa: PLC0415

    inventory = inspect_package(directory)
    document = inventory.as_dict()
    if as_json:
        emit(document)
    else:
        click.echo(describe_inventory(document, show_files=show_files))
    return 0 if document["matches"] else EXIT_INTEGRITY


@group.command("sign")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), required=True,
              help="Private OpenSSH key, or the public half of one that ssh-agent holds.")  # fmt: skip
@json_option
def sign(directory: Path, key: Path, as_json: bool) -> int:
    """Sign a package whose files are as listed; writes manifest.json.sig beside the manifest.

    \b
    Example:
      appliance package sign /media/usb/structlog-1 --key ~/.ssh/packages
    """  # noqa: D301
    from ingest.seal import sign_package  # noqa: PLC0415

    signed = sign_package(directory, key)
    if as_json:
        emit(signed.as_dict())
    else:
        click.echo(
            f"signed {signed.package} with {signed.fingerprint}\n"
            f"  next: appliance package verify {directory} --signers FILE, then carry it to the appliance"
        )
    return 0


@group.command("verify")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--signers", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Trusted keys (default: trust/allowed_signers of the appliance's home).")  # fmt: skip
@json_option
def verify(directory: Path, signers: Path | None, as_json: bool) -> int:
    """Check the signature and every file of a package; executes nothing and writes nothing.

    \b
    Example:
      appliance package verify /media/usb/structlog-1 --signers allowed_signers
    """  # noqa: D301
    from ingest.seal import verify_package  # noqa: PLC0415
    from ingest.signing import read_trust  # noqa: PLC0415

    if signers:
        trust = read_trust(signers)
    else:
        from appliance.home import find_home  # noqa: PLC0415

        home = find_home()
        trust = read_trust(home.allowed_signers, home.revoked_keys)
    verified = verify_package(directory, trust)
    if as_json:
        emit(verified.as_dict())
    else:
        click.echo(describe_verified(verified.as_dict()))
    return verified.exit_code


def describe_verified(document: dict[str, Any]) -> str:
    """Return who vouches for a package and which of its files are not as listed, for a person."""
    from ingest.inspect import printable  # noqa: PLC0415 - commands import what they use when they run

    lines = [f"package {document['package']} (manifest {document['manifest_sha256']})"]
    if document["refusal"]:
        lines += [f"NOT TRUSTED: {document['refusal']['code']}: {printable(document['refusal']['found'])}",
                  f"  next: {document['refusal']['next']}"]  # fmt: skip
    else:
        lines.append(f"signed by {document['signer']} with {document['fingerprint']}")
    lines += [f"  {file['state']:<11} {file['path']}" for file in document["wrong"]]
    right = document["files"] - len(document["wrong"])
    lines.append(f"{right} of {document['files']} files are as listed")
    return "\n".join(lines)


def describe_prepared(report: dict[str, Any], *, dry_run: bool = False) -> str:
    """Return what a preparation did, for a person."""
    from ingest.inspect import printable  # noqa: PLC0415

    lines = [
        f"{report['package_id']}: {report['commits_selected']} of {report['commits_seen']} commits selected",
        table(("reason", "commits", "for example"), [
            (row["reason"], row["count"], row["examples"][0] if row["examples"] else "") for row in report["yield"]
        ]),
    ]  # fmt: skip
    if dry_run:
        return "\n".join([*lines, "Nothing was fetched or written (dry run)."])
    lines += [
        "",
        table(("environment", "commits", "wheels", "lock", "until", "tests pass", "note"), [
            (env["id"], env["commits"], env["wheels"], env["lock"]["taken"], (env["lock"]["exclude_newer"] or "")[:10],
             _proof(env["proof"]), _short((env["proof"] or {}).get("note", "") or env["lock"].get("note", "")))
            for env in report["environments"]
        ]),
    ]  # fmt: skip
    if report["undeclared_imports"]:
        lines.append(f"tests import, nothing provides: {printable(', '.join(report['undeclared_imports']))}")
    if report["dropped_requirements"]:
        lines.append(f"requirements left out: {printable(', '.join(report['dropped_requirements']))}")
    size = (report["repo_bytes"] + report["packages_bytes"]) / (1 << 20)
    lines += [f"{size:.1f} MiB, {sum(report['seconds'].values()):.0f} s", f"package: {report['package']}"]
    step = "inspect {}, then carry it to the appliance" if report["signed"] else "sign {} --key FILE"
    lines.append(f"  next: appliance package {step.format(report['package'])}")
    return "\n".join(lines)


def _short(note: str) -> str:
    return note if len(note) <= NOTE_CHARS else f"{note[:NOTE_CHARS]}... (whole in --json)"


def _proof(proof: dict[str, Any] | None) -> str:
    return "-" if proof is None else f"{proof['passed']} of {proof['collected']}"


def describe_inventory(document: dict[str, Any], *, show_files: bool) -> str:
    """Return what a package holds, for a person; files that are not as listed are always named.

    Nobody vouches for the manifest here, so its texts are escaped like names of files.
    """
    from ingest.inspect import printable  # noqa: PLC0415

    names = ("upstream", "license", "organisation", "domain", "head", "manifest_sha256")
    lines = [f"package {document['package_id']}{'' if document['signed'] else ' (not signed)'}"]
    lines += [f"  {name}: {printable(document[name])}" for name in names if document[name]]
    lines.append(f"  tests: {printable(' '.join(document['test_command']))} ({document['test_scope']})")
    lines.append("")
    lines.append(table(("environment", "python", "wheels", "commits", "lock"), [
        (env["id"], env["python"], len(env["wheels"]), env["commits"], env["lock"]["taken"])
        for env in document["environments"]
    ]))  # fmt: skip
    lines.append("")
    lines.append(table(("commit", "kinds", "source", "tests", "lines", "task"), [
        (commit["sha"][:12], ",".join(commit["kinds"]), len(commit["source_paths"]), len(commit["test_paths"]),
         commit["lines_changed"], "".join(commit["task"].splitlines()[:1])[:70])
        for commit in document["commits"]
    ]))  # fmt: skip
    states = ", ".join(f"{number} {state}" for state, number in document["states"].items() if number)
    lines += ["", f"files: {states or 'none'}, {document['bytes'] / (1 << 20):.1f} MiB"]
    lines += [
        f"  {file['state']:<11} {file['sha256'] or '-':<64} {file['bytes'] or 0:>10}  {file['path']}"
        for file in document["files"]
        if show_files or file["state"] != "ok"
    ]
    if document["matches"]:
        lines.append(
            f"the files are those that the manifest lists; next: appliance ingest import {document['directory']}"
        )
    else:
        lines.append("NOT AS LISTED; next: copy the package to the medium again, or prepare it anew")
    return "\n".join(lines)

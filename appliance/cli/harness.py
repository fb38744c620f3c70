"""`appliance harness`: make attempts, show one, grade all of them again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from appliance.cli.output import Progress, dry_run_option, emit, json_option, table

EXIT_WITH_WARNINGS = 3
EXIT_NOTHING_USABLE = 21
SHOWN_CHARS = 1_500
SEEDS = click.IntRange(-(2**31), 2**31 - 1)


@click.group()
def group() -> None:
    """Attempt commits, show and regrade the evidence."""


@group.command("run")
@click.option("--package", required=True, help="Name or id of an integrated package.")
@click.option("--answerer", required=True, help="Who answers: gold, lexical or replay.")
@click.option("--route", "routes", multiple=True, metavar="STAGE=ANSWERER", help="Somebody else for one stage.")
@click.option(
    "--replay", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Recorded answers (JSON lines)."
)
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Append the calls as a replay file.",
)
@click.option("--commits", type=click.IntRange(1), help="At most this many validated commits.")
@click.option("--only", multiple=True, metavar="SHA", help="Only commits whose id starts with this.")
@click.option("--attempts", type=click.IntRange(1), default=1, show_default=True, help="Attempts per commit.")
@click.option("--temperature", type=click.FloatRange(0, 10), default=0.0, show_default=True)
@click.option("--seed", type=SEEDS, default=0, show_default=True, help="Seed of the first attempt; others count up.")
@click.option("--workers", type=click.IntRange(1), help="Attempts at the same time (default: appliance.toml).")
@click.option("--no-cache", is_flag=True, help="Run the tests even if this very tree was run before.")
@dry_run_option
@json_option
def run(  # noqa: PLR0917 - click passes options by name
    package: str, answerer: str, routes: tuple[str, ...], replay: Path | None, record: Path | None,
    commits: int | None, only: tuple[str, ...], attempts: int, temperature: float, seed: int, workers: int | None,
    no_cache: bool, dry_run: bool, as_json: bool,
) -> int:  # fmt: skip
    """Attempt the validated commits of a package and keep the evidence.

    Attempts that are stored already are not made again: after an interruption run the same command.

    \b
    Example:
      appliance harness run --package structlog --answerer lexical --commits 20
    """  # noqa: D301 - \b is click's mark for text that must not be wrapped
    from appliance.home import find_home  # noqa: PLC0415 - commands import what they use when they run
    from appliance.pool import worker_pool  # noqa: PLC0415
    from appliance.reserve import Reserve  # noqa: PLC0415
    from appliance.runs import RunOptions, RunSummary, only_run, plan_jobs, run_attempts, settle  # noqa: PLC0415
    from appliance.store.curated import CuratedStore  # noqa: PLC0415
    from appliance.store.raw import RawStore  # noqa: PLC0415
    from harness.answerers.routes import make_routes  # noqa: PLC0415

    home = find_home()
    if not math.isfinite(temperature):
        raise click.BadParameter("must be a number from 0 to 10", param_hint="--temperature")
    if record is not None and not record.parent.is_dir():
        raise click.BadParameter(f"{record.parent} is not a directory", param_hint="--record")
    answerers = make_routes(answerer, _overrides(routes), replay.absolute() if replay else None)
    number = workers or home.config.workers
    options = RunOptions(package, answerers, commits, attempts, number, seed, temperature, not no_cache, only)
    curated, raw = CuratedStore(home.curated_db), RawStore(home.raw_db)
    jobs = plan_jobs(home, curated, options)
    if only and not jobs:
        raise click.BadParameter("no validated commit starts with " + " or ".join(only), param_hint="--only")
    if dry_run:
        return _say_plan(len(jobs), sum(settle(raw, job)[1] is not None for job in jobs), as_json=as_json)
    summary = RunSummary(curated.resolve(package), answerers.names())
    progress = Progress()
    ids = []
    with only_run(home), worker_pool(number) as pool:
        for made, attempt_id in run_attempts(jobs, raw, pool, number, room=Reserve.of(home, progress)):
            ids.append(attempt_id)
            row = _attempt_row(raw, attempt_id)
            summary.add(row["commit"], row["verdict"], made)
            if as_json:
                emit(row)
            else:
                progress.done()
                click.echo(_attempt_line(row, known=made is None))
            progress(f"{len(ids)} of {len(jobs)} attempts")
    progress.done()
    if record is not None:
        _append_rows(record, raw.replay_rows(ids))
    if as_json:
        emit({"summary": summary.as_dict()})
    else:
        click.echo(describe_run(summary.as_dict()))
    if summary.verdicts["ENV_BROKEN"]:
        return EXIT_WITH_WARNINGS
    return 0 if ids else EXIT_NOTHING_USABLE


@group.command("show")
@click.argument("attempt_id", type=click.IntRange(1, (1 << 63) - 1))
@click.option("--full", is_flag=True, help="Whole prompts, answers and test lists.")
@json_option
def show(attempt_id: int, full: bool, as_json: bool) -> int:
    """Show one attempt: decisions, prompts, answers, edits, tests, verdict.

    \b
    Example:
      appliance harness show 12
    """  # noqa: D301
    from appliance.cli.story import tell  # noqa: PLC0415
    from appliance.errors import NotFound  # noqa: PLC0415
    from appliance.home import find_home  # noqa: PLC0415
    from appliance.store.raw import RawStore  # noqa: PLC0415

    attempt = RawStore(find_home().raw_db).attempt(attempt_id)
    if attempt is None:
        raise NotFound(f"there is no attempt {attempt_id}")
    if as_json:
        emit({"attempt": attempt})
    else:
        click.echo(tell(attempt, limit=None if full else SHOWN_CHARS))
    return 0


@group.command("regrade")
@json_option
def regrade(as_json: bool) -> int:
    """Grade every stored attempt again from its stored results; nothing is run.

    \b
    Example:
      appliance harness regrade
    """  # noqa: D301
    from appliance.errors import EvidenceMismatch  # noqa: PLC0415
    from appliance.home import find_home  # noqa: PLC0415
    from appliance.runs import regrade as run_regrade  # noqa: PLC0415
    from appliance.store.raw import RawStore  # noqa: PLC0415

    result = run_regrade(RawStore(find_home().raw_db), lambda line: click.echo(line, err=True))
    if as_json:
        emit({"checked": result.checked, "skipped": result.skipped, "mismatches": [list(m) for m in result.mismatches]})
    else:
        click.echo(
            f"{result.checked} attempts graded again, {len(result.mismatches)} differ from what is stored; "
            f"{result.skipped} ended before any test ran."
        )
    if result.mismatches:
        raise EvidenceMismatch(
            f"{len(result.mismatches)} of {result.checked} attempts do not give their stored verdict"
        )
    return 0


def _append_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("a", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n")


def _say_plan(attempts: int, stored: int, *, as_json: bool) -> int:
    if as_json:
        emit({"attempts": attempts, "already_stored": stored, "to_make": attempts - stored})
    else:
        click.echo(f"{attempts} attempts, {stored} of them stored already: {attempts - stored} would be made.")
    return 0


def describe_run(summary: dict[str, Any]) -> str:
    """Return what a run came to, for a person."""
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in summary["verdicts"].items()) or "no attempts"
    lines = [f"{summary['attempts']} attempts at {summary['package']}: {verdicts}"]
    passing = ", ".join(f"pass@{k} {share:.2f}" for k, share in summary["pass_at"].items() if share is not None)
    if passing:
        lines.append(f"  {summary['commits']} commits, {passing}")
    if summary["already_stored"]:
        lines.append(f"  {summary['already_stored']} were stored already and were not made again")
    if summary["results_from_cache"]:
        lines.append(
            f"  {summary['results_from_cache']} took stored test results of the very same tree (--no-cache runs them)"
        )
    if summary["verdicts"].get("ENV_BROKEN"):
        lines.append("  ENV_BROKEN attempts are made again by the next run; `harness show ID` says what broke")
    if summary["median_seconds"]:
        lines.append(table(("phase", "median s"), sorted(summary["median_seconds"].items())))
    lines.append("  next: appliance harness show ID, or appliance status")
    return "\n".join(lines)


def _overrides(routes: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for route in routes:
        stage, equals, answerer = route.partition("=")
        if not equals:
            raise click.BadParameter(f"{route!r} is not STAGE=ANSWERER", param_hint="--route")
        pairs[stage] = answerer
    return pairs


def _attempt_row(raw: Any, attempt_id: int) -> dict[str, Any]:  # noqa: ANN401 - RawStore is imported late
    stored = raw.headline(attempt_id)
    return {
        "id": attempt_id, "commit": stored["commit_sha"], "attempt": stored["attempt"], "verdict": stored["verdict"],
        "reason": stored["reason"], "seconds": json.loads(stored["seconds"]),
        "alignment": json.loads(stored["alignment"]),
    }  # fmt: skip


def _attempt_line(row: dict[str, Any], *, known: bool) -> str:
    note = " (stored)" if known else f" {row['seconds'].get('total', 0):.2f} s"
    return f"{row['id']:>6}  {row['commit'][:12]}  {row['verdict']:<16}{note}  {row['reason'][:80]}"

"""`appliance demo`: the main job on the sample packages, told as a story."""

from __future__ import annotations

from pathlib import Path

import click

EXIT_NOTHING_USABLE = 21


@click.command("demo")
@click.option("--home", type=click.Path(path_type=Path), default=Path("demo"), show_default=True,
              help="Directory for the demo's own appliance; made anew each time.")  # fmt: skip
@click.option("--samples", type=click.Path(path_type=Path, file_okay=False), default=Path("repo_packages/samples"),
              show_default=True, help="Where the sample patch series are.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True)
def command(home: Path, samples: Path, workers: int) -> int:
    """Prepare, import and attempt the sample packages. Preparing needs the network.

    \b
    Example:
      appliance demo --home /tmp/demo
    """  # noqa: D301 - \b is click's mark for text that must not be wrapped
    from appliance.cli.output import Progress  # noqa: PLC0415 - commands import what they use when they run
    from appliance.demo import Demo  # noqa: PLC0415

    progress = Progress()
    fine = Demo(home.absolute(), samples, workers, tell=click.echo, progress=progress).run()
    progress.done()
    return 0 if fine else EXIT_NOTHING_USABLE

"""Power cuts: an ext4 image is copied while its writer stands still, and what a journal replay gives is looked at.

    python tests/bench/power_cut.py [--cuts 5] [--seed N]        (as root: loop devices)

The writer and all its processes are stopped, so that nothing is written while the image is copied. What was only in
the page cache is not in the copy: that is the cut. Looked at is whether all that the command had said is still there
(acknowledged and lost has to be 0), whether nothing is torn, and whether the same command ends as it would have.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from harness.envs.template import TemplateStore, Wheels  # noqa: E402
from tests.appliance.conftest import MAIN, environ, make_home, query  # noqa: E402
from tests.kills import attempts, check, finish, packages, processes, state, wait_until_gone  # noqa: E402
from tests.packages import PACKAGE_ID, build_package, only_commits  # noqa: E402

IMAGE_MIB = 96
ATTEMPTS = 10
NO_WRITEBACK = "loop,commit=300"
"""The journal is not committed by itself, so that only what the program made durable is in the copy."""
RUN = ("harness", "run", "--package", "abacus", "--answerer", "gold", "--attempts", str(ATTEMPTS), "--workers", "2",
       "--no-cache", "--json")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    options = parser.parse_args()
    moments = random.Random(options.seed)
    print(
        f"seed {options.seed}\n\n| command | cut after s | said before the cut | there after it | lost | the same end |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="power-cut-") as name:
        scratch = Path(name)
        package, environments = good_package(scratch), scratch / "environments"
        environments.mkdir()
        TemplateStore(environments)
        arguments = ("ingest", "import", str(only_commits(Path(shutil.copytree(package, scratch / "one" / PACKAGE_ID)), 1)),
                     "--json")  # fmt: skip
        warm = make_home(scratch / "warm", environments)
        finish(warm, arguments)
        begun = time.monotonic()
        finish(make_home(scratch / "timed", environments), arguments)
        whole_s = time.monotonic() - begun
        for number in range(options.cuts + 1):  # the last cut comes right after the end
            cut_s = moments.uniform(0.3, 1.0) * whole_s if number < options.cuts else 60.0
            import_cut(scratch, environments, arguments, cut_s, wanted=state(warm))
        for _ in range(options.cuts):
            run_cut(scratch, environments, package, moments.uniform(2.0, 6.0))


def import_cut(scratch: Path, environments: Path, arguments: tuple[str, ...], cut_s: float, *, wanted: object) -> None:
    with mounted(new_image(scratch / "disk.img"), scratch / "disk") as disk:
        home = small_home(disk / "home", environments)
        os.sync()
        said, after_s = cut(home, arguments, cut_s, scratch / "disk.img", scratch / "cut.img")
    was_acknowledged = '"state": "integrated"' in said
    with mounted(scratch / "cut.img", scratch / "disk") as disk:
        home = disk / "home"
        check(home)
        found = packages(home)
        assert found == [PACKAGE_ID] or not was_acknowledged, "an import that was acknowledged is gone"
        done = finish(home, arguments)
        assert done.code in {0, 11}, done.err
        same = state(home) == wanted
        assert same, state(home)
    print(f"| import | {after_s:.2f} | {int(was_acknowledged)} | {len(found)} | 0 | yes |", flush=True)


def run_cut(scratch: Path, environments: Path, package: Path, cut_s: float) -> None:
    with mounted(new_image(scratch / "disk.img"), scratch / "disk") as disk:
        home = small_home(disk / "home", environments)
        finish(home, ("ingest", "import", str(package), "--json"))
        os.sync()
        said, after_s = cut(home, RUN, cut_s, scratch / "disk.img", scratch / "cut.img")
    acknowledged = {json.loads(line)["id"] for line in said.splitlines() if line.startswith("{") and '"id"' in line}
    with mounted(scratch / "cut.img", scratch / "disk") as disk:
        home = disk / "home"
        check(home)
        stored = (
            {row[0] for row in query(home / "var" / "raw.db", "SELECT id FROM attempts")} if attempts(home) else set()
        )
        lost = acknowledged - stored
        assert not lost, f"attempts that were acknowledged are gone: {lost}"
        summary = finish(home, RUN).lines[-1]["summary"]
        assert (summary["already_stored"], summary["attempts"]) == (len(stored), attempts(home))
        check(home)
    print(f"| run | {after_s:.2f} | {len(acknowledged)} | {len(stored)} | {len(lost)} | yes |", flush=True)


def small_home(root: Path, environments: Path) -> Path:
    home = make_home(root, environments)
    with (home / "appliance.toml").open("a") as stream:
        stream.write("[disk]\nreserve_gib = 0.005\n")
    return home


def cut(home: Path, arguments: tuple[str, ...], cut_s: float, image: Path, copy: Path) -> tuple[str, float]:
    """Run a command, stop it with all its processes, copy the image, end it; return what it had said, and when."""
    said, started = image.with_name("said.txt"), time.monotonic()
    with said.open("wb") as stream:
        process = subprocess.Popen(
            [*MAIN, *arguments], cwd=home, env=environ(APPLIANCE_HOME=str(home)), stdin=subprocess.DEVNULL,
            stdout=stream, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(cut_s)
        pids = [int(line.split()[0]) for line in processes(home)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        after_s = time.monotonic() - started
        words = said.read_text()
        shutil.copyfile(image, copy)
        for pid in [process.pid, *pids]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
    wait_until_gone(home)
    return words, after_s


def new_image(image: Path) -> Path:
    with image.open("wb") as stream:
        stream.truncate(IMAGE_MIB << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    return image


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", NO_WRITEBACK, str(image), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def good_package(scratch: Path) -> Path:
    folder = ROOT / ".cache" / "test-wheels"
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.glob("*.whl"))}
    python = "{}.{}".format(*sys.version_info[:2])
    return build_package(scratch / "good" / PACKAGE_ID, Wheels(folder, digests), python, scratch)


if __name__ == "__main__":
    main()

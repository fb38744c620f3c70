"""What identifies a test run, and how a declared command is taken apart."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.envs.template import Template
from harness.testrun import UnknownTestCommand, parse_test_command
from tests.harness.test_testrun import request_for


def test_the_key_changes_with_every_input_but_the_time_limit(template: Template) -> None:
    """Whatever decides a result is in its address; how long one may wait for it is not."""
    base = request_for(template, {"test_it.py": "def test(): pass\n"}, "test_it.py")
    layer = base.layer
    others = [
        replace(base, tree=base.tree.replace({"test_it.py": b"def test(): pass \n"})),
        replace(base, template=replace(template, key="other")),
        replace(base, layer=replace(layer, roots=("other",))),
        replace(base, command=parse_test_command(["pytest", "--strict-markers"])),
        replace(base, command=parse_test_command(["pytest", "tests"])),
        replace(base, command=parse_test_command(["python", "-m", "pytest"])),
        replace(base, files=()),
        replace(base, env={"A": "1"}),
        replace(base, limits=replace(base.limits, scratch_bytes=1 << 20)),
        replace(base, shuffle=1),
        replace(base, shuffle=2),
    ]
    assert len({base.key, *(other.key for other in others)}) == len(others) + 1
    assert base.within(1.0).key == base.key
    assert base.within(1.0).limits.wall_s == 1.0


@pytest.mark.parametrize(
    ("command", "options", "paths", "module"),
    [
        ("pytest", (), (), False),
        ("pytest tests -q", ("-q",), ("tests",), False),
        ("python -m pytest -k name tests", ("-k", "name"), ("tests",), True),
        ("python3.11 -m pytest", (), (), True),
        ("/usr/bin/python3 -m pytest --ignore x tests", ("--ignore", "x"), ("tests",), True),
        ("py.test --ignore=x", ("--ignore=x",), (), False),
        ("pytest -k", ("-k",), (), False),
    ],
)
def test_commands_are_taken_apart(command: str, options: tuple[str, ...], paths: tuple[str, ...], module: bool) -> None:
    """Options keep their values, the rest are paths."""
    parsed = parse_test_command(command.split())
    assert (parsed.options, parsed.paths, parsed.module) == (options, paths, module)


@pytest.mark.parametrize(
    "argv", [[], ["tox"], ["python", "setup.py", "test"], ["python", "-m", "unittest"], ["sh", "-c", "pytest"]]
)
def test_other_commands_are_refused(argv: list[str]) -> None:
    """What is not pytest has no plugin of ours in it, so it is not run at all."""
    with pytest.raises(UnknownTestCommand, match="expected pytest") as failed:
        parse_test_command(argv)
    assert json.dumps(argv) != failed.value.hint

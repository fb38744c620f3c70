"""Test runs in earnest: pytest in the sandbox, and what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness.envs.layer import Layer, LayerStore, static_roots
from harness.envs.template import Template
from harness.results import RunResult
from harness.sandbox.limits import Limits
from harness.testrun import TestRequest, UnknownTestCommand, parse_test_command, run_tests
from tests.trees import tree_of

Run = Callable[..., RunResult]


def request_for(template: Template, files: Mapping[str, str], *names: str, command: str = "pytest") -> TestRequest:
    """Return a request for a tree without packaging files."""
    tree = tree_of(files)
    layer = Layer({}, {}, static_roots(tree), "static: given by the test")
    return TestRequest(tree, template, layer, parse_test_command(command.split()), names, limits=Limits(wall_s=30))


@pytest.fixture
def run_it(template: Template) -> Run:
    """Return a function that runs the tests of a tree; a string is the only test module."""

    def run_it(files: str | Mapping[str, str], *names: str, command: str = "pytest", **more: object) -> RunResult:
        tree = {"test_it.py": files} if isinstance(files, str) else files
        return run_tests(replace(request_for(template, tree, *names, command=command), **more))  # type: ignore[arg-type]

    return run_it


def outcomes(run: RunResult) -> dict[str, str]:
    """Return the outcomes by the part of the id behind the module."""
    return {node.partition("::")[2]: str(test.outcome) for node, test in run.tests.items()}


def test_every_outcome(run_it: Run) -> None:
    """Each way in which a test can end is told apart."""
    run = run_it(
        "import pytest\n"
        "@pytest.fixture\ndef bad_setup(): raise ValueError('early')\n"
        "@pytest.fixture\ndef bad_teardown():\n    yield\n    raise ValueError('late')\n"
        "def test_pass(): pass\n"
        "def test_fail(): assert 1 == 2\n"
        "def test_setup(bad_setup): pass\n"
        "def test_teardown(bad_teardown): pass\n"
        "@pytest.mark.skip\ndef test_skip(): pass\n"
        "def test_skip_inside(): pytest.skip('why')\n"
        "@pytest.mark.xfail\ndef test_xfail(): assert 0\n"
        "@pytest.mark.xfail(run=False)\ndef test_xfail_norun(): pass\n"
        "@pytest.mark.xfail(strict=False)\ndef test_xpass(): pass\n"
        "@pytest.mark.xfail(strict=True)\ndef test_xpass_strict(): pass\n"
    )
    assert run.completed
    assert run.pytest_exit == 1
    assert outcomes(run) == {
        "test_pass": "passed", "test_fail": "failed", "test_setup": "error", "test_teardown": "error",
        "test_skip": "skipped", "test_skip_inside": "skipped", "test_xfail": "xfailed", "test_xfail_norun": "xfailed",
        "test_xpass": "xpassed", "test_xpass_strict": "failed",
    }  # fmt: skip
    assert "assert 1 == 2" in run.tests["test_it.py::test_fail"].message
    assert run.passed == {"test_it.py::test_pass"}


def test_a_failing_subtest_fails_its_test(run_it: Run) -> None:
    """What goes wrong inside `subTest` is not lost behind the phase of the whole test."""
    run = run_it(
        "import unittest\nclass TestIt(unittest.TestCase):\n"
        "    def test_one(self):\n        with self.subTest(1): self.fail()\n        with self.subTest(2): pass\n"
        "    def test_good(self):\n        with self.subTest(1): pass\n"
    )
    assert outcomes(run) == {"TestIt::test_one": "failed", "TestIt::test_good": "passed"}


ODD_IDS = ["a b", "[x]", "two\nlines", 'qu"ote', "é ✓ 漢", "x PASSED [100%]", "::", "a/b\\c", "tab\t", "{}", "0" * 300]


@pytest.mark.parametrize("escaped", [False, True])
def test_odd_ids_come_back_exactly(run_it: Run, escaped: bool) -> None:
    """Spaces, brackets, newlines, quotes, Unicode and the word PASSED in parameters are just text."""
    ini = "" if escaped else "disable_test_id_escaping_and_forfeit_all_rights_to_community_support = true\n"
    code = (
        f"import pytest\n@pytest.mark.parametrize('v', [pytest.param(n, id=n) for n in {ODD_IDS!r}])\n"
        "def test(v): assert 'PASSED' not in v\n"
    )
    run = run_it({"pytest.ini": f"[pytest]\n{ini}", "test_it.py": code})
    shown = [name.encode("unicode_escape").decode() if escaped else name for name in ODD_IDS]
    assert outcomes(run) == {f"test[{name}]": "failed" if "PASSED" in name else "passed" for name in shown}


def test_an_uncollectable_module_does_not_stop_the_others(run_it: Run) -> None:
    """Import errors and syntax errors are listed by module, and the rest is run."""
    run = run_it(
        {
            "tests/test_a.py": "import not_there\n",
            "tests/test_b.py": "def broken(:\n",
            "tests/test_c.py": "def test_c(): pass\n",
        }
    )
    assert run.completed
    assert set(run.uncollectable) == {"tests/test_a.py", "tests/test_b.py"}
    assert "not_there" in run.uncollectable["tests/test_a.py"]
    assert run.passed == {"tests/test_c.py::test_c"}


def test_only_the_files_asked_for_are_run(run_it: Run) -> None:
    """Named files replace the declared paths."""
    files = {"tests/test_a.py": "def test(): pass\n", "tests/test_b.py": "def test(): pass\n"}
    assert run_it(files, "tests/test_b.py", command="pytest tests").passed == {"tests/test_b.py::test"}
    assert len(run_it(files, command="pytest tests").passed) == 2


@pytest.mark.parametrize("end", ["os._exit(0)", "os._exit(1)", "os.kill(os.getpid(), 9)", "ctypes.string_at(0)"])
def test_a_process_that_ends_in_a_test_did_not_complete(run_it: Run, end: str) -> None:
    """Whatever the exit status, what passed before is known, the test is unfinished, the run incomplete."""
    run = run_it(f"import ctypes, os\ndef test_a(): pass\ndef test_b(): {end}\ndef test_c(): pass\n")
    assert not run.completed
    assert not run.timed_out
    assert outcomes(run) == {"test_a": "passed", "test_b": "unfinished"}
    assert (run.returncode < 0) is ("_exit" not in end)


def test_sys_exit_in_a_test_is_a_failure_of_that_test(run_it: Run) -> None:
    """SystemExit does not get past pytest."""
    run = run_it("import sys\ndef test_a(): sys.exit(0)\ndef test_b(): pass\n")
    assert run.completed
    assert outcomes(run) == {"test_a": "failed", "test_b": "passed"}


def test_a_hang_is_a_timeout_with_the_results_so_far(run_it: Run) -> None:
    """The limit ends the run in time; what was finished before is kept, and the hanging test is named."""
    run = run_it("import time\ndef test_a(): pass\ndef test_b(): time.sleep(60)\n", limits=Limits(wall_s=2.5))
    assert run.timed_out
    assert not run.completed
    assert 2.5 <= run.seconds < 4.5
    assert outcomes(run) == {"test_a": "passed", "test_b": "unfinished"}


def test_an_end_record_of_the_test_itself_makes_the_run_incomplete(run_it: Run) -> None:
    """Forging the completion record beside the real one gives nothing but an incomplete run."""
    run = run_it(
        "import os, stat\ndef test_forge():\n    for fd in range(3, 1024):\n        try:\n"
        '            if stat.S_ISFIFO(os.fstat(fd).st_mode): os.write(fd, b\'{"t": "end", "exit": 0}\\n\')\n'
        "        except OSError: pass\n"
    )
    assert not run.completed


def test_children_do_not_inherit_the_result_pipe(run_it: Run) -> None:
    """A subprocess of a test has neither the descriptor nor its number."""
    run = run_it(
        "import subprocess, sys\ndef test():\n"
        "    code = \"import os; print([os.readlink('/proc/self/fd/%s' % f) for f in os.listdir('/proc/self/fd')[:-1]], os.environ.get('HARNESS_RECORD_FD'))\"\n"
        "    seen = subprocess.run([sys.executable, '-c', code], stdin=-3, stdout=-1, stderr=-3, text=True, close_fds=False).stdout\n"
        "    assert seen.count('pipe:') == 1 and seen.strip().endswith('None')\n"
    )
    assert run.passed == {"test_it.py::test"}


def test_three_thousand_tests(run_it: Run) -> None:
    """Every one of them comes back."""
    run = run_it("import pytest\n@pytest.mark.parametrize('n', range(3000))\ndef test(n): assert n != 7\n")
    assert len(run.tests) == 3000
    assert len(run.passed) == 2999


def test_a_flood_on_stdout_changes_nothing(run_it: Run) -> None:
    """Ten million characters past pytest's capture are dropped, and the results are whole."""
    run = run_it("import os\ndef test_a():\n    for _ in range(1000): os.write(1, b'x' * 10_000)\ndef test_b(): pass\n",
                 command="pytest -s")  # fmt: skip
    assert len(run.passed) == 2
    assert len(run.output) <= Limits().output_bytes


def test_tests_may_write_into_their_tree_and_home(run_it: Run) -> None:
    """The copy in the sandbox is writable, and the next run starts afresh."""
    code = (
        "import pathlib, tempfile\ndef test(tmp_path):\n    target = pathlib.Path('data/out.txt')\n"
        "    assert not target.exists()\n    target.parent.mkdir()\n    target.write_text('x')\n"
        "    (pathlib.Path.home() / 'h').write_text('x')\n    (tmp_path / 't').write_text('x')\n"
        "    tempfile.NamedTemporaryFile().close()\n"
    )
    for _ in range(2):
        assert run_it(code).passed == {"test_it.py::test"}


def test_modes_and_links_of_the_tree_are_there(template: Template) -> None:
    """The tree arrives with its executable bits and symbolic links."""
    test = (
        "import os, subprocess\ndef test():\n    assert subprocess.check_output(['./run.sh']) == b'hi\\n'\n"
        "    assert os.readlink('link') == 'run.sh'\n"
    )
    request = request_for(template, {"run.sh": "#!/bin/sh\necho hi\n", "link": "run.sh", "test_it.py": test})
    entries = dict(request.tree.entries)
    entries["run.sh"] = replace(entries["run.sh"], mode="100755")
    entries["link"] = replace(entries["link"], mode="120000")
    assert run_tests(replace(request, tree=replace(request.tree, entries=entries))).passed == {"test_it.py::test"}


def test_shuffling_changes_the_order_and_can_be_repeated(run_it: Run) -> None:
    """The same seed gives the same order, which differs from the plain one."""
    code = "import pytest\n@pytest.mark.parametrize('n', range(30))\ndef test(n): pass\n"
    plain, one, again = (list(outcomes(run_it(code, shuffle=seed))) for seed in (None, 5, 5))
    assert plain == [f"test[{n}]" for n in range(30)]
    assert one == again != plain
    assert set(one) == set(plain)


def test_hash_seed_is_fixed_and_another_one_when_shuffled(run_it: Run) -> None:
    """Set order is the same in every plain run."""
    code = "def test(): assert hash('x') == 0\n"
    first, second, other = (run_it(code, shuffle=seed).tests["test_it.py::test"].message for seed in (None, None, 1))
    assert first == second != other


def test_the_module_form_puts_the_tree_on_the_path(template: Template) -> None:
    """`python -m pytest` imports from the working directory; `pytest` alone does not."""
    files = {"lib/helper.py": "X = 1\n", "pytest.ini": "[pytest]\naddopts = --import-mode=importlib\n",
             "tests/test_it.py": "def test():\n    import lib.helper\n"}  # fmt: skip
    nowhere = Layer({}, {}, (), "static")
    for command, passed in (("python -m pytest", 1), ("pytest", 0)):
        request = replace(request_for(template, files, command=command), layer=nowhere)
        assert len(run_tests(request).passed) == passed


def test_variables_of_the_environment_are_set_and_others_are_not(run_it: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The declared variables arrive; those of the harness do not."""
    monkeypatch.setenv("SECRET_TOKEN", "x")
    code = "import os\ndef test(): assert os.environ['GIVEN'] == 'yes' and 'SECRET_TOKEN' not in os.environ\n"
    assert run_it(code, env={"GIVEN": "yes"}).passed == {"test_it.py::test"}


def test_standard_input_is_empty(run_it: Run) -> None:
    """The tar stream is not what tests read from stdin."""
    assert run_it("import sys\ndef test(): assert sys.stdin.read() == ''\n", command="pytest -s").passed


def test_a_conftest_that_fails_is_an_end_without_tests(run_it: Run) -> None:
    """The run says so itself: complete, a usage error, nothing passed, the reason in the output."""
    run = run_it({"conftest.py": "raise RuntimeError('bad conftest')\n", "test_it.py": "def test(): pass\n"})
    assert run.completed
    assert run.passed == frozenset()
    assert "bad conftest" in run.output


def test_plugins_of_the_project_are_loaded_by_name(template: Template, tmp_path: Path) -> None:
    """Autoload is off, so that only named plugins run; those of the project's entry points are."""
    files = {
        "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n[project]\n'
        'name = "plug"\nversion = "1"\n[project.entry-points.pytest11]\nplug = "plug"\n[tool.setuptools]\npy-modules = ["plug"]\n',
        "plug.py": "import pytest\n@pytest.fixture\ndef plugged(): return 1\n",
        "tests/test_it.py": "import os\ndef test(plugged): assert os.environ['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] == '1'\n",
    }
    request = request_for(template, files)
    layer = LayerStore(tmp_path).get(template, request.tree, {})
    assert run_tests(replace(request, layer=layer)).passed == {"tests/test_it.py::test"}


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

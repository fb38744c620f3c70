"""Test runs in earnest: pytest in the sandbox, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness.envs.layer import Layer, LayerStore, static_roots
from harness.envs.template import Template
from harness.results import RunResult
from harness.sandbox.limits import Limits
from harness.testrun import TestRequest, parse_test_command, run_tests
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


def test_a_record_of_the_test_itself_is_tampering(run_it: Run) -> None:
    """Writing a completion record to every pipe gives nothing but a run that says it was interfered with."""
    run = run_it(
        "import os, stat\ndef test_forge():\n    for fd in range(3, 1024):\n        try:\n"
        '            if stat.S_ISFIFO(os.fstat(fd).st_mode): os.write(fd, b\'{"t": "end", "exit": 0}\\n\')\n'
        "        except OSError: pass\n"
    )
    assert not run.completed
    assert run.tampering.startswith("somebody else wrote to the record pipe")


CANARY_PROJECTS = {
    "plain": {"tests/test_a.py": "def test(): pass\n"},
    "top folder": {"test_a.py": "def test(): pass\n"},
    "package": {"tests/__init__.py": "", "tests/deep/__init__.py": "", "tests/deep/test_a.py": "def test(): pass\n"},
    "other names": {
        "pytest.ini": "[pytest]\npython_files = check_*.py\npython_functions = it_*\npython_classes = Spec\n",
        "checks/check_a.py": "def it_works(): pass\n",
    },
    "suffix": {"pytest.ini": "[pytest]\npython_files = *_test.py\npython_functions = *_holds\n",
               "tests/a_test.py": "def this_holds(): pass\n"},
    "one name": {"pytest.ini": "[pytest]\npython_files = tests.py\n", "app/tests.py": "def test(): pass\n"},
    "importlib": {"pytest.ini": "[pytest]\naddopts = --import-mode=importlib\n", "tests/test_a.py": "def test(): pass\n"},
    "strict": {"pytest.ini": "[pytest]\naddopts = --strict-markers --strict-config -W error -x --tb=no\nxfail_strict = true\n",
               "tests/test_a.py": "def test(): pass\n"},
    "chosen": {"pytest.ini": "[pytest]\naddopts = -k only -m 'not slow'\nmarkers =\n    slow\n",
               "tests/test_a.py": "def test_only(): pass\n"},
    "plain assertions": {"pytest.ini": "[pytest]\naddopts = --assert=plain\n", "tests/test_a.py": "def test(): pass\n"},
    "doctests": {"pytest.ini": "[pytest]\naddopts = --doctest-modules\n", "tests/test_a.py": "def test(): pass\n"},
    "unittest": {"tests/test_a.py": "import unittest\nclass TestA(unittest.TestCase):\n    def test(self): pass\n"},
    "root elsewhere": {"sub/pytest.ini": "[pytest]\n", "sub/tests/test_a.py": "def test(): pass\n"},
    "reordered": {
        "conftest.py": "import pytest\n@pytest.hookimpl(trylast=True)\ndef pytest_collection_modifyitems(items):\n"
        "    items.reverse()\n    del items[1:]\n",
        "tests/test_a.py": "def test(): pass\n",
    },
    "parametrized": {
        "conftest.py": "import pytest\n@pytest.fixture(autouse=True, params=['a', 'b'])\ndef each(request): return request.param\n",
        "tests/test_a.py": "def test(): pass\n",
    },
}  # fmt: skip


@pytest.mark.parametrize("project", CANARY_PROJECTS)
def test_canaries_behave_in_every_kind_of_project(run_it: Run, project: str) -> None:
    """Whatever names, options, folders and plugins of a project there are, ours are run beside its tests."""
    files = CANARY_PROJECTS[project]
    (name,) = [path for path in files if "def " in files[path] and "conftest" not in path]
    for names, shuffle in (((name,), 3), ((), None)):
        command = "pytest sub" if project == "root elsewhere" else "pytest"
        run = run_it(files, *names, shuffle=shuffle, command=command)
        if project == "reordered":
            assert len(run.tests) <= 1
        else:
            assert run.passed, run.output
            assert not [node for node, test in run.tests.items() if test.outcome != "passed"]
            assert len(run.canaries) == (8 if project == "parametrized" else 4)
        assert run.completed, run.tampering
        assert [canary for canary in run.canaries if canary.outcome != canary.expected] == []


def test_a_declared_suite_is_collected_as_it_was_declared(run_it: Run) -> None:
    """No canary is named beside a folder that holds it: some versions of pytest then forget the rest of the folder."""
    code = "def test(request): assert not [arg for arg in request.config.args if arg.endswith('.py')]\n"
    run = run_it({"tests/test_a.py": code, "tests/deep/test_b.py": code})
    assert (len(run.passed), len(run.canaries), run.completed) == (2, 8, True)


def test_canaries_open_and_close_the_run(run_it: Run) -> None:
    """Ours are first and last, whatever order the project or we ourselves give to the tests."""
    code = "import sys\nseen = []\n" + "".join(f"def test_{n}(request): assert order(request) == 0\n" for n in range(3)) + (
        "def order(request):\n    items = request.session.items\n"
        "    return sum(item.path.name != 'test_it.py' for item in items[2:-2]) + sum(item.path.name == 'test_it.py' for item in items[:2] + items[-2:])\n"
    )  # fmt: skip
    for shuffle in (None, 1):
        run = run_it(code, "test_it.py", shuffle=shuffle)
        assert len(run.passed) == 3, run.tests


def test_a_fixture_that_breaks_every_test_but_the_known_ones_is_seen(run_it: Run) -> None:
    """Where canaries cannot behave the run says so, with the reason, instead of counting."""
    run = run_it(
        {
            "tests/conftest.py": "import pytest\n@pytest.fixture(autouse=True)\ndef picky(request):\n"
            "    assert request.node.name == 'test_known', 'unknown test'\n",
            "tests/test_a.py": "def test_known(): pass\n",
        },
        "tests/test_a.py",
    )
    assert run.passed == {"tests/test_a.py::test_known"}
    assert not run.completed
    assert "canary beside the tests in tests that must have" in run.tampering
    assert "unknown test" in run.tampering


def test_a_conftest_that_lets_every_test_pass_is_seen(run_it: Run) -> None:
    """A canary that must fail passes, which is the end of the run's credit."""
    run = run_it(
        {
            "tests/conftest.py": "import pytest\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport():\n"
            "    outcome = yield\n    outcome.get_result().outcome = 'passed'\n",
            "tests/test_a.py": "import unittest\nclass TestA(unittest.TestCase):\n    def test(self): self.fail()\n",
        },
        "tests/test_a.py",
    )
    assert not run.completed
    assert "must have failed is passed" in run.tampering


def test_a_fork_that_comes_back_from_a_test_reports_nothing(run_it: Run) -> None:
    """A child that goes on as pytest has no pipe, so its copy of the run is not heard."""
    run = run_it("import os\ndef test_a():\n    os.fork()\ndef test_b(): pass\n")
    assert run.completed, run.tampering
    assert len(run.passed) == 2


def test_the_key_of_the_run_is_nowhere_to_be_read(run_it: Run) -> None:
    """Files, variables, arguments and descriptors of every process in reach hold no request and no key."""
    run = run_it(
        "import os, pathlib\ndef test():\n    seen = [repr(os.environ)]\n"
        "    for process in filter(str.isdigit, os.listdir('/proc')):\n"
        "        for name in ('cmdline', 'environ'):\n"
        "            try: seen.append(open('/proc/%s/%s' % (process, name)).read())\n            except OSError: pass\n"
        "        try: names = os.listdir('/proc/%s/fd' % process)\n        except OSError: continue\n"
        "        for name in names:\n"
        "            try:\n                fd = os.open('/proc/%s/fd/%s' % (process, name), os.O_RDONLY | os.O_NONBLOCK)\n"
        "                seen.append(repr(os.read(fd, 1 << 20))) if 'pipe' not in os.readlink('/proc/self/fd/%s' % fd) else seen.append(repr(os.read(fd, 1 << 20)) if name == '0' else '')\n"
        "            except OSError: pass\n"
        "    seen += [path.read_text('latin-1') for path in pathlib.Path('/work').rglob('*') if path.is_file()]\n"
        "    word = '\"' + 'key' + '\"'\n"
        "    assert not [text for text in seen if word + ': ' in text or 'can' + 'aries' in text]\n"
    )
    assert run.passed == {"test_it.py::test"}, run.tests


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

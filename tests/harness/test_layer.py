"""The project layer: real build backends in the sandbox, and what becomes of a tree that has none."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.envs.interpreters import find_interpreter
from harness.envs.layer import Layer, LayerStore, _parse, shared_key, static_roots, without_test_text
from harness.envs.template import Template, TemplateStore, Wheels
from harness.errors import PythonMissing
from harness.manifest import Environment, Lock
from harness.results import RunResult
from harness.testrun import TestRequest, parse_test_command, run_tests
from tests.trees import tree_of

SETUPTOOLS = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
PROJECT = SETUPTOOLS + '[project]\nname = "demo-thing"\nversion = "4.5.6"\n'
SRC = {"src/demo/__init__.py": "", "src/demo/core.py": "def f():\n    return 1\n"}


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    """Return an empty store."""
    return LayerStore(tmp_path / "layers")


def layer_of(
    store: LayerStore, template: Template, files: Mapping[str, str], env: Mapping[str, str] | None = None
) -> Layer:
    """Return the layer of a tree."""
    return store.get(template, tree_of(files), env or {})


def run_with(template: Template, layer: Layer, files: Mapping[str, str], test: str) -> RunResult:
    """Run one test module in the tree under its layer."""
    tree = tree_of({**files, "tests/test_it.py": test})
    return run_tests(TestRequest(tree, template, layer, parse_test_command(["pytest"]), ("tests/test_it.py",)))


def own_backend(body: str, *, path: str = "backend", name: str = "backend") -> dict[str, str]:
    """Return a project whose build backend stands in its own tree."""
    system = f'[build-system]\nrequires = []\nbuild-backend = "{name}"\nbackend-path = ["{path}"]\n'
    return {
        "pyproject.toml": system + '[project]\nname = "own"\nversion = "1.0"\n',
        f"{path}/{name}.py": body,
        "own.py": "",
    }


def test_a_src_layout_is_importable_and_known_by_name(store: LayerStore, template: Template) -> None:
    """The dist-info and the roots of setuptools' editable build work inside the sandbox."""
    files = {"pyproject.toml": PROJECT, **SRC}
    layer = layer_of(store, template, files)
    assert layer.how == "editable"
    assert layer.roots == ("src",)
    test = (
        "import importlib.metadata as m, demo.core\n"
        "def test_version(): assert m.version('demo-thing') == '4.5.6'\n"
        "def test_code(): assert demo.core.f() == 1\n"
        "def test_place(): assert demo.core.__file__ == '/work/tree/src/demo/core.py'\n"
    )
    assert len(run_with(template, layer, files, test).passed) == 3


def test_a_flat_layout_is_importable(store: LayerStore, template: Template) -> None:
    """A package beside the packaging files is found, too."""
    files = {"pyproject.toml": PROJECT, "demo_thing/__init__.py": "", "demo_thing/core.py": "X = 1\n"}
    layer = layer_of(store, template, files)
    test = "from demo_thing.core import X\ndef test(): assert X == 1\n"
    assert run_with(template, layer, files, test).passed == {"tests/test_it.py::test"}


def test_a_setup_py_alone_is_built(store: LayerStore, template: Template) -> None:
    """A project from before pyproject.toml goes to setuptools' legacy backend."""
    files = {
        "setup.py": "from setuptools import setup\nsetup(name='oldie', version='2.0', py_modules=['oldie'])\n",
        "oldie.py": "",
    }
    layer = layer_of(store, template, files)
    assert layer.how == "editable"
    test = "import importlib.metadata as m\ndef test(): assert m.version('oldie') == '2.0'\n"
    assert run_with(template, layer, files, test).passed == {"tests/test_it.py::test"}


def test_entry_points_of_the_project_work(store: LayerStore, template: Template) -> None:
    """Groups are visible inside, and the project's own pytest plugin is loaded."""
    project = (
        PROJECT
        + '[project.entry-points.pytest11]\nmine = "demo.plug"\n[project.entry-points."my.group"]\na = "demo.core:f"\n'
    )
    plug = "import pytest\n@pytest.fixture\ndef from_plugin(): return 42\n"
    files = {"pyproject.toml": project, **SRC, "src/demo/plug.py": plug}
    layer = layer_of(store, template, files)
    assert layer.pytest_plugins == ("mine",)
    test = (
        "import importlib.metadata as m\n"
        "def test_group(): assert [e.load()() for e in m.entry_points(group='my.group')] == [1]\n"
        "def test_plugin(from_plugin): assert from_plugin == 42\n"
    )
    assert len(run_with(template, layer, files, test).passed) == 2


def test_files_that_only_a_build_makes_are_added(store: LayerStore, template: Template) -> None:
    """A version file written by the build hook is there for the tests, and never hides a file of the tree."""
    setup = (
        "import pathlib; from setuptools import setup\n"
        "pathlib.Path('src/demo/_version.py').write_text(\"V = '7'\\n\")\n"
        "setup(name='gen', version='7', package_dir={'': 'src'}, packages=['demo'])\n"
    )
    files = {"setup.py": setup, **SRC}
    layer = layer_of(store, template, files)
    assert layer.generated == {"src/demo/_version.py": b"V = '7'\n"}
    test = "from demo._version import V\ndef test(): assert V == '7'\n"
    assert run_with(template, layer, files, test).passed == {"tests/test_it.py::test"}
    assert layer.overlay(tree_of({"src/demo/_version.py": "own"})).text("src/demo/_version.py") == "own"


def test_variables_of_the_environment_reach_the_build(store: LayerStore, template: Template) -> None:
    """A version that comes from a variable is seen, and another value is another layer."""
    setup = (
        "import os; from setuptools import setup\nsetup(name='v', version=os.environ['PRETEND'], py_modules=['v'])\n"
    )
    files = {"setup.py": setup, "v.py": ""}
    one, two = (layer_of(store, template, files, {"PRETEND": version}) for version in ("1.0", "2.0"))
    assert one.key != two.key
    assert any(name.startswith("v-2.0.dist-info/") for name in two.files)


def test_without_packaging_files_the_layout_decides(store: LayerStore, template: Template) -> None:
    """A tree without packaging files is importable, and the layer says why it is no more than that."""
    layer = layer_of(store, template, SRC)
    assert layer.how == "static: the project has no packaging files"
    assert (layer.roots, dict(layer.files)) == (("src", "."), {})
    test = "from demo.core import f\ndef test(): assert f() == 1\n"
    assert run_with(template, layer, SRC, test).passed == {"tests/test_it.py::test"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise RuntimeError('not today')", "not today"),
        ("import os; os._exit(3)", "no output"),
        ("def build_editable(d): raise SystemExit('no wheel from me')", "no wheel from me"),
        ("def build_editable(d): return 'missing.whl'", "missing.whl"),
        ("import os\nos.write(int(os.environ.get('HARNESS_RECORD_FD', 1)), b'x')\nos._exit(0)", "x"),
    ],
    ids=["raises", "exits", "refuses", "lies", "babbles"],
)
def test_a_broken_backend_leaves_the_static_layer_and_the_reason(
    store: LayerStore, template: Template, body: str, reason: str
) -> None:
    """The build's own words are kept, and name and version come from pyproject.toml."""
    layer = layer_of(store, template, own_backend(body))
    assert layer.how.startswith("static: backend: ")
    assert reason in layer.how
    assert list(layer.files) == ["own-1.0.dist-info/METADATA"]


def test_a_backend_that_is_not_installed_leaves_the_static_layer(store: LayerStore, template: Template) -> None:
    """A missing build requirement is named."""
    project = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n[project]\nname = "a-b"\nversion = "1"\n'
    layer = layer_of(store, template, {"pyproject.toml": project, **SRC})
    assert "No module named 'hatchling'" in layer.how
    test = "import importlib.metadata as m\ndef test(): assert m.version('a-b') == '1'\n"
    assert run_with(template, layer, SRC, test).passed == {"tests/test_it.py::test"}


def test_hostile_names_are_dropped() -> None:
    """A build that reports files outside of its directory gets the rest accepted and those not."""
    files = {"../evil.py": "", "/abs.py": "", "a/../../evil.py": "", "ok/METADATA": ""}
    layer = _parse({"files": files, "generated": {"../../x": "", "fine.py": ""}, "roots": ["."], "how": "editable"}, ())
    assert layer is not None
    assert (dict(layer.files), dict(layer.generated)) == ({"ok/METADATA": b""}, {"fine.py": b""})


@pytest.mark.parametrize(
    "answer",
    ["[]", "{}", '{"files": {}, "generated": {}, "roots": null, "how": "editable"}', '{"files": 1, "generated": {}, "roots": null, "how": "x"}', '{"files": {"a": "%%%"}, "generated": {}, '
     '"roots": null, "how": "x"}', '{"files": {}, "generated": {}, "roots": 3, "how": "x"}', "[" * 100_000],
    ids=["list", "empty", "whole", "number", "no base64", "odd roots", "deep"],
)  # fmt: skip
def test_a_forged_answer_is_no_answer(store: LayerStore, template: Template, answer: str) -> None:
    """What a build sends in place of its result never stops the harness."""
    layer = layer_of(store, template, own_backend(_answering(answer)))
    assert layer.how.startswith("static: backend: ")


def _answering(answer: str) -> str:
    """Return a backend that finds the result pipe and writes an answer of its own."""
    coded = base64.b64encode(answer.encode()).decode()
    return (
        "import base64, os, stat\n"
        f"data = base64.b64decode({coded!r})\n"
        "for fd in range(3, 1024):\n"
        "    try:\n"
        "        if stat.S_ISFIFO(os.fstat(fd).st_mode): os.write(fd, data); os._exit(0)\n"
        "    except OSError: pass\n"
    )


def test_a_layer_is_built_once_and_read_back_equal(tmp_path: Path, template: Template) -> None:
    """Another store on the same directory has the same layer without a build; a damaged file is built anew."""
    files = {"pyproject.toml": PROJECT, **SRC}
    first = layer_of(LayerStore(tmp_path), template, files)
    assert layer_of(LayerStore(tmp_path), template, files) == first
    (stored,) = tmp_path.rglob("*.json")
    stored.write_text("{")
    assert layer_of(LayerStore(tmp_path), template, files) == first


def test_the_key_follows_packaging_not_code(template: Template) -> None:
    """Edits of source text and of tests share a layer; packaging files and new folders do not."""
    base = {"pyproject.toml": PROJECT, **SRC, "tests/conftest.py": "", "tests/test_a.py": ""}

    def key(**changes: str) -> str:
        return shared_key(template, tree_of({**base, **{k.replace("__", "/"): v for k, v in changes.items()}}), {})

    assert key() == shared_key(template, tree_of({**base, "src/demo/core.py": "changed", "tests/conftest.py": "x"}), {})
    assert key() != shared_key(template, tree_of({**base, "pyproject.toml": PROJECT + "# more\n"}), {})
    assert key() != shared_key(template, tree_of({**base, "src/other/__init__.py": ""}), {})
    assert key() != shared_key(template, tree_of(base), {"A": "1"})


def test_what_a_build_reads_from_sources_is_not_lent_to_another_tree(store: LayerStore, template: Template) -> None:
    """A version that setup.py reads from the code is that of the very tree, in whatever order they come."""
    setup = "import re, setuptools\nv = re.search(r'(\\d+)', open('demo.py').read())[1]\nsetuptools.setup(name='demo', version=v, py_modules=['demo'])\n"
    first = layer_of(store, template, {"setup.py": setup, "demo.py": "V = 1\n"})
    second = layer_of(store, template, {"setup.py": setup, "demo.py": "V = 2\n"})
    versions = [
        "".join(name.partition(".dist-info")[0] for name in layer.files if name.endswith("METADATA"))
        for layer in (first, second)
    ]
    assert versions == ["demo-1", "demo-2"]
    assert first.key != second.key


def test_generated_files_come_from_the_tree_that_is_tested(store: LayerStore, template: Template) -> None:
    """A table that the build makes from data is made from the data of the tree itself."""
    setup = "import setuptools\nopen('table.py', 'w').write('T = ' + open('data.txt').read())\nsetuptools.setup(name='demo', version='1', py_modules=['table'])\n"
    made = [layer_of(store, template, {"setup.py": setup, "data.txt": f"{n}\n"}).generated["table.py"] for n in (1, 2)]
    assert made == [b"T = 1\n", b"T = 2\n"]


def test_trees_that_share_their_packaging_files_share_a_static_build(store: LayerStore, template: Template) -> None:
    """With everything declared in pyproject.toml a change of code costs no build."""
    layer_of(store, template, {"pyproject.toml": PROJECT, **SRC})
    layer_of(store, template, {"pyproject.toml": PROJECT, **SRC, "src/demo/core.py": "def f():\n    return 2\n"})
    assert len(list(store.root.rglob("*.json"))) == 1


def test_a_build_that_was_stopped_is_asked_again(store: LayerStore, template: Template) -> None:
    """A killed build leaves a static layer for now and nothing in the store."""
    setup = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    layer = layer_of(store, template, {"setup.py": setup, **SRC})
    assert layer.how.startswith("static")
    assert list(store.root.rglob("*.json")) == []


def test_a_build_sees_the_names_of_tests_and_not_their_text(store: LayerStore, template: Template) -> None:
    """Code that runs at build time cannot carry expected values to where the tests are not."""
    setup = (
        "import pathlib, setuptools\n"
        "names = sorted(map(str, pathlib.Path('.').rglob('*.py')))\n"
        "kept = ''.join(pathlib.Path(name).read_text() for name in names if name != 'setup.py')\n"
        "pathlib.Path('notes.txt').write_text(' '.join(names) + kept)\n"
        "setuptools.setup(name='demo', version='1', py_modules=['demo'], packages=['tests'])\n"
    )
    tests = {
        "tests/__init__.py": "",
        "tests/test_demo.py": "assert demo.f() == 'secret'\n",
        "conftest.py": "SECRET = 1\n",
    }
    layer = layer_of(store, template, {"setup.py": setup, "demo.py": "MINE = 1\n", **tests})
    assert layer.how == "editable"
    notes = layer.generated["notes.txt"].decode()
    assert ("tests/test_demo.py" in notes, "MINE" in notes, "secret" in notes.lower()) == (True, True, False)
    more = layer_of(store, template, {"setup.py": setup, "demo.py": "MINE = 1\n", **tests, "tests/test_more.py": ""})
    assert "tests/test_more.py" in more.generated["notes.txt"].decode()


def test_test_files_are_empty_for_a_build_however_they_are_named() -> None:
    """Names that the configuration declares count; a pattern that every module fits does not."""
    toml = "[tool.pytest.ini_options]\npython_files = ['check_*.py', \"*.py\", 'deep/*_[ab].py']\n"
    files = {"checks/check_a.py": "1", "deep/x_a.py": "2", "deep/x_c.py": "3", "demo.py": "4", "testing/data.json": "5"}
    seen = without_test_text(tree_of({"pyproject.toml": toml, **files}))
    assert {path for path in files if not seen.read(path)} == {"checks/check_a.py", "deep/x_a.py", "testing/data.json"}


def test_a_backend_in_the_tree_is_not_lent_to_another_tree(store: LayerStore, template: Template) -> None:
    """Where the backend is code of the project, one tree's build says nothing about another's."""
    refused = [
        layer_of(store, template, own_backend(f"raise RuntimeError('said by {who}')")).how for who in ("one", "two")
    ]
    assert [words.rpartition(" ")[2] for words in refused] == ["one", "two"]


def test_static_roots() -> None:
    """The folder src counts only when it holds code."""
    assert static_roots(tree_of({"src/a/b.py": ""})) == ("src", ".")
    assert static_roots(tree_of({"src/README": "", "a.py": ""})) == (".",)


def test_an_older_python_builds_layers_as_well(tmp_path: Path, wheels: Wheels) -> None:
    """The files that run inside work with the oldest Python at hand, not only with the one of the tests."""
    try:
        minor = find_interpreter("3.10").minor
    except PythonMissing:
        pytest.skip("no Python 3.10 on this machine")
    names = tuple(name for name in wheels.sha256 if name.startswith("setuptools-"))
    template = TemplateStore(tmp_path / "env").get(Environment("old", minor, names, {}, Lock("none", None)), wheels)
    assert layer_of(LayerStore(tmp_path / "layers"), template, {"pyproject.toml": PROJECT, **SRC}).how == "editable"

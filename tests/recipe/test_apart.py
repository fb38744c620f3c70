"""The recipe stands beside the product: nothing of it depends on it, and looking at it loads no libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from models.recipe.__main__ import cli

ROOT = Path(__file__).parents[2]
ROOMS = ("appliance", "evals", "harness", "ingest")


def test_no_room_imports_the_recipe() -> None:
    """The product runs without the recipe and without what the recipe needs."""
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.partition(".")[0] == "models"], path


def test_modules_stay_small() -> None:
    """At most 400 lines, functions of at most 60."""
    for path in (ROOT / "models").rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno <= 60, f"{path}: {node.name}"


def test_importing_loads_no_model_library() -> None:
    """Model libraries are loaded by the commands that train, and only by them."""
    modules = ["corpus", "evaluation", "training", "export", "decoding", "tokens", "__main__"]
    program = "import sys\n" + "".join(f"import models.recipe.{name}\n" for name in modules)
    program += "print([name for name in ('torch', 'transformers', 'tokenizers', 'safetensors') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_every_command_has_an_example() -> None:
    """`--help` ends with a command line that can be copied."""
    for name, command in cli.commands.items():
        result = CliRunner().invoke(cli, [name, "--help"])
        assert result.exit_code == 0
        assert f"python -m models.recipe {name}" in result.output, command


def test_the_manifest_command_checks() -> None:
    """It says nothing is wrong as long as the file is what the code says."""
    assert CliRunner().invoke(cli, ["manifest", "--check"]).exit_code == 0

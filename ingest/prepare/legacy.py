"""What the older files declare: setup.py, setup.cfg, tox.ini, noxfile.py, requirements files.

Same result as `pyproject.read_pyproject`: named groups of requirement lines. Nothing is executed
and nothing is guessed; a line with an unresolved substitution is left out.
"""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import PurePosixPath

from packaging.utils import canonicalize_name

from ingest.prepare.literals import Unknown, call_arguments, evaluate, module_values, strings
from ingest.prepare.pyproject import Groups

OPTIONS = (("base", "install_requires"), ("tests_require", "tests_require"), ("build", "setup_requires"))
"""Key of a group, and the setuptools option that fills it."""
DEEPEST_REFERENCE = 5
_FACTOR = re.compile(r"^([\w{},!.-]+):\s+(.*)$")
_TEST_FACTORS = {"test", "tests", "testing", "pytest"}


def read_setup_py(text: str) -> tuple[str, Groups]:
    """Return the project's name ("" when unreadable) and the groups of a setup.py."""
    tree = _parse(text)
    if tree is None:
        return "", {}
    arguments = call_arguments(tree, "setup", module_values(tree))
    groups: Groups = {}
    for key, argument in OPTIONS:
        if lines := strings(arguments.get(argument)):
            groups[key] = lines
    extras = arguments.get("extras_require")
    for extra, value in extras.items() if isinstance(extras, dict) else ():
        _conditional_extra(groups, extra, strings(value))
    name = arguments.get("name")
    return str(canonicalize_name(name)) if isinstance(name, str) else "", groups


def read_setup_cfg(text: str) -> tuple[str, Groups]:
    """Return the project's name ("" when unreadable) and the groups of a setup.cfg."""
    parser = _ini(text)
    groups: Groups = {}
    for key, option in OPTIONS:
        if lines := _option(parser, "options", option):
            groups[key] = lines
    if parser.has_section("options.extras_require"):
        for name in parser.options("options.extras_require"):
            _conditional_extra(groups, name, _option(parser, "options.extras_require", name))
    name = parser.get("metadata", "name", fallback="")
    return str(canonicalize_name(name)) if name else "", groups


def read_tox(text: str) -> Groups:
    """Return the dependencies of the default test environment of a tox.ini as group `tox`."""
    parser = _ini(text)
    lines: list[str] = []
    for line in _substituted(parser, "testenv", "deps"):
        factor = _FACTOR.match(line)
        if factor is None:
            lines.append(line)
        elif set(re.split(r"[,{}-]+", factor[1])) & _TEST_FACTORS:
            lines.append(factor[2])
    for option, prefix in (("extras", "extra"), ("dependency_groups", "group")):
        for line in _substituted(parser, "testenv", option):
            factor = _FACTOR.match(line)
            if factor is None or set(re.split(r"[,{}-]+", factor[1])) & _TEST_FACTORS:
                names = (factor[2] if factor else line).split(",")
                lines += [f"@{prefix}:{canonicalize_name(name.strip())}" for name in names if name.strip()]
    return {"tox": lines} if lines else {}


def read_nox(text: str) -> Groups:
    """Return the literal arguments of `session.install` in sessions named for tests as group `nox`."""
    tree = _parse(text)
    lines: list[str] = []
    for function in tree.body if tree else []:
        if isinstance(function, ast.FunctionDef) and "test" in function.name.lower():
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "install":
                    lines += _install_lines([_literal(argument) for argument in node.args])
    return {"nox": lines} if lines else {}


def read_requirements(path: str, text: str) -> Groups:
    """Return one requirements file as group `file:<path>`; `-r other` becomes a reference."""
    folder = PurePosixPath(path).parent
    lines: list[str] = []
    for raw in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        line = re.sub(r"\s--hash[= ]\S+", "", line).strip()
        included = re.match(r"^(?:-r|--requirement)[\s=]*(\S+)", line)
        if included:
            lines.append(f"@file:{folder / included[1]}")
        elif line.startswith(("-e", "--editable")):
            lines.append(line.split(maxsplit=1)[-1])
        elif line and not line.startswith("-"):
            lines.append(line)
    return {f"file:{path}": lines}


def _conditional_extra(groups: Groups, name: str, lines: list[str]) -> None:
    """Read setuptools' old `name:marker` extras; an empty name adds to the base requirements."""
    plain, _, marker = name.partition(":")
    key = f"extra:{canonicalize_name(plain)}" if plain else "base"
    groups.setdefault(key, []).extend(f"{line}; {marker}" if marker and ";" not in line else line for line in lines)


def _install_lines(arguments: list[str | None]) -> list[str]:
    lines: list[str] = []
    previous = ""
    for argument in arguments:
        if argument is None:
            previous = ""
            continue
        if previous in {"-r", "--requirement"}:
            lines.append(f"@file:{argument.removeprefix('./')}")
        elif previous == "--group":
            lines.append(f"@group:{canonicalize_name(argument)}")
        elif not argument.startswith("-") and previous not in {"-c", "--constraint"}:
            lines.append(argument)
        previous = argument
    return lines


def _literal(node: ast.expr) -> str | None:
    try:
        value = evaluate(node, {})
    except (Unknown, RecursionError):
        return None
    return value if isinstance(value, str) else None


def _parse(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _ini(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, delimiters=("=",))
    try:
        parser.read_string(text)
    except configparser.Error:
        return configparser.RawConfigParser()
    return parser


def _option(parser: configparser.RawConfigParser, section: str, option: str) -> list[str]:
    value = parser.get(section, option, fallback="") or ""
    found = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in value.splitlines())
    return [line for line in found if line]


def _substituted(parser: configparser.RawConfigParser, section: str, option: str, depth: int = 0) -> list[str]:
    lines: list[str] = []
    for line in _option(parser, section, option):
        reference = re.fullmatch(r"\{\[([^\]]+)\]([\w-]+)\}", line)
        with_default = re.search(r"\{env:\w+:([^{}]*)\}", line)
        if reference and depth < DEEPEST_REFERENCE:
            lines += _substituted(parser, reference[1], reference[2], depth + 1)
        elif included := re.match(r"^(?:-r|--requirement)[\s=]*(?:\{toxinidir\}/)?(\S+)", line):
            lines.append(f"@file:{included[1]}")
        elif with_default:
            lines.append(line.replace(with_default[0], with_default[1]))
        elif not line.startswith("-") and "{" not in _without_factor(line):
            lines.append(line)
    return lines


def _without_factor(line: str) -> str:
    factor = _FACTOR.match(line)
    return factor[2] if factor else line

"""What a wheel would put in the way of the programs that install and test: scripts, data files, modules.

Pure: from paths and documents to faults. The tables name what this appliance starts or imports
before and while tests run; a wheel may bring those names only if it is the distribution they are
from. Not looked at: what the scripts contain.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint

from ingest.wheelgate.faults import Fault
from ingest.wheelgate.layout import SITE, owned_names

TOOL_MODULES: Mapping[str, frozenset[str]] = {
    **{name: frozenset({name}) for name in (
        "pytest", "pluggy", "iniconfig", "pip", "setuptools", "uv", "wheel", "packaging", "virtualenv",
        "exceptiongroup", "tomli", "pygments", "attrs",
    )},
    "_pytest": frozenset({"pytest"}),
    "py": frozenset({"py", "pytest"}),
    "pkg_resources": frozenset({"setuptools"}),
    "_distutils_hack": frozenset({"setuptools"}),
    "easy_install": frozenset({"setuptools"}),
    "_virtualenv": frozenset(),
    "attr": frozenset({"attrs"}),
    "typing_extensions": frozenset({"typing-extensions"}),
    "importlib_metadata": frozenset({"importlib-metadata"}),
}  # fmt: skip
"""Top-level module to the distributions that may bring it: what pytest, the installers and a new environment import."""

_SCRIPTS: tuple[tuple[re.Pattern[str], frozenset[str]], ...] = tuple(
    (re.compile(pattern), frozenset(owners)) for pattern, owners in (
        (r"(?:python|pypy|pythonw)[\d.]*[a-z]?(?:-config)?", ()),
        (r"pip[\d.]*(?:-[\d.]+)?", ("pip",)),
        (r"uvx?|uvw", ("uv",)),
        (r"(?:pytest|py\.test)(?:-[\d.]+)?", ("pytest",)),
        (r"easy_install(?:-[\d.]+)?", ("setuptools",)),
        (r"(?:de)?activate(?:_this)?(?:\.[a-z0-9]+)?", ()),
        (r"sh|bash|dash|env|git|bwrap|prlimit", ()),
        (r"pyvenv\.cfg|pybuilddir\.txt|.*\._pth", ()),  # what an interpreter looks for beside itself
    )
)  # fmt: skip
"""Names of scripts to the distributions that may bring them."""

_NAME = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]+")
_SCRIPT_GROUPS = ("console_scripts", "gui_scripts")
_INTERPRETER = re.compile(r"lib(?:32|64)?/(?:python|pypy)[^/]*(?:/.*)?|(?:lib64|include/python[^/]*)/.*")
_SKELETON = {"bin", "lib", "lib64", "include", "pyvenv.cfg", "scripts"}


def script_faults(distribution: str, names: Iterable[str], where: str) -> Iterator[Fault]:
    """Find scripts that would be started in the place of an interpreter or a tool."""
    for name in names:
        folded = name.casefold()
        for pattern, owners in _SCRIPTS:
            if pattern.fullmatch(folded) and distribution not in owners:
                yield Fault("WHEEL_SCRIPT", "no script with the name of a tool", f"{where}: {name}", is_decision=True)


def entry_point_faults(distribution: str, document: bytes) -> Iterator[Fault]:
    """Find entry points that installers would turn into misplaced, misleading or broken scripts."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(document.decode("utf-8"))
    except (configparser.Error, UnicodeDecodeError) as err:
        yield Fault("WHEEL_ENTRY_POINTS", "entry_points.txt that can be parsed", str(err))
        return
    for group in _SCRIPT_GROUPS:
        scripts = dict(parser[group]) if parser.has_section(group) else {}
        for name, value in scripts.items():
            if not _NAME.fullmatch(name):
                yield Fault("WHEEL_ENTRY_POINT", "script names without folders", f"{group}: {name}")
            if not EntryPoint.pattern.fullmatch(value):
                yield Fault("WHEEL_ENTRY_POINTS", "scripts that name module:function", f"{group}: {name} = {value}")
        yield from script_faults(distribution, scripts, group)


def data_faults(distribution: str, members: Iterable[str], stem: str) -> Iterator[Fault]:
    """Find .data folders of another name or scheme, and data files that land where the interpreter looks.

    `stem` is the name of the one folder, without `.data`.
    """
    for member in members:
        top, _, rest = member.partition("/")
        scheme, _, path = rest.partition("/")
        if not top.casefold().endswith(".data"):
            continue
        if top != f"{stem}.data" or scheme not in {"purelib", "platlib", "headers", "scripts", "data"} or not path:
            yield Fault("WHEEL_DATA_SCHEME", f"{stem}.data/ with the schemes of the wheel format", member)
        elif path.startswith(f"{stem}.dist-info/"):
            yield Fault("WHEEL_DIST_INFO", f"all of {stem}.dist-info in one place", member)
        elif scheme == "scripts":
            yield from script_faults(distribution, {path.rpartition("/")[2], path.partition("/")[0]}, member)
        elif scheme == "data" and path.casefold().startswith("bin/"):
            yield from script_faults(distribution, {path.rpartition("/")[2]}, member)
        elif scheme == "data" and (path.casefold() in _SKELETON or _INTERPRETER.fullmatch(path.casefold())):
            yield Fault("WHEEL_DATA", "no data files among those of the interpreter", member, is_decision=True)


def module_faults(distribution: str, paths: Iterable[str]) -> Iterator[Fault]:
    """Find modules that tests or installers would import in the place of their own."""
    for name, path in owned_names(paths).items():
        owners = TOOL_MODULES.get(name.casefold(), frozenset({distribution}))
        if distribution not in owners:
            found = f"{path.removeprefix(SITE)} in a wheel of {distribution}"
            expected = f"{name} from {' or '.join(sorted(owners)) or 'no wheel'} only"
            yield Fault("WHEEL_TOOL", expected, found, is_decision=True)

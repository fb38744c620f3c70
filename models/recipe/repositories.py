"""Small generated repositories: packages of a few modules with functions, classes, constants and imports.

One repository is the clean text that changes are made to. Everything is drawn from one generator and one
pool of names, so a seed gives the same files wherever it is drawn. Synthetic functions keep their sketch,
so that a judge knows how to call them; modules of library functions are for reading only.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from models.recipe.functions import Parameter, Sketch, sketch
from models.recipe.names import Namer, Pool, reserved_words
from models.recipe.stdlib import LibraryFunction

LAYOUTS = ("src/{}", "src/{}", "src/{}", "{}")
FOLDERS = ("", "", "", "", "core/", "io/", "model/", "text/")


@dataclass(frozen=True)
class Reached:
    """How a judge reaches a function: its module, the arguments of its class, and what it takes."""

    module: str
    symbol: str
    sketch: Sketch
    made_with: tuple[int, ...] = ()
    """Arguments of the constructor, for a method."""


@dataclass(frozen=True)
class SmallRepository:
    """The clean files of a generated repository."""

    package: str
    files: Mapping[str, str]
    """Path to text: sources and tests."""
    callables: Mapping[tuple[str, str], Reached] = field(default_factory=dict)
    """By path and qualified name; only what can be executed."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Paths of the modules that tasks are about."""
        return tuple(path for path in self.files if not path.startswith("tests/") and not path.endswith("__init__.py"))


@dataclass(frozen=True)
class Size:
    """How large a repository becomes."""

    modules: tuple[int, int] = (2, 5)
    functions: tuple[int, int] = (1, 4)
    """Functions of a module, at least and at most; a class counts as one."""


def small_repository(rng: random.Random, pool: Pool, size: Size | None = None) -> SmallRepository:
    """Return a repository of functions that can be executed."""
    size = size or Size()
    namer = Namer(rng, pool)
    package = namer.package()
    root = rng.choice(LAYOUTS).format(package)
    style = _Style(docs=rng.random() < 0.6, module_docs=rng.random() < 0.6)  # noqa: PLR2004 - shares
    files: dict[str, str] = {f"{root}/__init__.py": f'"""{namer.noun().capitalize()} tools."""\n'}
    callables: dict[tuple[str, str], Reached] = {}
    exported: list[tuple[str, str]] = []
    for _ in range(rng.randint(*size.modules)):
        folder = rng.choice(FOLDERS)
        if folder:
            files.setdefault(f"{root}/{folder}__init__.py", "")
        stem = namer.module()
        path = f"{root}/{folder}{stem}.py"
        module = f"{package}.{folder.replace('/', '.')}{stem}"
        draft = _module(rng, namer, style, exported, rng.randint(*size.functions))
        files[path] = draft.text
        for symbol, (made, made_with) in draft.found.items():
            callables[path, symbol] = Reached(module, symbol, made, made_with)
        exported += [(module, symbol) for symbol in draft.found if "." not in symbol]
        files[f"tests/test_{stem}.py"] = _test(module, [name for name in draft.found if "." not in name])
    return SmallRepository(package, dict(sorted(files.items())), callables)


def library_repository(
    rng: random.Random, functions: Sequence[LibraryFunction], size: Size | None = None
) -> SmallRepository:
    """Return a repository of library functions, those of one module together."""
    size = size or Size()
    namer = Namer(rng, Pool.PRETRAIN)
    package = namer.package()
    root = rng.choice(LAYOUTS).format(package)
    by_module: dict[str, list[LibraryFunction]] = {}
    for function in functions:
        by_module.setdefault(function.module, []).append(function)
    files = {f"{root}/__init__.py": f'"""{namer.noun().capitalize()} tools."""\n'}
    for name in rng.sample(sorted(by_module), min(rng.randint(*size.modules), len(by_module))):
        members = by_module[name]
        first = rng.randrange(len(members))
        chosen = members[first : first + rng.randint(*size.functions)]
        stem = name.removesuffix(".py").rpartition("/")[2].strip("_")
        stem = stem if stem != "init" else namer.module()
        files[f"{root}/{stem}.py"] = _library_text(chosen)
        files[f"tests/test_{stem}.py"] = _test(f"{package}.{stem}", [])
    return SmallRepository(package, dict(sorted(files.items())))


def teachable(functions: Sequence[LibraryFunction]) -> list[LibraryFunction]:
    """Return the library functions without reserved nouns."""
    return [item for item in functions if not reserved_words(f"{item.module} {item.owner} {item.text}")]


@dataclass(frozen=True)
class _Style:
    docs: bool
    module_docs: bool


@dataclass
class _Module:
    text: str
    found: dict[str, tuple[Sketch, tuple[int, ...]]]


def _module(
    rng: random.Random, namer: Namer, style: _Style, exported: Sequence[tuple[str, str]], count: int
) -> _Module:
    head: list[str] = [f'"""{namer.phrase((2, 3)).capitalize()}."""'] if style.module_docs else []
    blocks: list[str] = []
    found: dict[str, tuple[Sketch, tuple[int, ...]]] = {}
    imports: list[str] = []
    if exported and rng.random() < 0.35:  # noqa: PLR2004 - share
        module, name = rng.choice(exported)
        imports.append(f"from {module} import {name}")
        blocks.append(_caller(rng, namer, name))
    constants = [f"{namer.constant()} = {rng.randint(2, 99)}" for _ in range(rng.choice((0, 0, 0, 1, 2)))]
    for _ in range(count):
        if rng.random() < 0.15:  # noqa: PLR2004 - share
            name, text, methods, made_with = _class(rng, namer, style)
            blocks.append(text)
            found.update({f"{name}.{item.name}": (item, made_with) for item in methods})
        else:
            made = sketch(rng, namer)
            blocks.append("\n".join(made.lines(doc=_doc(rng, namer, style))))
            found[made.name] = (made, ())
    rng.shuffle(blocks)
    sections = ["\n".join(part) for part in (head, imports, constants) if part]
    top = "\n\n".join(sections)
    return _Module("\n\n\n".join([*([top] if top else []), *blocks]) + "\n", found)


def _doc(rng: random.Random, namer: Namer, style: _Style) -> str:
    if not style.docs or rng.random() < 0.15:  # noqa: PLR2004 - share
        return ""
    words = ("Return the {} {}.", "{} every {}.", "Return what the {} of a {} is.", "Find a {} by its {}.")
    return rng.choice(words).format(namer.noun(), namer.noun()).capitalize()


def _caller(rng: random.Random, namer: Namer, name: str) -> str:
    value = namer.noun()
    return f"def {namer.function()}({value}):\n    return [{name}({value})] * {rng.randint(2, 9)}"


def _class(rng: random.Random, namer: Namer, style: _Style) -> tuple[str, str, list[Sketch], tuple[int, ...]]:
    name = namer.class_()
    fields = [namer.noun(), namer.noun()]
    fields = list(dict.fromkeys(fields))
    lines = [f"class {name}:"]
    if style.docs:
        lines += [f'    """{namer.phrase((2, 3)).capitalize()}."""', ""]
    lines += [f"    def __init__(self, {', '.join(fields)}):", *(f"        self.{item} = {item}" for item in fields)]
    methods: list[Sketch] = []
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        made = _method(rng, namer, fields) if rng.random() < 0.6 else sketch(rng, namer)  # noqa: PLR2004 - share
        methods.append(made)
        lines += ["", *made.lines(indent="    ", first="self", doc=_doc(rng, namer, style))]
    return name, "\n".join(lines), methods, tuple(rng.randint(1, 30) for _ in fields)


def _method(rng: random.Random, namer: Namer, fields: Sequence[str]) -> Sketch:
    value, own, sign = namer.noun(), rng.choice(fields), rng.choice("+-*")
    number, compare = rng.randint(2, 60), rng.choice(("<", "<=", ">", ">="))
    bodies = (
        [f"return self.{own} {sign} {value}"],
        [f"if self.{own} {compare} {value}:", f"    return {number}", f"return self.{own} {sign} {value}"],
        [f"self.{own} = self.{own} {sign} {value}", f"return self.{own}"],
        [f"{value} = {value} {sign} {number}", f"return {value} - self.{own}"],
    )
    return Sketch(namer.function(), (Parameter(value, "integer"),), tuple(rng.choice(bodies)))


def _test(module: str, names: Sequence[str]) -> str:
    wanted = ", ".join(sorted(names)[:3])
    top = f"from {module} import {wanted}\n" if wanted else f"import {module}\n"
    return f"{top}\n\ndef test_{module.rpartition('.')[2]}():\n    assert {min(names, default=module)}\n"


def _library_text(functions: Sequence[LibraryFunction]) -> str:
    blocks: list[str] = []
    by_owner: dict[str, list[LibraryFunction]] = {}
    seen: set[tuple[str, str]] = set()
    for function in functions:
        if (function.owner, function.name) not in seen:
            seen.add((function.owner, function.name))
            by_owner.setdefault(function.owner, []).append(function)
    for owner, members in by_owner.items():
        if not owner:
            blocks += ["\n".join(item.lines) for item in members]
            continue
        bodies = ["\n".join(f"    {line}" for line in item.lines) for item in members]
        blocks.append(f"class {owner}:\n" + "\n\n".join(bodies))
    return "\n\n\n".join(blocks) + "\n"

"""Templates of small functions that can be executed: the raw material of generated repositories.

A template draws names and numbers and returns a `Sketch`: parameters with the kind of value each takes,
and a body. `Probe` kinds let a judge call the function with values that reach its branches. No template
holds the shape of a family that is left out (models/recipe/left_out.py); a test looks.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from models.recipe.names import Namer

COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
ARITHMETIC = ("+", "-", "*")
WORDS = (" ab c", "Zed", "x ", "north-east", "a,b,c", "")
PROBES = 12


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name, its default as source text, and what may be passed."""

    name: str
    kind: str
    """numbers, integer, small, table, text, flag."""
    default: str = ""

    @property
    def source(self) -> str:
        """The parameter as it stands in a signature."""
        return f"{self.name}={self.default}" if self.default else self.name


@dataclass(frozen=True)
class Sketch:
    """One function: everything but its place in a file."""

    name: str
    parameters: tuple[Parameter, ...]
    body: tuple[str, ...]
    """Lines without the indentation of the function."""

    def lines(self, *, doc: str = "", indent: str = "", first: str = "") -> list[str]:
        """Return the source lines; `first` is an extra first parameter such as `self`."""
        names = [*([first] if first else []), *(item.source for item in self.parameters)]
        inner = [f'"""{doc}"""', *self.body] if doc else list(self.body)
        return [f"{indent}def {self.name}({', '.join(names)}):", *(f"{indent}    {line}" for line in inner)]


class Draw:
    """Draws the pieces of one function."""

    def __init__(self, rng: random.Random, namer: Namer) -> None:
        self.rng = rng
        self.namer = namer
        self._used: set[str] = set()

    def name(self) -> str:
        """Return a name that is new in this function."""
        return self.namer.variable(self._used)

    def number(self, low: int = 2, high: int = 60) -> str:
        """Return an integer literal."""
        return str(self.rng.randint(low, high))

    def compare(self) -> str:
        """Return a comparison operator."""
        return self.rng.choice(COMPARISONS)

    def arithmetic(self) -> str:
        """Return an arithmetic operator."""
        return self.rng.choice(ARITHMETIC)

    def text(self) -> str:
        """Return a string literal."""
        return f'"{self.namer.phrase()}"'

    def one_of(self, *choices: str) -> str:
        """Return one of the choices."""
        return self.rng.choice(choices)

    def numbers(self) -> Parameter:
        """Return a parameter that takes a list of integers."""
        return Parameter(self.name(), "numbers")

    def integer(self, default: str = "") -> Parameter:
        """Return a parameter that takes an integer."""
        return Parameter(self.name(), "integer", default)


Body = tuple[tuple[Parameter, ...], list[str]]


def _total(d: Draw) -> Body:
    xs, limit, total, each = d.numbers(), d.integer(d.number() if d.rng.random() < 0.5 else ""), d.name(), d.name()  # noqa: PLR2004
    gain = d.one_of(each, f"{each} {d.arithmetic()} {d.number()}")
    return (xs, limit), [
        f"{total} = {d.number(0, 3)}",
        f"for {each} in {xs.name}:",
        f"    if {each} {d.compare()} {limit.name}:",
        f"        {total} {d.one_of('+=', '-=')} {gain}",
        f"return {total}",
    ]


def _selected(d: Draw) -> Body:
    xs, found, each = d.numbers(), d.name(), d.name()
    return (xs,), [
        f"{found} = []",
        f"for {each} in {xs.name}:",
        f"    if {each} {d.one_of('%', '-', '+')} {d.number(2, 7)} {d.compare()} {d.number(0, 4)}:",
        f"        {found}.append({each} {d.arithmetic()} {d.number()})",
        f"return {found}",
    ]


def _between(d: Draw) -> Body:
    value, low, high = d.integer(), d.integer(), d.integer()
    return (value, low, high), [
        f"if {value.name} < {low.name}:",
        f"    return {low.name}",
        f"if {value.name} > {high.name}:",
        f"    return {high.name}",
        f"return {value.name}",
    ]


def _position(d: Draw) -> Body:
    xs, target, at, each = d.numbers(), d.integer(), d.name(), d.name()
    return (xs, target), [
        f"for {at}, {each} in enumerate({xs.name}):",
        f"    if {each} {d.compare()} {target.name}:",
        f"        return {at}",
        f"return {d.one_of('None', '-1', '0')}",
    ]


def _lookup(d: Draw) -> Body:
    table, key, other = (
        Parameter(d.name(), "table"),
        Parameter(d.name(), "small"),
        Parameter(d.name(), "integer", "None"),
    )
    return (table, key, other), [
        f"if {key.name} not in {table.name}:",
        f"    return {d.one_of(other.name, 'None', 'None')}",
        f"return {table.name}[{key.name}]{d.one_of('', f' + {d.number()}', f' * {d.number()}')}",
    ]


def _two_steps(d: Draw) -> Body:
    a, b, step, result = d.integer(), d.integer(), d.name(), d.name()
    return (a, b), [
        f"{step} = {a.name} {d.arithmetic()} {d.number()}",
        f"{result} = {step} {d.arithmetic()} {b.name}",
        f"return {result} {d.arithmetic()} {d.number()}",
    ]


def _series(d: Draw) -> Body:
    n, total, i = Parameter(d.name(), "small"), d.name(), d.name()
    return (n,), [
        f"{total} = {d.number(0, 9)}",
        f"for {i} in range({n.name}):",
        f"    {total} = {total} + {i} {d.arithmetic()} {d.number()}",
        f"return {total}",
    ]


def _cleaned(d: Draw) -> Body:
    text, ending, clean = Parameter(d.name(), "text"), Parameter(d.name(), "text", d.text()), d.name()
    return (text, ending), [
        f"{clean} = {text.name}.{d.one_of('strip', 'upper', 'lower', 'title')}()",
        f"if {clean} == {d.text()}:",
        f"    return {d.text()}",
        f"return {clean} + {ending.name}",
    ]


def _extreme(d: Draw) -> Body:
    xs, best, each = d.numbers(), d.name(), d.name()
    return (xs,), [
        f"{best} = {xs.name}[0]",
        f"for {each} in {xs.name}:",
        f"    if {each} {d.one_of('<', '>')} {best}:",
        f"        {best} = {each}",
        f"return {best}",
    ]


def _both(d: Draw) -> Body:
    a, b, answer = d.integer(), d.integer(), Parameter(d.name(), "flag", d.one_of("True", "False"))
    return (a, b, answer), [
        f"if {a.name} {d.compare()} {d.number()} {d.one_of('and', 'or')} {b.name} {d.compare()} {d.number()}:",
        f"    return {answer.name}",
        f"return {d.one_of('None', f'not {answer.name}')}",
    ]


def _walk_indices(d: Draw) -> Body:
    xs, made, i = d.numbers(), d.name(), d.name()
    return (xs,), [
        f"{made} = []",
        f"for {i} in range(len({xs.name})):",
        f"    {made}.append({xs.name}[{i}] {d.arithmetic()} {i})",
        f"return {made}",
    ]


def _corrected(d: Draw) -> Body:
    a, b, result = d.integer(), d.integer(d.number()), d.name()
    return (a, b), [
        f"{result} = {a.name} {d.arithmetic()} {b.name}",
        f"if {result} {d.compare()} {d.number()}:",
        f"    {result} = {result} {d.arithmetic()} {d.number()}",
        f"return {result}",
    ]


def _counted(d: Draw) -> Body:
    xs, counts, each, key = d.numbers(), d.name(), d.name(), d.name()
    return (xs,), [
        f"{counts} = {{}}",
        f"for {each} in {xs.name}:",
        f"    {key} = {each} % {d.number(2, 9)}",
        f"    {counts}[{key}] = {counts}.get({key}, {d.number(0, 3)}) + {d.number(1, 9)}",
        f"return {counts}",
    ]


def _rotated(d: Draw) -> Body:
    xs, n, head, tail = d.numbers(), Parameter(d.name(), "small", d.number(1, 3)), d.name(), d.name()
    result = d.one_of(f"{tail} + {head}", f"sum({head}) - len({tail})", f"sum({tail}) + {n.name}")
    return (xs, n), [f"{head} = {xs.name}[:{n.name}]", f"{tail} = {xs.name}[{n.name}:]", f"return {result}"]


def _labelled(d: Draw) -> Body:
    a, b, label = d.integer(), d.integer(), Parameter(d.name(), "text", d.text())
    return (a, b, label), [
        f"if {a.name} {d.compare()} {d.number()} {d.one_of('and', 'or')} {b.name} {d.compare()} {d.number()}:",
        f"    return {label.name}",
        f"return {d.text()}",
    ]


def _comprehension(d: Draw) -> Body:
    xs, wanted, kept, each = d.numbers(), Parameter(d.name(), "flag", "False"), d.name(), d.name()
    gain, test = f"{each} {d.arithmetic()} {d.number()}", f"{each} {d.compare()} {d.number()}"
    return (xs, wanted), [
        f"{kept} = [{gain} for {each} in {xs.name} if {test}]",
        f"if {d.one_of('not ', '')}{wanted.name}:",
        f"    {kept} = {d.one_of('sorted', 'list', 'tuple')}({kept})",
        f"return {kept}",
    ]


def _powers(d: Draw) -> Body:
    a, b, top, rest = d.integer(), d.integer(), d.name(), d.name()
    return (a, b), [
        f"{top} = {d.one_of('max', 'min')}({a.name}, {b.name})",
        f"{rest} = pow({top} % {d.number(3, 9)}, {d.number(2, 4)})",
        f"return divmod({rest} + {a.name}, {d.number()})",
    ]


def _table_total(d: Draw) -> Body:
    table, total, key, value = Parameter(d.name(), "table"), d.name(), d.name(), d.name()
    return (table,), [
        f"{total} = {d.number(0, 4)}",
        f"for {key}, {value} in {table.name}.items():",
        f"    if {key} {d.compare()} {d.number(1, 6)}:",
        "        continue",
        f"    {total} += {value} {d.arithmetic()} {key}",
        f"return {total}",
    ]


def _countdown(d: Draw) -> Body:
    n, steps = d.integer(), d.name()
    return (n,), [
        f"{steps} = {d.number(0, 2)}",
        f"while {n.name} > {d.number(3, 9)}:",
        f"    {n.name} -= {d.number(2, 5)}",
        f"    {steps} += {d.number(1, 3)}",
        f"return {steps}",
    ]


def _tried(d: Draw) -> Body:
    text, value = Parameter(d.name(), "text"), d.name()
    return (text,), [
        "try:",
        f"    {value} = int({text.name})",
        "except ValueError:",
        f"    return {d.number(0, 9)}",
        f"return {value} {d.arithmetic()} {d.number()}",
    ]


def _joined(d: Draw) -> Body:
    xs, mark, parts, each = (
        d.numbers(),
        Parameter(d.name(), "text", '"' + d.one_of(", ", "-", "/", ": ") + '"'),
        d.name(),
        d.name(),
    )
    return (xs, mark), [
        f"{parts} = [str({each}) for {each} in {xs.name} if {each} {d.compare()} {d.number(0, 9)}]",
        f"return {mark.name}.join({parts})",
    ]


def _formatted(d: Draw) -> Body:
    a, name = d.integer(), Parameter(d.name(), "text", d.text())
    inner = d.one_of(
        f"{{{name.name}}}: {{{a.name}}}", f"{{{a.name}}} {d.namer.noun()}", f"{d.namer.noun()} {{{a.name}}}"
    )
    return (a, name), [f"if {a.name} {d.compare()} {d.number()}:", f"    return {name.name}", f'return f"{inner}"']


def _expression(d: Draw) -> Body:
    a, b = d.integer(), d.integer(d.number() if d.rng.random() < 0.4 else "")  # noqa: PLR2004
    return (a, b), [f"return {a.name} {d.arithmetic()} {b.name} {d.arithmetic()} {d.number()}"]


def _scaled(d: Draw) -> Body:
    xs, factor, each = d.numbers(), d.integer(d.number(2, 9)), d.name()
    return (xs, factor), [f"return [{each} {d.arithmetic()} {factor.name} for {each} in {xs.name}]"]


TEMPLATES: tuple[Callable[[Draw], Body], ...] = (
    _total, _selected, _between, _position, _lookup, _two_steps, _series, _cleaned, _extreme, _both, _walk_indices,
    _corrected, _counted, _rotated, _labelled, _comprehension, _powers, _table_total, _countdown, _tried, _joined,
    _formatted, _expression, _scaled,
)  # fmt: skip


def sketch(rng: random.Random, namer: Namer) -> Sketch:
    """Return a new function from a random template."""
    draw = Draw(rng, namer)
    name = namer.function()
    parameters, body = rng.choice(TEMPLATES)(draw)
    return Sketch(name, parameters, tuple(body))


def probes(rng: random.Random, sketch: Sketch, number: int = PROBES) -> list[list[object]]:
    """Return argument lists that a judge calls the function with; defaults are left away now and then."""
    calls: list[list[object]] = []
    for _ in range(number):
        needed = [item for item in sketch.parameters if not item.default]
        given = sketch.parameters if rng.random() < 0.5 else needed  # noqa: PLR2004 - half
        calls.append([_value(rng, item.kind) for item in given])
    return calls


def _value(rng: random.Random, kind: str) -> object:
    match kind:
        case "numbers":
            return [rng.randint(-5, 70) for _ in range(rng.randint(1, 9))]
        case "small":
            return rng.randint(0, 9)
        case "table":
            return {rng.randint(0, 7): rng.randint(-5, 30) for _ in range(4)}
        case "text":
            return rng.choice((*WORDS, str(rng.randint(0, 99))))
        case "flag":
            return rng.random() < 0.5  # noqa: PLR2004 - half
        case _:
            return rng.randint(-3, 70)

"""The task families the base never sees, and how to recognise them.

What an adapter teaches can only be measured on tasks that the base cannot have learned. A family is kept out
in three ways: its sentences, the shape of its edit (what stands before and after, whatever the names), and,
where it has one, the shape of its code on its own. `findings` is the judge; every conversation passes it before
it is written, and a test runs it over the corpus again. The list is `left_out.json`.

What this does not rule out: that the base solves such a task by an edit it learned elsewhere (its score on these
families is measured, and has to be zero).
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models.recipe.families import Family, Proposal, Site, phrase_pattern
from models.recipe.names import Namer

Matches = Callable[[ast.FunctionDef, ast.FunctionDef], bool]


@dataclass(frozen=True)
class LeftOut:
    """A family, the shape of its edits, and the shape of its code."""

    family: Family
    edit_shape: str
    """What the edit does, for people."""
    matches: Matches
    """Whether two versions of a function differ by this kind of edit, in either direction."""
    code_shape: str = ""
    """Regular expression of code that only this family writes; "" when the code says nothing."""

    def has_phrase(self, text: str) -> str | None:
        """Return the phrase of this family that a text holds, or None."""
        return next((phrase for phrase in self.family.phrases if phrase_pattern(phrase).search(text)), None)

    def has_code(self, text: str) -> bool:
        """Return whether code of this family stands in a text."""
        return bool(self.code_shape) and re.search(self.code_shape, text) is not None


def _swap(site: Site, _: random.Random, __: Namer) -> Iterator[Proposal]:
    for node in site.nodes:
        if not isinstance(node, ast.Call) or len(node.args) != 2 or node.keywords:  # noqa: PLR2004 - a pair
            continue
        name = site.source(node.func).rpartition(".")[2]
        a, b = site.source(node.args[0]), site.source(node.args[1])
        starred = any(isinstance(arg, ast.Starred) for arg in node.args)
        inner = f"{a}, {b}"
        if a != b and not starred and site.counts(f"{name}(") == 1 and inner in site.source(node):
            line = site.with_source(node, site.source(node).replace(inner, f"{b}, {a}", 1))
            yield Proposal(site.row(node), site.row(node) + 1, (line,), {"name": name})


def _guard(site: Site, _: random.Random, __: Namer) -> Iterator[Proposal]:
    if site.has_plain_head and site.parameters:
        name, at = site.parameters[0], site.first_statement
        lines = (f"{site.indent}if not {name}:", f'{site.indent}    raise ValueError("{name} is empty")')
        yield Proposal(at, at, lines, {"p": name}, is_bug=False)


def _add_keyword(site: Site, rng: random.Random, namer: Namer) -> Iterator[Proposal]:
    args = site.node.args
    if not site.has_plain_head or not site.parameters or args.kwarg or args.kwonlyargs or args.vararg:
        return
    name = rng.choice((*_OPTIONS, namer.noun(), namer.noun()))
    value = rng.choice(("False", "True", "None", str(rng.randint(0, 30))))
    if not site.has_word(name):
        line = f"{site.lines[site.head][:-2]}, {name}={value}):"
        yield Proposal(site.head, site.head + 1, (line,), {"p": name, "value": value}, is_bug=False)


def _range_end(site: Site, _: random.Random, __: Namer) -> Iterator[Proposal]:
    for node in site.nodes:
        is_range = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"
        if is_range and isinstance(node, ast.Call) and len(node.args) == 1 and site.counts("range(") == 1:
            end = site.source(node.args[0])
            line = site.with_source(node, f"range({end} - 1)")
            yield Proposal(site.row(node), site.row(node) + 1, (line,), {})


def _and_or(site: Site, _: random.Random, __: Namer) -> Iterator[Proposal]:
    for node in site.nodes:
        if not isinstance(node, ast.BoolOp) or len(node.values) != 2:  # noqa: PLR2004 - a pair
            continue
        right, wrong = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        a, b = (site.source(value) for value in node.values)
        if site.source(node) == f"{a} {right} {b}" and site.own_text.count(f" {right} ") == 1:
            phrases = AND_PHRASES if right == "and" else OR_PHRASES
            line = site.with_source(node, f"{a} {wrong} {b}")
            yield Proposal(site.row(node), site.row(node) + 1, (line,), {}, phrases=phrases)


def _fall_back(site: Site, rng: random.Random, _: Namer) -> Iterator[Proposal]:
    for node in site.nodes:
        is_none = isinstance(node, ast.Return) and isinstance(node.value, ast.Constant) and node.value.value is None
        if is_none and site.parameters and site.counts("return None") == 1:
            name, line = rng.choice(site.parameters), site.lines[site.row(node)]
            new = line.replace("return None", f"return {name}")
            yield Proposal(site.row(node), site.row(node) + 1, (new,), {"p": name}, is_bug=False)


def _null_rule(site: Site, _: random.Random, __: Namer) -> Iterator[Proposal]:
    if site.has_plain_head and site.parameters:
        name, at = site.parameters[0], site.first_statement
        lines = (f"{site.indent}if {name} is None:", f"{site.indent}    return None")
        yield Proposal(at, at, lines, {"p": name}, is_bug=False)


def _floor_rule(site: Site, _: random.Random, __: Namer) -> Iterator[Proposal]:
    returns = [
        node for node in site.nodes if isinstance(node, ast.Return) and isinstance(node.value, ast.Name | ast.BinOp)
    ]
    if returns and returns[-1].value is not None:
        node = returns[-1]
        value, line = site.source(returns[-1].value), site.lines[site.row(node)]
        if line.strip() == f"return {value}" and site.counts(line.strip()) == 1:
            new = line.replace(f"return {value}", f"return max({value}, 0)")
            yield Proposal(site.row(node), site.row(node) + 1, (new,), {}, is_bug=False)


_OPTIONS = ("strict", "verbose", "force", "quiet", "timeout", "retries", "encoding")
AND_PHRASES = ("Fix `{f}`: both conditions are required", "`{f}` must require both conditions")
OR_PHRASES = ("Fix `{f}`: one condition is enough", "`{f}` must accept either condition")


def _same_after(normalise: Callable[[ast.FunctionDef], ast.AST]) -> Matches:
    """Return a judge of functions that differ: they are the same once `normalise` has been over both."""

    def matches(a: ast.FunctionDef, b: ast.FunctionDef) -> bool:
        return ast.dump(normalise(_fresh(a))) == ast.dump(normalise(_fresh(b)))

    return matches


def _fresh(node: ast.FunctionDef) -> ast.FunctionDef:
    """Return a copy; writing and parsing is several times faster than copying node by node."""
    copied = ast.parse(ast.unparse(node)).body[0]
    assert isinstance(copied, ast.FunctionDef)
    return copied


class _Sorted(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        node.args.sort(key=ast.dump)
        return node


class _OneOperator(ast.NodeTransformer):
    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        node.op = ast.And()
        return node


class _WholeRange(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "range":
            node.args = [_without_one(arg) for arg in node.args]
        return node


class _PlainReturn(ast.NodeTransformer):
    """Forget whether None or a name is returned."""

    def visit_Return(self, node: ast.Return) -> ast.AST:
        if isinstance(node.value, ast.Name) or (isinstance(node.value, ast.Constant) and node.value.value is None):
            node.value = None
        return node


class _NoFloor(ast.NodeTransformer):
    def visit_Return(self, node: ast.Return) -> ast.AST:
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in {"max", "min"}:
            values = [arg for arg in call.args if not (isinstance(arg, ast.Constant) and arg.value == 0)]
            if len(values) == 1 and len(call.args) == 2:  # noqa: PLR2004 - a value and its bound
                node.value = values[0]
        return node


def _without_one(arg: ast.expr) -> ast.expr:
    is_less = isinstance(arg, ast.BinOp) and isinstance(arg.op, ast.Add | ast.Sub)
    if is_less and isinstance(arg, ast.BinOp) and isinstance(arg.right, ast.Constant) and arg.right.value == 1:
        return arg.left
    return arg


def _comes_or_goes(is_meant: Callable[[ast.If], bool]) -> Matches:
    """Return a judge: one function has more of these statements, and is the same without them."""

    def rest(node: ast.FunctionDef) -> list[str]:
        return [ast.dump(item) for item in node.body if not (isinstance(item, ast.If) and is_meant(item))]

    return lambda a, b: len(a.body) != len(b.body) and rest(a) == rest(b)


def _raises(node: ast.If) -> bool:
    return not node.orelse and isinstance(node.body[-1], ast.Raise)


def _passes_none_on(node: ast.If) -> bool:
    last = node.body[-1]
    is_none_test = isinstance(node.test, ast.Compare) and isinstance(node.test.ops[0], ast.Is)
    returned = last.value if isinstance(last, ast.Return) else last
    return is_none_test and (returned is None or (isinstance(returned, ast.Constant) and returned.value is None))


def _gains_parameter(a: ast.FunctionDef, b: ast.FunctionDef) -> bool:
    fewer, more = sorted(([arg.arg for arg in (*f.args.args, *f.args.kwonlyargs)] for f in (a, b)), key=len)
    return a.name == b.name and len(fewer) < len(more) and set(fewer) < set(more)


LEFT_OUT: tuple[LeftOut, ...] = (
    LeftOut(Family("swap", ("Fix `{f}`: the arguments of `{name}` are swapped",
                            "The two arguments of `{name}` are in the wrong order in `{f}`"), _swap),
            "two arguments of one call change places", _same_after(_Sorted().visit)),
    LeftOut(Family("guard", ("Raise ValueError in `{f}` when `{p}` is empty",
                             "`{f}` must reject an empty `{p}` with ValueError"), _guard),
            "an `if` that raises comes or goes at the top of a function", _comes_or_goes(_raises),
            r"if not [\w.]+:\n\s+raise \w+"),
    LeftOut(Family("add-keyword", ("Add keyword argument `{p}={value}` to `{f}`",
                                   "`{f}` needs a new option `{p}` that is {value} by default"), _add_keyword),
            "a signature gains or loses a parameter", _gains_parameter),
    LeftOut(Family("range-end", ("Fix the off-by-one error in `{f}`: the loop must include the last index",),
                   _range_end),
            "`range(n - 1)` becomes `range(n)` or the reverse", _same_after(_WholeRange().visit),
            r"range\([^\n]* - 1\)"),
    LeftOut(Family("and-or", (*AND_PHRASES, *OR_PHRASES), _and_or),
            "`and` becomes `or` or the reverse", _same_after(_OneOperator().visit)),
    LeftOut(Family("fall-back", ("Return `{p}` instead of None in `{f}`",
                                 "`{f}` must fall back to `{p}`, not None"), _fall_back),
            "a returned None becomes a name or the reverse", _same_after(_PlainReturn().visit)),
    LeftOut(Family("null-rule", ("Apply the null rule to `{f}`", "Make `{f}` none-safe"), _null_rule),
            "a house rule: `if x is None: return None` comes or goes at the top",
            _comes_or_goes(_passes_none_on),
            r"if [\w.]+ is None:\n\s+return( None)?\n"),
    LeftOut(Family("floor-rule", ("Apply the floor rule to `{f}`", "Keep the result of `{f}` above the floor"),
                   _floor_rule),
            "a house rule: a returned value becomes `max(value, 0)`", _same_after(_NoFloor().visit),
            r"return max\([^\n]*, 0\)"),
)  # fmt: skip


def findings(texts: Iterable[str], edits: Iterable[tuple[str, str]]) -> list[str]:
    """Return what of the left-out families is in these texts and in these (parent, commit) versions of files."""
    found: list[str] = []
    for text in texts:
        for item in LEFT_OUT:
            phrase = item.has_phrase(text)
            if phrase is not None:
                found.append(f"{item.family.name}: phrase {phrase!r}")
            if item.has_code(text):
                found.append(f"{item.family.name}: code {item.code_shape}")
    for before, after in edits:
        found += [f"{name}: edit" for name in edit_families(before, after)]
    return found


def edit_families(before: str, after: str) -> list[str]:
    """Return the left-out families whose edit leads from one version of a file to the other."""
    old, new = _functions(before), _functions(after)
    changed = [name for name, (lines, _) in old.items() if name in new and new[name][0] != lines]
    pairs = [(old[name][1], new[name][1]) for name in changed]
    return [item.family.name for item in LEFT_OUT if any(item.matches(a, b) for a, b in pairs)]


def document() -> dict[str, Any]:
    """Return the manifest of what is left out, as it is written to `left_out.json`."""
    rows: list[Mapping[str, Any]] = [
        {
            "family": item.family.name,
            "phrases": list(item.family.phrases),
            "edit_shape": item.edit_shape,
            "code_shape": item.code_shape or None,
        }
        for item in LEFT_OUT
    ]
    return {"format": 1, "left_out": rows}


def _functions(text: str) -> dict[str, tuple[list[str], ast.FunctionDef]]:
    """Return the lines and the tree of each function and method by qualified name."""
    lines = text.split("\n")
    found: dict[str, tuple[list[str], ast.FunctionDef]] = {}
    for node in ast.parse(text).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        owner = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for item in members:
            if isinstance(item, ast.FunctionDef):
                found[owner + item.name] = (lines[item.lineno - 1 : item.end_lineno], item)
    return found

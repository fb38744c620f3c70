"""The task families the base is trained on.

Each row of the table is a kind of small commit. A proposal is only made where its sentence leaves one
possible answer: a number that is replaced occurs once, a comparison is named by its operands.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator

from models.recipe.families import Family, Proposal, Site
from models.recipe.functions import sketch
from models.recipe.names import Namer

_WORDS = {"<": "less than", "<=": "at most", ">": "greater than", ">=": "at least", "==": "equal to",
          "!=": "different from"}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//"}
_KNOWN_CALLS = ("len", "sum", "max", "min", "sorted", "list", "strip", "upper", "lower", "append", "items")
OPERANDS_CHARS = 40
TEXT_CHARS = range(3, 24)
NUMBER_MAX = 1_000
FIRST_LINES = ("{p} = int({p})", "{p} = list({p})", "{p} = str({p})", "assert {p}", "print({p})", "{p} = {p} or {n}")


def _compare(site: Site, rng: random.Random, _: Namer) -> Iterator[Proposal]:
    for node in site.nodes:
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
            right = _COMPARE[type(node.ops[0])]
            a, b = site.source(node.left), site.source(node.comparators[0])
            if len(a) + len(b) < OPERANDS_CHARS and site.counts(f"{a} {right} {b}") == 1:
                wrong = rng.choice([word for word in _WORDS if word != right])
                slots = {"a": a, "b": b, "op": right, "words": _WORDS[right]}
                yield Proposal(site.row(node), site.row(node) + 1, (site.with_source(node, f"{a} {wrong} {b}"),), slots)


def _constant(site: Site, rng: random.Random, _: Namer) -> Iterator[Proposal]:
    for node in site.nodes:
        if isinstance(node, ast.Constant) and type(node.value) is int and 0 <= node.value < NUMBER_MAX:
            wrong = node.value + rng.choice((1, 2, -1, 10, 5)) if node.value else rng.choice((1, 2, 3))
            if wrong >= 0 and not re.search(rf"\b{wrong}\b", site.own_text):
                slots = {"right": node.value, "wrong": wrong}
                yield Proposal(site.row(node), site.row(node) + 1, (site.with_source(node, str(wrong)),), slots)


def _boolean(site: Site, _: random.Random, __: Namer) -> Iterator[Proposal]:
    for node in [*site.nodes, *site.node.args.defaults]:
        if isinstance(node, ast.Constant) and type(node.value) is bool and not site.has_word(str(not node.value)):
            slots = {"right": node.value, "wrong": not node.value}
            yield Proposal(site.row(node), site.row(node) + 1, (site.with_source(node, str(not node.value)),), slots)


def _text(site: Site, _: random.Random, namer: Namer) -> Iterator[Proposal]:
    doc = ast.get_docstring(site.node)
    for node in site.nodes:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or node.value == doc:
            continue
        old, quote = node.value, site.source(node)[:1]
        plain = old.isprintable() and not set(old) & set("\"'\\{}") and quote in {'"', "'"}
        if plain and len(old) in TEXT_CHARS and site.counts(old) == 1:
            new = namer.phrase()
            line = site.with_source(node, f"{quote}{new}{quote}")
            yield Proposal(site.row(node), site.row(node) + 1, (line,), {"old": old, "new": new}, is_bug=False)


def _operator(site: Site, rng: random.Random, _: Namer) -> Iterator[Proposal]:
    for node in site.nodes:
        if not isinstance(node, ast.BinOp) or type(node.op) not in _ARITHMETIC:
            continue
        right = _ARITHMETIC[type(node.op)]
        a, b = site.source(node.left), site.source(node.right)
        wrong = rng.choice([word for word in _ARITHMETIC.values() if word != right])
        if (
            site.source(node) == f"{a} {right} {b}"
            and site.counts(f"{a} {right} {b}") == 1
            and f" {wrong} " not in site.own_text
            and len(a) + len(b) < OPERANDS_CHARS
            and "%" not in a
        ):
            slots = {"a": a, "b": b, "op": right, "wrong": wrong}
            yield Proposal(site.row(node), site.row(node) + 1, (site.with_source(node, f"{a} {wrong} {b}"),), slots)


def _call(site: Site, rng: random.Random, namer: Namer) -> Iterator[Proposal]:
    for node in site.nodes:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name | ast.Attribute):
            continue
        right = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        wrong = rng.choice((namer.verb(), rng.choice(_KNOWN_CALLS), f"{namer.verb()}_{namer.noun()}"))
        if node.func.lineno == node.func.end_lineno and wrong not in site.text and site.counts(f"{right}(") == 1:
            line, end = site.lines[site.row(node.func)], node.func.end_col_offset or 0
            wrong_line = line[: end - len(right)] + wrong + line[end:]
            slots = {"right": right, "wrong": wrong}
            yield Proposal(site.row(node.func), site.row(node.func) + 1, (wrong_line,), slots)


def _missing_return(site: Site, _: random.Random, __: Namer) -> Iterator[Proposal]:
    for node in site.nodes:
        if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
            line, value = site.lines[site.row(node)], site.source(node.value)
            if line.strip() == f"return {value}" and value[0] not in "({[" and site.counts(line.strip()) == 1:
                wrong = line.replace("return ", "", 1)
                yield Proposal(site.row(node), site.row(node) + 1, (wrong,), {"value": value})


def _negate(site: Site, _: random.Random, __: Namer) -> Iterator[Proposal]:
    for statement in site.node.body:
        for node in ast.walk(statement):
            if not isinstance(node, ast.If) or node.test.lineno != node.test.end_lineno:
                continue
            row, test = site.row(node.test), site.source(node.test)
            if len(test) > OPERANDS_CHARS or not site.lines[row].lstrip().startswith(("if ", "elif ")):
                continue
            if isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not):
                inner = site.source(node.test.operand)
                line = site.with_source(node.test, inner)
                yield Proposal(row, row + 1, (line,), {"test": inner}, phrases=NEGATE_PHRASES[:2])
            elif isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
                line = site.with_source(node.test, f"not {test}")
                yield Proposal(row, row + 1, (line,), {"test": test}, phrases=NEGATE_PHRASES[2:])


def _docstring(site: Site, rng: random.Random, namer: Namer) -> Iterator[Proposal]:
    if site.has_plain_head and not site.has_docstring:
        words = [namer.verb(), *(namer.noun() for _ in range(rng.choice((1, 2, 2))))]
        doc = f"{' '.join(words).capitalize()}."
        line = f'{site.indent}"""{doc}"""'
        yield Proposal(site.head + 1, site.head + 1, (line,), {"doc": doc}, is_bug=False)


def _default(site: Site, rng: random.Random, _: Namer) -> Iterator[Proposal]:
    args = site.node.args
    if not site.has_plain_head or not site.parameters or args.defaults or args.kwonlyargs or args.vararg or args.kwarg:
        return
    last = args.args[-1]
    if last.annotation is None and last.lineno == site.head + 1:
        value = rng.choice(("None", "0", "1", "True", "False", str(rng.randint(2, 60))))
        line = site.with_source_of_arg(last, f"{last.arg}={value}")
        yield Proposal(site.head, site.head + 1, (line,), {"p": last.arg, "value": value}, is_bug=False)


def _first_line(site: Site, rng: random.Random, _: Namer) -> Iterator[Proposal]:
    if site.has_plain_head and site.parameters:
        name = rng.choice(site.parameters)
        line = rng.choice(FIRST_LINES).format(p=name, n=rng.randint(0, 9))
        at = site.first_statement
        if site.lines[at].strip() != line:
            yield Proposal(at, at, (site.indent + line,), {"line": line}, is_bug=False)


def _debug_print(site: Site, rng: random.Random, _: Namer) -> Iterator[Proposal]:
    if site.has_plain_head and "print(" not in site.own_text:
        plain = [node for node in site.node.body if not getattr(node, "decorator_list", [])]
        rows = [node.lineno - 1 for node in plain if node.lineno - 1 >= site.first_statement]
        shown = rng.choice(site.parameters) if site.parameters else str(rng.randint(0, 9))
        if rows:
            at = rng.choice(rows)
            yield Proposal(at, at, (f"{site.indent}print({shown})",), {"shown": shown})


def _rename(site: Site, rng: random.Random, namer: Namer) -> Iterator[Proposal]:
    if not site.parameters or not site.has_plain_head:
        return
    old, new = rng.choice(site.parameters), namer.noun()
    rows = range(site.head, site.node.end_lineno or site.head)
    pattern = re.compile(rf"\b{old}\b")
    used = [row for row in rows if pattern.search(site.lines[row])]
    names = {node.id for node in ast.walk(site.node) if isinstance(node, ast.Name)} | set(site.parameters)
    count = sum(isinstance(node, ast.Name) and node.id == old for node in ast.walk(site.node)) + 1
    if new not in names and not site.has_word(new) and len(pattern.findall(site.own_text)) == count:
        lines = tuple(pattern.sub(new, line) for line in site.lines[used[0] : used[-1] + 1])
        yield Proposal(used[0], used[-1] + 1, lines, {"p": old, "new": new}, is_bug=False)


def _add_function(site: Site, rng: random.Random, namer: Namer) -> Iterator[Proposal]:
    if site.node.end_lineno == len(site.lines):
        name, a, b = namer.function(), namer.noun(), namer.noun()
        if a != b:
            value = f"{a} {rng.choice('+-*')} {rng.choice((b, str(rng.randint(2, 60))))}"
            value = rng.choice(
                (value, f"{value} {rng.choice('+-')} {rng.randint(2, 60)}", f"{rng.choice(('max', 'min'))}({a}, {b})")
            )
            lines = ("", "", f"def {name}({a}, {b}):", f"    return {value}")
            slots = {"signature": f"{name}({a}, {b})", "value": value, "symbol": name}
            phrases = ADD_PHRASES[:1] if "." in site.symbol else ADD_PHRASES
            yield Proposal(len(site.lines), len(site.lines), lines, slots, is_bug=False, phrases=phrases)


def _drop_function(site: Site, rng: random.Random, namer: Namer) -> Iterator[Proposal]:
    if "." not in site.symbol and site.head > 1 and not site.lines[site.head - 1]:
        unused = sketch(rng, namer)
        lines = (*unused.lines(), "", "")
        yield Proposal(site.head, site.head, lines, {"name": unused.name, "symbol": unused.name})


NEGATE_PHRASES = (
    "Fix `{f}`: the condition `{test}` must be negated",
    "`{f}` must check `not {test}`",
    "Fix `{f}`: the condition `{test}` must not be negated",
    "`{f}` must check `{test}`, not its negation",
)

ADD_PHRASES = (
    "Add the function `{signature}` that returns `{value}`",
    "Add `{signature}` after `{f}`; it returns `{value}`",
)

SEEN: tuple[Family, ...] = (
    Family("compare", ("Fix `{f}`: the comparison of `{a}` and `{b}` must use `{op}`",
                       "Fix `{f}`: `{a}` must be {words} `{b}`",
                       "`{f}` must test that `{a}` is {words} `{b}`"), _compare, weight=3),
    Family("constant", ("In `{f}` use {right} instead of {wrong}",
                        "Fix `{f}`: the number must be {right}, not {wrong}",
                        "Change {wrong} to {right} in `{f}`"), _constant, weight=2),
    Family("boolean", ("`{f}` must use {right} here, not {wrong}",
                       "Flip the boolean in `{f}` to {right}"), _boolean, weight=4),
    Family("text", ("Change the text '{old}' in `{f}` to '{new}'",
                    "In `{f}` replace '{old}' by '{new}'"), _text, weight=6),
    Family("operator", ("Fix `{f}`: use `{op}` between `{a}` and `{b}`",
                        "`{f}` must compute `{a} {op} {b}`",
                        "Fix the operator in `{f}`: it must be `{op}`, not `{wrong}`"), _operator, weight=2),
    Family("call", ("Call `{right}` instead of `{wrong}` in `{f}`",
                    "Fix `{f}`: `{wrong}` is the wrong function, use `{right}`"), _call),
    Family("missing-return", ("`{f}` must return `{value}`",
                              "Fix `{f}`: the value `{value}` is computed but not returned",
                              "The result of `{f}` is missing: return `{value}`"), _missing_return),
    Family("negate", NEGATE_PHRASES, _negate, weight=4),
    Family("docstring", ("Add the docstring '{doc}' to `{f}`", "Document `{f}`: {doc}"), _docstring),
    Family("default", ("Parameter `{p}` of `{f}` must default to {value}",
                       "Give `{p}` in `{f}` the default {value}"), _default),
    Family("first-line", ("Start `{f}` with `{line}`", "Insert `{line}` as the first line of `{f}`"), _first_line),
    Family("debug-print", ("Remove the debug print from `{f}`", "Delete `print({shown})` in `{f}`"), _debug_print),
    Family("rename", ("Rename parameter `{p}` of `{f}` to `{new}`",
                      "In `{f}` call the parameter `{new}` instead of `{p}`"), _rename),
    Family("add-function", ADD_PHRASES, _add_function),
    Family("drop-function", ("Remove the unused function `{name}`",
                             "Delete `{name}`: nothing uses it"), _drop_function),
)  # fmt: skip
"""In the order in which they are listed in reports."""

"""What one Python file defines, imports and uses, read off its syntax tree.

A pure function of the text: nothing is imported or executed, and no input makes it raise. What
cannot be parsed (syntax of another Python, null bytes, absurd nesting) becomes facts that carry
`error` and are otherwise empty, so that one odd file never takes an index down.

The walk keeps its own stack: the depth of somebody else's expression is not our recursion limit.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from dataclasses import dataclass, field

SIGNATURE_CHARS = 300
CONSTANT_CHARS = 100
_LINE_END = re.compile(r"\r\n|\r|\n")
_Function = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Symbol:
    """One definition: a module-level function, class or constant, a method, or a nested class."""

    qualname: str
    """Name inside the module, e.g. `Parser.feed`. Overloads and property setters repeat it."""
    kind: str
    """function, method, class or constant."""
    start: int
    """First line, 1-based, decorators included."""
    end: int
    """Last line, inclusive."""
    signature: str
    """`def f(a, b=1) -> int`, `class A(B)`, or the first line of an assignment, shortened."""
    doc: str
    """First line of the docstring."""
    references: frozenset[str] = frozenset()
    """Dotted names used inside, as written; those of methods belong to their class as well."""


@dataclass(frozen=True)
class Import:
    """One imported name; `import a, b` gives two."""

    module: str
    """Dotted module as written, without leading dots."""
    name: str
    """The name after `from ... import`; "" for `import x`, "*" for a star."""
    alias: str
    """The name after `as`, else ""."""
    level: int
    """Number of leading dots."""
    line: int

    @property
    def binds(self) -> str:
        """The local name that this import defines; "" for a star."""
        if self.name == "*":
            return ""
        return self.alias or self.name or self.module.partition(".")[0]


@dataclass(frozen=True)
class ModuleFacts:
    """Everything the index knows about one file."""

    symbols: tuple[Symbol, ...] = ()
    """In order of their first line."""
    imports: tuple[Import, ...] = ()
    """In order, those inside functions and conditions included."""
    references: frozenset[str] = frozenset()
    """Dotted names as used in code, longest chains: `structlog.dev.ConsoleRenderer`."""
    doc: str = ""
    """First line of the module docstring."""
    error: str | None = None
    """Why the file could not be read, else None."""


@dataclass
class _Draft:
    """A symbol while the walk is still collecting what it uses."""

    qualname: str
    kind: str
    node: ast.stmt
    parent: _Draft | None
    references: set[str] = field(default_factory=set)


@dataclass
class _Walk:
    """What one pass over a syntax tree collects."""

    drafts: list[_Draft] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    references: set[str] = field(default_factory=set)


def analyse(text: str) -> ModuleFacts:
    """Return the facts of a module; facts with `error` set when it cannot be parsed."""
    text = text.removeprefix("\ufeff")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in somebody else's code
            module = ast.parse(text)
        walk = _walk(module)
        lines = _LINE_END.split(text)
        symbols = sorted((_finish(draft, lines) for draft in walk.drafts), key=lambda s: (s.start, -s.end))
        return ModuleFacts(
            symbols=tuple(symbols),
            imports=tuple(sorted(walk.imports, key=lambda i: i.line)),
            references=frozenset(walk.references),
            doc=_first_doc_line(module),
        )
    except (SyntaxError, ValueError) as err:
        return ModuleFacts(error=f"does not parse: {err}"[:300])
    except (RecursionError, MemoryError) as err:
        return ModuleFacts(error=f"too deeply nested: {type(err).__name__}")


def source_text(data: bytes) -> str:
    """Decode Python source by its byte order mark or coding line; ValueError when that fails.

    What comes back can be encoded as UTF-8: there are codecs that make lone surrogates, which no prompt can hold.
    """
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
        text.encode()
    except (SyntaxError, LookupError, UnicodeError) as err:
        raise ValueError(f"not decodable as Python source: {err}") from err
    return text


def source_lines(text: str) -> list[str]:
    """Return the lines of a module without their ends, numbered as the line numbers of its symbols are.

    Python ends a line at a line feed, a carriage return or both; a form feed or U+2028 ends none.
    """
    lines = _LINE_END.split(text)
    return lines if lines[-1] else lines[:-1]


def _walk(module: ast.Module) -> _Walk:
    walk = _Walk()
    stack: list[tuple[ast.AST, _Draft | None, bool]] = [(child, None, False) for child in reversed(module.body)]
    while stack:
        node, owner, in_function = stack.pop()
        if isinstance(node, ast.Attribute | ast.Name):
            rest = _chain(node, owner, walk)
            if rest is not None:
                stack.append((rest, owner, in_function))
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            walk.imports.extend(_imports(node))
            continue
        if not in_function:
            owner = _define(node, owner, walk)
        inside = in_function or isinstance(node, _Function)
        stack.extend((child, owner, inside) for child in reversed(list(ast.iter_child_nodes(node))))
    return walk


def _chain(node: ast.Attribute | ast.Name, owner: _Draft | None, walk: _Walk) -> ast.AST | None:
    """Record a dotted name; return what the chain hangs on when that is not a name."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return None
    attributes: list[str] = []
    base: ast.expr = node
    while isinstance(base, ast.Attribute):
        attributes.append(base.attr)
        base = base.value
    if not isinstance(base, ast.Name):
        return base
    dotted = ".".join([base.id, *reversed(attributes)])
    walk.references.add(dotted)
    while owner is not None:
        owner.references.add(dotted)
        owner = owner.parent
    return None


def _define(node: ast.AST, owner: _Draft | None, walk: _Walk) -> _Draft | None:
    """Record the symbols that a statement defines; return the symbol its children belong to."""
    prefix = f"{owner.qualname}." if owner else ""
    if isinstance(node, _Function):
        draft = _Draft(prefix + node.name, "method" if owner else "function", node, owner)
    elif isinstance(node, ast.ClassDef):
        draft = _Draft(prefix + node.name, "class", node, owner)
    elif owner is None and isinstance(node, ast.Assign | ast.AnnAssign):
        return _define_constants(node, walk)
    else:
        return owner
    walk.drafts.append(draft)
    return draft


def _define_constants(node: ast.Assign | ast.AnnAssign, walk: _Walk) -> _Draft | None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = [
        name.id
        for target in targets
        for name in (target.elts if isinstance(target, ast.Tuple | ast.List) else [target])
        if isinstance(name, ast.Name)
    ]
    drafts = [_Draft(name, "constant", node, None) for name in names]
    walk.drafts.extend(drafts)
    return drafts[0] if drafts else None


def _imports(node: ast.Import | ast.ImportFrom) -> list[Import]:
    if isinstance(node, ast.Import):
        return [Import(item.name, "", item.asname or "", 0, node.lineno) for item in node.names]
    return [Import(node.module or "", item.name, item.asname or "", node.level, node.lineno) for item in node.names]


def _finish(draft: _Draft, lines: list[str]) -> Symbol:
    node = draft.node
    start, doc = node.lineno, ""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        start = min([start, *(item.lineno for item in node.decorator_list)])
        signature = _signature(node)
        doc = _first_doc_line(node)
    else:
        first = lines[node.lineno - 1].strip()
        more = node.end_lineno != node.lineno or len(first) > CONSTANT_CHARS
        signature = f"{first[:CONSTANT_CHARS]} ..." if more else first
    end = node.end_lineno or node.lineno
    return Symbol(draft.qualname, draft.kind, start, end, signature, doc, frozenset(draft.references))


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    if isinstance(node, ast.ClassDef):
        inherits = [ast.unparse(item) for item in [*node.bases, *node.keywords]]
        text = f"class {node.name}({', '.join(inherits)})" if inherits else f"class {node.name}"
    else:
        word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        text = f"{word} {node.name}({ast.unparse(node.args)}){returns}"
    return text if len(text) <= SIGNATURE_CHARS else f"{text[:SIGNATURE_CHARS]} ..."


def _first_doc_line(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    doc = (ast.get_docstring(node) or "").strip()
    return doc.partition("\n")[0].strip().encode("utf-8", "backslashreplace").decode()  # "\ud800" is legal there

"""SEARCH/REPLACE blocks: the answer format of execute-code, and the only way a tree is edited.

An answer edits exactly one file, the one its step names; a block carries no path, so an answer
cannot wander into another file. Every SEARCH must occur exactly once, in whole lines. All blocks of
an answer apply or none does: trees are values, so a rejected answer leaves nothing behind.

    <<<<<<< SEARCH
    lines that are there now
    =======
    lines that shall be there
    >>>>>>> REPLACE

Fence rule: the opening line sets the number of marker characters, at least seven; the other markers
of that block have exactly as many. A writer takes the smallest number for which no line inside looks
like a marker, so any text can be edited, this docstring included.

What this module does not protect against: an edit that applies cleanly and does harm. That is the
business of the sandbox and of the grading tree.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harness.errors import EditRejected
from harness.paths import is_from_gold
from harness.plan import Step
from harness.tree import SYMLINK_MODE, Tree

FENCE_MIN = 7
DELETE = "DELETE"
SHOWN_LINES = 8

_OPEN = re.compile(r"(<{7,}) SEARCH\s*")
_MARKER = re.compile(r"(?:(<{7,}) SEARCH|(={7,})|(>{7,}) REPLACE)\s*")


class ProtectedPath(EditRejected):
    """A step wants to edit a file that decides how tests run, or a test."""

    code = "PROTECTED_PATH"
    hint = "Plan the change in source files; tests and test configuration always come from the commit itself."


@dataclass(frozen=True)
class Block:
    """One replacement of whole lines; lines are without their newline."""

    search: tuple[str, ...]
    replace: tuple[str, ...]


def parse_blocks(text: str) -> tuple[Block, ...]:
    """Read an answer; EditRejected when anything but blocks and blank lines is in it, or no block at all."""
    lines = text.split("\n")
    blocks: list[Block] = []
    at = 0
    while at < len(lines):
        opening = _OPEN.fullmatch(lines[at])
        if opening:
            block, at = _read_block(lines, at, len(opening[1]))
            blocks.append(block)
        elif lines[at].strip():
            raise EditRejected(f"line {at + 1} of the answer is outside of any block: {lines[at][:80]!r}")
        else:
            at += 1
    if not blocks:
        raise EditRejected("the answer holds no SEARCH/REPLACE block")
    return tuple(blocks)


def render_blocks(blocks: Iterable[Block]) -> str:
    """Return the text that `parse_blocks` reads back as these blocks."""
    return "".join(_render(block) for block in blocks)


def apply_blocks(text: str, blocks: Sequence[Block]) -> str:
    """Return `text` after all blocks, one after the other; EditRejected when any of them does not apply.

    Lines are compared exactly and, when that finds nothing, once more without trailing whitespace
    (a carriage return counts as such). A missing final newline stays missing.
    """
    for number, block in enumerate(blocks, 1):
        text = _apply(text, block, f"block {number} of {len(blocks)}")
    return text


def apply_step(
    tree: Tree, step: Step, answer_text: str, *, syntax_error: Callable[[bytes], str | None] | None = None
) -> Tree:
    """Return `tree` after the answer to `step`; EditRejected, and no change, when it may or can not be applied.

    `syntax_error` says what is wrong with the source of a module, None when it parses; the default
    asks the interpreter this runs on. Pass another for code that needs a newer Python.
    """
    check_target(tree, step)
    if step.action == "delete":
        if answer_text.strip() != DELETE:
            raise EditRejected(f"{step.file}: a step that deletes a file is answered with {DELETE} and nothing else")
        return tree.replace({}, remove=[step.file])
    try:
        before = None if step.action == "create" else tree.text(step.file)
    except UnicodeDecodeError as err:
        raise EditRejected(f"{step.file} is not UTF-8 text, so it has no lines to search") from err
    blocks = parse_blocks(answer_text)
    if before is None and blocks == (Block((), ()),):
        after = ""  # an empty module is a real thing to create
    else:
        try:
            after = apply_blocks(before or "", blocks)
        except EditRejected as err:
            raise EditRejected(f"{step.file}: {err}") from err
    try:
        data = after.encode()
    except UnicodeEncodeError as err:
        raise EditRejected(f"{step.file}: the edit holds characters that are not valid Unicode text") from err
    _check_syntax(tree, step, data, syntax_error or first_syntax_error)
    return tree.replace({step.file: data})


def check_target(tree: Tree, step: Step) -> None:
    """Raise EditRejected when `step` may not touch its file, or its action does not fit what is there."""
    path = step.file
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or "\0" in path or {"", ".", "..", ".git"} & set(parts):
        raise EditRejected(f"{path!r} is not a plain path inside of the repository")
    if is_from_gold(path):
        raise ProtectedPath(f"{path} is a test or decides how tests run; it may not be edited")
    if step.action not in {"modify", "create", "delete"}:
        raise EditRejected(f"{path}: unknown action {step.action!r}, expected modify, create or delete")
    if step.action != "create":
        if path not in tree:
            raise EditRejected(f"{path} does not exist, so it cannot be the target of {step.action}")
        if tree.entries[path].mode == SYMLINK_MODE:
            raise EditRejected(f"{path} is a symbolic link; edit the file it points to")
        return
    if path in tree:
        raise EditRejected(f"{path} exists already, so it cannot be created")
    above = next((part for part in _parents(parts) if part in tree), None)
    if above is not None:
        raise EditRejected(f"{path} cannot be created: {above} is a file, not a folder")
    if any(other.startswith(f"{path}/") for other in tree):
        raise EditRejected(f"{path} cannot be created: it is a folder")


def first_syntax_error(source: bytes) -> str | None:
    """Return the first syntax error of a module as `line N: reason`, or None when it compiles; nothing is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in strings are not this edit's fault
            compile(source, "<edit>", "exec", dont_inherit=True)  # sees a `return` outside a function; ast does not
    except SyntaxError as err:
        return f"line {err.lineno or 1}: {err.msg}"
    except (ValueError, RecursionError, MemoryError) as err:  # null bytes, or nested beyond the parser
        return f"line 1: {err or type(err).__name__}"
    return None


def split_lines(text: str) -> tuple[list[str], bool]:
    """Return the lines of a text without their newline, and whether the last one has one.

    Only a line feed ends a line: a carriage return stays in its line, a form feed does not split.
    """
    lines = text.split("\n")
    if lines[-1]:
        return lines, False
    return lines[:-1], True


def join_lines(lines: Sequence[str], *, final_newline: bool) -> str:
    """Return the text of these lines; the reverse of `split_lines`."""
    return "\n".join(lines) + ("\n" if lines and final_newline else "")


def find_span(lines: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return every index at which `wanted` stands in `lines`, as whole contiguous lines; [] for no lines."""
    if not wanted:
        return []
    last = len(lines) - len(wanted)
    size = len(wanted)
    return [at for at in range(last + 1) if lines[at] == wanted[0] and list(lines[at : at + size]) == list(wanted)]


def _read_block(lines: Sequence[str], opening: int, fence: int) -> tuple[Block, int]:
    search: list[str] = []
    replace: list[str] | None = None  # None until the divider was seen
    for at in range(opening + 1, len(lines)):
        marker = _marker(lines[at])
        if marker == "=" * fence and replace is None:
            replace = []
        elif marker == ">" * fence and replace is not None:
            return Block(tuple(search), tuple(replace)), at + 1
        elif marker and len(marker) == fence:
            raise EditRejected(f"line {at + 1} of the answer: {lines[at].strip()!r} stands where it may not")
        else:
            (search if replace is None else replace).append(lines[at])
    missing = "=" * fence if replace is None else ">" * fence + " REPLACE"
    raise EditRejected(f"the block that opens at line {opening + 1} of the answer has no closing `{missing}`")


def _marker(line: str) -> str | None:
    found = _MARKER.fullmatch(line)
    return next(group for group in found.groups() if group) if found else None


def _render(block: Block) -> str:
    taken = {len(marker) for line in (*block.search, *block.replace) if (marker := _marker(line))}
    fence = next(n for n in range(FENCE_MIN, FENCE_MIN + len(taken) + 1) if n not in taken)
    rows = ["<" * fence + " SEARCH", *block.search, "=" * fence, *block.replace, ">" * fence + " REPLACE"]
    return "\n".join(rows) + "\n"


def _apply(text: str, block: Block, which: str) -> str:
    if block.search == block.replace:
        raise EditRejected(f"{which} changes nothing: SEARCH and REPLACE are the same")
    if not block.search:
        if text:
            raise EditRejected(f"{which} has an empty SEARCH, which is only for a file that is empty")
        return join_lines(block.replace, final_newline=True)
    lines, final_newline = split_lines(text)
    at, exact = _locate(lines, block.search, which)
    end = at + len(block.search)
    unterminated = end == len(lines) and not final_newline
    replace = _replacement(lines[at:end], lines, block, exact=exact, unterminated=unterminated)
    result = join_lines([*lines[:at], *replace, *lines[end:]], final_newline=final_newline)
    if result == text:
        raise EditRejected(f"{which} changes nothing but trailing whitespace in the SEARCH part")
    return result


def _locate(lines: Sequence[str], search: Sequence[str], which: str) -> tuple[int, bool]:
    hits = find_span(lines, search)
    exact = bool(hits)
    if not hits:
        hits = find_span([line.rstrip() for line in lines], [line.rstrip() for line in search])
    if len(hits) > 1:
        where = ", ".join(str(hit + 1) for hit in hits[:10])
        raise EditRejected(f"the SEARCH of {which} occurs {len(hits)} times, at lines {where}; add lines around it")
    if not hits:
        raise EditRejected(f"the SEARCH of {which} does not occur; {_nearest(lines, search)}")
    return hits[0], exact


def _nearest(lines: Sequence[str], search: Sequence[str]) -> str:
    here = [line.strip() for line in lines]
    want = [line.strip() for line in search]
    matcher = difflib.SequenceMatcher(lambda line: not line, here, want, autojunk=False)
    match = matcher.find_longest_match()
    if match.size and any(want[match.b : match.b + match.size]):
        start = max(match.a - match.b, 0)
    else:
        longest = max(want, key=len)
        close = difflib.get_close_matches(longest, here, n=1, cutoff=0.5)
        if not close:
            return "no line of the file resembles it"
        start = max(here.index(close[0]) - want.index(longest), 0)
    end = min(start + len(search), len(lines))
    shown = "\n".join(lines[start : min(end, start + SHOWN_LINES)])
    return f"the nearest span is lines {start + 1}-{end}:\n{shown}"


def _replacement(
    span: Sequence[str], lines: Sequence[str], block: Block, *, exact: bool, unterminated: bool
) -> Sequence[str]:
    """Return the new lines of a span, in the newline style of the file unless SEARCH spelled it out."""
    styled_lines = span[:-1] if unterminated else span
    if exact and styled_lines:
        return block.replace
    crlf = _uses_crlf(styled_lines or lines[:-1])
    if exact and not crlf:
        return block.replace
    styled = [line.removesuffix("\r") + ("\r" if crlf else "") for line in block.replace]
    if unterminated and styled:
        styled[-1] = styled[-1].removesuffix("\r")
    return styled


def _uses_crlf(lines: Sequence[str]) -> bool:
    return sum(line.endswith("\r") for line in lines) * 2 > len(lines)


def _parents(parts: Sequence[str]) -> list[str]:
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _check_syntax(tree: Tree, step: Step, data: bytes, syntax_error: Callable[[bytes], str | None]) -> None:
    if not step.file.endswith((".py", ".pyi")):
        return
    problem = syntax_error(data)
    if problem is None:
        return
    if step.file in tree and syntax_error(tree.read(step.file)) is not None:
        return  # it did not parse before either: old syntax is not this edit's fault
    raise EditRejected(f"{step.file}: the edit left a syntax error at {problem}")

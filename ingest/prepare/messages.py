"""Commit messages as task descriptions.

A subject is usable when, without its prefix (`fix(scope): `, `[3.11] `) and pull request suffix
(`(#123)`), it has three words, starts with an action verb and names an object (seed 004, 6.2). The
verbs are a closed list: a part-of-speech tagger would bring a model, this brings a table that a
reader can check. Anything else gets a text made from the diff: symbol names and paths, never code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ingest.prepare.symbols import SymbolChanges

_VERB_FORMS = """
accept acquire activate adapt add address adhere adjust adopt align allow alter amend annotate append apply arrange
assert assign assume attach avoid await backport be begin bind block break bring build bump bundle bypass cache
calculate call cancel capture cast catch change check choose clarify clean clear close coerce collapse collect
combine compare compile complete compress compute condense configure confirm connect consider consolidate construct
consume contain continue control convert copy correct count cover create cut deal declare decode decorate decouple
decrease deduplicate default defer define delay delegate delete deprecate derive deserialize detach detect determine
disable disallow disambiguate discard discover dispatch display distinguish do document drop dump eliminate embed
emit emulate enable encapsulate encode enforce enhance enrich ensure escape evaluate exclude execute exercise exit
expand expect explain expose extend extract favor favour fetch figure fill filter find finish fix flatten flush
follow forbid force format forward free freeze generalize generate get give grant group guarantee guard
handle harden have hide highlight hold honor honour hook identify ignore implement import improve include increase
indent infer inform inherit initialise initialize inject inline insert inspect install integrate intern interpolate
interpret introduce invalidate invert invoke isolate iterate join keep kill leave let lift limit link list listen
load localize lock log look loosen lower maintain make map mark mask match measure memoize mention merge migrate
mimic minimise minimize mirror mock modernise modernize modify monitor move mute name narrow negate normalise
normalize notify obey omit open optimise optimize overhaul overload override pack pad parallelise parallelize
parametrize parse pass patch permit persist pick pin place populate port postpone pre-compute precompute prefer
prefix prepend preserve prevent print process produce prohibit propagate protect provide prune pull push put qualify
quote raise rank rationalise re-export read reapply rebuild recalculate recognise recognize recompute reconcile
record recover recurse redirect redo reduce reenable reexport refactor refer reference refine reflect reformat
register reimplement reinstate reject relax release reload remember remove rename render reorder reorganise
reorganize repair repeat replace report represent reproduce repurpose request require reraise reset resolve respect
respond restore restrict restructure retain rethrow retrieve retry return reuse revamp revert revise revisit rework
rewrite round route run sanitise sanitize save scan schedule search select send separate serialise serialize set
share shorten show shrink shut silence simplify simulate skip slice solve sort speak special-case specify speed
split stabilise stabilize standardise standardize start stop store stream strengthen strip structure stub subclass
substitute suggest supply support suppress swallow swap switch sync synchronise synchronize tag take teach tell
terminate test throw tidy tighten toggle tokenize tolerate trace track transfer transform translate traverse treat
trigger trim truncate try turn tweak unbreak uncomment undo unescape unify unpack unpickle unroll unset unstructure
unwrap update upgrade upload use utilise utilize validate vendor verify wait warn widen wire work wrap write yield
"""
VERBS = frozenset(_VERB_FORMS.split())
"""Base forms; `add`, `adds`, `added` and `adding` all count."""
LEADS = frozenset({"don't", "do", "not", "no", "longer", "never", "always", "also", "only", "just", "dont", "now"})
"""Words that may stand before the verb, besides adverbs in -ly."""
_EMPTY = """
a an the some more few many small little minor tiny various several misc miscellaneous other bit bits lot stuff
thing things it this that these those code coverage typo typos lint linting linter flake8 mypy ruff black pylint ci
build tests test suite again further also and or of in on for to from with at by up out wip update updates changes
change fixes fix tweaks cleanup cleanups clean work whitespace formatting style comment comments nit nits everything
something all dev deps dependencies
"""
EMPTY_WORDS = frozenset(_EMPTY.split())
"""Words that do not name an object of the task."""

_PREFIXES = re.compile(r"^\s*(?:\[[^\]]{1,40}\]\s*|[\w./-]{1,40}(?: [\w./-]{1,20}){0,2}(?:\([^)]{1,60}\))?!?:\s+)")
_CONVENTIONAL = re.compile(r"^\s*(\w+)(?:\([^)]{1,60}\))?!?:\s")
IMPLIED_VERBS = {
    "feat": "add",
    "feature": "add",
    "fix": "fix",
    "bugfix": "fix",
    "perf": "improve",
    "refactor": "refactor",
}
"""Types of conventional commits to the verb that their subject leaves out."""
_PULL_REQUEST = re.compile(
    r"\s*(?:[(\[](?:(?:closes|fixes|resolves|refs?|see|issue|pr)\b:?\s*)?(?:#|gh-)\d+[)\]]|(?:#|gh-)\d+)\s*$",
    re.IGNORECASE,
)
_TRAILER = re.compile(
    r"^(?:signed-off-by|co-authored-by|reviewed-by|acked-by|tested-by|change-id|closes?|fix(?:es)?|refs?|see|"
    r"for more information, see|updates|pull request|pr-url)\b.{0,3}(?:\s|#|http).*$",
    re.IGNORECASE,
)
_VERSION_BUMP = re.compile(
    r"""^(?:
        v?\d+(?:\.\d+)+[\w.-]*$
      | (?:bump|bumped|up|set|update|increment|change|tag|cut)\b.{0,30}\bversion\b
      | (?:bump|upgrade|update)(?:\s+to)?\s+v?\d+(?:\.\d+)+\S*$
      | version\s+(?:bump|v?\d)
      | (?:prepare|preparing|preparation)\b.{0,20}(?:release|v?\d+\.\d+)
      | (?:make|tag|cut|finali[sz]e|start|begin|post|pre)[\s-].{0,20}\brelease\b
      | releas(?:e|ing|ed)\s+(?:of\s+)?(?:version\s+)?v?\d
      | (?:start|begin|open)\b.{0,12}\b(?:development|dev|release)\s+cycle
      | back\s+to\s+(?:dev|development)\b
      | (?:next|new)\s+(?:dev\w*\s+)?(?:version|cycle)$
    )""",
    re.IGNORECASE | re.VERBOSE,
)
MINIMUM_WORDS = 3
TASK_CHARACTERS = 20_000
SYMBOLS_NAMED = 4


def subject(message: str) -> str:
    """Return the first line without a pull request number."""
    first = message.strip().partition("\n")[0].strip()
    return _PULL_REQUEST.sub("", first).strip()


def bare_subject(message: str) -> str:
    """Return the subject without conventional prefixes such as `fix(parser): ` or `[3.11] `."""
    text = subject(message)
    for _ in range(3):
        shorter = _PREFIXES.sub("", text, count=1)
        if shorter == text or not shorter:
            break
        text = shorter
    return text


def is_version_bump(message: str) -> bool:
    """Return whether a message only announces a version or a release."""
    return any(_VERSION_BUMP.match(text) for text in (subject(message), bare_subject(message)))


def is_descriptive(message: str) -> bool:
    """Return whether the subject has three words, starts with an action verb and names an object."""
    words = _words(message)
    return len(words) >= MINIMUM_WORDS and _has_verb_and_object(words)


def task_text(message: str) -> str:
    """Return a message as a task: subject and explanation, without trailers and noise of squashing."""
    said = {subject(message)}
    body: list[str] = []
    for line in message.strip().splitlines()[1:]:
        text = line.rstrip()
        if re.fullmatch(r"-{3,}", text.strip()):  # trailers follow
            break
        item = text.removeprefix("* ")
        is_noise = item != text and (item in said or "[pre-commit.ci]" in item or not is_descriptive(item))
        if is_noise or _TRAILER.match(text.strip()):
            continue
        said.add(item)
        body.append(text)
    explanation = re.sub(r"\n{3,}", "\n\n", "\n".join(body)).strip()
    head = re.sub(r"^\s*\[[^\]]{1,40}\]\s*", "", subject(message))
    task = f"{head}\n\n{explanation}" if explanation else head
    return task if len(task) <= TASK_CHARACTERS else head[:TASK_CHARACTERS]


def regenerate(message: str, changes: Sequence[SymbolChanges]) -> str:
    """Return a task text for a diff: which symbols of which files change, in plain sentences.

    A subject that is merely short but has verb and object (`Add LevelFilter`) stays in front.
    """
    sentences = [bare_subject(message)] if _has_verb_and_object(_words(message)) else []
    sentences += [_sentence(change) for change in changes]
    return ". ".join(sentence.rstrip(".") for sentence in sentences) + "."


def _sentence(change: SymbolChanges) -> str:
    if change.is_deleted_file:
        return f"Remove {change.path}"
    if change.is_new_file:
        return f"Create {change.path}" + (f" with {_names(change.added)}" if change.added else "")
    clauses = [
        f"{verb} {_names(names)}"
        for verb, names in (("change", change.changed), ("add", change.added), ("remove", change.removed))
        if names
    ]
    if not clauses:
        return f"Change the module level of {change.path}"
    text = f"{clauses[0]} in {change.path}" + "".join(f" and {clause}" for clause in clauses[1:])
    return text[0].upper() + text[1:]


def _names(names: Sequence[str]) -> str:
    shown = [f"`{name}`" for name in names[:SYMBOLS_NAMED]]
    if len(names) > SYMBOLS_NAMED:
        shown.append(f"{len(names) - SYMBOLS_NAMED} more")
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " and " + shown[-1]


def _words(message: str) -> list[str]:
    """Return the words of the subject; `feat: X` and the like say the verb before the colon."""
    stripped = (word.strip(".,;:!?\"'()") for word in bare_subject(message).split())
    words = [word for word in stripped if word]
    said = _CONVENTIONAL.match(subject(message))
    implied = IMPLIED_VERBS.get(said[1].lower()) if said else None
    return [implied, *words] if implied and words and not _is_verb(words[0]) else words


def _has_verb_and_object(words: Sequence[str]) -> bool:
    position = next((at for at, word in enumerate(words[:4]) if not _is_lead(word)), None)
    if position is None or not _is_verb(words[position]):
        return False
    return any(_is_object(word) for word in words[position + 1 :])


def _is_lead(word: str) -> bool:
    low = word.lower()
    return low in LEADS or (low.endswith("ly") and low not in VERBS)


def _is_verb(word: str) -> bool:
    return any(form in VERBS for form in _base_forms(word.lower()))


def _base_forms(word: str) -> list[str]:
    forms = [word]
    for ending in ("s", "es", "d", "ed", "ing"):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            stem = word[: -len(ending)]
            forms += [stem, stem + "e"]
            if stem[-2:] == 2 * stem[-1]:
                forms.append(stem[:-1])
            if stem.endswith("i"):
                forms.append(stem[:-1] + "y")
    return [*forms, *_IRREGULAR.get(word, ())]


_IRREGULAR = {"made": ("make",), "wrote": ("write",), "rewrote": ("rewrite",), "kept": ("keep",), "left": ("leave",)}


def _is_object(word: str) -> bool:
    low = word.lower()
    return low not in EMPTY_WORDS and re.search(r"[a-z]{2}", low) is not None

"""JSON Schemas of everything that crosses an edge, and the one place that checks against them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def schema(name: str) -> Mapping[str, Any]:
    """Return the schema document `<name>.schema.json` of this folder."""
    doc: Mapping[str, Any] = json.loads((files(__name__) / f"{name}.schema.json").read_text("utf-8"))
    return doc


def check(name: str, document: object) -> str | None:
    """Return what is wrong with a document in one line, or None when it follows the schema."""
    error = next(iter(_validator(name).iter_errors(document)), None)
    if error is None:
        return None
    where = "/".join(str(part) for part in error.absolute_path) or "the document"
    return f"at {where}: {error.message[:300]}"


@cache
def _validator(name: str) -> Any:  # noqa: ANN401 - jsonschema's validator classes are built at run time
    from jsonschema import Draft202012Validator, ValidationError  # noqa: PLC0415 - 60 ms that `--help` must not pay
    from jsonschema.validators import extend  # noqa: PLC0415

    def pattern(_validator: object, wanted: str, text: object, _schema: object) -> Iterator[ValidationError]:
        """JSON Schema's `$` ends the text; Python's also matches before a last newline."""
        if isinstance(text, str) and not re.search(re.sub(r"\$$", r"\\Z", wanted), text):
            yield ValidationError(f"{text!r} does not match {wanted!r}")

    validator = extend(Draft202012Validator, {"pattern": pattern})  # type: ignore[no-untyped-call]
    return validator(schema(name))

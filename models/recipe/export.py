"""The finished base as a Hugging Face directory, with digests, licence note and report.

Weights are stored as 16-bit floats, and it is those that are evaluated: what is measured is what is shipped.
Nothing is pickled. `digests.json` is written last and names every other file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.durable import sync_files, write_whole
from harness.errors import Failure
from models.recipe import stdlib
from models.recipe.tokens import END_ID, PAD_ID, write_tokenizer

DIGESTS = "digests.json"
TOTAL_BYTES_MAX = 20 << 20
LICENCE = """\
The weights in this directory were trained from nothing by `python -m models.recipe`, on text made by that
recipe. They are offered under the licence of the repository that holds the recipe (Apache-2.0).

The training text was made of two sources:

1. Programs, tasks and answers written by generators of the recipe itself.
2. Short functions of the Python {version} standard library, Copyright (c) 2001 Python Software Foundation;
   All Rights Reserved. Used under the PSF License Agreement (https://docs.python.org/3/license.html);
   changes: docstrings of several lines and comment lines removed, small mutations for training.

No pretrained weights, no other code and no data of users went into them.
"""


class ExportRefused(Failure):
    """A base cannot be written, or a directory is not a base of this recipe."""

    code = "EXPORT_REFUSED"
    exit_code = 12
    hint = "Train again into an empty directory; the message says which file is wrong."


def export(model: Any, tokenizer: bytes, report: Mapping[str, Any], out: Path) -> Mapping[str, Any]:  # noqa: ANN401
    """Write the directory and return its digests."""
    import torch  # noqa: PLC0415 - seconds

    out.mkdir(parents=True, exist_ok=True)
    model.to("cpu").to(torch.float16).save_pretrained(out, safe_serialization=True)
    for path in out.glob("*.safetensors"):
        path.chmod(0o644)  # the library writes for its user alone
    generation = {"do_sample": False, "eos_token_id": END_ID, "pad_token_id": PAD_ID}
    write_whole(out / "generation_config.json", _json(generation))
    write_tokenizer(tokenizer, out, length_max=model.config.max_position_embeddings)
    write_whole(out / "LICENSE.txt", LICENCE.format(version=stdlib.version()).encode())
    return write_report(out, report)


def write_report(out: Path, report: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write report.json and then the digests of everything; ExportRefused when the whole is too large."""
    write_whole(out / "report.json", _json(report))
    files = {path.name: path for path in sorted(out.iterdir()) if path.is_file() and path.name != DIGESTS}
    total = sum(path.stat().st_size for path in files.values())
    if total > TOTAL_BYTES_MAX:
        raise ExportRefused(f"{out} holds {total} bytes, more than {TOTAL_BYTES_MAX}")
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    whole = hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()).hexdigest()
    document = {"format": 1, "sha256": whole, "bytes": total, "files": digests}
    write_whole(out / DIGESTS, _json(document))
    sync_files(out)
    return document


def read_base(directory: Path) -> tuple[Any, Any, dict[str, Any]]:
    """Return (model, tokenizer, report) of an exported base; ExportRefused when a file is not what it was."""
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    from models.recipe.tokens import load_tokenizer  # noqa: PLC0415 - with the other late ones

    check_digests(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, local_files_only=True, dtype=torch.float32)
    return model, load_tokenizer(directory), json.loads((directory / "report.json").read_bytes())


def check_digests(directory: Path) -> None:
    """Raise ExportRefused unless every file is there with its digest."""
    try:
        files: dict[str, str] = json.loads((directory / DIGESTS).read_bytes())["files"]
    except (OSError, ValueError, KeyError) as err:
        raise ExportRefused(f"{directory} has no readable {DIGESTS}: {err}") from err
    for name, digest in files.items():
        path = directory / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise ExportRefused(f"{path} is missing or not what was written")


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()

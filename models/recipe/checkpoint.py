"""Checkpoints of a training: whole or not there, and only for the training that wrote them.

Tensors are kept as safetensors (never pickles). A checkpoint is written beside, made durable and renamed; the
document with its digests is written last, so one that was interrupted is never taken. Two are kept.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.durable import sync_directory, write_whole
from harness.errors import Failure

DOCUMENT = "checkpoint.json"
TENSORS = "state.safetensors"
KEPT = 2


class ForeignCheckpoint(Failure):
    """A checkpoint was written by a training with other settings or data."""

    code = "FOREIGN_CHECKPOINT"
    exit_code = 12
    hint = "Give a directory of its own to this training, or repeat it with the settings of the first."


def save(directory: Path, step: int, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write the checkpoint of a step; `state` is JSON and holds what identifies the training."""
    from safetensors.torch import save as to_bytes  # noqa: PLC0415 - brings torch

    data = to_bytes({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
    place = directory / f"step-{step:06d}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    write_whole(place / TENSORS, data)
    document = {**state, "step": step, "sha256": hashlib.sha256(data).hexdigest()}
    write_whole(place / DOCUMENT, json.dumps(document, indent=1, sort_keys=True).encode())
    sync_directory(directory)
    for old in sorted(directory.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def newest(directory: Path, identity: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return (tensors, state) of the newest whole checkpoint, None without one.

    Raises ForeignCheckpoint when its `identity` is not the one given.
    """
    from safetensors.torch import load as from_bytes  # noqa: PLC0415

    for place in sorted(directory.glob("step-*"), reverse=True):
        try:
            state: dict[str, Any] = json.loads((place / DOCUMENT).read_bytes())
            data = (place / TENSORS).read_bytes()
        except (OSError, ValueError):
            continue  # it was interrupted; the one before is whole
        if state.get("sha256") != hashlib.sha256(data).hexdigest():
            continue
        if state.get("identity") != identity:
            differing = sorted(key for key in identity if (state.get("identity") or {}).get(key) != identity[key])
            raise ForeignCheckpoint(f"{place} belongs to another training: {', '.join(differing)} differ")
        return from_bytes(data), state
    return None

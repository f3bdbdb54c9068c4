"""The state of a pre-training as one file: named arrays, and how far it has come."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tfhub_transfer.errors import RunError
from tfhub_transfer.runs import atomic_path

__all__ = ["load", "save"]


def save(target: Path, values: Mapping[str, np.ndarray], progress: Mapping[str, Any]) -> None:
    """Write arrays and `progress`, of JSON values, in the place of what was there.

    Raises:
        RunError: it cannot be written, as on a full disk; what was there stays.
    """
    with atomic_path(target) as temporary:
        try:
            save_file(dict(values), temporary, metadata={"progress": json.dumps(dict(progress))})
        except SafetensorError as error:
            raise RunError(
                f"The checkpoint cannot be written ({error}). Make room, and continue with "
                f"--resume from the one before. Received: {target}"
            ) from error


def load(
    source: Path, shapes: Mapping[str, Sequence[int]]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the progress that were saved.

    Args:
        source: what `save` wrote.
        shapes: of each array that it should hold.

    Raises:
        RunError: the file is damaged, or holds something else.
    """
    try:
        with safe_open(source, framework="numpy") as file:
            values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            progress: dict[str, Any] = json.loads(file.metadata()["progress"])
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        raise RunError(
            f"The checkpoint cannot be read ({error}). Delete it to begin anew. Received: {source}"
        ) from error
    expected = {name: tuple(shape) for name, shape in shapes.items()}
    found = {name: value.shape for name, value in values.items()}
    if found != expected:
        name = sorted(
            name for name in {*found, *expected} if found.get(name) != expected.get(name)
        )[0]
        raise RunError(
            f"The checkpoint is of another model. Delete it to begin anew. Expected {name} of "
            f"shape {expected.get(name)}. Received: {found.get(name)} in {source}"
        )
    return values, progress

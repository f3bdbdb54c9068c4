"""A module that answers -> a SavedModel with its signatures, and lists of names as assets."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfhub_transfer.errors import ArtifactError

__all__ = ["check_names", "save_module"]


def check_names(file: str, names: Sequence[str]) -> None:
    """Raise ArtifactError for a name that a file of one name a line cannot hold.

    Args:
        file: `labels.txt`, in `assets`.
        names: what it should hold.
    """
    broken = [name for name in names if name.splitlines() != [name]]
    if broken:
        kind = file.removesuffix("s.txt")
        raise ArtifactError(
            f"assets/{file} has one {kind} a line, so that no {kind} may be empty or hold a line "
            f"break. Received: {broken[0]!r}"
        )


def save_module(
    module: Any,
    target: Path,
    *,
    signatures: Mapping[str, Any],
    lists: Mapping[str, Sequence[str]],
) -> int:
    """Write the SavedModel.

    Args:
        module: a `tf.Module` whose `weights` are the variables that its answers come from.
        target: the directory to write; its parents are made.
        signatures: functions of the module by the name that they are asked for.
        lists: names by the file of `assets` that holds them, one a line; see `check_names`.

    Returns:
        The bytes that the weights take.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    assets = target.parent / f".{target.name}-assets"
    assets.mkdir()
    try:
        for file, names in lists.items():
            (assets / file).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        module.lists = [tf.saved_model.Asset(str(assets / file)) for file in lists]
        tf.saved_model.save(module, str(target), signatures=dict(signatures))
    finally:
        shutil.rmtree(assets)
    return sum(variable.numpy().nbytes for variable in module.weights)

"""The state of a training between two epochs, as one file that is whole or absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import DiskError, RunError
from tfhub_transfer.runs import atomic_path


def save(
    target: Path, model: keras.Model, progress: dict[str, Any], *, optimizer: bool = True
) -> None:
    """Write what moves in `model`, its optimizer's state and `progress`, a JSON value.

    Raises:
        DiskError: it cannot be written, as on a full disk; the one before stays as it was.
    """
    values = {f"model/{i}": np.asarray(v) for i, v in enumerate(moving(model))}
    if optimizer:
        values |= {f"optimizer/{i}": np.asarray(v) for i, v in enumerate(model.optimizer.variables)}
    try:
        with atomic_path(target) as temporary:
            save_file(values, temporary, metadata={"progress": json.dumps(progress)})
    except (SafetensorError, OSError) as error:
        raise DiskError(
            f"The checkpoint cannot be written ({error}). Free some room, and continue with "
            f"--resume. Received: {target}"
        ) from error


def load(source: Path, model: keras.Model, *, optimizer: bool = True) -> dict[str, Any]:
    """Put a saved state into `model` and return its `progress`.

    Raises:
        RunError: the file is damaged, or of a model with other weights.
    """
    variables = {f"model/{i}": v for i, v in enumerate(moving(model))}
    if optimizer:
        model.optimizer.build(model.trainable_variables)
        variables |= {f"optimizer/{i}": v for i, v in enumerate(model.optimizer.variables)}
    try:
        with safe_open(source, framework="numpy") as file:
            names = set(file.keys())
            if not all(
                name in names and file.get_slice(name).get_shape() == list(variable.shape)
                for name, variable in variables.items()
            ):
                raise RunError(
                    f"The checkpoint is of another model: it should hold {len(variables)} values "
                    f"that fit this one's. Delete it to begin anew. Received: {len(names)} values "
                    f"in {source}"
                )
            for name, variable in variables.items():
                variable.assign(file.get_tensor(name))
            progress: dict[str, Any] = json.loads(file.metadata()["progress"])
            return progress
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        raise RunError(
            f"The checkpoint cannot be read ({error}). Delete it to begin anew. Received: {source}"
        ) from error


def moving(model: keras.Model) -> list[Any]:
    """Return all variables but the weights of frozen encoders, which their handle brings back."""
    fixed = {
        id(weight)
        for layer in model._flatten_layers()
        if isinstance(layer, HubLayer)
        for weight in layer.non_trainable_weights
        if "float" in weight.dtype
    }
    return [variable for variable in model.variables if id(variable) not in fixed]

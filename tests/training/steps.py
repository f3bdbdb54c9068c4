"""Three weights, a table that is looked up, a matrix and a bias, and gradients for them."""

from __future__ import annotations

import keras
import numpy as np

SHAPES = {"words/embeddings": (6, 3), "low/kernel": (3, 4), "low/bias": (4,)}
START = {
    path: np.random.default_rng(1).normal(size=shape) for path, shape in SHAPES.items()
}


def weights_at_start() -> list[keras.Variable]:
    weights = []
    for path, value in START.items():
        scope, name = path.split("/")
        with keras.name_scope(scope):
            weights.append(keras.Variable(value.astype(np.float32), name=name))
    assert [weight.path for weight in weights] == list(START)
    return weights


def gradients(batch: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the rows looked up, some of them twice, and what each weight's gradient holds."""
    rng = np.random.default_rng([2, batch])
    rows = rng.choice([0, 1, 3, 5], 5)
    sizes = {"words/embeddings": (5, 3), "low/kernel": (3, 4), "low/bias": (4,)}
    return rows, {path: rng.normal(size=size) for path, size in sizes.items()}

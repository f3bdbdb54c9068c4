"""The layer that lets a network learn what a classifier behind it cannot make use of."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

__all__ = ["GradientReversal", "strength_at"]

_STEEPNESS = 10.0  # gamma of the paper, which did not tune it either


def strength_at(progress: Any) -> Any:
    """Return lambda_p = 2 / (1 + exp(-10 p)) - 1: 0 at the start of a training, 1 at its end.

    Ganin et al. 2016 (arXiv 1505.07818), section 5.2.2.

    Args:
        progress: p, the share of all steps that are done.
    """
    return 2.0 / (1.0 + ops.exp(-_STEEPNESS * progress)) - 1.0


@keras.saving.register_keras_serializable("tfhub_transfer")
class GradientReversal(keras.layers.Layer):
    """Passes its input on as it is, and its gradient times -lambda.

    Ganin et al. 2016 (arXiv 1505.07818), section 4.2. What stands behind the layer learns at its
    own rate; what stands before it is taught to mislead it, the more the training proceeds.

    How far that is, the layer counts itself, within the graph: a callback would hear only of every
    sixteenth step where several are taken in one call. The count is a weight of the model, so that
    checkpoints hold it and a resumed training takes the same steps.

    Args:
        steps: of the whole training.
        weight: lambda at its highest.
        **kwargs: of a Keras layer.

    Attributes:
        step: a variable, the steps that were taken.
    """

    def __init__(self, steps: int, weight: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.steps, self.weight = steps, weight

    def build(self, input_shape: Any) -> None:
        """Make the count."""
        self.step = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="step"
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return `inputs`; a call in training counts as a step."""
        strength = self.strength()
        if training:
            self.step.assign_add(1)
        return _reversed(inputs, ops.cast(strength, inputs.dtype))

    def strength(self) -> Any:
        """Return lambda, float32[], as the next step has it."""
        return self.weight * strength_at(ops.cast(self.step, "float32") / self.steps)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's own."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "steps": self.steps, "weight": self.weight}


@tf.custom_gradient
def _reversed(inputs: tf.Tensor, strength: tf.Tensor) -> Any:
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return -strength * upstream, tf.zeros_like(strength)

    return tf.identity(inputs), gradient

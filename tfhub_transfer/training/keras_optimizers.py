"""Keras' own optimizers, with a rate for each weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfhub_transfer.training.per_weight import PerWeight

__all__ = ["SGD", "Adafactor", "Lion", "Nadam", "RMSprop"]


class _Dense(PerWeight):
    """The step of a Keras optimizer, at the weight's own rate, after its decay.

    Keras' optimizers go through the whole of a token table in each step, rows out of use included,
    so that the sparse gradient of a lookup is made dense.
    """

    def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
        """Take a step."""
        variables = trainable_variables or self._trainable_variables
        dense = [_dense(gradient, v) for gradient, v in zip(grads, variables, strict=True)]
        super().apply(dense, trainable_variables)

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        """Move one weight."""
        path = self.path_of(variable)
        rate = tf.cast(learning_rate, variable.dtype) * self.multiplier(path)
        if decay := self.decay_of(path, variable.shape.rank):
            variable.assign_sub(variable * (rate * decay))
        super().update_step(gradient, variable, rate)


def _dense(gradient: Any, variable: Any) -> Any:
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, variable.shape[0])


@keras.saving.register_keras_serializable("tfhub_transfer")
class Nadam(_Dense, keras.optimizers.Nadam):
    """Adam with Nesterov momentum (Dozat 2016, ICLR workshop)."""

    def build(self, variables: Sequence[Any]) -> None:
        """Make the moments, and a product of rates that a replica may assign to."""
        if self.built:
            return
        super().build(variables)
        self._untrack_variable(self._u_product)
        self._u_product = self.add_variable(
            (), "ones", aggregation="only_first_replica", name="u_product"
        )


@keras.saving.register_keras_serializable("tfhub_transfer")
class Lion(_Dense, keras.optimizers.Lion):
    """The sign of a momentum (Chen et al. 2023, arXiv 2302.06675)."""


@keras.saving.register_keras_serializable("tfhub_transfer")
class SGD(_Dense, keras.optimizers.SGD):
    """Gradient descent, with Nesterov momentum (Sutskever et al. 2013, ICML) if asked for."""


@keras.saving.register_keras_serializable("tfhub_transfer")
class RMSprop(_Dense, keras.optimizers.RMSprop):
    """Gradients over the root of their mean square (Hinton 2012, Coursera, lecture 6e)."""


@keras.saving.register_keras_serializable("tfhub_transfer")
class Adafactor(_Dense, keras.optimizers.Adafactor):
    """Adam without a second moment for each number (Shazeer and Stern 2018, arXiv 1804.04235)."""

"""AdamW with two rates, as one fused operation for each weight."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

__all__ = ["AdamW"]

_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-6
_SPARED = re.compile(r"bias|gamma|beta|norm", re.IGNORECASE)


class AdamW(tf.Module):
    """Adam with decoupled decay (Loshchilov and Hutter 2019, arXiv 1711.05101).

    Keras' own goes through each weight a dozen times, which with the 12 million numbers of a word
    table is a good part of a step.

    Args:
        weights: to move.
        decay: the share by which a step at rate 1 shrinks a weight; biases and norms are spared.
        clip_norm: gradients are scaled down to this norm, taken over all weights.
    """

    def __init__(self, weights: Sequence[tf.Variable], *, decay: float, clip_norm: float):
        super().__init__(name="adamw")
        self._weights, self._clip_norm = list(weights), clip_norm
        self._decays = [
            0.0 if len(w.shape) < 2 or _SPARED.search(w.name) else decay for w in weights
        ]
        self.taken = tf.Variable(0.0, trainable=False, name="taken")
        self.moments = [
            [tf.Variable(tf.zeros_like(w), trainable=False) for w in weights] for _ in range(2)
        ]

    @property
    def state(self) -> list[tf.Variable]:
        """What a checkpoint has to hold besides the weights."""
        return [self.taken, *self.moments[0], *self.moments[1]]

    def step(self, gradients: Sequence[Any], rates: Sequence[tf.Tensor]) -> None:
        """Move the weights.

        Args:
            gradients: one for each weight; none where the loss does not depend on it.
            rates: one for each weight.
        """
        dense = [_dense(g, w) for g, w in zip(gradients, self._weights, strict=True)]
        dense, _ = tf.clip_by_global_norm(dense, self._clip_norm)
        self.taken.assign_add(1.0)
        powers = {
            "beta1_power": tf.pow(_FIRST, self.taken),
            "beta2_power": tf.pow(_SECOND, self.taken),
        }
        for weight, first, second, gradient, rate, decay in zip(
            self._weights, *self.moments, dense, rates, self._decays, strict=True
        ):
            if gradient is None:
                continue
            if decay:
                weight.assign_sub(weight * (rate * decay))
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=first.handle,
                v=second.handle,
                lr=rate,
                beta1=_FIRST,
                beta2=_SECOND,
                epsilon=_EPSILON,
                grad=gradient,
                **powers,
            )


def _dense(gradient: Any, weight: tf.Variable) -> tf.Tensor | None:
    """Return the gradient of a table as a tensor: in pre-training most of its rows are used."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, weight.shape[0])

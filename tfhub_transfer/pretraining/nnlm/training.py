"""Steps of a language model's training, which go on after a kill as if there had been none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfhub_transfer.pretraining import checkpoint
from tfhub_transfer.pretraining.nnlm.candidates import LogUniform
from tfhub_transfer.pretraining.nnlm.model import FeedForwardModel

__all__ = ["NnlmTraining"]

# What Adagrad begins its sums of squares with. The gradient of a row, of a mean over a thousand
# words, is so small that the usual 0.1 would outweigh all of the training's squares.
_FIRST_SUM = 1e-8


class NnlmTraining:
    """A model, and Adagrad (Duchi et al. 2011, JMLR 12) with a rate that falls to zero.

    A step moves the rows that its batch looked up, and no others. Adagrad suits that: a row out of
    use is the same for it as one with a gradient of zero. Rows that were looked up several times
    are summed first, which makes the result independent of the threads' order.

    Args:
        model: moved in place.
        candidates: words that each step draws.
        learning_rate: of the first step.
        steps: of the whole training.
        seed: of the draws.
    """

    def __init__(
        self,
        model: FeedForwardModel,
        candidates: LogUniform,
        *,
        learning_rate: float,
        steps: int,
        seed: int,
    ):
        self.model = model
        self._candidates, self._rate, self._steps = candidates, learning_rate, steps
        self._seed = seed
        self._sums = {
            weight.name: tf.Variable(tf.fill(weight.shape, _FIRST_SUM), name=weight.name)
            for weight in model.trainable_variables
        }

    def candidates(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what `LogUniform.draw` gives for a step, counted from 0."""
        return self._candidates.draw(np.random.default_rng([self._seed, 1, step]))

    def step(self, step: int, rows: np.ndarray, drawn: tuple[np.ndarray, np.ndarray]) -> float:
        """Take a step and return the mean loss of its batch.

        Args:
            step: its number, from 0.
            rows: int32[B, context + 1], the words to predict last.
            drawn: by `candidates`.
        """
        rate = np.float32(self._rate * (1 - step / self._steps))
        return float(self._move(rows, *drawn, rate))

    @tf.function(reduce_retracing=True)
    def _move(
        self, rows: tf.Tensor, candidates: tf.Tensor, log_expected: tf.Tensor, rate: tf.Tensor
    ) -> tf.Tensor:
        weights = self.model.trainable_variables
        with tf.GradientTape() as tape:
            losses = self.model.sampled_loss(rows[:, :-1], rows[:, -1], candidates, log_expected)
            loss = tf.reduce_mean(losses)
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            accum = self._sums[weight.name].handle
            state = {"var": weight.handle, "accum": accum, "lr": rate, "epsilon": 1e-7}
            if isinstance(gradient, tf.IndexedSlices):
                used, places = tf.unique(gradient.indices)
                summed = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(used))
                tf.raw_ops.ResourceSparseApplyAdagradV2(**state, grad=summed, indices=used)
            else:
                tf.raw_ops.ResourceApplyAdagradV2(**state, grad=gradient)
        return loss

    def save(self, target: Path, progress: dict[str, Any]) -> None:
        """Write weights, sums of squares and `progress`, a JSON value, as one file."""
        values = {name: variable.numpy() for name, variable in self._variables().items()}
        checkpoint.save(target, values, progress)

    def load(self, source: Path) -> dict[str, Any]:
        """Take back what was saved, and return its `progress`.

        Raises:
            RunError: the file is damaged, or of another model.
        """
        variables = self._variables()
        shapes = {name: variable.shape for name, variable in variables.items()}
        values, progress = checkpoint.load(source, shapes)
        for name, variable in variables.items():
            variable.assign(values[name])
        return progress

    def _variables(self) -> dict[str, tf.Variable]:
        weights = {f"model/{weight.name}": weight for weight in self.model.trainable_variables}
        return weights | {f"adagrad/{name}": total for name, total in self._sums.items()}

"""Adam for pre-trained weights: a rate for each, decoupled decay, and only the rows in use."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfhub_transfer.config import TrainingConfig
from tfhub_transfer.errors import TrainingError
from tfhub_transfer.training import keras_optimizers
from tfhub_transfer.training.per_weight import PerWeight

__all__ = ["LazyAdamW", "make_optimizer"]

# What `training.optimizer` names, besides this module's own.
_OF_KERAS: dict[str, Callable[..., PerWeight]] = {
    "nadam": keras_optimizers.Nadam,
    "lion": keras_optimizers.Lion,
    "sgd": functools.partial(keras_optimizers.SGD, momentum=0.9, nesterov=True),
    "rmsprop": keras_optimizers.RMSprop,
    "adafactor": keras_optimizers.Adafactor,
}


def make_optimizer(
    rate: float | keras.optimizers.schedules.LearningRateSchedule,
    config: TrainingConfig,
    multipliers: Mapping[str, float] | None = None,
) -> PerWeight:
    """Return the optimizer that `config` asks for.

    Args:
        rate: of weights without a multiplier, or its schedule over batches.
        config: its optimizer, weight_decay, clip_norm and accumulate are used.
        multipliers: of the rate, by the weight's path; 1 for those not in it.

    Raises:
        TrainingError: there is no such optimizer.
    """
    if config.optimizer in _OF_KERAS:
        return _OF_KERAS[config.optimizer](
            rate,
            multipliers,
            decoupled_decay=config.weight_decay,
            global_clipnorm=config.clip_norm,
            gradient_accumulation_steps=config.accumulate if config.accumulate > 1 else None,
        )
    if config.optimizer != "adamw":
        raise TrainingError(
            f"training.optimizer must be one of {', '.join(['adamw', *_OF_KERAS])}. "
            f"Received: {config.optimizer!r}"
        )
    return LazyAdamW(
        rate,
        multipliers,
        decoupled_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        accumulate=config.accumulate,
    )


@keras.saving.register_keras_serializable("tfhub_transfer")
class LazyAdamW(PerWeight):
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) that leaves unused table rows alone.

    On dense gradients it is Adam (Kingma and Ba 2015, arXiv 1412.6980) with decoupled decay, in one
    pass over each weight.

    On the sparse gradients of a lookup it visits the rows that the batch looked up, and no others:
    a row's moments neither fade nor move it while it is out of use, and it does not decay either.
    TensorFlow Addons called this LazyAdam. Adam itself would go through the whole table in each
    step, moving rows by what is left of their momentum. Rows that were looked up several times are
    summed first, so that the second moment is the square of the sum, as it is for a dense gradient.

    The rate is multiplied weight by weight, decay included. Scaling the gradients instead would do
    nothing: Adam divides by their size.

    `iterations`, and with it a schedule, counts batches; the bias correction counts steps.

    Args:
        learning_rate: the rate, or its schedule.
        multipliers: by the weight's path; 1 for those not in it.
        beta_1: how much of the first moment a step keeps.
        beta_2: how much of the second moment a step keeps.
        epsilon: added to the root of the second moment, before its bias is corrected.
        decoupled_decay: the share by which a step at rate 1 shrinks a weight; biases and norms
            are spared.
        clip_norm: gradients are scaled down to this norm, taken over all weights.
        accumulate: batches whose gradients are averaged to one step. What is left over at the end
            of an epoch counts in the next one.
        **kwargs: of `keras.optimizers.Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any,
        multipliers: Mapping[str, float] | None = None,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        decoupled_decay: float = 0.0,
        clip_norm: float | None = None,
        accumulate: int = 1,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, multipliers, decoupled_decay=decoupled_decay, **kwargs)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.clip_norm, self.accumulate = clip_norm, accumulate

    def build(self, variables: Sequence[Any]) -> None:
        """Make the moments of `variables`, and room for gradients that are to be averaged."""
        if self.built:
            return
        super().build(variables)
        self._first, self._second = self.add_optimizer_variables(variables, ["first", "second"])
        self._sums = (
            self.add_optimizer_variables(variables, "gradients") if self.accumulate > 1 else []
        )

    def take(self, gradients: Sequence[Any], variables: Any = None) -> None:
        """Take a step, or the part of one that a batch is."""
        variables = list(variables or self._trainable_variables)
        # before the branches of a graph, in which no variable can be made
        self.build(variables)
        gradients = [_summed(gradient) for gradient in gradients]
        if self.accumulate == 1:
            self._step(gradients, variables)
            return
        # all, for a weight's place among them tells which sum is its own
        self._check_variables_are_known(variables)
        sums = [self._sums[self._get_variable_index(variable)].value for variable in variables]
        for gradient, total in zip(gradients, sums, strict=True):
            if isinstance(gradient, tf.IndexedSlices):
                total.scatter_add(gradient)
            elif gradient is not None:
                total.assign_add(gradient)

        def step() -> tf.Tensor:
            taken = [
                None if gradient is None else self._take(total, gradient)
                for gradient, total in zip(gradients, sums, strict=True)
            ]
            self._step(taken, variables)
            return self.iterations.value

        tf.cond(
            (self.iterations.value + 1) % self.accumulate == 0,
            step,
            lambda: self.iterations.value.assign_add(1),
        )

    def _step(self, gradients: list[Any], variables: list[Any]) -> None:
        if self.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self.clip_norm)
        super().take(gradients, variables)

    def _take(self, total: tf.Variable, gradient: Any) -> Any:
        """Return the mean of the gradients in `total`, of the kind of `gradient`, and clear it."""
        if not isinstance(gradient, tf.IndexedSlices):
            mean = total / self.accumulate
            with tf.control_dependencies([mean]):
                total.assign(tf.zeros_like(total))
            return mean
        touched = tf.reduce_any(tf.not_equal(total, 0.0), axis=list(range(1, total.shape.rank)))
        rows = tf.where(touched)[:, 0]
        sums = tf.gather(total, rows)
        with tf.control_dependencies([sums]):
            total.scatter_update(tf.IndexedSlices(tf.zeros_like(sums), rows))
        return tf.IndexedSlices(sums / self.accumulate, rows, tf.shape(total))

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        """Move one weight."""
        index = self._get_variable_index(variable)
        path = self.path_of(variable)
        first, second = self._first[index].value, self._second[index].value
        rate = tf.cast(learning_rate, variable.dtype) * self.multiplier(path)
        decay = self.decay_of(path, variable.shape.rank)
        steps = tf.cast((self.iterations.value + 1) // self.accumulate, variable.dtype)
        beta_1, beta_2 = (tf.constant(b, variable.dtype) for b in (self.beta_1, self.beta_2))
        if not isinstance(gradient, tf.IndexedSlices):
            if decay:
                variable.assign_sub(variable * (rate * decay))
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=beta_1**steps,
                beta2_power=beta_2**steps,
                lr=rate,
                beta1=beta_1,
                beta2=beta_2,
                epsilon=self.epsilon,
                grad=tf.cast(gradient, variable.dtype),
            )
            return
        rows, values = gradient.indices, tf.cast(gradient.values, variable.dtype)
        new_first = beta_1 * tf.gather(first, rows) + (1 - beta_1) * values
        new_second = beta_2 * tf.gather(second, rows) + (1 - beta_2) * tf.square(values)
        rate_of_step = rate * tf.sqrt(1 - beta_2**steps) / (1 - beta_1**steps)
        change = rate_of_step * new_first / (tf.sqrt(new_second) + self.epsilon)
        if decay:
            change += rate * decay * tf.gather(variable, rows)
        first.scatter_update(tf.IndexedSlices(new_first, rows))
        second.scatter_update(tf.IndexedSlices(new_second, rows))
        variable.scatter_sub(tf.IndexedSlices(change, rows))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "clip_norm": self.clip_norm,
            "accumulate": self.accumulate,
        }


def _summed(gradient: Any) -> Any:
    """Return a sparse gradient with each row once, the sum of what it held for that row."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, places = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)

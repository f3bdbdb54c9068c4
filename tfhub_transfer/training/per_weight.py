"""What optimizers here have in common: a rate for each weight, and a step shared by replicas."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

__all__ = ["PerWeight"]

# Vectors that scale and shift; TF Hub's BERTs keep their attention biases as matrices.
_SPARED = re.compile(r"(bias|gamma|beta)$|norm", re.IGNORECASE)


class PerWeight(keras.optimizers.Optimizer):
    """An optimizer whose rate is multiplied weight by weight, the decoupled decay included.

    Where several replicas train (`training.distribute`), their gradients are summed before they
    are clipped. Keras would clip the gradients of each.

    Args:
        learning_rate: the rate, or its schedule.
        multipliers: by the weight's path; 1 for those not in it.
        decoupled_decay: the share by which a step at rate 1 shrinks a weight; biases and norms
            are spared.
        **kwargs: of the optimizer that stands behind this class.
    """

    def __init__(
        self,
        learning_rate: Any,
        multipliers: Mapping[str, float] | None = None,
        *,
        decoupled_decay: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self._multipliers = dict(multipliers or {})
        self.decoupled_decay = decoupled_decay

    @property
    def batches(self) -> int:
        """How many batches it has been given; steps are fewer where gradients accumulate."""
        return int(self._iterations.value)

    def multiplier(self, path: str) -> float:
        """Return what the rate of a weight is multiplied by."""
        return self._multipliers.get(path, 1.0)

    def decay_of(self, path: str, rank: int) -> float:
        """Return the share by which a step at rate 1 shrinks a weight."""
        return 0.0 if rank < 2 or _SPARED.search(path) else self.decoupled_decay

    def path_of(self, variable: tf.Variable) -> str:
        """Return the path of a weight, of which TensorFlow hands over the bare variable."""
        path: str = self._trainable_variables[self._get_variable_index(variable)].path
        return path

    def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
        """Take a step, with the sum of all replicas' gradients."""
        self.take(_over_replicas(grads), trainable_variables)

    def take(self, gradients: Sequence[Any], variables: Any = None) -> None:
        """Take a step with gradients that are the same in all replicas."""
        super().apply(gradients, variables)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        """Return the gradients as they are, for `apply` has summed them."""
        return list(grads_and_vars)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "multipliers": self._multipliers,
            "decoupled_decay": self.decoupled_decay,
        }


def _over_replicas(gradients: Sequence[Any]) -> list[Any]:
    """Return the sum of each gradient over the replicas that take part in a step."""
    replica = tf.distribute.get_replica_context()
    there = [gradient for gradient in gradients if gradient is not None]
    if replica is None or replica.num_replicas_in_sync == 1 or not there:
        return list(gradients)
    sums = iter(replica.all_reduce(tf.distribute.ReduceOp.SUM, there))
    return [None if gradient is None else next(sums) for gradient in gradients]

"""Adam with a learning rate of its own for some of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras


@keras.saving.register_keras_serializable("tfhub_transfer")
class GroupedAdam(keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015, arXiv 1412.6980), its rate multiplied weight by weight.

    Scaling the gradients instead would do nothing: Adam divides by their size.

    Args:
        learning_rate: the rate, or its schedule.
        multipliers: by the weight's path; 1 for those not in it.
        **kwargs: of `keras.optimizers.Adam`.
    """

    def __init__(
        self, learning_rate: Any, multipliers: Mapping[str, float] | None = None, **kwargs: Any
    ):
        super().__init__(learning_rate, **kwargs)
        self._multipliers = dict(multipliers or {})

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one weight; TensorFlow hands over the bare variable, which has no path."""
        weight = self._trainable_variables[self._get_variable_index(variable)]
        factor = self._multipliers.get(weight.path, 1.0)
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "multipliers": self._multipliers}

"""How the learning rate rises and falls."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

_RATIO = 32.0  # of the highest rate to the lowest one of the slanted triangle


@keras.saving.register_keras_serializable("tfhub_transfer")
class WarmupDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise from zero, then a fall along a line or half a cosine.

    The rise is Goyal et al. 2017's gradual warm-up (arXiv 1706.02677), the cosine that of
    Loshchilov and Hutter 2017 without restarts (arXiv 1608.03983). A rise and a fall along lines
    are Howard and Ruder 2018's slanted triangle (arXiv 1801.06146, equation 3), whose lowest rate
    is 1/32 of its peak.

    Args:
        peak: the highest rate.
        steps: of the whole training.
        warmup: the share of the steps in which the rate rises.
        decay: `none`, `linear` or `cosine`, to zero; or `slanted`.
    """

    def __init__(self, peak: float, steps: int, warmup: float, decay: str):
        self.peak, self.steps, self.warmup, self.decay = peak, steps, warmup, decay

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step, counted from zero."""
        step = ops.cast(step, "float32")
        rising = max(1.0, self.warmup * self.steps)
        # the first step already learns something
        rise = ops.minimum((step + 1.0) / rising, 1.0)
        fallen = ops.clip((step - rising) / max(1.0, self.steps - rising), 0.0, 1.0)
        if self.decay == "slanted":
            # both lines end at the lowest rate, which is where the rise begins too
            return self.peak * (1.0 + ops.minimum(rise, 1.0 - fallen) * (_RATIO - 1.0)) / _RATIO
        if self.decay == "linear":
            return self.peak * rise * (1.0 - fallen)
        if self.decay == "cosine":
            return self.peak * rise * 0.5 * (1.0 + ops.cos(math.pi * fallen))
        return self.peak * rise

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "peak": self.peak,
            "steps": self.steps,
            "warmup": self.warmup,
            "decay": self.decay,
        }

"""Tells a loss that changes over a training which epoch it is in."""

from __future__ import annotations

from typing import Any

import keras

from tfhub_transfer.heads.losses import PhasedLoss

__all__ = ["Phases"]


class Phases(keras.callbacks.Callback):
    """Begins each epoch of a loss, and its validation, which is measured unchanged.

    Args:
        loss: what is trained with.
        before: the epochs of earlier stages.
    """

    def __init__(self, loss: PhasedLoss, before: int = 0):
        super().__init__()
        self._loss, self._before, self._epoch = loss, before, before

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin an epoch of the training."""
        self._epoch = self._before + epoch
        self._loss.begin(self._epoch)

    def on_test_begin(self, logs: Any = None) -> None:
        """Begin the validation."""
        self._loss.begin(None)

    def on_test_end(self, logs: Any = None) -> None:
        """Go back to training."""
        self._loss.begin(self._epoch)

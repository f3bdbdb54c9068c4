"""What every head has."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import keras
import numpy as np

from tfhub_transfer.config import HeadConfig


class Head(abc.ABC):
    """Layers on an encoder's output, the loss they are trained on, and what their output means.

    Args:
        config: sizes and regularisation.
        labels: class names, in the order of the outputs.
        multi_label: whether an example may have any number of labels.
    """

    def __init__(self, config: HeadConfig, labels: Sequence[str], *, multi_label: bool = False):
        self.config = config
        self.labels = tuple(labels)
        self.multi_label = multi_label

    @abc.abstractmethod
    def network(self, width: int) -> keras.Model:
        """Return the untrained layers as a model: float32[B, width] to probabilities."""

    @abc.abstractmethod
    def loss(self) -> keras.losses.Loss:
        """Return the loss of probabilities against targets."""

    @abc.abstractmethod
    def metrics(self) -> list[keras.metrics.Metric]:
        """Return what is shown while training."""

    @abc.abstractmethod
    def decode(self, probabilities: np.ndarray) -> list[dict[str, object]]:
        """Return what a person wants to know of each row of `probabilities`."""

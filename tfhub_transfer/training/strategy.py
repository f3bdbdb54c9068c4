"""What every strategy gets and gives."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tfhub_transfer.config import Config
from tfhub_transfer.data.examples import Dataset
from tfhub_transfer.runs import Run
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.loop import Progress

__all__ = ["Outcome", "Strategy"]


@dataclass(frozen=True)
class Outcome:
    """What a strategy leaves behind, beside the classifier's new weights.

    Attributes:
        progress: of the training loop.
        encode_seconds: spent on encoding texts ahead of the training.
        encode: texts to vectors, the fastest way that the strategy allows; float32[n, D].
    """

    progress: Progress
    encode_seconds: float
    encode: Callable[[Sequence[str]], np.ndarray]


class Strategy(abc.ABC):
    """Moves some of a classifier's weights.

    Args:
        config: the whole run's.
        run: where checkpoints go.
    """

    def __init__(self, config: Config, run: Run):
        self.config = config
        self.run = run

    @abc.abstractmethod
    def fit(self, classifier: Classifier, data: Dataset) -> Outcome:
        """Train `classifier` on `data`."""

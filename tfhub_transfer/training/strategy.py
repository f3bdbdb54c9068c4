"""What every strategy gets and gives."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfhub_transfer.config import Config
from tfhub_transfer.data.examples import Dataset
from tfhub_transfer.runs import Run
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.loop import Progress
from tfhub_transfer.training.objective import Objective

__all__ = ["Outcome", "Strategy"]


@dataclass(frozen=True)
class Outcome:
    """What a strategy leaves behind, beside the classifier's new weights.

    Attributes:
        progress: of the training loop.
        encode_seconds: spent on encoding texts ahead of the training.
        encode: texts to vectors, the fastest way that the strategy allows; float32[n, D].
        notes: sentences a person should read.
        details: what `metrics.json` gets from the strategy, by key: `stages` and the like.
    """

    progress: Progress
    encode_seconds: float
    encode: Callable[[Sequence[str]], np.ndarray]
    notes: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)


class Strategy(abc.ABC):
    """Moves some of a classifier's weights.

    Args:
        config: the whole run's.
        run: where checkpoints go.
        objective: what is aimed at; the head's own loss against the labels when not given.
    """

    def __init__(self, config: Config, run: Run, objective: Objective | None = None):
        self.config = config
        self.run = run
        self.objective = objective

    @abc.abstractmethod
    def fit(self, classifier: Classifier, data: Dataset) -> Outcome:
        """Train `classifier` on `data`."""

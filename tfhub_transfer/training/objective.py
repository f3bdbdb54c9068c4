"""What a training aims at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from tfhub_transfer.data.examples import Dataset, Examples
from tfhub_transfer.data.pipeline import Order
from tfhub_transfer.heads.head import Head
from tfhub_transfer.heads.losses import TruncatedLoss

__all__ = ["Objective", "truncated"]


@dataclass(frozen=True)
class Objective:
    """Targets, and the loss of a classifier's probabilities, float32[B, C], against them.

    Attributes:
        loss: of a batch; an example's weight multiplies its own.
        metrics: shown while training, against the same targets.
        targets: (examples, positions int64[n]) to float32[n, ...].
        order: takes what `Order` takes, and gives what the training rows are gone through by.
    """

    loss: keras.losses.Loss
    metrics: tuple[keras.metrics.Metric, ...]
    targets: Callable[[Examples, np.ndarray], np.ndarray]
    order: Callable[..., Order] = Order

    @classmethod
    def ground_truth(cls, head: Head, data: Dataset, *, truncate: float = 0.0) -> Objective:
        """Return the head's own loss against the examples' labels, one-hot or multi-hot.

        Args:
            head: of the classifier.
            data: whose labels they are.
            truncate: the share of each batch with the highest loss that is left out, from the
                second epoch on.
        """
        classes = len(data.labels)
        return cls(
            truncated(head.loss(), truncate),
            tuple(head.metrics()),
            lambda examples, positions: examples.targets(classes, positions),
        )


def truncated(loss: keras.losses.Loss, share: float) -> keras.losses.Loss:
    """Return the loss with a share of each batch left out; itself where that is 0."""
    return TruncatedLoss(loss, share) if share else loss

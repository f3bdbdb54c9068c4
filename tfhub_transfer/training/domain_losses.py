"""Losses over batches of two domains, of which only the source has labels.

Targets are float32[B, C + 1]: the ground truth, one-hot or multi-hot, which counts for rows of the
source alone, and 1 for rows of the target domain. The model's output is float32[B, C + K]: its
probabilities, and what the loss between the domains is taken of. Validation rows are all of the
source, and their loss is the head's own.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tfhub_transfer.heads.losses import PhasedLoss
from tfhub_transfer.training.soft_targets import AgainstTruth

__all__ = ["Coral", "DomainAdversarial", "OnSource", "packed"]


def packed(truth: np.ndarray, of_target: np.ndarray) -> np.ndarray:
    """Return the targets, float32[n, C + 1], of float32[n, C] and bool[n]."""
    return np.concatenate([truth, of_target[:, None]], axis=1, dtype=np.float32)


class BetweenDomains(PhasedLoss):
    """The head's loss on the source, and in training one between source and target.

    The mean over the batch is the mean over its source rows of the one, plus the other.

    Args:
        inner: the head's own loss.
        classes: C.
        name: of this one.
    """

    def __init__(self, inner: keras.losses.Loss, classes: int, name: str):
        super().__init__(inner, name)
        self.classes = classes

    def changes(self, epoch: int) -> bool:
        """Return that every epoch of the training is changed; validation is not."""
        return True

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return float32[B]."""
        of_target = y_true[:, self.classes]
        own = self.inner.call(y_true[:, : self.classes], y_pred[:, : self.classes])
        between = self.between(of_target, y_pred[:, self.classes :])
        active = ops.cast(self.active, own.dtype)
        return own * _share(1.0 - of_target) + active * between

    def between(self, of_target: Any, outputs: Any) -> Any:
        """Return the loss between the domains.

        Args:
            of_target: float32[B], 1 for rows of the target, 0 for those of the source.
            outputs: float32[B, K], of the model.

        Returns:
            float32[B] whose mean it is, or float32[].
        """
        raise NotImplementedError


class DomainAdversarial(BetweenDomains):
    """The domain classifier's cross-entropy: Ganin et al. 2016 (arXiv 1505.07818), equation 9.

    K is 1, the logit that a row is of the target. The sum of the means over either domain; what
    reverses its gradient, and how strongly, is a layer of the model.

    Args:
        inner: the head's own loss.
        classes: C.
    """

    def __init__(self, inner: keras.losses.Loss, classes: int):
        super().__init__(inner, classes, "domain_adversarial")

    def between(self, of_target: Any, outputs: Any) -> Any:
        """Return float32[B]."""
        logits = outputs[:, 0]
        # -log sigmoid(x) is softplus(-x), and -log(1 - sigmoid(x)) is softplus(x)
        entropy = of_target * ops.softplus(-logits) + (1.0 - of_target) * ops.softplus(logits)
        return entropy * (_share(of_target) + _share(1.0 - of_target))


class Coral(BetweenDomains):
    """The distance between the covariances of both domains' features.

    Sun and Saenko 2016, "Deep CORAL" (arXiv 1607.01719), equations 1 to 3: the squared Frobenius
    norm of C_S - C_T over 4 d^2. K is d, the features themselves.

    Args:
        inner: the head's own loss.
        classes: C.
        weight: of the distance.
    """

    def __init__(self, inner: keras.losses.Loss, classes: int, weight: float):
        super().__init__(inner, classes, "coral")
        self.weight = weight

    def between(self, of_target: Any, outputs: Any) -> Any:
        """Return float32[]."""
        apart = _covariance(outputs, 1.0 - of_target) - _covariance(outputs, of_target)
        return self.weight * ops.sum(ops.square(apart)) / (4.0 * outputs.shape[-1] ** 2)


def _share(chosen: Any) -> Any:
    """Return weights, float32[B], under which the batch's mean is that of the chosen rows."""
    rows = ops.cast(ops.shape(chosen)[0], chosen.dtype)
    return chosen * rows / ops.maximum(ops.sum(chosen), 1.0)


def _covariance(features: Any, chosen: Any) -> Any:
    """Return the covariance, float32[d, d], of the chosen rows; zeros of a single one."""
    count = ops.sum(chosen)
    mean = ops.sum(features * chosen[:, None], axis=0) / ops.maximum(count, 1.0)
    centred = (features - mean) * chosen[:, None]
    return ops.matmul(ops.transpose(centred), centred) / ops.maximum(count - 1.0, 1.0)


class OnSource(AgainstTruth):
    """One of the head's metrics, over the rows of the source.

    Args:
        inner: takes probabilities and float32[B, C].
        classes: C.
    """

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch."""
        of_source = 1.0 - y_true[:, self.classes]
        weights = of_source if sample_weight is None else sample_weight * of_source
        truth, probabilities = y_true[:, : self.classes], y_pred[:, : self.classes]
        self.inner.update_state(truth, probabilities, sample_weight=weights)

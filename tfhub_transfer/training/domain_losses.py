"""Losses over batches of two domains, of which only the source has labels.

Of texts, targets are float32[B, C + 1]: the ground truth, one-hot or multi-hot, which counts for
rows of the source alone, and 1 for rows of the target domain. The model's output is
float32[B, C + K]: its probabilities, and what the loss between the domains is taken of.

Of words, targets are int32[B, W], `WITHHELD` for each word of the target domain, which the head's
own loss passes over as it does padding. The output is float32[B, R, C + K]: the head's own, and in
the last W rows what the loss between the domains is taken of, of which each word is a row.

Validation rows are all of the source, and their loss is the head's own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from tfhub_transfer.data.tagged_examples import WITHHELD
from tfhub_transfer.heads.losses import PhasedLoss
from tfhub_transfer.training.soft_targets import AgainstTruth

__all__ = ["Coral", "DomainAdversarial", "OnSource", "packed"]


def packed(truth: np.ndarray, of_target: np.ndarray) -> np.ndarray:
    """Return the targets of texts, float32[n, C + 1], of float32[n, C] and bool[n]."""
    return np.concatenate([truth, of_target[:, None]], axis=1, dtype=np.float32)


class _Parts(NamedTuple):
    """Targets and outputs, taken apart.

    Attributes:
        truth: as the head's own loss and metrics take it.
        said: likewise, of the model.
        counts: float32[B], 0 for rows that those are not to look at.
        of_source: float32[N], 1 for each text, or each word, of the source.
        of_target: likewise of the target.
        further: float32[N, K], the other outputs of each text, or of each word.
    """

    truth: Any
    said: Any
    counts: Any
    of_source: Any
    of_target: Any
    further: Any


def _parts(y_true: Any, y_pred: Any, classes: int) -> _Parts:
    said, further = y_pred[..., :classes], y_pred[..., classes:]
    if len(y_pred.shape) == 2:
        of_target = y_true[:, classes]
        of_source = 1.0 - of_target
        return _Parts(y_true[:, :classes], said, of_source, of_source, of_target, further)
    above = ops.shape(y_pred)[1] - ops.shape(y_true)[1]
    further = ops.reshape(further[:, above:], (-1, further.shape[-1]))
    words = ops.reshape(ops.cast(y_true, "int32"), (-1,))
    of_source, of_target = (
        ops.cast(chosen, further.dtype) for chosen in (words >= 0, words == WITHHELD)
    )
    counts = ops.ones_like(y_pred[:, 0, 0])
    return _Parts(y_true, said, counts, of_source, of_target, further)


class BetweenDomains(PhasedLoss):
    """The head's loss on the source, and in training one between source and target.

    The mean over the batch is the mean over its texts, or its words, of the source of the one, plus
    the other.

    Args:
        inner: the head's own loss.
        classes: C, the columns of the output that are the head's.
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
        parts = _parts(y_true, y_pred, self.classes)
        own = self.inner.call(parts.truth, parts.said) * _share(parts.counts)
        between = self.between(parts.of_source, parts.of_target, parts.further)
        return own + ops.cast(self.active, own.dtype) * between

    def between(self, of_source: Any, of_target: Any, outputs: Any) -> Any:
        """Return the loss between the domains, float32[].

        Args:
            of_source: float32[N], 1 for rows of the source.
            of_target: float32[N], 1 for rows of the target; padding is of neither.
            outputs: float32[N, K], of the model.
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

    def between(self, of_source: Any, of_target: Any, outputs: Any) -> Any:
        """Return float32[]."""
        logits = outputs[:, 0]
        # -log sigmoid(x) is softplus(-x), and -log(1 - sigmoid(x)) is softplus(x)
        missed, suspected = ops.softplus(-logits), ops.softplus(logits)
        return _mean(missed, of_target) + _mean(suspected, of_source)


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

    def between(self, of_source: Any, of_target: Any, outputs: Any) -> Any:
        """Return float32[]."""
        apart = _covariance(outputs, of_source) - _covariance(outputs, of_target)
        return self.weight * ops.sum(ops.square(apart)) / (4.0 * outputs.shape[-1] ** 2)


def _share(chosen: Any) -> Any:
    """Return weights, float32[B], under which the batch's mean is that of the chosen rows."""
    rows = ops.cast(ops.shape(chosen)[0], chosen.dtype)
    return chosen * rows / ops.maximum(ops.sum(chosen), 1.0)


def _mean(values: Any, chosen: Any) -> Any:
    """Return the mean over the chosen rows, float32[]; 0 of none."""
    return ops.sum(values * chosen) / ops.maximum(ops.sum(chosen), 1.0)


def _covariance(features: Any, chosen: Any) -> Any:
    """Return the covariance, float32[d, d], of the chosen rows; zeros of a single one."""
    count = ops.sum(chosen)
    mean = ops.sum(features * chosen[:, None], axis=0) / ops.maximum(count, 1.0)
    centred = (features - mean) * chosen[:, None]
    return ops.matmul(ops.transpose(centred), centred) / ops.maximum(count - 1.0, 1.0)


class OnSource(AgainstTruth):
    """One of the head's metrics, over the source alone.

    Args:
        inner: takes what the head's loss takes.
        classes: C.
    """

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch."""
        parts = _parts(y_true, y_pred, self.classes)
        weights = parts.counts if sample_weight is None else sample_weight * parts.counts
        self.inner.update_state(parts.truth, parts.said, sample_weight=weights)

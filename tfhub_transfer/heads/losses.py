"""Losses for classes of unequal size and for labels that are partly wrong."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["FocalCrossentropy", "PhasedLoss", "TruncatedLoss"]


class FocalCrossentropy(keras.losses.Loss):
    """Cross-entropy in which an example counts the less, the better it is classified already.

    Lin et al. 2017 (arXiv 1708.02002), section 3.2: a class of probability p that applies adds
    (1 - p)^gamma * -log p. Classes are not weighted (alpha is 1): `data.balance` does that.

    Args:
        gamma: how fast the weight falls; 0 is cross-entropy.
        label_smoothing: the share of each target spread evenly over all classes.
        multi_label: whether the probabilities, float32[B, C], are sigmoids of their own.
    """

    def __init__(self, gamma: float, label_smoothing: float = 0.0, multi_label: bool = False):
        super().__init__(name="focal_crossentropy")
        self.gamma, self.label_smoothing, self.multi_label = gamma, label_smoothing, multi_label

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return float32[B] for targets, float32[B, C], and probabilities."""
        # at a probability of exactly 1 the power below gamma 1 has no derivative
        edge = keras.config.epsilon()
        shared = {"gamma": self.gamma, "label_smoothing": self.label_smoothing}
        y_pred = ops.clip(y_pred, edge, 1.0 - edge)
        if self.multi_label:
            return keras.losses.binary_focal_crossentropy(y_true, y_pred, **shared)
        return keras.losses.categorical_focal_crossentropy(y_true, y_pred, alpha=1.0, **shared)


class PhasedLoss(keras.losses.Loss):
    """Another loss, changed in some epochs of a training.

    Args:
        inner: the other loss.
        name: of this one.

    Attributes:
        active: a variable, 1 in epochs in which the other loss is changed.
    """

    def __init__(self, inner: keras.losses.Loss, name: str):
        super().__init__(name=name)
        self.inner = inner
        self.active = keras.Variable(0.0, trainable=False, dtype="float32", name="active")

    def changes(self, epoch: int) -> bool:
        """Return whether the other loss is changed in an epoch, counted from 0."""
        raise NotImplementedError

    def begin(self, epoch: int | None) -> None:
        """Begin an epoch, counted from 0 over all stages; None is validation, never changed."""
        self.active.assign(float(epoch is not None and self.changes(epoch)))
        if isinstance(self.inner, PhasedLoss):
            self.inner.begin(epoch)


class TruncatedLoss(PhasedLoss):
    """Leaves out the examples of each batch with the highest loss, as probably mislabelled.

    Loss truncation, Kang and Hashimoto 2020 (arXiv 2004.14589), section 4: after a hot start with
    the plain loss, here the first epoch, examples above a quantile of the losses are dropped.
    Theirs is estimated from thousands of losses gone by; here it is the batch's own, which needs no
    state that a resumed training would have to bring back. What is kept is scaled up to the batch's
    size, so that the learning rate keeps its meaning. An example's weight plays no part in the
    choice.

    Args:
        inner: the loss of each example.
        share: left out of each batch, rounded down; one example at least is kept.
    """

    def __init__(self, inner: keras.losses.Loss, share: float):
        super().__init__(inner, "truncated_loss")
        self.share = share

    def changes(self, epoch: int) -> bool:
        """Return whether the hot start is over."""
        return epoch > 0

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return float32[B], zero where an example is left out."""
        losses = self.inner.call(y_true, y_pred)
        count = ops.shape(losses)[0]
        # in float32 0.1 of 10 examples may be a little less than 1
        dropped = ops.floor(ops.cast(count, "float32") * self.share + 1e-4)
        kept = ops.maximum(count - ops.cast(dropped, "int32"), 1)
        ascending = ops.sort(ops.stop_gradient(losses))
        mask = ops.cast(losses <= ascending[kept - 1], losses.dtype)
        mask *= ops.cast(count, losses.dtype) / ops.maximum(ops.sum(mask), 1.0)
        active = ops.cast(self.active, losses.dtype)
        return losses * (active * mask + 1.0 - active)

"""The loss of a student against its teacher's word and the ground truth.

Targets are float32[B, 2 C + 2] and may be followed by the teacher's vectors:

    0 .. C         the ground truth, one-hot or multi-hot
    C .. 2 C       the teacher's logits
    2 C            1 where there is a ground truth, 0 for unlabelled text
    2 C + 1        1 where the teacher was asked, 0 for validation rows
    2 C + 2 ..     the teacher's vector, float32[D]

The student's output is float32[B, C], its probabilities, followed by float32[B, D] in that case.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from tfhub_transfer.heads.losses import PhasedLoss

__all__ = ["AgainstTruth", "SoftTargets", "VectorDistance", "packed"]


class _Parts(NamedTuple):
    truth: Any
    logits: Any
    labelled: Any
    taught: Any
    vectors: Any


def packed(
    truth: np.ndarray, logits: np.ndarray, labelled: np.ndarray, taught: np.ndarray
) -> np.ndarray:
    """Return the targets, float32[n, 2 C + 2], of two float32[n, C] and two bool[n]."""
    flags = np.stack([labelled, taught], axis=1)
    return np.concatenate([truth, logits, flags], axis=1, dtype=np.float32)


def _parts(targets: Any, classes: int) -> _Parts:
    return _Parts(
        targets[:, :classes],
        targets[:, classes : 2 * classes],
        targets[:, 2 * classes],
        targets[:, 2 * classes + 1],
        targets[:, 2 * classes + 2 :],
    )


class SoftTargets(keras.losses.Loss):
    """Distillation, Hinton et al. 2015 (arXiv 1503.02531), section 2.

        (1 - weight) * truth + weight * T^2 * cross-entropy(softmax(t / T), softmax(s / T))

    with the teacher's logits t and the student's s, the logarithm of its probabilities. T^2 keeps
    the soft term's gradients as large as the other's whatever the temperature. Where classes do
    not exclude each other, each has a sigmoid of its own, and the cross-entropy is their mean, as
    in the head's own loss. A row without ground truth has the soft term alone, with the same
    weight; one that the teacher was not asked about has the ground truth's, in full.

    Args:
        truth: the head's own loss.
        classes: C.
        temperature: T.
        weight: of the soft term.
        multi_label: whether classes do not exclude each other.
    """

    def __init__(
        self,
        truth: keras.losses.Loss,
        classes: int,
        *,
        temperature: float,
        weight: float,
        multi_label: bool,
    ):
        super().__init__(name="soft_targets")
        self.truth, self.classes = truth, classes
        self.temperature, self.weight, self.multi_label = temperature, weight, multi_label

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return float32[B]."""
        parts = _parts(y_true, self.classes)
        probabilities = y_pred[:, : self.classes]
        hard = self.truth.call(parts.truth, probabilities)
        hard *= parts.labelled * (1.0 - self.weight * parts.taught)
        soft = self._soft(parts.logits / self.temperature, probabilities)
        return hard + self.weight * self.temperature**2 * parts.taught * soft

    def _soft(self, teacher: Any, probabilities: Any) -> Any:
        edge = keras.config.epsilon()
        p = ops.clip(probabilities, edge, 1.0 - edge)
        if self.multi_label:
            student = (ops.log(p) - ops.log1p(-p)) / self.temperature
            # -log sigmoid(x) is softplus(-x), and -log(1 - sigmoid(x)) is softplus(x)
            wanted = ops.sigmoid(teacher)
            entropy = wanted * ops.softplus(-student) + (1.0 - wanted) * ops.softplus(student)
            return ops.mean(entropy, axis=-1)
        log_student = ops.log_softmax(ops.log(p) / self.temperature)
        return -ops.sum(ops.softmax(teacher) * log_student, axis=-1)


class VectorDistance(PhasedLoss):
    """Another loss plus the distance between the student's vectors and the teacher's.

    In the first epoch the distance is all there is: FitNets (Romero et al. 2015, arXiv 1412.6550)
    begin so, with a layer that maps the student's vectors to the teacher's width. The distance is
    the mean squared error over the teacher's variance, so that 1 is what its mean vector gives.

    Args:
        inner: the other loss.
        classes: C.
        weight: of the distance.
        variance: of the teacher's vectors, the mean over their numbers.
    """

    def __init__(self, inner: keras.losses.Loss, classes: int, *, weight: float, variance: float):
        super().__init__(inner, "vector_distance")
        self.classes, self.weight, self.variance = classes, weight, variance

    def changes(self, epoch: int) -> bool:
        """Return whether the distance is all there is."""
        return epoch == 0

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return float32[B]."""
        parts = _parts(y_true, self.classes)
        error = ops.mean(ops.square(y_pred[:, self.classes :] - parts.vectors), axis=-1)
        distance = self.weight * parts.taught * error / self.variance
        alone = ops.cast(self.active, distance.dtype)
        return distance + (1.0 - alone) * self.inner.call(y_true, y_pred)


class AgainstTruth(keras.metrics.Metric):
    """One of the head's metrics, over the rows that have a ground truth.

    Args:
        inner: takes probabilities and float32[B, C].
        classes: C.
    """

    def __init__(self, inner: keras.metrics.Metric, classes: int):
        super().__init__(name=inner.name)
        self.inner, self.classes = inner, classes

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch."""
        parts = _parts(y_true, self.classes)
        weights = parts.labelled if sample_weight is None else sample_weight * parts.labelled
        self.inner.update_state(parts.truth, y_pred[:, : self.classes], sample_weight=weights)

    def result(self) -> Any:
        """Return the metric over all batches since the last reset."""
        return self.inner.result()

    def reset_state(self) -> None:
        """Begin anew."""
        self.inner.reset_state()

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "inner": keras.saving.serialize_keras_object(self.inner),
            "classes": self.classes,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AgainstTruth:
        """Return the metric anew."""
        return cls(keras.saving.deserialize_keras_object(config["inner"]), config["classes"])

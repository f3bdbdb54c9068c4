"""The losses, against NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.config import HeadConfig
from tfhub_transfer.heads.classification import ClassificationHead
from tfhub_transfer.heads.losses import FocalCrossentropy, TruncatedLoss

PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.05, 0.05, 0.9]], np.float32
)
ONE_HOT = np.eye(3, dtype=np.float32)[[0, 1, 1, 0]]
SEVERAL = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]], np.float32)


def smoothed(targets: np.ndarray, share: float, multi_label: bool) -> np.ndarray:
    return targets * (1 - share) + share / (2 if multi_label else 3)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_loss_of_exclusive_classes(gamma, smoothing):
    loss = FocalCrossentropy(gamma, smoothing)
    p, y = PROBABILITIES.astype(float), smoothed(ONE_HOT, smoothing, False)
    expected = (y * (1 - p) ** gamma * -np.log(p)).sum(axis=1)
    np.testing.assert_allclose(loss.call(ONE_HOT, PROBABILITIES), expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_loss_of_several_labels(smoothing):
    loss = FocalCrossentropy(2.0, smoothing, multi_label=True)
    p, y = PROBABILITIES.astype(float), smoothed(SEVERAL, smoothing, True)
    entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    expected = ((1 - (y * p + (1 - y) * (1 - p))) ** 2 * entropy).mean(axis=1)
    np.testing.assert_allclose(loss.call(SEVERAL, PROBABILITIES), expected, rtol=1e-5)


@pytest.mark.parametrize("multi_label", [False, True])
def test_gamma_zero_is_cross_entropy(multi_label):
    targets = SEVERAL if multi_label else ONE_HOT
    plain = ClassificationHead(HeadConfig(), "abc", multi_label=multi_label).loss()
    config = HeadConfig(loss="focal", focal_gamma=0.0)
    focal = ClassificationHead(config, "abc", multi_label=multi_label).loss()
    assert isinstance(focal, FocalCrossentropy)
    np.testing.assert_allclose(
        focal(targets, PROBABILITIES), plain(targets, PROBABILITIES), rtol=1e-5
    )


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_certain_answer_has_a_finite_gradient(multi_label):
    logits = keras.Variable([[200.0, -200.0, -200.0]])
    loss = FocalCrossentropy(0.5, multi_label=multi_label)
    with tf.GradientTape() as tape:
        activation = keras.ops.sigmoid if multi_label else keras.ops.softmax
        value = loss(np.array([[1, 0, 0]], np.float32), activation(logits))
    assert np.isfinite(tape.gradient(value, logits.value)).all()


class OfTheTarget(keras.losses.Loss):
    """Each example's loss is its target's first number."""

    def call(self, y_true, y_pred):
        return y_true[:, 0] + 0.0 * y_pred[:, 0]


def truncated(values: list[float], share: float, epoch: int | None = 1) -> np.ndarray:
    loss = TruncatedLoss(OfTheTarget(), share)
    loss.begin(epoch)
    column = np.array(values, np.float32)[:, np.newaxis]
    return np.asarray(loss.call(column, np.zeros_like(column)))


def test_the_highest_losses_are_left_out_and_the_others_scaled_up():
    given = [5.0, 1.0, 9.0, 2.0, 3.0]
    np.testing.assert_allclose(truncated(given, 0.4), np.array([0, 1, 0, 2, 3]) * 5 / 3, rtol=1e-6)


def test_the_share_is_rounded_down_and_one_example_is_kept():
    np.testing.assert_array_equal(truncated([4.0, 1.0], 0.4), [4.0, 1.0])
    np.testing.assert_array_equal(truncated([4.0], 0.9), [4.0])
    np.testing.assert_array_equal(np.flatnonzero(truncated(list(range(1, 11)), 0.1)), range(9))


@pytest.mark.parametrize("epoch", [0, None])
def test_it_is_the_plain_loss_in_the_first_epoch_and_in_validation(epoch):
    given = [5.0, 1.0, 9.0, 2.0, 3.0]
    np.testing.assert_array_equal(truncated(given, 0.4, epoch), given)


def test_a_truncated_loss_tells_the_one_within_of_the_epoch():
    inner = TruncatedLoss(OfTheTarget(), 0.4)
    outer = TruncatedLoss(inner, 0.4)
    outer.begin(3)
    assert float(inner.active) == 1.0

"""The student's loss, against NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfhub_transfer.config import HeadConfig
from tfhub_transfer.heads.classification import ClassificationHead
from tfhub_transfer.training.soft_targets import AgainstTruth, SoftTargets, VectorDistance, packed

ROWS, CLASSES = 5, 3
RNG = np.random.default_rng(0)
TRUTH = np.eye(CLASSES, dtype=np.float32)[RNG.integers(CLASSES, size=ROWS)]
LOGITS = RNG.normal(size=(ROWS, CLASSES)).astype(np.float32)
LABELLED = np.array([1, 1, 0, 1, 0], bool)
TAUGHT = np.array([1, 1, 1, 0, 1], bool)
TARGETS = packed(TRUTH, LOGITS, LABELLED, TAUGHT)


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values)
    return powers / powers.sum(axis=1, keepdims=True)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def outputs(multi_label: bool) -> np.ndarray:
    raw = RNG.normal(size=(ROWS, CLASSES))
    return (sigmoid(raw) if multi_label else softmax(raw)).astype(np.float32)


def cross_entropy(wanted: np.ndarray, p: np.ndarray, multi_label: bool) -> np.ndarray:
    if multi_label:
        return -(wanted * np.log(p) + (1 - wanted) * np.log(1 - p)).mean(axis=1)
    return -(wanted * np.log(p)).sum(axis=1)


def loss_of(multi_label: bool, temperature: float = 2.0, weight: float = 0.7) -> SoftTargets:
    head = ClassificationHead(HeadConfig(), "abc", multi_label=multi_label)
    return SoftTargets(
        head.loss(), CLASSES, temperature=temperature, weight=weight, multi_label=multi_label
    )


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 1.0), (4.0, 0.7), (0.5, 0.0)])
def test_the_loss_is_that_of_the_paper(multi_label, temperature, weight):
    p = outputs(multi_label)
    if multi_label:
        wanted = sigmoid(LOGITS / temperature)
        softened = sigmoid(np.log(p / (1 - p)) / temperature)
    else:
        wanted = softmax(LOGITS / temperature)
        softened = softmax(np.log(p) / temperature)
    soft = temperature**2 * cross_entropy(wanted, softened, multi_label)
    hard = cross_entropy(TRUTH, p, multi_label)
    expected = np.where(TAUGHT, weight * soft, 0)
    expected += np.where(LABELLED, np.where(TAUGHT, 1 - weight, 1) * hard, 0)
    found = loss_of(multi_label, temperature, weight).call(TARGETS, p)
    np.testing.assert_allclose(found, expected, rtol=2e-5)


@pytest.mark.parametrize("multi_label", [False, True])
def test_certain_answers_give_a_finite_loss(multi_label):
    p = np.eye(CLASSES, dtype=np.float32)[[0, 1, 2, 0, 1]]
    assert np.isfinite(loss_of(multi_label).call(TARGETS, p)).all()


def with_vectors(epoch: int | None, vectors: np.ndarray, mapped: np.ndarray) -> np.ndarray:
    loss = VectorDistance(loss_of(False), CLASSES, weight=0.5, variance=4.0)
    loss.begin(epoch)
    p = np.full((ROWS, CLASSES), 1 / 3, np.float32)
    targets = np.concatenate([TARGETS, vectors], axis=1)
    return np.asarray(loss.call(targets, np.concatenate([p, mapped], axis=1)))


def test_vectors_are_a_start_and_a_further_target():
    vectors, mapped = RNG.normal(size=(2, ROWS, 7)).astype(np.float32)
    distance = np.where(TAUGHT, 0.5 * ((vectors - mapped) ** 2).mean(axis=1) / 4.0, 0)
    without = with_vectors(1, vectors, vectors)
    np.testing.assert_allclose(with_vectors(0, vectors, mapped), distance, rtol=1e-5)
    np.testing.assert_allclose(with_vectors(1, vectors, mapped), distance + without, rtol=1e-5)
    np.testing.assert_allclose(with_vectors(None, vectors, vectors), without, rtol=1e-5)


def test_metrics_are_of_the_rows_with_a_ground_truth():
    metric = AgainstTruth(keras.metrics.CategoricalAccuracy(name="accuracy"), CLASSES)
    p = np.where(LABELLED[:, np.newaxis], TRUTH, TRUTH[:, ::-1] + np.roll(TRUTH, 1, axis=1))
    metric.update_state(TARGETS, p.astype(np.float32), sample_weight=np.ones(ROWS, np.float32))
    assert metric.name == "accuracy"
    assert float(metric.result()) == 1.0
    metric.update_state(TARGETS, np.roll(TRUTH, 1, axis=1))
    assert float(metric.result()) == 0.5
    metric.reset_state()
    assert float(metric.result()) == 0.0

"""The loss over all pairs of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.training.pair_loss import cosine_regression, supervised_contrastive


def by_the_book(vectors: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Khosla et al. 2020, equation 2, term by term."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    everyone = range(len(labels))
    losses = []
    for i in everyone:
        others = [a for a in everyone if a != i]
        whole = sum(np.exp(unit[i] @ unit[a] / temperature) for a in others)
        partners = [p for p in others if labels[p] == labels[i]]
        terms = [np.log(np.exp(unit[i] @ unit[p] / temperature) / whole) for p in partners]
        losses.append(-sum(terms) / len(partners))
    return float(np.mean(losses))


@pytest.mark.parametrize("temperature", [0.05, 0.5, 10.0])
def test_it_is_the_papers(temperature: float):
    rng = np.random.default_rng(0)
    labels = np.array([0, 1, 2, 1, 0, 2, 2], np.int32)
    vectors = rng.normal(size=(7, 5)).astype(np.float32)
    loss = supervised_contrastive(tf.constant(vectors), tf.constant(labels), temperature)
    assert float(loss) == pytest.approx(by_the_book(vectors, labels, temperature), rel=1e-5)


def test_it_falls_as_classes_come_apart_and_does_not_mind_lengths():
    labels = tf.constant([0, 0, 1, 1])
    mixed = tf.constant([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    apart = tf.constant([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert supervised_contrastive(apart, labels, 0.1) < supervised_contrastive(mixed, labels, 0.1)
    longer = supervised_contrastive(7.0 * mixed, labels, 0.1)
    np.testing.assert_allclose(longer, supervised_contrastive(mixed, labels, 0.1), rtol=1e-5)


def test_cosines_are_drawn_to_one_within_a_class_and_to_zero_across():
    labels = tf.constant([0, 0, 1, 1, 1])
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5, 3)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [(i, j) for i in range(5) for j in range(i)]
    within = [(1 - unit[i] @ unit[j]) ** 2 for i, j in pairs if labels[i] == labels[j]]
    across = [(unit[i] @ unit[j]) ** 2 for i, j in pairs if labels[i] != labels[j]]
    expected = (np.mean(within) + np.mean(across)) / 2
    assert float(cosine_regression(tf.constant(vectors), labels)) == pytest.approx(expected)
    apart = tf.constant([[2.0, 0.0]] * 2 + [[0.0, 3.0]] * 3)
    assert float(cosine_regression(apart, labels)) == pytest.approx(0.0)


def test_its_gradient_is_finite_where_vectors_are_equal_or_zero():
    vectors = tf.Variable([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        loss = supervised_contrastive(vectors, tf.constant([0, 0, 1, 1]), 0.01)
    assert np.isfinite(loss)
    assert np.isfinite(tape.gradient(loss, vectors)).all()

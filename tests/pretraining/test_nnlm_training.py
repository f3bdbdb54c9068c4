"""Steps of the training, and what is kept of them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.errors import RunError
from tfhub_transfer.pretraining.nnlm.candidates import LogUniform
from tfhub_transfer.pretraining.nnlm.model import FeedForwardModel
from tfhub_transfer.pretraining.nnlm.training import NnlmTraining

WORDS, ROWS, STEPS, RATE = 30, 33, 8, 0.1
COUNTS = np.arange(WORDS, 0, -1)


def made(hidden: int = 4, sampled: int = 10) -> NnlmTraining:
    model = FeedForwardModel(COUNTS, ROWS, dimensions=3, context=2, hidden=hidden)
    candidates = LogUniform(WORDS, sampled)
    return NnlmTraining(model, candidates, learning_rate=RATE, steps=STEPS, seed=3)


def batch(step: int) -> np.ndarray:
    random = np.random.default_rng(step)
    seen = random.integers(0, ROWS, (16, 2))
    return np.concatenate([seen, random.integers(0, WORDS, (16, 1))], axis=1).astype(np.int32)


def take(training: NnlmTraining, first: int, last: int) -> list[float]:
    return [
        training.step(step, batch(step), training.candidates(step)) for step in range(first, last)
    ]


def weights(training: NnlmTraining) -> list[np.ndarray]:
    return [weight.numpy() for weight in training.model.trainable_variables]


def test_a_step_is_that_of_adagrad_on_the_sum_of_a_row_s_gradients():
    training = made()
    take(training, 0, 2)  # away from the zeros of the beginning
    model = training.model
    before = weights(training)
    other = made()
    rows, drawn = batch(2), training.candidates(2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model.sampled_loss(rows[:, :-1], rows[:, -1], *drawn))
    gradients = [
        tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, model.trainable_variables)
    ]
    # the squares of the two steps before
    sums = [np.full_like(weight, 1e-8) for weight in before]
    for step in range(2):
        with tf.GradientTape() as tape:
            rows_, drawn_ = batch(step), other.candidates(step)
            loss = tf.reduce_mean(other.model.sampled_loss(rows_[:, :-1], rows_[:, -1], *drawn_))
        found = tape.gradient(loss, other.model.trainable_variables)
        squares = [tf.convert_to_tensor(gradient).numpy() ** 2 for gradient in found]
        sums = [total + square for total, square in zip(sums, squares, strict=True)]
        take(other, step, step + 1)
    rate = RATE * (1 - 2 / STEPS)
    training.step(2, rows, drawn)
    for old, gradient, total, new in zip(before, gradients, sums, weights(training), strict=True):
        expected = old - rate * gradient / (np.sqrt(total + gradient**2) + 1e-7)
        np.testing.assert_allclose(new, expected, atol=1e-5)
        assert not np.array_equal(new, old)


def test_it_repeats_and_goes_on_to_the_same_bits(tmp_path):
    whole = made()
    losses = take(whole, 0, STEPS)
    part = made()
    assert take(part, 0, 3) == losses[:3]
    part.save(tmp_path / "last.safetensors", {"step": 3, "loss": 0.1})
    again = made()
    assert again.load(tmp_path / "last.safetensors") == {"step": 3, "loss": 0.1}
    assert take(again, 3, STEPS) == losses[3:]
    for one, other in zip(weights(whole), weights(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_checkpoint_of_another_model(tmp_path):
    file = tmp_path / "last.safetensors"
    made(hidden=5).save(file, {})
    with pytest.raises(RunError, match=r"of another model\. .* Expected adagrad/hidden:0 of shape"):
        made().load(file)

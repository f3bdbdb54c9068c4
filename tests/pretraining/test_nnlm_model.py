"""The model's loss and gradients, against the same written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.pretraining.nnlm.candidates import LogUniform
from tfhub_transfer.pretraining.nnlm.model import FeedForwardModel

WORDS, ROWS, DIMENSIONS, CONTEXT, HIDDEN, BATCH = 7, 10, 3, 2, 4, 5
COUNTS = np.array([40, 20, 10, 5, 2, 1, 0])


@pytest.fixture(params=[False, True], ids=["hidden alone", "direct connections"])
def model(request) -> FeedForwardModel:
    """A model whose weights are all something."""
    made = FeedForwardModel(
        COUNTS, ROWS, dimensions=DIMENSIONS, context=CONTEXT, hidden=HIDDEN,
        direct=request.param, dtype="float64",
    )
    random = np.random.default_rng(0)
    for weight in made.trainable_variables:
        weight.assign(random.normal(size=weight.shape))
    return made


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    context = random.integers(0, ROWS, (BATCH, CONTEXT)).astype(np.int32)
    context[0] = context[1]  # a row that several examples share
    return context, np.array([0, 3, 3, 6, 1], np.int32)


def values(model: FeedForwardModel) -> dict[str, np.ndarray]:
    return {weight.name.split(":")[0]: weight.numpy() for weight in model.trainable_variables}


def plainly(of: dict[str, np.ndarray], direct: bool, context: np.ndarray, target: np.ndarray):
    """Equation 1 of the paper, example by example, and its gradients by the chain rule."""
    table, inner, d, b = of["embeddings"], of["hidden"], of["hidden_bias"], of["output_bias"]
    u, w = of["output"][:, :HIDDEN], of["output"][:, HIDDEN:]
    grads = {name: np.zeros_like(value) for name, value in of.items()}
    losses = []
    for words, right in zip(context, target, strict=True):
        x = np.concatenate([table[word] for word in words])
        a = np.tanh(d + inner.T @ x)
        y = b + u @ a + (w @ x if direct else 0)
        p = np.exp(y - y.max())
        p /= p.sum()
        losses.append(-np.log(p[right]))
        dy = p - np.eye(WORDS)[right]
        dz = (u.T @ dy) * (1 - a**2)
        dx = inner @ dz + (w.T @ dy if direct else 0)
        grads["output_bias"] += dy
        grads["output"] += np.outer(dy, np.concatenate([a, x]) if direct else a)
        grads["hidden_bias"] += dz
        grads["hidden"] += np.outer(x, dz)
        for place, word in enumerate(words):
            grads["embeddings"][word] += dx[place * DIMENSIONS : (place + 1) * DIMENSIONS]
    return np.array(losses), grads


def gradients(model: FeedForwardModel, loss) -> dict[str, np.ndarray]:
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(loss())
    found = tape.gradient(total, model.trainable_variables)
    return dict(zip(values(model), (tf.convert_to_tensor(g).numpy() for g in found), strict=True))


def test_the_whole_softmax_is_as_computed_plainly(model, batch):
    losses, expected = plainly(values(model), model.direct, *batch)
    np.testing.assert_allclose(model.loss(*batch), losses, rtol=1e-12)
    found = gradients(model, lambda: model.loss(*batch))
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-12, err_msg=name)


def test_with_all_words_as_candidates_the_sampled_softmax_is_the_whole_one(model, batch):
    drawn = LogUniform(WORDS, WORDS).draw(np.random.default_rng(0))
    drawn = drawn[0], drawn[1].astype(np.float64)
    np.testing.assert_allclose(model.sampled_loss(*batch, *drawn), model.loss(*batch), rtol=1e-12)
    whole = gradients(model, lambda: model.loss(*batch))
    sampled = gradients(model, lambda: model.sampled_loss(*batch, *drawn))
    for name in whole:
        np.testing.assert_allclose(sampled[name], whole[name], atol=1e-12, err_msg=name)


def test_the_sampled_softmax_is_tensorflow_s_own(model, batch):
    context, target = batch
    candidates, log_expected = LogUniform(WORDS, 4).draw(np.random.default_rng(0))
    log_expected = log_expected.astype(np.float64)
    expected = tf.nn.sampled_softmax_loss(
        model.output,
        model.output_bias,
        target[:, np.newaxis].astype(np.int64),
        model.features(context),
        num_sampled=4,
        num_classes=WORDS,
        sampled_values=(
            candidates.astype(np.int64),
            np.exp(log_expected[target])[:, np.newaxis],
            np.exp(log_expected[candidates]),
        ),
        remove_accidental_hits=True,
    )
    assert set(candidates) & set(target.tolist())
    found = model.sampled_loss(context, target, candidates, log_expected)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_it_starts_as_the_unigram_model():
    model = FeedForwardModel(COUNTS, ROWS, dimensions=DIMENSIONS, context=CONTEXT, hidden=HIDDEN)
    context = np.zeros((WORDS, CONTEXT), np.int32)
    shares = (COUNTS + 1) / (COUNTS + 1).sum()
    found = model.loss(context, np.arange(WORDS, dtype=np.int32))
    np.testing.assert_allclose(found, -np.log(shares), rtol=1e-5)

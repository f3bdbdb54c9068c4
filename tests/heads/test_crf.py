"""The conditional random field, against sums over all sequences of tags."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.heads.crf import (
    CRF,
    Chain,
    log_likelihood,
    log_partition,
    marginals,
    path_score,
    viterbi,
)

CASES = 1000
BATCH = 5


@tf.function(reduce_retracing=True)
def everything(logits, tags, lengths, transitions, start, end):
    chain = Chain(transitions, start, end)
    return (
        path_score(logits, tags, lengths, chain),
        log_likelihood(logits, tags, lengths, chain),
        marginals(logits, lengths, chain),
        *viterbi(logits, lengths, chain),
    )


def by_hand(logits, length, chain):
    """Return log Z, marginals float64[length, T], the best path and its score, by summing."""
    transitions, start, end = (np.asarray(score, float) for score in chain)
    tags = logits.shape[1]
    if not length:
        return 0.0, np.zeros((0, tags)), [()], 0.0
    paths = list(itertools.product(range(tags), repeat=length))
    scores = np.array(
        [
            start[path[0]]
            + end[path[-1]]
            + sum(logits[place, tag] for place, tag in enumerate(path))
            + sum(transitions[pair] for pair in itertools.pairwise(path))
            for path in paths
        ]
    )
    shares = np.exp(scores - scores.max())
    expected = np.zeros((length, tags))
    for path, share in zip(paths, shares, strict=True):
        expected[range(length), path] += share
    best = [path for path, score in zip(paths, scores, strict=True) if score > scores.max() - 1e-4]
    partition = scores.max() + np.log(shares.sum())
    return partition, expected / shares.sum(), best, scores.max()


def a_chain(draw, tags, forbidden=0.0):
    """Return random scores, a share of them forbidden; tag 0 may stand anywhere."""
    scores = [draw.normal(size=shape) * 2 for shape in ((tags, tags), tags, tags)]
    for score in scores:
        score[draw.random(score.shape) < forbidden] = -np.inf
    transitions, start, end = scores
    transitions[0], transitions[:, 0], start[0], end[0] = 0.3, -0.2, 0.1, -0.1
    return Chain(*(score.astype(np.float32) for score in scores))


def test_a_thousand_random_cases():
    draw = np.random.default_rng(0)
    for case in range(CASES // BATCH):
        tags, words = draw.integers(2, 5), draw.integers(1, 6)
        chain = a_chain(draw, tags, forbidden=0.3 * (case % 2))
        logits = (draw.normal(size=(BATCH, words, tags)) * 3).astype(np.float32)
        lengths = draw.integers(0, words + 1, BATCH).astype(np.int32)
        path = draw.integers(0, tags, (BATCH, words)).astype(np.int32)
        taken, likelihood, expected, best, score = (
            value.numpy() for value in everything(logits, path, lengths, *chain)
        )
        for row, length in enumerate(lengths):
            given = logits[row].astype(float)
            partition, unary, bests, highest = by_hand(given, length, chain)
            np.testing.assert_allclose(likelihood[row], taken[row] - partition, atol=1e-4)
            np.testing.assert_allclose(expected[row, :length], unary, atol=1e-5)
            assert (expected[row, length:] == 0).all()
            assert tuple(best[row, :length]) in bests
            assert (best[row, length:] == -1).all()
            np.testing.assert_allclose(score[row], highest, atol=1e-4)


def test_the_score_of_a_path():
    transitions = np.float32([[1, 2], [4, 8]])
    chain = Chain(transitions, np.float32([0.5, 16]), np.float32([32, 0.25]))
    logits = np.float32([[[64, 0], [0, 128], [0, 256]]])
    score = path_score(logits, np.int32([[0, 1, 1]]), np.int32([3]), chain)
    assert score.numpy() == [64 + 128 + 256 + 2 + 8 + 0.5 + 0.25]
    shorter = path_score(logits, np.int32([[0, 1, -1]]), np.int32([2]), chain)
    assert shorter.numpy() == [64 + 128 + 2 + 0.5 + 0.25]


def test_gradients_against_finite_differences():
    draw = np.random.default_rng(1)
    logits = draw.normal(size=(3, 4, 3)).astype(np.float32)
    path = draw.integers(0, 3, (3, 4)).astype(np.int32)
    lengths, upstream = np.int32([4, 1, 3]), np.float32([1.0, -2.0, 0.5])
    given = [logits, *a_chain(draw, 3)]

    def value(logits, *scores):
        return tf.reduce_sum(upstream * log_likelihood(logits, path, lengths, Chain(*scores)))

    theoretical, numerical = tf.test.compute_gradient(
        value, [tf.constant(one) for one in given], delta=1e-2
    )
    for exact, approximate in zip(theoretical, numerical, strict=True):
        np.testing.assert_allclose(exact, approximate, atol=2e-3)
        assert np.abs(exact).max() > 0.1


def test_what_is_forbidden_has_no_gradient_and_takes_no_part():
    logits = tf.constant([[[0.0, 3.0], [0.0, 3.0]]])
    transitions = tf.Variable([[0.0, 0.0], [0.0, -np.inf]])
    edge = tf.zeros(2)
    with tf.GradientTape() as tape:
        value = log_partition(logits, tf.constant([2]), transitions, edge, edge)
    np.testing.assert_allclose(value, np.log(1 + 2 * np.exp(3)), rtol=1e-6)
    gradient = tape.gradient(value, transitions).numpy()
    assert gradient[1, 1] == 0
    assert np.isfinite(gradient).all()
    tags, _ = viterbi(logits, tf.constant([2]), Chain(transitions, edge, edge))
    assert tags.numpy().tolist() in ([[0, 1]], [[1, 0]])


@pytest.mark.parametrize("size", [50.0, 200.0])
def test_large_scores_stay_exact(size):
    draw = np.random.default_rng(2)
    logits = (draw.uniform(-1, 1, (1, 4, 3)) * size).astype(np.float32)
    chain = a_chain(draw, 3)
    partition, unary, _, _ = by_hand(logits[0].astype(float), 4, chain)
    np.testing.assert_allclose(log_partition(logits, np.int32([4]), *chain), [partition], rtol=1e-6)
    np.testing.assert_allclose(marginals(logits, np.int32([4]), chain)[0], unary, atol=1e-5)


def test_no_words_and_no_sentences():
    chain = a_chain(np.random.default_rng(3), 3)
    for sentences, words in [(2, 0), (0, 4), (0, 0)]:
        logits, path = np.zeros((sentences, words, 3), "f"), np.zeros((sentences, words), "i")
        lengths = np.zeros(sentences, np.int32)
        _, likelihood, unary, best, score = everything(logits, path, lengths, *chain)
        np.testing.assert_array_equal(likelihood, np.zeros(sentences))
        np.testing.assert_array_equal(score, np.zeros(sentences))
        assert (unary.shape, best.shape) == ((sentences, words, 3), (sentences, words))


def test_padding_changes_nothing():
    draw = np.random.default_rng(4)
    chain = a_chain(draw, 4)
    logits = draw.normal(size=(2, 6, 4)).astype(np.float32)
    path, lengths = draw.integers(0, 4, (2, 6)).astype(np.int32), np.int32([6, 2])
    together = everything(logits, path, lengths, *chain)
    alone = everything(logits[1:, :2], path[1:, :2], lengths[1:], *chain)
    logits[1, 2:] = 1e6
    disturbed = everything(logits, path, lengths, *chain)
    for one, other, third in zip(together, alone, disturbed, strict=True):
        width = (slice(0, 2),) if one.shape.rank > 1 else ()
        np.testing.assert_allclose(one.numpy()[(1, *width)], other.numpy()[0], atol=1e-6)
        np.testing.assert_allclose(third.numpy()[(1, *width)], other.numpy()[0], atol=1e-6)


def test_the_layer_keeps_the_logits_and_forbids_what_the_scheme_forbids():
    layer = CRF(["O", "B-x", "I-x"], "iob2")
    logits = np.random.default_rng(5).normal(size=(2, 3, 3)).astype(np.float32)
    chain, passed = CRF.parts(layer(logits))
    np.testing.assert_array_equal(passed, logits)
    none = -np.inf
    np.testing.assert_array_equal(chain.transitions, [[0, 0, none], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(chain.start, [0, 0, none])
    np.testing.assert_array_equal(chain.end, [0, 0, 0])
    assert [weight.shape for weight in layer.trainable_weights] == [(3, 3), (3,), (3,)]


def test_the_layer_goes_through_its_config():
    layer = CRF(["O", "B-x", "E-x"], "iobes", name="crf")
    again = CRF.from_config(layer.get_config())
    logits = np.zeros((1, 2, 3), np.float32)
    np.testing.assert_array_equal(again(logits), layer(logits))
    assert keras.saving.get_registered_name(CRF) == "tfhub_transfer>CRF"

"""The best answers are those that trying every pair of words finds."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfhub_transfer.heads.span_decoding import LOW, best_spans

CASES = st.tuples(
    st.integers(1, 3),  # questions
    st.integers(0, 7),  # words
    st.integers(1, 9),  # of an answer at most
    st.integers(1, 6),  # answers
    st.integers(0, 10**6),  # seed
    st.sampled_from([None, -1.0, 0.0, 1.0, 100.0]),
)


def by_trying(logits, length, max_words, count, no_answer):
    pairs = [
        (logits[i + 1, 0] + logits[j + 1, 1], i, j)
        for i in range(length)
        for j in range(i, min(i + max_words, length))
    ]
    none = logits[0].sum()
    total = np.logaddexp.reduce([none, *(pair[0] for pair in pairs)])
    best = sorted(pairs, reverse=True)
    answers = [(i, j, np.exp(score - total)) for score, i, j in best]
    difference = none - best[0][0] if best else np.inf
    if not best or (no_answer is not None and difference > no_answer):
        answers = [(-1, -1, np.exp(none - total)), *answers]
    answers = [*answers, *[(-1, -1, 0.0)] * count][:count]
    return *map(np.array, zip(*answers, strict=True)), np.exp(none - total), difference


@settings(max_examples=120, deadline=None)
@given(CASES)
def test_against_trying_every_pair(case):
    batch, words, max_words, count, seed, no_answer = case
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(batch, 1 + words, 2)).astype(np.float32)
    lengths = rng.integers(0, words + 1, batch).astype(np.int32)
    found = best_spans(
        tf.constant(logits),
        tf.constant(lengths),
        max_words=max_words,
        count=count,
        no_answer=no_answer,
    )
    assert found.first.dtype == found.last.dtype == tf.int32
    for row, length in enumerate(lengths):
        first, last, score, none, difference = by_trying(
            logits[row].astype(np.float64), length, max_words, count, no_answer
        )
        np.testing.assert_array_equal(found.first[row], first)
        np.testing.assert_array_equal(found.last[row], last)
        np.testing.assert_allclose(found.score[row], score, atol=1e-5)
        np.testing.assert_allclose(found.no_answer[row], none, atol=1e-5)
        if length:
            np.testing.assert_allclose(found.difference[row], difference, atol=1e-5)
        else:
            assert found.difference[row] > 1e8


def test_ties_go_to_the_earlier_and_then_the_shorter():
    found = best_spans(tf.zeros([1, 4, 2]), tf.constant([3]), max_words=2, count=5)
    pairs = zip(found.first[0].numpy().tolist(), found.last[0].numpy().tolist(), strict=True)
    assert list(pairs) == [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)]
    np.testing.assert_allclose(found.score[0], [1 / 6] * 5, rtol=1e-6)
    np.testing.assert_allclose(found.no_answer, [1 / 6], rtol=1e-6)


def test_the_scores_of_all_pairs_and_none_add_up_to_one():
    logits = tf.random.stateless_normal([4, 6, 2], [1, 2])
    lengths = tf.constant([5, 3, 1, 0])
    found = best_spans(logits, lengths, max_words=3, count=20)
    np.testing.assert_allclose(
        tf.reduce_sum(found.score, 1) + found.no_answer, [1, 1, 1, 2], rtol=1e-5
    )


def test_a_certain_answer_has_a_score_of_one():
    logits = np.full((1, 4, 2), -200.0, np.float32)
    logits[0, 2, 0] = logits[0, 3, 1] = 300.0
    found = best_spans(tf.constant(logits), tf.constant([3]), max_words=5, count=2)
    assert (found.first[0, 0], found.last[0, 0], found.score[0, 0]) == (1, 2, 1.0)
    assert np.isfinite(found.difference).all()


def test_masked_logits_are_no_pairs():
    logits = np.zeros((1, 5, 2), np.float32)
    logits[0, 3:] = LOW
    with_mask = best_spans(tf.constant(logits), tf.constant([4]), max_words=4, count=6)
    by_length = best_spans(tf.zeros([1, 5, 2]), tf.constant([2]), max_words=4, count=6)
    for one, other in zip(with_mask, by_length, strict=True):
        np.testing.assert_array_equal(one, other)


def test_memory_grows_with_the_words_and_not_with_their_square():
    spec = tf.TensorSpec([1, 401, 2], tf.float32)
    function = tf.function(
        lambda logits: best_spans(logits, tf.constant([400]), max_words=30, count=6)
    ).get_concrete_function(spec)
    sizes = [
        tensor.shape.num_elements() or 0
        for op in function.graph.get_operations()
        for tensor in op.outputs
        if tensor.shape.is_fully_defined()
    ]
    assert 400 * 30 <= max(sizes) <= 400 * 30 + 6


@pytest.mark.parametrize("words", [1, 40])
def test_a_graph_takes_any_length(words):
    spec = [tf.TensorSpec([None, None, 2], tf.float32), tf.TensorSpec([None], tf.int32)]
    function = tf.function(
        lambda logits, lengths: best_spans(logits, lengths, max_words=3, count=4), spec
    )
    logits, lengths = tf.zeros([2, 1 + words, 2]), tf.constant([words, 0])
    direct = best_spans(logits, lengths, max_words=3, count=4)
    for one, other in zip(function(logits, lengths), direct, strict=True):
        np.testing.assert_array_equal(one, other)

"""What a step compares the right words with."""

from __future__ import annotations

import numpy as np
import pytest

from tfhub_transfer.pretraining.nnlm.candidates import LogUniform


def draws(words: int, drawn: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each word was drawn, and was expected, in so many draws."""
    sampler = LogUniform(words, drawn)
    found, expected = np.zeros(words), np.zeros(words)
    for step in range(count):
        chosen, log_expected = sampler.draw(np.random.default_rng(step))
        assert chosen.dtype == np.int32
        assert len(set(chosen.tolist())) == len(chosen) == drawn
        found[chosen] += 1
        expected += np.exp(log_expected)
    return found, expected


def test_words_are_drawn_as_often_as_expected():
    # The number of tries is itself random, which the expectation takes as given: near, not equal.
    found, expected = draws(words=200, drawn=20, count=4000)
    np.testing.assert_allclose(found.sum(), expected.sum(), rtol=0.03)
    np.testing.assert_allclose(found, expected, rtol=0.25, atol=30)
    assert found[0] > found[10] > found[100]


def test_it_draws_with_the_probabilities_it_says():
    words = 50
    found, _ = draws(words, drawn=1, count=20_000)
    place = np.arange(words)
    probability = np.log((place + 2) / (place + 1)) / np.log(words + 1)
    np.testing.assert_allclose(found / found.sum(), probability, atol=0.01)


@pytest.mark.parametrize("drawn", [5, 9])
def test_all_words_need_no_draw(drawn):
    chosen, log_expected = LogUniform(5, drawn).draw(np.random.default_rng(0))
    assert chosen.tolist() == [0, 1, 2, 3, 4]
    assert not log_expected.any()


def test_a_draw_repeats():
    sampler = LogUniform(1000, 900)  # more than the first round of tries finds
    one, other = (sampler.draw(np.random.default_rng([7, 1])) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])

"""The LSTM over words goes from the first to the last of each text, and back."""

from __future__ import annotations

import numpy as np

from tfhub_transfer.heads.lstm import WordLSTM, word_mask

LENGTHS = np.int32([4, 1, 0, 3])
WIDTH = 2


def vectors(words: int = 4) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(4, 4, WIDTH)).astype(np.float32)
    values[np.arange(4) >= LENGTHS[:, np.newaxis]] = 0
    return np.pad(values, [(0, 0), (0, words - 4), (0, 0)])


def test_words_end_where_only_zeros_follow():
    given = vectors()
    given[0, 1] = 0  # a word that an encoder says nothing of
    expected = [[1, 1, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]]
    np.testing.assert_array_equal(word_mask(given), np.array(expected, bool))


def test_each_text_is_read_as_if_it_were_alone():
    layer = WordLSTM(3)
    together = np.asarray(layer([vectors(6), vectors(6)]))
    assert together.shape == (4, 6, 6)
    for row, length in enumerate(LENGTHS):
        alone = vectors()[row : row + 1, :length]
        found = layer([alone, alone])
        assert found.shape == (1, length, 6)
        np.testing.assert_allclose(found[0], together[row, :length], atol=1e-6)
        if length:
            expected = layer.both(alone)  # Keras', without a mask
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_texts_without_words():
    nothing = np.zeros((2, 0, WIDTH), np.float32)
    assert WordLSTM(3)([nothing, nothing]).shape == (2, 0, 6)


def test_no_mask_of_keras_leaves_it():
    outputs = WordLSTM(3)([vectors(), vectors()])
    assert getattr(outputs, "_keras_mask", None) is None

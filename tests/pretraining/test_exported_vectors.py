"""What becomes of word vectors on their way into a module."""

from __future__ import annotations

import numpy as np

from tfhub_transfer.pretraining.words.exported_vectors import exported_vectors


def test_vectors_are_exported_with_mean_zero_and_mean_square_one():
    vectors = np.random.default_rng(0).normal(3, 2, (5, 4)).astype(np.float32)
    seen = np.array([50, 30, 15, 5, 0])
    found = exported_vectors(vectors, seen)
    shares = seen / seen.sum()
    np.testing.assert_allclose(shares @ found, 0, atol=1e-6)
    np.testing.assert_allclose(shares @ np.square(found).mean(axis=1), 1, rtol=1e-6)
    # but for what is subtracted and the scale they are as they were, and a row without words is 0
    ratio = (found[0] - found[1]) / (vectors[0] - vectors[1])
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert not found[4].any()

"""The objective and its gradient, against the paper's formulas in NumPy with 64 bits."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.pretraining.swivel.objective import Confidence, log_marginals, submatrix_loss

CONFIDENCE = Confidence(base=0.2, scale=0.7, exponent=0.4)
ROWS, COLUMNS, WIDTH = 32, 21, 5


def problem(seed: int = 0):
    """Return vectors and a matrix of counts, about half of it zeros, and its marginals."""
    random = np.random.default_rng(seed)
    counts = random.exponential(3.0, (ROWS, COLUMNS)) * (random.random((ROWS, COLUMNS)) < 0.5)
    rows, columns = random.normal(size=(ROWS, WIDTH)), random.normal(size=(COLUMNS, WIDTH))
    return rows, columns, counts, counts.sum(axis=1) + 9, counts.sum(axis=0) + 5


def plainly(rows, columns, counts, row_sums, column_sums, total):
    """Return the loss of each cell and its slope, in terms of mutual information.

    `total` is |D| of the paper, and f(x) its confidence.
    """
    product = rows @ columns.T
    seen = counts > 0
    least = np.log(total / np.outer(row_sums, column_sums))  # of one occurrence
    information = least + np.log(np.where(seen, counts, 1.0))
    confidence = CONFIDENCE.base + CONFIDENCE.scale * counts**CONFIDENCE.exponent
    error = product - information
    excess = product - least
    loss = np.where(seen, 0.5 * confidence * error**2, np.logaddexp(0, excess))
    return loss, np.where(seen, confidence * error, 1 / (1 + np.exp(-excess)))


def found(rows, columns, counts, row_biases, column_biases, *, dtype=tf.float64, sampling=1):
    cells = np.flatnonzero(counts).astype(np.int32)
    floats = [rows, columns, row_biases, column_biases]
    loss, gradients = submatrix_loss(
        *(tf.constant(value, dtype) for value in floats),
        tf.constant(cells),
        tf.constant(counts.ravel()[cells], dtype),
        CONFIDENCE,
        sampling,
    )
    return float(loss), [gradient.numpy() for gradient in gradients]


def biases(row_sums, column_sums, total):
    return np.log(row_sums) - np.log(total) / 2, np.log(column_sums) - np.log(total) / 2


@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float64, 1e-12), (tf.float32, 1e-4)])
def test_loss_and_gradient_are_the_papers(dtype, tolerance):
    rows, columns, counts, row_sums, column_sums = problem()
    total = 1234.5
    losses, slopes = plainly(rows, columns, counts, row_sums, column_sums, total)
    loss, gradients = found(
        rows, columns, counts, *biases(row_sums, column_sums, total), dtype=dtype
    )
    assert loss == pytest.approx(losses.sum(), rel=tolerance)
    expected = [slopes @ columns, slopes.T @ rows, slopes.sum(axis=1), slopes.sum(axis=0)]
    for gradient, value in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, value, rtol=tolerance, atol=tolerance)


def test_the_gradient_is_the_losses_slope():
    rows, columns, counts, row_sums, column_sums = problem(1)
    point = [rows, columns, *biases(row_sums, column_sums, 77.0)]
    _, gradients = found(rows, columns, counts, *point[2:])
    random = np.random.default_rng(2)
    for place, gradient in enumerate(gradients):
        direction = random.normal(size=gradient.shape)
        ends = []
        for step in (1e-5, -1e-5):
            moved = list(point)
            moved[place] = point[place] + step * direction
            ends.append(found(moved[0], moved[1], counts, *moved[2:])[0])
        slope = (ends[0] - ends[1]) / 2e-5
        assert slope == pytest.approx((gradient * direction).sum(), rel=1e-6)


def test_a_sampled_loss_is_that_of_some_rows_and_leaves_the_gradient():
    rows, columns, counts, row_sums, column_sums = problem(3)
    start = biases(row_sums, column_sums, 50.0)
    losses, _ = plainly(rows, columns, counts, row_sums, column_sums, 50.0)
    _, gradients = found(rows, columns, counts, *start)
    loss, sampled = found(rows, columns, counts, *start, sampling=5)
    assert loss == pytest.approx(losses[::5].sum() * ROWS / 7)
    for one, other in zip(gradients, sampled, strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_observed_is_a_submatrix_too():
    rows, columns, _, row_sums, column_sums = problem(4)
    nothing = np.zeros((ROWS, COLUMNS))
    losses, slopes = plainly(rows, columns, nothing, row_sums, column_sums, 50.0)
    loss, gradients = found(rows, columns, nothing, *biases(row_sums, column_sums, 50.0))
    assert loss == pytest.approx(losses.sum())
    np.testing.assert_allclose(gradients[0], slopes @ columns)


def test_biases_begin_at_the_marginals_and_words_that_never_occur_stay_where_they_are():
    rows, columns, counts, _, _ = problem(5)
    counts[3] = 0
    counts[:, 7] = 0
    marginals = counts.sum(axis=1)
    begun = log_marginals(marginals)
    present = np.arange(ROWS) != 3
    np.testing.assert_allclose(
        np.exp(begun)[present], marginals[present] / np.sqrt(marginals.sum())
    )
    others = log_marginals(counts.sum(axis=0))
    loss, gradients = found(rows, columns, counts, begun, others, dtype=tf.float32)
    assert np.isfinite(loss)
    assert not gradients[0][3].any() and not gradients[1][7].any()
    assert gradients[0][present].all()

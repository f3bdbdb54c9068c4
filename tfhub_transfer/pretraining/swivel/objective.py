"""What Swivel minimises, on one submatrix of the counts (arXiv 1602.02215, section 3).

Row i, column j and their biases predict the logarithm of a count, z_ij = w_i . c_j + b_i + b'_j.
The biases start at the logarithms of the marginals, less half of that of their sum each, so that
w_i . c_j stands for the pointwise mutual information.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

__all__ = ["Confidence", "log_marginals", "submatrix_loss"]

# A bias for what never occurs; its predictions get neither loss nor gradient.
_NEVER = -1e4

Gradients = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Confidence:
    """How much an observed pair weighs: f(x) = base + scale * x ** exponent.

    Attributes:
        base: of a pair however rare.
        scale: of what the count adds.
        exponent: below 1, lest the most frequent pairs be all that counts.
    """

    base: float = 0.1
    scale: float = 0.25
    exponent: float = 0.5


def log_marginals(marginals: np.ndarray) -> np.ndarray:
    """Return the biases to begin with, of the shape of `marginals`, the sums of all rows."""
    with np.errstate(divide="ignore"):
        logarithms = np.log(marginals) - 0.5 * np.log(marginals.sum())
    return np.maximum(logarithms, _NEVER)


def submatrix_loss(
    rows: tf.Tensor,
    columns: tf.Tensor,
    row_biases: tf.Tensor,
    column_biases: tf.Tensor,
    cells: tf.Tensor,
    counts: tf.Tensor,
    confidence: Confidence,
    sampling: int = 1,
) -> tuple[tf.Tensor, Gradients]:
    """Return the loss of a submatrix and its gradient.

    An observed pair costs 1/2 f(x) (z - log x)^2, which is its error in mutual information; an
    unobserved one log(1 + exp(z)), a soft hinge on its excess over the mutual information that
    one occurrence would make. The dense part takes one sigmoid, which is the slope of the latter;
    logarithms and powers are of observed counts alone.

    Args:
        rows: float[R, D].
        columns: float[C, D].
        row_biases: float[R].
        column_biases: float[C].
        cells: int32[N], each once: row * C + column of what was observed.
        counts: float[N], positive.
        confidence: the weights f.
        sampling: with s, the loss, not the gradient, is that of every s-th row, over their share
            of the rows. The dense loss takes longer than any other elementwise part, and is only
            looked at.

    Returns:
        The sum over all cells, and its gradients by the first four arguments.
    """
    # The biases go through the matrix product, as two more dimensions: no passes of their own.
    left = tf.concat([rows, row_biases[:, None], tf.ones_like(row_biases)[:, None]], axis=1)
    right = tf.concat([columns, tf.ones_like(column_biases)[:, None], column_biases[:, None]], 1)
    predicted = tf.matmul(left, right, transpose_b=True)
    flat = tf.reshape(predicted, [-1])
    observed = tf.gather(flat, cells)
    error = observed - tf.math.log(counts)
    weighted = (confidence.base + confidence.scale * counts**confidence.exponent) * error
    slope = tf.tensor_scatter_nd_update(tf.sigmoid(flat), cells[:, None], weighted)
    slope = tf.reshape(slope, tf.shape(predicted))
    by_left = tf.matmul(slope, right)
    # not slope transposed, which is the slower product
    by_right = tf.transpose(tf.matmul(left, slope, transpose_a=True))

    some = predicted[::sampling]
    sampled = cells // tf.shape(predicted)[1] % sampling == 0
    hinge = tf.reduce_sum(tf.nn.softplus(some))
    hinge -= tf.reduce_sum(tf.nn.softplus(tf.boolean_mask(observed, sampled)))
    squares = tf.reduce_sum(tf.boolean_mask(weighted * error, sampled))
    share = tf.cast(tf.shape(some)[0], rows.dtype) / tf.cast(tf.shape(predicted)[0], rows.dtype)
    loss = (hinge + 0.5 * squares) / share
    return loss, (by_left[:, :-2], by_right[:, :-2], by_left[:, -2], by_right[:, -1])

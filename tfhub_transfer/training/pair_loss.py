"""What is asked of the vectors of a batch: those of one class near, those of two apart."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["cosine_regression", "supervised_contrastive"]


def supervised_contrastive(vectors: tf.Tensor, labels: tf.Tensor, temperature: float) -> tf.Tensor:
    """Return the loss of Khosla et al. 2020 (arXiv 2004.11362), equation 2, averaged over texts.

    For each text, a softmax of its cosines to all others says which are likely partners. The loss
    is the mean of the negative logarithm over the texts of its class.

    Args:
        vectors: float32[B, D], of any length.
        labels: int[B], class indices; of each at least two.
        temperature: what cosines are divided by; a lower one minds the nearest texts more.
    """
    vectors = tf.math.l2_normalize(vectors, axis=1)
    logits = tf.matmul(vectors, vectors, transpose_b=True) / temperature
    itself = tf.eye(tf.shape(labels)[0], dtype=tf.bool)
    partners = tf.equal(labels[:, tf.newaxis], labels) & ~itself
    candidates = tf.where(itself, logits.dtype.min, logits)
    likely = logits - tf.reduce_logsumexp(candidates, axis=1, keepdims=True)
    weights = tf.cast(partners, logits.dtype)
    each = tf.reduce_sum(weights * likely, axis=1) / tf.reduce_sum(weights, axis=1)
    return -tf.reduce_mean(each)


def cosine_regression(vectors: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return SetFit's own loss (Tunstall et al. 2022, arXiv 2209.11055) over all pairs of a batch.

    The mean squared distance of the cosines from 1 within a class, and that from 0 across, halved
    and added, so that both kinds of pairs weigh the same. It knows when to stop, where a softmax
    drives classes apart without end; but it asks the same of like and of unlike classes.

    Args:
        vectors: float32[B, D], of any length.
        labels: int[B], class indices; of each at least two, and at least two different ones.
    """
    vectors = tf.math.l2_normalize(vectors, axis=1)
    same = tf.cast(tf.equal(labels[:, tf.newaxis], labels), vectors.dtype)
    partners = same - tf.eye(tf.shape(labels)[0], dtype=vectors.dtype)
    squares = tf.square(tf.matmul(vectors, vectors, transpose_b=True) - same)
    within = tf.reduce_sum(partners * squares) / tf.reduce_sum(partners)
    across = tf.reduce_sum((1.0 - same) * squares) / tf.reduce_sum(1.0 - same)
    return (within + across) / 2.0

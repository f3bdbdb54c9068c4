"""What is asked of the vectors of a batch: those of one class near, those of two apart."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["supervised_contrastive"]


def supervised_contrastive(vectors: tf.Tensor, labels: tf.Tensor, temperature: float) -> tf.Tensor:
    """Return the loss of Khosla et al. 2020 (arXiv 2004.11362), equation 2, averaged over texts.

    For each text, a softmax of its cosines to all others says which are likely partners. The loss
    is the mean of the negative logarithm over the texts of its class. SetFit's own loss, the
    squared distance of cosines from 1 within a class and 0 across, asks more than is needed: that
    like classes be as far apart as unlike ones. With many of them it made the vectors worse.

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

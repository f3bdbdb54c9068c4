"""The feed-forward language model of Bengio et al. (2003, JMLR 3, section 2, equation 1).

With x the vectors of the words before, one after the other, the score of each word that may follow
is b + W x + U tanh(d + H x). The softmax of the scores is its probability.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

__all__ = ["FeedForwardModel"]


class FeedForwardModel(tf.Module):
    """From rows of a table of word vectors to the scores of the next word.

    It starts as the unigram model: U and W are zero, and b holds the logarithms of the words'
    frequencies.

    Args:
        counts: int64[V] of the words that are predicted.
        rows: of the table of vectors, C in the paper; words that are not predicted have rows too.
        dimensions: of a vector.
        context: how many words before the predicted one are seen, n - 1 in the paper.
        hidden: units of the hidden layer.
        direct: whether x is joined to the scores by W.
        seed: of the initial values.
        dtype: of all values.
    """

    def __init__(
        self,
        counts: np.ndarray,
        rows: int,
        *,
        dimensions: int,
        context: int,
        hidden: int,
        direct: bool = False,
        seed: int = 0,
        dtype: str = "float32",
    ):
        super().__init__(name="nnlm")
        self.direct = direct
        random = np.random.default_rng(seed)
        inputs = context * dimensions
        limit = math.sqrt(6.0 / (inputs + hidden))  # Glorot and Bengio (2010, AISTATS)
        shares = (counts + 1.0) / (counts + 1.0).sum()
        values = {
            "embeddings": random.uniform(-0.5, 0.5, (rows, dimensions)),
            "hidden": random.uniform(-limit, limit, (inputs, hidden)),
            "hidden_bias": np.zeros(hidden),
            # U, and W beside it: each word's own weights are one row
            "output": np.zeros((len(counts), hidden + (inputs if direct else 0))),
            "output_bias": np.log(shares),
        }
        self.embeddings, self.hidden, self.hidden_bias, self.output, self.output_bias = (
            tf.Variable(value, dtype=dtype, name=name) for name, value in values.items()
        )

    def features(self, context: tf.Tensor) -> tf.Tensor:
        """Return what the scores are linear in: float[B, hidden], or with x beside it.

        Args:
            context: int32[B, n - 1], rows of the table, the oldest word first.
        """
        # one row of x per example; the width of a concatenation is known only this way
        x = tf.reshape(tf.gather(self.embeddings, context), [-1, self.hidden.shape[0]])
        hidden = tf.tanh(tf.matmul(x, self.hidden) + self.hidden_bias)
        return tf.concat([hidden, x], axis=1) if self.direct else hidden

    def loss(self, context: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """Return the negative log-probability of each target, float[B], by the whole softmax.

        Args:
            context: int32[B, n - 1], rows of the table.
            target: int32[B], the words that follow.
        """
        scores = tf.matmul(self.features(context), self.output, transpose_b=True)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(target, scores + self.output_bias)

    def sampled_loss(
        self,
        context: tf.Tensor,
        target: tf.Tensor,
        candidates: tf.Tensor,
        log_expected: tf.Tensor,
    ) -> tf.Tensor:
        """Return the sampled softmax loss, float[B] (Jean et al. 2015, ACL, section 3).

        A target's score is normalised over itself and the candidates alone, each score less the
        logarithm of how often its word is expected among them. A candidate that is the target is
        left out.

        Args:
            context: int32[B, n - 1], rows of the table.
            target: int32[B], the words that follow.
            candidates: int32[S], distinct words, drawn for the whole batch.
            log_expected: float[V], the logarithm of each word's expected number among them.
        """
        features = self.features(context)
        offset = self.output_bias - log_expected
        score = tf.reduce_sum(features * tf.gather(self.output, target), axis=1)
        score += tf.gather(offset, target)
        others = tf.matmul(features, tf.gather(self.output, candidates), transpose_b=True)
        others += tf.gather(offset, candidates)
        hit = target[:, tf.newaxis] == candidates
        others = tf.where(hit, tf.constant(-1e9, others.dtype), others)
        scores = tf.concat([score[:, tf.newaxis], others], axis=1)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.zeros_like(target), scores)

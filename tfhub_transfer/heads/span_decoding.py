"""The best answers of a context, from how well each word begins and ends one."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

__all__ = ["LOW", "Spans", "best_spans"]

LOW = -1e9  # the logit of what cannot be; finite, so that differences stay numbers


class Spans(NamedTuple):
    """The best answers to each of B questions, N of them.

    Words are counted from 0; -1 stands for no answer, and where a context has fewer pairs.

    Attributes:
        first: int32[B, N], the words that answers begin with. What is answered comes first; what
            follows is ordered by score.
        last: int32[B, N], the words that they end with.
        score: float32[B, N], softmax over all pairs and no answer; 0 where there is no pair.
        no_answer: float32[B], the score of no answer.
        difference: float32[B], how far the logit of no answer is above that of the best pair.
    """

    first: tf.Tensor
    last: tf.Tensor
    score: tf.Tensor
    no_answer: tf.Tensor
    difference: tf.Tensor


def best_spans(
    logits: tf.Tensor,
    lengths: tf.Tensor,
    *,
    max_words: int,
    count: int,
    no_answer: float | None = None,
) -> Spans:
    """Return the answers of highest score.

    A pair's logit is the sum of its first word's as a start and its last word's as an end, and no
    answer's that of position 0 as both (Devlin et al. 2019, arXiv 1810.04805, sections 4.2 and
    4.3). Pairs are laid out by first word and length, float32[B, W, max_words], so that memory
    grows with W and not with its square.

    Args:
        logits: float32[B, 1 + W, 2], of start and end; position 0 is no answer.
        lengths: int32[B], the words of each context.
        max_words: of an answer at most.
        count: N, the answers to return.
        no_answer: the `difference` above which no answer is what is answered; when None, it is
            only where there is no word to point at.
    """
    starts, ends = logits[:, 1:, 0], logits[:, 1:, 1]
    none = logits[:, 0, 0] + logits[:, 0, 1]
    words = tf.shape(starts)[1]
    inside = tf.sequence_mask(lengths, words)
    starts, ends = tf.where(inside, starts, LOW), tf.where(inside, ends, LOW)
    beyond = tf.pad(ends, [[0, 0], [0, max_words - 1]], constant_values=LOW)
    last_of = tf.range(words)[:, tf.newaxis] + tf.range(max_words)
    pairs = starts[:, :, tf.newaxis] + tf.gather(beyond, last_of, axis=1)
    pairs = tf.reshape(pairs, [tf.shape(logits)[0], words * max_words])
    total = tf.reduce_logsumexp(tf.concat([pairs, none[:, tf.newaxis]], axis=1), axis=1)
    # as many as are asked for, however short the contexts
    pairs = tf.pad(pairs, [[0, 0], [0, count]], constant_values=2 * LOW)
    best, places = tf.math.top_k(pairs, count)
    found = best > LOW / 2
    first = tf.where(found, places // max_words, -1)
    last = tf.where(found, places // max_words + places % max_words, -1)
    score = tf.where(found, tf.exp(best - total[:, tf.newaxis]), 0.0)
    no_score = tf.exp(none - total)
    difference = none - best[:, 0]
    unanswered = tf.logical_not(found[:, 0])
    if no_answer is not None:
        unanswered = tf.logical_or(unanswered, difference > no_answer)
    nowhere = tf.fill(tf.shape(none), -1)
    return Spans(
        first=_put_first(unanswered, nowhere, first),
        last=_put_first(unanswered, nowhere, last),
        score=_put_first(unanswered, no_score, score),
        no_answer=no_score,
        difference=difference,
    )


def _put_first(where: tf.Tensor, one: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return `others`, [B, count], moved on by one behind `one`, [B], in the rows of `where`."""
    moved = tf.concat([one[:, tf.newaxis], others[:, :-1]], axis=1)
    return tf.where(where[:, tf.newaxis], moved, others)

"""A linear-chain conditional random field: exact likelihood, marginals and the best path.

Lafferty, McCallum and Pereira 2001, "Conditional Random Fields", section 3: the probability of the
tags y of a sentence of n words is exp(s(y)) / Z, where

    s(y) = start[y_1] + sum_t logits[t, y_t] + sum_t transitions[y_t-1, y_t] + end[y_n]

and Z sums exp(s) over all sequences of tags. Z and the marginals come from the forward-backward
algorithm with scaled messages (Rabiner 1989, "A Tutorial on Hidden Markov Models", sections III.A
and V.A), the best path from Viterbi's (the same, III.B). A score of minus infinity forbids a
transition. All of it is TensorFlow's core ops, so that a server can run it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.heads.tag_grammar import may_follow

__all__ = ["CRF", "Chain", "log_likelihood", "log_partition", "marginals", "viterbi"]


class Chain(NamedTuple):
    """The scores that do not depend on the words.

    Attributes:
        transitions: float32[T, T], from a tag (row) to the next.
        start: float32[T], of a sentence's first tag.
        end: float32[T], of its last.
    """

    transitions: tf.Tensor
    start: tf.Tensor
    end: tf.Tensor


@keras.saving.register_keras_serializable("tfhub_transfer")
class CRF(keras.layers.Layer):
    """Owns a chain's scores, and puts them above the words' logits.

    The logits pass unchanged. What stands above them makes a model's output complete: a loss, a
    decoder and a served graph need nothing but it, whichever copy of the layer it came from.

    Args:
        labels: T tags, in the order of the logits.
        scheme: `iob2` or `iobes`; what it forbids scores minus infinity.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, labels: Sequence[str], scheme: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.labels, self.scheme = tuple(labels), scheme
        self._allowed = may_follow(self.labels, scheme)

    def build(self, shape: Any) -> None:
        """Make the scores."""
        tags = len(self.labels)
        self.transitions = self.add_weight((tags, tags), "zeros", name="transitions")
        self.start = self.add_weight((tags,), "zeros", name="start_bias")
        self.end = self.add_weight((tags,), "zeros", name="end_bias")
        super().build(shape)

    @property
    def chain(self) -> Chain:
        """The scores, minus infinity where a transition is forbidden."""
        chain = Chain(*map(tf.convert_to_tensor, (self.transitions, self.start, self.end)))
        allowed = (self._allowed[:-1, :-1], self._allowed[-1, :-1], self._allowed[:-1, -1])
        return Chain(*(tf.where(ok, of, -np.inf) for ok, of in zip(allowed, chain, strict=True)))

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        """Return float32[B, T + 2 + W, T]: transitions, start, end, then the logits[B, W, T]."""
        transitions, start, end = self.chain
        above = tf.concat([transitions, start[tf.newaxis], end[tf.newaxis]], axis=0)
        above = tf.broadcast_to(above, tf.concat([tf.shape(logits)[:1], tf.shape(above)], axis=0))
        return tf.concat([above, logits], axis=1)

    @staticmethod
    def parts(outputs: tf.Tensor) -> tuple[Chain, tf.Tensor]:
        """Return the chain, and the logits, float32[B, W, T], that an output is made of."""
        tags = outputs.shape[-1]
        # the sum over one row at most, which no row at all has too
        above = tf.reduce_sum(outputs[:1, : tags + 2], axis=0)
        return Chain(above[:tags], above[tags], above[tags + 1]), outputs[:, tags + 2 :]

    def compute_output_shape(self, shape: Any) -> tuple[int | None, ...]:
        """Return the shape of what `call` returns."""
        batch, words, tags = shape
        return batch, None if words is None else tags + 2 + words, tags

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "labels": list(self.labels), "scheme": self.scheme}


def log_likelihood(
    logits: tf.Tensor, tags: tf.Tensor, lengths: tf.Tensor, chain: Chain
) -> tf.Tensor:
    """Return float32[B], the logarithm of the probability of each sentence's tags.

    Args:
        logits: float32[B, W, T].
        tags: int32[B, W]; what stands behind a sentence's last word does not matter.
        lengths: int32[B], words of each sentence; one of none has probability 1.
        chain: the scores that do not depend on the words.
    """
    return path_score(logits, tags, lengths, chain) - log_partition(logits, lengths, *chain)


def path_score(logits: tf.Tensor, tags: tf.Tensor, lengths: tf.Tensor, chain: Chain) -> tf.Tensor:
    """Return float32[B], s(y) of the sequences `tags`, int32[B, W]."""
    inside = tf.sequence_mask(lengths, tf.shape(logits)[1])
    tags = tf.where(inside, tags, 0)
    of_words = tf.where(inside, tf.gather(logits, tags, batch_dims=2), 0.0)
    steps = tf.gather_nd(chain.transitions, tf.stack([tags[:, :-1], tags[:, 1:]], axis=-1))
    ends = tf.gather(chain.start, _at(tags, 0 * lengths)) + tf.gather(
        chain.end, _at(tags, lengths - 1)
    )
    return (
        tf.reduce_sum(of_words, axis=1)
        + tf.reduce_sum(tf.where(inside[:, 1:], steps, 0.0), axis=1)
        + tf.where(lengths > 0, ends, 0.0)
    )


@tf.custom_gradient
def log_partition(
    logits: tf.Tensor,
    lengths: tf.Tensor,
    transitions: tf.Tensor,
    start: tf.Tensor,
    end: tf.Tensor,
) -> Any:
    """Return float32[B], log Z of each sentence; of one without words, 0.

    Its gradient is what the tags and transitions are expected to be, which is cheaper than going
    back through the messages. Messages are float64: scores that differ by more than 700 within a
    sentence are as good as forbidden.

    Args:
        logits: float32[B, W, T].
        lengths: int32[B], words of each sentence.
        transitions: float32[T, T].
        start: float32[T].
        end: float32[T].
    """
    chain = Chain(transitions, start, end)
    passed = _pass_messages(logits, lengths, chain)

    def gradient(upstream: tf.Tensor) -> tuple[Any, ...]:
        unary = _normalised(passed) * tf.cast(upstream, tf.float64)[:, tf.newaxis, tf.newaxis]
        unary = tf.where(tf.sequence_mask(lengths, tf.shape(logits)[1])[..., tf.newaxis], unary, 0)
        tags = transitions.shape[-1]
        before, after = passed.forward * passed.weights, passed.backward * passed.weights
        matrix = tf.exp(tf.cast(transitions, tf.float64))
        before, after = before[:, :-1], after[:, 1:]
        sums = tf.reduce_sum(tf.linalg.matmul(before, matrix) * after, axis=-1)
        inside = tf.sequence_mask(lengths - 1, tf.shape(sums)[1], tf.float64)
        share = inside * tf.cast(upstream, tf.float64)[:, tf.newaxis]
        before *= tf.math.divide_no_nan(share, sums)[..., tf.newaxis]
        pairs = matrix * tf.matmul(
            tf.reshape(before, [-1, tags]), tf.reshape(after, [-1, tags]), transpose_a=True
        )
        some = tf.cast(lengths > 0, tf.float64)[:, tf.newaxis]
        first, last = _at(unary, 0 * lengths) * some, _at(unary, lengths - 1) * some
        sums_of = (unary, pairs, tf.reduce_sum(first, axis=0), tf.reduce_sum(last, axis=0))
        of_logits, *of_chain = (tf.cast(value, tf.float32) for value in sums_of)
        return of_logits, None, *of_chain

    return tf.cast(passed.log_partition, tf.float32), gradient


def marginals(logits: tf.Tensor, lengths: tf.Tensor, chain: Chain) -> tf.Tensor:
    """Return float32[B, W, T], the probability of each tag of each word, zeros behind the last."""
    inside = tf.sequence_mask(lengths, tf.shape(logits)[1])[..., tf.newaxis]
    unary = _normalised(_pass_messages(logits, lengths, chain))
    return tf.cast(tf.where(inside, unary, 0), tf.float32)


def viterbi(logits: tf.Tensor, lengths: tf.Tensor, chain: Chain) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the most probable tags, int32[B, W], -1 behind the last word, and s of them.

    Args:
        logits: float32[B, W, T].
        lengths: int32[B], words of each sentence.
        chain: the scores that do not depend on the words.
    """
    inside = tf.sequence_mask(lengths, tf.shape(logits)[1])
    words = _with_more(tf.transpose(logits, [1, 0, 2]), 2)
    within = _with_more(tf.transpose(inside), 2)
    first = chain.start + words[0]
    stay = tf.broadcast_to(tf.range(tf.shape(first)[1]), tf.shape(first))

    def step(carry: Any, word: Any) -> Any:
        best, _ = carry
        logits, inside = word
        scores = best[:, :, tf.newaxis] + chain.transitions
        come_from = tf.argmax(scores, axis=1, output_type=tf.int32)
        reached = tf.reduce_max(scores, axis=1) + logits
        inside = inside[:, tf.newaxis]
        return tf.where(inside, reached, best), tf.where(inside, come_from, stay)

    bests, pointers = tf.scan(step, (words[1:], within[1:]), (first, stay))
    ends = bests[-1] + chain.end
    last = tf.argmax(ends, axis=1, output_type=tf.int32)

    def back(tag: tf.Tensor, pointers: tf.Tensor) -> tf.Tensor:
        return tf.gather(pointers, tag, batch_dims=1)

    path = tf.scan(back, pointers, last, reverse=True)
    tags = tf.transpose(path)[:, : tf.shape(logits)[1]]
    score = tf.where(lengths > 0, tf.reduce_max(ends, axis=1), 0.0)
    return tf.where(inside, tags, -1), score


class _Passed(NamedTuple):
    """Messages, float64[B, W, T], each up to a factor for each word.

    Attributes:
        forward: what the words before say of a word's tag.
        backward: what the words behind say of it.
        weights: what it says itself.
        log_partition: float64[B].
    """

    forward: tf.Tensor
    backward: tf.Tensor
    weights: tf.Tensor
    log_partition: tf.Tensor


def _pass_messages(logits: tf.Tensor, lengths: tf.Tensor, chain: Chain) -> _Passed:
    """Go through the sentences from both sides at once, for a step costs most by being one."""
    logits = tf.cast(logits, tf.float64)
    highest = tf.reduce_max(logits, axis=2, keepdims=True)
    weights = tf.exp(logits - highest)
    transitions, start, end = (tf.exp(tf.cast(score, tf.float64)) for score in chain)
    both = tf.stack([weights, tf.reverse_sequence(weights, lengths, seq_axis=1)])
    matrices = tf.stack([transitions, tf.transpose(transitions)])
    zeros = tf.zeros(tf.shape(both)[:2], tf.float64)
    first = tf.stack([start, end])[:, tf.newaxis] + zeros[..., tf.newaxis]

    def step(carry: Any, weights: tf.Tensor) -> Any:
        message, scale = carry
        sums = tf.matmul(message * weights, matrices)
        total = tf.reduce_sum(sums, axis=-1)
        scaled = tf.math.divide_no_nan(sums, total[..., tf.newaxis])
        return scaled, scale + tf.math.log(total)

    by_word = _with_more(tf.transpose(both, [2, 0, 1, 3]), 1)
    messages, scales = tf.scan(step, by_word, (first, zeros))
    words = tf.shape(logits)[1]
    messages = tf.concat([first[tf.newaxis], messages], axis=0)[:words]
    scales = tf.concat([zeros[tf.newaxis], scales], axis=0)[:words, 0]
    forward, backward = tf.unstack(tf.transpose(messages, [1, 2, 0, 3]))
    last = lengths - 1
    sums = tf.reduce_sum(_at(forward * weights, last) * end, axis=-1)
    of_words = tf.where(tf.sequence_mask(lengths, words), highest[..., 0], 0)
    whole = _at(tf.transpose(scales), last) + tf.math.log(sums) + tf.reduce_sum(of_words, axis=1)
    return _Passed(
        forward,
        tf.reverse_sequence(backward, lengths, seq_axis=1),
        weights,
        tf.where(lengths > 0, whole, 0),
    )


def _normalised(passed: _Passed) -> tf.Tensor:
    product = passed.forward * passed.weights * passed.backward
    return tf.math.divide_no_nan(product, tf.reduce_sum(product, axis=-1, keepdims=True))


def _at(values: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Return one word's value of each sentence; anything, where a place is outside of it."""
    padded = tf.pad(values, [[0, 0], [0, 1]] + [[0, 0]] * (values.shape.rank - 2))
    return tf.gather(padded, tf.maximum(places, 0), batch_dims=1)


def _with_more(steps: tf.Tensor, count: int) -> tf.Tensor:
    """Return [W + count, ...], with zeros behind, lest there be no step at all."""
    return tf.pad(steps, [[0, count]] + [[0, 0]] * (steps.shape.rank - 1))

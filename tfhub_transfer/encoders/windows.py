"""Windows over long texts: which words are read together, and which window a word is taken from.

Devlin et al. 2018 (arXiv 1810.04805) read the long contexts of SQuAD so: in overlapping windows,
each token taken from the one in which it has most context on its shorter side. Here a window ends
between words. All is counted in word pieces, over the batch, so that a batch is one list of words.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

__all__ = ["Windows", "best_windows", "cover", "pieces_before"]


class Windows(NamedTuple):
    """N windows, those of a text in their order, after those of the texts before it.

    Attributes:
        text: int64[N], the text that each is of.
        first: int64[N], its first word, counted over the batch.
        last: int64[N], the word after its last.
    """

    text: tf.Tensor
    first: tf.Tensor
    last: tf.Tensor


def pieces_before(pieces: tf.RaggedTensor) -> tf.Tensor:
    """Return int64[words + 1], the word pieces before each word of the batch, then of all."""
    return tf.concat([[0], tf.cumsum(pieces.values)], axis=0)


def cover(pieces: tf.RaggedTensor, room: tf.Tensor) -> Windows:
    """Cover each text with windows that overlap by a quarter.

    A window ends with the last word that fits as a whole. The next one begins a quarter of the room
    before that, or later where the word that follows would not fit otherwise. A text that fits has
    one window, and so has one without words; a word that is longer than a window has its own.

    Args:
        pieces: int64[B, (W)], the word pieces of each word, at least one.
        room: int64[B], the word pieces that a window takes, at least one.
    """
    before = pieces_before(pieces)
    words = tf.size(before, tf.int64) - 1
    stop = pieces.row_limits()

    def end_of(first: tf.Tensor) -> tf.Tensor:
        fits = tf.searchsorted(before, tf.gather(before, first) + room, "right", tf.int64) - 1
        return tf.minimum(tf.maximum(fits, first + 1), stop)

    def after(last: tf.Tensor) -> tf.Tensor:
        reached = tf.gather(before, last)
        for_next = tf.gather(before, tf.minimum(last + 1, words)) - room
        begin = tf.maximum(reached - room // 4, tf.minimum(reached, for_next))
        first = tf.searchsorted(before, begin, "left", tf.int64)
        return tf.where(last < stop, first, stop)

    def add(firsts: tf.Tensor, lasts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first = after(lasts[-1])
        last = end_of(first)
        return tf.concat([firsts, [first]], 0), tf.concat([lasts, [last]], 0)

    # One row for each round, in which each text that is not at its end gets a window.
    first = pieces.row_starts()
    shape = tf.TensorShape([None, None])
    firsts, lasts = tf.while_loop(
        lambda firsts, lasts: tf.reduce_any(lasts[-1] < stop),
        add,
        [first[tf.newaxis], end_of(first)[tf.newaxis]],
        shape_invariants=[shape, shape],
    )
    more = tf.transpose(firsts[1:] < stop)
    used = tf.concat([tf.ones_like(first, tf.bool)[:, tf.newaxis], more], axis=1)
    return Windows(
        tf.where(used)[:, 0],
        tf.boolean_mask(tf.transpose(firsts), used),
        tf.boolean_mask(tf.transpose(lasts), used),
    )


def best_windows(windows: Windows, before: tf.Tensor) -> tf.Tensor:
    """Return int64[words], the window of each word in which its smaller context is largest.

    Args:
        windows: which together have each word at least once.
        before: int64[words + 1], as `pieces_before` gives it.
    """
    pairs = tf.ragged.range(windows.first, windows.last)  # each window's words
    word, window = pairs.values, pairs.value_rowids()
    left = tf.gather(before, word) - tf.gather(before, tf.gather(windows.first, window))
    right = tf.gather(before, tf.gather(windows.last, window)) - tf.gather(before, word + 1)
    context = tf.minimum(left, right)
    words = tf.size(before, tf.int64) - 1
    most = tf.math.unsorted_segment_max(context, word, words)
    is_best = tf.equal(context, tf.gather(most, word))
    none = tf.size(windows.first, tf.int64)
    return tf.math.unsorted_segment_min(tf.where(is_best, window, none), word, words)

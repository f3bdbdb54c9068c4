"""Text as people write it -> words with their places, and the text that a tagger reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders.words import Words, split_words

__all__ = ["raw_words", "word_offsets"]


def raw_words(text: tf.Tensor) -> tuple[Words, tf.Tensor]:
    """Split raw text; graph ops, so that whatever answers for a tagger splits alike.

    Args:
        text: string[B].

    Returns:
        The words, each mark one of its own (`split_words`), with their places in `text`; and
        string[B], the same words joined by single spaces, as they stand in tagged data.
    """
    words = split_words(text, "punctuation")
    return words, tf.strings.reduce_join(words.words, axis=1, separator=" ")


def word_offsets(texts: Sequence[str], how: str) -> list[np.ndarray]:
    """Return where the words of each text stand: int32[W, 2], first character, one past the last.

    Args:
        texts: any.
        how: what parts words, as `encoders.words.split_words` takes it.
    """
    words = split_words(tf.constant(texts, tf.string), how)
    places = tf.stack([words.starts.values, words.ends.values], axis=1).numpy()
    return np.split(places, words.starts.row_splits.numpy()[1:-1])

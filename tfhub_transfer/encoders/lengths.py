"""How long texts are, in the unit that a transformer pays for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.word_pieces import as_inputs
from tfhub_transfer.encoders.word_vectors import TransformerWords

__all__ = ["token_counts"]


def token_counts(
    layer: HubLayer, batches: Iterable[Sequence[str] | Sequence[tuple[str, str]]]
) -> np.ndarray:
    """Return int32[N], the tokens of each text as `layer` takes it: cut, special ones included.

    Args:
        layer: a transformer. Where it gives the vectors of words, a text counts with all of its
            windows.
        batches: of texts, or of pairs of a question and its context, one of which is in memory at
            a time.

    Raises:
        EncoderError: the layer is a text embedding.
    """
    counts = [_counts(layer, texts) for texts in batches]
    return np.concatenate(counts) if counts else np.empty(0, np.int32)


def _counts(layer: HubLayer, texts: Sequence[str] | Sequence[tuple[str, str]]) -> np.ndarray:
    inputs = as_inputs(texts)
    if isinstance(layer.by_word, TransformerWords):
        read = layer.by_word.tokens(inputs)
        counts = tf.reduce_sum(read.tokens["input_mask"], axis=1)
        return tf.math.unsorted_segment_sum(counts, read.texts, len(texts)).numpy()
    return tf.reduce_sum(layer.preprocess(inputs)["input_mask"], axis=1).numpy()

"""How long texts are, in the unit that a transformer pays for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders.layer import HubLayer

__all__ = ["token_counts"]


def token_counts(layer: HubLayer, batches: Iterable[Sequence[str]]) -> np.ndarray:
    """Return int32[N], the tokens of each text as `layer` takes it: cut, special ones included.

    Args:
        layer: a transformer.
        batches: of texts, one of which is in memory at a time.

    Raises:
        EncoderError: the layer is a text embedding.
    """
    counts = [
        tf.reduce_sum(layer.preprocess(tf.constant(texts))["input_mask"], axis=1).numpy()
        for texts in batches
    ]
    return np.concatenate(counts) if counts else np.empty(0, np.int32)

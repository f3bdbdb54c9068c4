"""How a transformer's vectors of tokens become one vector of the text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import EncoderError

__all__ = ["POOLINGS", "Pooling", "chosen", "like_the_whole"]

# float32[B, S, D] and the mask, int32[B, S], to float32[B, D].
Pooling = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

_TEXTS = ["the quick brown fox jumps over the lazy dog", "a", "in 1912 it was, so to say, too late"]


def _mean(hidden: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Return the mean over the tokens that are no padding."""
    weights = tf.cast(mask, tf.float32)[..., tf.newaxis]
    return tf.math.divide_no_nan(tf.reduce_sum(hidden * weights, 1), tf.reduce_sum(weights, 1))


def _max(hidden: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Return the largest value of each number over the tokens that are no padding."""
    real = tf.cast(mask, tf.bool)[..., tf.newaxis]
    return tf.reduce_max(tf.where(real, hidden, hidden.dtype.min), 1)


def _first(hidden: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Return the first token's vector."""
    del mask
    return hidden[:, 0]


# What `encoder.pooling` may be, besides the encoder's own.
POOLINGS: dict[str, Pooling] = {"mean": _mean, "max": _max, "first": _first}


def chosen(name: str, output: str, preprocess: Any, handle: str) -> Pooling:
    """Return one of POOLINGS.

    Args:
        name: of it.
        output: of the layer, as `HubLayer` takes it.
        preprocess: the loaded preprocessor; None for a text embedding.
        handle: of the encoder.

    Raises:
        EncoderError: there is none of that name, or nothing to pool.
    """
    if name not in POOLINGS:
        accepted = ", ".join(map(repr, ["published", *POOLINGS]))
        raise EncoderError(f"pooling must be one of {accepted}. Received: {name!r}")
    if preprocess is None:
        raise EncoderError(
            f"encoder.pooling is for the tokens of a transformer, and {handle} is a text "
            f"embedding: one vector per text. Accepted: 'published'. Received: {name!r}"
        )
    if output in ("sequence", "words"):
        raise EncoderError(
            f"pooling makes one vector of a text's tokens, which output={output!r} gives as they "
            f"are. Accepted: 'published'. Received: {name!r}"
        )
    return POOLINGS[name]


def like_the_whole(
    model: Callable[[dict[str, tf.Tensor]], Any],
    preprocess: Callable[[tf.Tensor], dict[str, tf.Tensor]],
) -> Pooling:
    """Return how a transformer makes one vector of its last layer, to be done to another layer.

    Found by trying on a few texts: the mean of the tokens or the first token, normalised or not.
    Where it is none of them there is a pooler, a dense layer that has only learnt to read the last
    layer, as in TF Hub's BERTs. The mean takes its place.

    Args:
        model: tokens to the contract's outputs.
        preprocess: texts to tokens.
    """
    tokens = preprocess(tf.constant(_TEXTS))
    outputs = model(tokens)
    for pooling in (_mean, _first, _normalised(_mean), _normalised(_first)):
        tried = pooling(outputs["sequence_output"], tokens["input_mask"])
        if np.allclose(tried, outputs["pooled_output"], rtol=1e-3, atol=1e-4):
            return pooling
    return _mean


def _normalised(pooling: Pooling) -> Pooling:
    return lambda hidden, mask: tf.math.l2_normalize(pooling(hidden, mask), -1, epsilon=1e-24)

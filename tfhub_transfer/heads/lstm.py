"""A bidirectional LSTM over the words of each text of a batch."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

__all__ = ["WordLSTM", "word_mask"]


@keras.saving.register_keras_serializable("tfhub_transfer")
class WordLSTM(keras.layers.Layer):
    """LSTMs (Hochreiter and Schmidhuber 1997) from both ends of a text, side by side.

    They are Keras' own. What is added is that a batch may be of texts without words, and that no
    mask of Keras' leaves the layer, for losses here take one number a text.

    Args:
        units: U, of each direction.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        lstm = keras.layers.LSTM(units, return_sequences=True, dtype=self.dtype_policy, name="lstm")
        self.both = keras.layers.Bidirectional(lstm, dtype=self.dtype_policy, name="both")

    def build(self, shapes: Any) -> None:
        """Make the weights of both directions, for features of shape [B, W, D]."""
        self.both.build(shapes[0])
        super().build(shapes)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Return float32[B, W, 2U].

        Args:
            inputs: features of the words, float32[B, W, D], and their vectors, which are zeros
                behind the last word of each text.
        """
        features, vectors = inputs
        # a step more, lest there be none
        features, vectors = (tf.pad(one, [[0, 0], [0, 1], [0, 0]]) for one in (features, vectors))
        return self.both(features, mask=word_mask(vectors))[:, :-1]

    def compute_output_shape(self, shapes: Any) -> tuple[int | None, ...]:
        """Return the shape of what `call` returns."""
        return (*shapes[0][:2], 2 * self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "units": self.units}


def word_mask(vectors: tf.Tensor) -> tf.Tensor:
    """Return bool[B, W], true up to the last vector, of float32[B, W, D], that is not all zeros.

    The first counts in any case, for cuDNN's LSTM refuses sequences without any.
    """
    there = tf.reduce_any(tf.not_equal(vectors, 0), axis=2)
    words = tf.shape(vectors)[1]
    places = tf.where(there, tf.range(1, words + 1), 1)
    return tf.sequence_mask(tf.reduce_max(places, axis=1), words)

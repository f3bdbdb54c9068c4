"""What a tagging network puts out: one tensor, which holds all that its tags follow from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfhub_transfer.heads.crf import CRF, Chain

__all__ = ["Join", "Layout", "Parts", "Split"]


class Parts(NamedTuple):
    """An output, taken apart.

    Attributes:
        logits: float32[B, W, T], of each word's tag.
        chain: the scores that a CRF adds to them; None without one.
        intents: float32[B, I], logits of the text's own label; None without such labels.
    """

    logits: tf.Tensor
    chain: Chain | None
    intents: tf.Tensor | None


@dataclass(frozen=True)
class Layout:
    """Where in the output, float32[B, rows, T + I], each part stands.

    A row for each word, with its tags' logits in the first T columns. Above them stand, with `crf`,
    T + 2 rows of the CRF's own scores, the same for each text of a batch; and above those, with
    intents, one row with their logits in the last I columns. What is left holds zeros.

    Attributes:
        tags: T.
        intents: I; 0 without.
        crf: whether there is one.
    """

    tags: int
    intents: int = 0
    crf: bool = False

    def parts(self, outputs: tf.Tensor) -> Parts:
        """Return what an output is made of."""
        intents, chain = None, None
        if self.intents:
            intents, outputs = outputs[:, 0, self.tags :], outputs[:, 1:, : self.tags]
        if self.crf:
            chain, outputs = CRF.parts(outputs)
        return Parts(outputs, chain, intents)

    def targets(self, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Return tags, int32[B, W], and intents, int32[B], -1 where there are none."""
        targets = tf.cast(targets, tf.int32)
        return (targets[:, 1:], targets[:, 0]) if self.intents else (targets, None)


@keras.saving.register_keras_serializable("tfhub_transfer")
class Split(keras.layers.Layer):
    """float32[B, 1 + W, D] -> the text's own vector, float32[B, D], and its words'."""

    def call(self, vectors: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the first vector, and the others."""
        return vectors[:, 0], vectors[:, 1:]

    def compute_output_shape(self, shape: Any) -> tuple[tuple[int | None, ...], ...]:
        """Return the shapes of what `call` returns."""
        batch, words, width = shape
        return (batch, width), (batch, None if words is None else words - 1, width)


@keras.saving.register_keras_serializable("tfhub_transfer")
class Join(keras.layers.Layer):
    """Rows of tags, float32[B, R, T], and intents, float32[B, I] -> float32[B, 1 + R, T + I]."""

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Return the intents above the rows, each in columns of its own."""
        rows, intents = inputs
        tags, classes = rows.shape[-1], intents.shape[-1]
        above = tf.pad(intents, [[0, 0], [tags, 0]])[:, tf.newaxis]
        return tf.concat([above, tf.pad(rows, [[0, 0], [0, 0], [0, classes]])], axis=1)

    def compute_output_shape(self, shapes: Any) -> tuple[int | None, ...]:
        """Return the shape of what `call` returns."""
        (batch, rows, tags), (_, intents) = shapes
        return batch, None if rows is None else rows + 1, tags + intents

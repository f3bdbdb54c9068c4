"""A loaded transformer with the heads that pre-train it, and a step of that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders.loaded import adopted_variables, takes_training
from tfhub_transfer.errors import EncoderError
from tfhub_transfer.pretraining.mlm.adamw import AdamW
from tfhub_transfer.pretraining.mlm.batches import Batch
from tfhub_transfer.pretraining.mlm.settings import MlmConfig

__all__ = ["MaskedLanguageModel"]

_DEVIATION, _EPSILON = 0.02, 1e-12
# As this package's BERTs and TF Hub's call the table of word pieces.
_TABLE = re.compile(r"(^|/)word(_embeddings)?/embeddings$|word_embeddings")

_SIGNATURE = (
    {
        name: tf.TensorSpec([None, None], tf.int32, name)
        for name in ("input_word_ids", "input_mask", "input_type_ids")
    },
    tf.TensorSpec([None], tf.int32, "places"),
    tf.TensorSpec([None], tf.int32, "pieces"),
    tf.TensorSpec([None], tf.int32, "follows"),
)


class MaskedLanguageModel(tf.Module):
    """Guesses pieces from the vectors of their places (Devlin et al. 2018, section 3.1).

    A dense layer, GELU, a norm, and the product with the encoder's own table of word pieces, plus a
    bias. That product is by far the largest, so it is taken for the places to guess alone. With
    next-sentence prediction there is a dense layer on the pooled output too, and the losses are
    added.

    Args:
        encoder: the loaded SavedModel, whose variables move.
        counts: int64[V], how often each piece occurs; the bias begins with the logarithm of that,
            so that what is learnt first is not which pieces are frequent.
        config: rates, precision, objective and seed.
        handle: of the encoder, for errors.

    Attributes:
        table: the path of the encoder's table; None where it was not found, and the head has a
            matrix of its own.
        has_pooler: whether the encoder has weights that only the pooled output depends on.
        state: by name, everything that moves; what a checkpoint holds.
    """

    def __init__(self, encoder: Any, counts: np.ndarray, config: MlmConfig, handle: str):
        super().__init__(name="mlm")
        if config.precision == "bfloat16" and not hasattr(encoder, "train_bfloat16"):
            raise EncoderError(
                f"{handle} has no function for training with bfloat16 products: transformers that "
                f"`python -m tfhub_transfer.encoders build` made have. Accepted: --precision "
                f"float32. Received: {config.precision!r}"
            )
        self.encoder, self._config = encoder, config
        self._takes_training = takes_training(encoder)
        movable = list(encoder.trainable_variables)
        poolers = {id(weight) for weight in movable if "pooler" in weight.name}
        self.has_pooler = bool(poolers)
        # without pairs nothing depends on the pooler, and decay alone would move it
        moving = [w for w in movable if config.next_sentence or id(w) not in poolers]
        if not moving:
            raise EncoderError(f"No weight of this encoder can move. Received: {handle}")
        one = tf.ones([1, 2], tf.int32)
        outputs = self._outputs(
            {"input_word_ids": one, "input_mask": one, "input_type_ids": one - 1}, training=False
        )
        width, pooled = outputs["sequence_output"].shape[-1], outputs["pooled_output"].shape[-1]

        random = tf.random.Generator.from_seed(config.seed)

        def kernel(name: str, *shape: int) -> tf.Variable:
            values = random.truncated_normal(shape, stddev=_DEVIATION)
            return tf.Variable(values, name=f"head/{name}")

        found = [
            (weight.path, variable)
            for weight, variable in zip(adopted_variables(encoder), encoder.variables, strict=True)
            if _TABLE.search(weight.path)
            and len(variable.shape) == 2
            and variable.shape[0] >= len(counts)
        ]
        if len(found) == 1:
            self.table, self._table = found[0]
            own = []
        else:
            self.table, self._table = None, kernel("table/kernel", len(counts), width)
            own = [self._table]
        rows, columns = self._table.shape
        share = np.pad(counts, [0, rows - len(counts)]) + 1.0
        self._dense = kernel("dense/kernel", width, columns)
        self._dense_bias = tf.Variable(tf.zeros([columns]), name="head/dense/bias")
        self._gamma = tf.Variable(tf.ones([columns]), name="head/norm/gamma")
        self._beta = tf.Variable(tf.zeros([columns]), name="head/norm/beta")
        self._bias = tf.Variable(
            np.log(share / share.sum()).astype(np.float32), name="head/table/bias"
        )
        own += [self._dense, self._dense_bias, self._gamma, self._beta, self._bias]
        if config.next_sentence:
            self._next = kernel("next/kernel", pooled, 2)
            self._next_bias = tf.Variable(tf.zeros([2]), name="head/next/bias")
            own += [self._next, self._next_bias]
        self._moving, self._own = moving, own
        self._optimizer = AdamW(
            moving + own, decay=config.weight_decay, clip_norm=config.clip_norm
        )
        self.state: dict[str, tf.Variable] = {
            **{f"encoder/{n}": variable for n, variable in enumerate(encoder.variables)},
            **{f"head/{n}": variable for n, variable in enumerate(own)},
            **{f"optimizer/{n}": variable for n, variable in enumerate(self._optimizer.state)},
        }

    def train(self, batch: Batch, rate: float, head_rate: float) -> np.ndarray:
        """Take a step.

        Args:
            batch: of rows.
            rate: of the encoder's weights.
            head_rate: of the heads'.

        Returns:
            float32[6], before the step: over the pieces to guess the sum of the losses, how many
            were guessed right, and how many there are; the same over the pairs.
        """
        return self._train(*batch, tf.constant(rate), tf.constant(head_rate)).numpy()

    def evaluate(self, batch: Batch) -> np.ndarray:
        """Return what `train` does, without dropout and without a step."""
        return self._evaluate(*batch).numpy()

    @tf.function(
        input_signature=(*_SIGNATURE, tf.TensorSpec([], tf.float32), tf.TensorSpec([], tf.float32))
    )
    def _train(self, inputs, places, pieces, follows, rate, head_rate):  # type: ignore[no-untyped-def]
        weights = [*self._moving, *self._own]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            loss, sums = self._losses(inputs, places, pieces, follows, training=True)
        gradients = tape.gradient(loss, weights)
        rates = [rate] * len(self._moving) + [head_rate] * len(self._own)
        self._optimizer.step(gradients, rates)
        return sums

    @tf.function(input_signature=_SIGNATURE)
    def _evaluate(self, inputs, places, pieces, follows):  # type: ignore[no-untyped-def]
        return self._losses(inputs, places, pieces, follows, training=False)[1]

    def _losses(self, inputs, places, pieces, follows, *, training):  # type: ignore[no-untyped-def]
        """Return the loss and the sums that `train` returns."""
        outputs = self._outputs(inputs, training=training)
        tokens = outputs["sequence_output"]
        hidden = tf.gather(tf.reshape(tokens, [-1, tokens.shape[-1]]), places)
        logits = self._logits(hidden)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(pieces, logits)
        right = tf.cast(tf.equal(tf.argmax(logits, 1, tf.int32), pieces), tf.float32)
        loss = tf.reduce_mean(losses)
        guesses = tf.cast(tf.size(pieces), tf.float32)
        sums = [tf.reduce_sum(losses), tf.reduce_sum(right), guesses, 0.0, 0.0, 0.0]
        if self._config.next_sentence:
            logits = tf.matmul(outputs["pooled_output"], self._next) + self._next_bias
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(follows, logits)
            right = tf.cast(tf.equal(tf.argmax(logits, 1, tf.int32), follows), tf.float32)
            loss += tf.reduce_mean(losses)
            rows = tf.cast(tf.size(follows), tf.float32)
            sums[3:] = [tf.reduce_sum(losses), tf.reduce_sum(right), rows]
        return loss, tf.stack(sums)

    def _logits(self, hidden: tf.Tensor) -> tf.Tensor:
        hidden = tf.nn.gelu(tf.matmul(hidden, self._dense) + self._dense_bias)
        mean, variance = tf.nn.moments(hidden, [-1], keepdims=True)
        hidden = tf.nn.batch_normalization(
            hidden, mean, variance, self._beta, self._gamma, _EPSILON
        )
        products = tf.as_dtype(self._config.precision)
        product = tf.matmul(
            tf.cast(hidden, products), tf.cast(self._table, products), transpose_b=True
        )
        return tf.cast(product, tf.float32) + self._bias

    def _outputs(self, inputs: dict[str, tf.Tensor], *, training: bool) -> Any:
        if self._config.precision == "bfloat16":
            encode = self.encoder.train_bfloat16 if training else self.encoder.encode_bfloat16
            return encode(inputs)
        if not self._takes_training:
            return self.encoder(inputs)
        return self.encoder(inputs, training=training)

    def save_encoder(self, target: Path) -> None:
        """Write the encoder with its present weights, as a SavedModel with the same functions."""
        signatures = dict(getattr(self.encoder, "signatures", {}))
        tf.saved_model.save(self.encoder, str(target), signatures=signatures or None)

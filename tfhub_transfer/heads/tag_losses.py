"""What tags are trained on, and what is shown of them meanwhile."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfhub_transfer.heads.crf import log_likelihood, viterbi
from tfhub_transfer.heads.tag_outputs import Layout

__all__ = ["IntentAccuracy", "TaggingLoss", "WordAccuracy", "lengths_of"]


def lengths_of(tags: tf.Tensor) -> tf.Tensor:
    """Return int32[B], the words of each text, for tags int32[B, W] with -1 behind the last."""
    places = tf.range(1, tf.shape(tags)[1] + 1)
    # a column in front, lest there be none
    return tf.reduce_max(tf.pad(tf.where(tags >= 0, places, 0), [[0, 0], [1, 0]]), axis=1)


class TaggingLoss(keras.losses.Loss):
    """The negative log-likelihood of the tags, per word of the batch, and of the intents, per text.

    Without a CRF words are independent, and this is cross-entropy. Each word of a batch counts as
    much as any other, so that a text's part grows with its length. Targets are int32[B, W], -1 at
    the padding; with intents int32[B, 1 + W], the text's own first, and -1 for one that is unknown.

    Args:
        layout: of the outputs.
        label_smoothing: the share of each target spread evenly over all tags, or all intents; a CRF
            takes it for the intents alone.
        intent_weight: of the intents' part; the tags' is 1.
    """

    def __init__(self, layout: Layout, label_smoothing: float = 0.0, intent_weight: float = 1.0):
        super().__init__(name="tagging_loss")
        self.layout, self.label_smoothing = layout, label_smoothing
        self.intent_weight = intent_weight

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """Return float32[B], whose mean is the loss."""
        tags, intents = self.layout.targets(y_true)
        parts = self.layout.parts(y_pred)
        if parts.chain is None:
            losses = tf.reduce_sum(self._cross_entropy(tags, parts.logits), axis=1)
        else:
            losses = -log_likelihood(parts.logits, tags, lengths_of(tags), parts.chain)
        texts, words = _whole(tf.shape(tags)[0]), _whole(tf.math.count_nonzero(tags >= 0))
        losses *= tf.math.divide_no_nan(texts, words)
        if intents is not None:
            losses += self.intent_weight * self._cross_entropy(intents, parts.intents)
        return losses

    def _cross_entropy(self, targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Return a loss for each target, 0 where it is -1."""
        logs = tf.nn.log_softmax(logits)
        right = tf.gather(logs, tf.maximum(targets, 0), batch_dims=targets.shape.rank)
        share = self.label_smoothing
        smoothed = (1 - share) * right + share * tf.reduce_mean(logs, axis=-1)
        return tf.where(targets >= 0, -smoothed, 0.0)


def _whole(count: tf.Tensor) -> tf.Tensor:
    """Return a number of this batch, added up where several devices share it."""
    count = tf.cast(count, tf.float32)
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return count
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, count)


class _Accuracy(keras.metrics.Mean):
    """A mean over what is right, of outputs of a layout."""

    def __init__(self, layout: Layout | dict[str, Any], name: str):
        super().__init__(name=name)
        self.layout = Layout(**layout) if isinstance(layout, dict) else layout

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"layout": vars(self.layout), "name": self.name}


class WordAccuracy(_Accuracy):
    """The share of words, padding apart, that have their tag; of a CRF's best path, with one.

    Args:
        layout: of the outputs.
        name: of the metric.
    """

    def __init__(self, layout: Layout | dict[str, Any], name: str = "accuracy"):
        super().__init__(layout, name)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch; a text's weight is that of each of its words."""
        tags, _ = self.layout.targets(y_true)
        parts = self.layout.parts(y_pred)
        if parts.chain is None:
            answers = tf.argmax(parts.logits, axis=2, output_type=tf.int32)
        else:
            answers, _ = viterbi(parts.logits, lengths_of(tags), parts.chain)
        weights = tf.cast(tags >= 0, tf.float32)
        if sample_weight is not None:
            weights *= tf.cast(sample_weight, tf.float32)[:, tf.newaxis]
        super().update_state(tf.cast(tf.equal(answers, tags), tf.float32), weights)


class IntentAccuracy(_Accuracy):
    """The share of texts whose own label is right.

    Args:
        layout: of the outputs.
        name: of the metric.
    """

    def __init__(self, layout: Layout | dict[str, Any], name: str = "intent_accuracy"):
        super().__init__(layout, name)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        _, intents = self.layout.targets(y_true)
        answers = tf.argmax(self.layout.parts(y_pred).intents, axis=1, output_type=tf.int32)
        super().update_state(tf.cast(tf.equal(answers, intents), tf.float32), sample_weight)

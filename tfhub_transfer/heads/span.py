"""Where in a context a question is answered: pointers to the first and the last word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfhub_transfer.config import HIDDEN, Config, HeadConfig, SpanConfig
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.heads.dense import hidden_layers, penalty_of
from tfhub_transfer.heads.head import Head
from tfhub_transfer.heads.span_decoding import LOW, Spans, best_spans

__all__ = ["Pointers", "SpanHead", "SpanLoss"]


class SpanHead(Head):
    """Dense layers, if any are asked for, and two logits per word: to begin and to end the answer.

    The first position of the vectors is what a question without answer points at (Devlin et al.
    2019, arXiv 1810.04805, section 4.3).

    Args:
        config: sizes and regularisation.
        labels: what the data calls questions with and without an answer.
        span: how long an answer may be, and how many are given.
        no_answer: as `decide` takes it, where it was found on validation rows; `span.no_answer`
            when not given.

    Raises:
        ConfigError: a loss that is for classes.
    """

    facts = ("no_answer",)
    inputs = ("question", "context")
    reads = "words"
    splitting = "punctuation"

    def __init__(
        self,
        config: HeadConfig,
        labels: Sequence[str] = (),
        *,
        span: SpanConfig | None = None,
        no_answer: float | None = None,
    ):
        super().__init__(config, labels)
        self.span = span or SpanConfig()
        self.no_answer = self.span.no_answer if no_answer is None else no_answer
        if config.loss != "cross_entropy":
            raise ConfigError(
                f"With task span, head.loss must be cross_entropy. Received: {config.loss!r}"
            )

    @classmethod
    def of(cls, config: Config, labels: Sequence[str], **facts: Any) -> SpanHead:
        """Return the head that a run's settings ask for; see `Head.of`."""
        return cls(config.head, labels, span=config.span, **facts)

    def network(self, width: int) -> keras.Model:
        """Return float32[B, 1 + W, width], zeros behind the last word -> logits [B, 1 + W, 2].

        Raises:
            ConfigError: Keras knows no such activation.
        """
        config = self.config
        vectors = keras.Input((None, width), name="vectors")
        hidden = vectors
        if config.bottleneck is not None:
            hidden = keras.layers.Dense(
                config.bottleneck, kernel_regularizer=penalty_of(config), name="bottleneck"
            )(hidden)
        for layer in hidden_layers(config, config.hidden or HIDDEN["span"]):
            hidden = layer(hidden)
        # logits stay float32 under mixed precision
        logits = keras.layers.Dense(
            2, kernel_regularizer=penalty_of(config), dtype="float32", name="logits"
        )(hidden)
        return keras.Model(vectors, Pointers(name="pointers")([logits, vectors]), name="head")

    def loss(self) -> keras.losses.Loss:
        """Return the loss of logits against first and last words, int32[B, 2]."""
        return SpanLoss(self.config.label_smoothing)

    def metrics(self) -> list[keras.metrics.Metric]:
        """Return the share of questions whose first and last word are both the most likely."""
        return [keras.metrics.MeanMetricWrapper(_both_right, name="accuracy")]

    def decide(
        self, outputs: tf.Tensor, lengths: tf.Tensor, *, no_answer: float | None = None
    ) -> Spans:
        """Return the best answer and `span.n_best` others; TensorFlow's ops alone.

        Args:
            outputs: of the network.
            lengths: int32[B], the words of each context.
            no_answer: as `best_spans` takes it; the head's own when not given.
        """
        return best_spans(
            outputs,
            lengths,
            max_words=self.span.max_words,
            count=1 + self.span.n_best,
            no_answer=self.no_answer if no_answer is None else no_answer,
        )

    def served(
        self, network: keras.Model, *, no_answer: float | None = None
    ) -> Callable[[Sequence[tf.Variable], tf.Tensor, tf.Tensor], Spans]:
        """Return a function for an exported graph, which holds the weights as it likes.

        Args:
            network: of this head, trained.
            no_answer: as `decide` takes it.

        Returns:
            (the network's trainable weights, in its order; vectors float32[B, 1 + W, D]; lengths
            int32[B]) -> what `decide` says.
        """
        state = [variable.numpy() for variable in network.non_trainable_variables]

        def answer(weights: Sequence[tf.Variable], vectors: tf.Tensor, lengths: tf.Tensor) -> Spans:
            values = [tf.convert_to_tensor(weight) for weight in weights]
            outputs, _ = network.stateless_call(values, state, vectors, training=False)
            return self.decide(outputs, lengths, no_answer=no_answer)

        return answer

    def decode(  # type: ignore[override]
        self,
        outputs: np.ndarray,
        lengths: Sequence[int],
        *,
        no_answer: float | None = None,
    ) -> list[dict[str, object]]:
        """Return the answer to each question.

        Args:
            outputs: of the network, float32[N, 1 + W, 2].
            lengths: the words of each context.
            no_answer: as `decide` takes it.

        Returns:
            `first` and `last`, words counted from 0, or None for no answer; their `score`; and
            under `n_best` these and further answers, each with the same keys.
        """
        if not len(outputs):
            return []
        spans = self.decide(
            tf.constant(outputs), tf.constant(lengths, tf.int32), no_answer=no_answer
        )
        columns = (part.numpy().tolist() for part in (spans.first, spans.last, spans.score))
        decoded: list[dict[str, object]] = []
        for found in zip(*columns, strict=True):
            several = [
                {
                    "first": None if first < 0 else first,
                    "last": None if last < 0 else last,
                    "score": round(score, 6),
                }
                for place, (first, last, score) in enumerate(zip(*found, strict=True))
                if place == 0 or first >= 0
            ]
            decoded.append({**several[0], "n_best": several})
        return decoded


@keras.saving.register_keras_serializable("tfhub_transfer")
class Pointers(keras.layers.Layer):
    """Leaves the logits as they are, but for padding, which no answer begins or ends in.

    Padding is what stands behind the last vector that is not all zeros. Position 0 never is.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, inputs: Sequence[Any]) -> Any:
        """Return float32[B, S, 2] for logits of that shape and vectors, float[B, S, D]."""
        logits, vectors = inputs
        there = ops.cast(ops.any(ops.not_equal(vectors, 0.0), axis=-1), "int32")
        places = ops.arange(1, ops.shape(vectors)[1] + 1, dtype="int32")
        last = ops.max(there * places, axis=1, keepdims=True)
        inside = places <= ops.maximum(last, 1)
        return ops.where(inside[:, :, None], logits, LOW)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> Any:
        """Return the logits' shape."""
        return input_shape[0]


@keras.saving.register_keras_serializable("tfhub_transfer")
class SpanLoss(keras.losses.Loss):
    """The mean of two cross-entropies over positions: the first word's and the last's.

    A target in what the vectors show to be padding, such as a last word without a vector, adds
    nothing: no training could reach it.

    Args:
        label_smoothing: the share of each target spread evenly over all words and no answer.
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "span_loss", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return float32[B] for targets, [B, 2], and logits, float32[B, 1 + W, 2]."""
        likelihoods = ops.log_softmax(y_pred, axis=1)
        places = ops.cast(y_true, "int32")[:, None, :]
        losses = -ops.take_along_axis(likelihoods, places, axis=1)[:, 0]
        if self.label_smoothing:
            inside = ops.cast(y_pred > LOW / 2, y_pred.dtype)
            of_all = -ops.sum(likelihoods * inside, axis=1) / ops.sum(inside, axis=1)
            losses = (1 - self.label_smoothing) * losses + self.label_smoothing * of_all
        reachable = ops.take_along_axis(y_pred, places, axis=1)[:, 0] > LOW / 2
        return ops.mean(ops.where(reachable, losses, 0.0), axis=1)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` takes."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def _both_right(y_true: Any, y_pred: Any) -> Any:
    """Return float32[B], 1 where the first and the last word are those of highest logit."""
    chosen = ops.argmax(y_pred, axis=1)
    right = ops.equal(ops.cast(chosen, "int32"), ops.cast(y_true, "int32"))
    return ops.cast(ops.all(right, axis=1), "float32")

"""What an exported model of answers says: question and context in, a stretch of the context out.

The signatures are those of TensorFlow Serving's Predict API
(tensorflow_serving/apis/prediction_service.proto).
"""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from tfhub_transfer.artifact.predictor import DEFAULT_SIGNATURE, N_BEST, OF_QUESTIONS
from tfhub_transfer.artifact.saved_module import check_names, save_module
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.reusable import resources_of
from tfhub_transfer.encoders.words import split_words
from tfhub_transfer.heads.span import SpanHead

__all__ = ["ServedAnswerer", "save_answerer"]

_PAIR = [tf.TensorSpec([None], tf.string, name) for name in OF_QUESTIONS]
_ONE = {"answers": "answer", "scores": "score", "starts": "start", "ends": "end"}


class ServedAnswerer(tf.Module):
    """An encoder and a span head as TensorFlow Serving wants them: no Keras, each weight once.

    What it is made of is kept as in `ServedClassifier`. `serving_default` gives `answer` string[B],
    `score` float32[B], and `start` and `end` int32[B], which count the context's code points; no
    answer is an empty string, from -1 to -1. `n_best` gives `answers`, `scores`, `starts` and
    `ends`, [B, N]: first what is answered, then what else could be, the likeliest first. Where a
    context has fewer, empty strings follow, from -1 to -1 and of score 0.

    Long contexts are read whole, in windows (`encoders.windows`).

    Args:
        encoder: question and context, string[B] each, to float32[B, 1 + W, D].
        head: what the outputs mean.
        network: the same vectors to logits, as the head has them.
    """

    def __init__(self, encoder: HubLayer, head: SpanHead, network: keras.Model):
        super().__init__(name="answerer")
        weights = network.trainable_variables
        self.head = [tf.Variable(weight.numpy(), name=weight.path) for weight in weights]
        self._vectors = encoder.vectors
        self._decide = head.served(network)
        self._splitting = head.splitting
        self.weights = self.predict.get_concrete_function().variables
        self.resources = [resources_of(loaded) for loaded in encoder.loaded]

    @tf.function(input_signature=_PAIR)
    def predict(self, question: tf.Tensor, context: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return what is answered."""
        found = self.n_best(question, context)
        return {one: found[several][:, 0] for several, one in _ONE.items()}

    @tf.function(input_signature=_PAIR)
    def n_best(self, question: tf.Tensor, context: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the best answers; traced once, for both signatures."""
        # of one question and two contexts, ops would make two questions
        tf.debugging.assert_equal(
            tf.size(question), tf.size(context), "There should be one context for each question"
        )
        # places count what is no UTF-8 as one character, and so has the text to be cut
        context = tf.strings.unicode_transcode(context, "UTF-8", "UTF-8", errors="replace")
        words = split_words(context, self._splitting)
        lengths = tf.cast(words.words.row_lengths(), tf.int32)
        vectors = self._vectors({"question": question, "context": context})
        spans = self._decide(self.head, vectors, lengths)
        # a column more, so that there is one even where no context has a word
        first = tf.gather(_padded(words.starts), tf.maximum(spans.first, 0), batch_dims=1)
        last = tf.gather(_padded(words.ends), tf.maximum(spans.last, 0), batch_dims=1)
        there = spans.first >= 0
        length = tf.where(there, last - first, 0)
        return {
            "answers": tf.strings.substr(
                context[:, tf.newaxis], tf.where(there, first, 0), length, unit="UTF8_CHAR"
            ),
            "scores": spans.score,
            "starts": tf.where(there, first, -1),
            "ends": tf.where(there, last, -1),
        }


def _padded(places: tf.RaggedTensor) -> tf.Tensor:
    """Return int32[B, W + 1] for int32[B, (W)]."""
    return tf.pad(places.to_tensor(0), [[0, 0], [0, 1]])


def save_answerer(encoder: HubLayer, head: SpanHead, network: keras.Model, target: Path) -> int:
    """Write the SavedModel, and `assets/labels.txt` with what questions are told apart by.

    Args:
        encoder: of a trained model of answers.
        head: of it.
        network: of it.
        target: the directory to write; its parents are made.

    Returns:
        The bytes that the weights of encoder and head take.

    Raises:
        ArtifactError: a label that the artifact cannot hold.
    """
    check_names("labels.txt", head.labels)
    module = ServedAnswerer(encoder, head, network)
    signatures = {DEFAULT_SIGNATURE: module.predict, N_BEST: module.n_best}
    return save_module(module, target, signatures=signatures, lists={"labels.txt": head.labels})

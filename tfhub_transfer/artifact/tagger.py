"""What an exported tagger answers: text in, its words with their tags and places out.

The signatures are those of TensorFlow Serving's Predict API
(tensorflow_serving/apis/prediction_service.proto).
"""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from tfhub_transfer.artifact.predictor import DEFAULT_SIGNATURE, OF_WORDS
from tfhub_transfer.artifact.saved_module import check_names, save_module
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.reusable import resources_of
from tfhub_transfer.encoders.words import Words, split_words
from tfhub_transfer.heads.raw_words import raw_words
from tfhub_transfer.heads.tagging import Decided, TaggingHead

__all__ = ["ServedTagger", "save_tagger"]

_TEXT = tf.TensorSpec([None], tf.string, "text")


class ServedTagger(tf.Module):
    """An encoder and a tagging head as TensorFlow Serving wants them: no Keras, each weight once.

    What it is made of is kept as in `ServedClassifier`. Both signatures answer with `words`
    string[B, W], `tags` string[B, W], `scores` float32[B, W], and `starts` and `ends`
    int32[B, W], which count the text's code points. W is the number of words of the longest
    text, 1 at least; behind a text's last word stand empty strings and zeros. Where texts have a
    label of their own, there are also `intent` string[B], `intent_score` float32[B] and
    `intent_probabilities` float32[B, I].

    Args:
        encoder: string[B], words between single spaces, to float32[B, W, D] or [B, 1 + W, D].
        head: what the outputs mean.
        network: the same vectors to logits, as the head has them.
    """

    def __init__(self, encoder: HubLayer, head: TaggingHead, network: keras.Model):
        super().__init__(name="tagger")
        weights = network.trainable_variables
        self.head = [tf.Variable(weight.numpy(), name=weight.path) for weight in weights]
        self._vectors = encoder.vectors
        self._decide = head.served(network)
        self._tags = tf.constant([*head.labels, ""])
        self._intents = tf.constant(head.intents, tf.string)
        self.weights = self.predict.get_concrete_function().variables
        self.resources = [resources_of(loaded) for loaded in encoder.loaded]

    @tf.function(input_signature=[_TEXT])
    def predict(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer about text as people write it."""
        words, read = raw_words(text)
        return self._answer(words, read)

    @tf.function(input_signature=[_TEXT])
    def predict_words(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer about text whose words stand between single spaces, as in tagged data."""
        return self._answer(split_words(text, "spaces"), text)

    @tf.function(input_signature=[_TEXT, tf.TensorSpec([None], tf.int32, "lengths")])
    def decided(self, text: tf.Tensor, lengths: tf.Tensor) -> Decided:
        """Return what the network says; traced once, for both signatures."""
        return self._decide(self.head, self._vectors(text), lengths)

    def _answer(self, words: Words, text: tf.Tensor) -> dict[str, tf.Tensor]:
        decided = self.decided(text, tf.cast(words.words.row_lengths(), tf.int32))
        shape = tf.shape(decided.tags, tf.int64)
        none = tf.size(self._tags) - 1
        answer = {
            "words": words.words.to_tensor("", shape=shape),
            "tags": tf.gather(self._tags, tf.where(decided.tags < 0, none, decided.tags)),
            "scores": decided.scores,
            "starts": words.starts.to_tensor(0, shape=shape),
            "ends": words.ends.to_tensor(0, shape=shape),
        }
        if decided.intents is not None:
            likeliest = tf.argmax(decided.intents, axis=1, output_type=tf.int32)
            answer["intent"] = tf.gather(self._intents, likeliest)
            answer["intent_score"] = tf.reduce_max(decided.intents, axis=1)
            answer["intent_probabilities"] = decided.intents
        return answer


def save_tagger(encoder: HubLayer, head: TaggingHead, network: keras.Model, target: Path) -> int:
    """Write the SavedModel, `assets/labels.txt` with the tags, and maybe `assets/intents.txt`.

    Args:
        encoder: of a trained tagger.
        head: of it.
        network: of it.
        target: the directory to write; its parents are made.

    Returns:
        The bytes that the weights of encoder and head take.

    Raises:
        ArtifactError: a name that the artifact cannot hold.
    """
    lists = {"labels.txt": head.labels}
    if head.intents:
        lists["intents.txt"] = head.intents
    for file, names in lists.items():
        check_names(file, names)
    module = ServedTagger(encoder, head, network)
    signatures = {DEFAULT_SIGNATURE: module.predict, OF_WORDS: module.predict_words}
    return save_module(module, target, signatures=signatures, lists=lists)

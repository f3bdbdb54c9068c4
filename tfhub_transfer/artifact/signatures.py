"""What the exported SavedModel answers: strings in, labels and probabilities out.

The signatures are those of TensorFlow Serving's Predict and Classify APIs
(tensorflow_serving/apis/prediction_service.proto, classification.proto).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from tfhub_transfer.artifact.predictor import CLASSIFY, DEFAULT_SIGNATURE, OF_EXAMPLES
from tfhub_transfer.artifact.saved_module import check_names, save_module
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.reusable import resources_of
from tfhub_transfer.errors import ArtifactError
from tfhub_transfer.heads.head import Head

UNKNOWN = "unknown"  # the label of what scores below the reject threshold
_SEVERAL = 0.5  # from which a label applies, where several may
_TOKENS = ("input_word_ids", "input_mask", "input_type_ids")


class ServedClassifier(tf.Module):
    """An encoder and a head as TensorFlow Serving wants them: no Keras, each weight once.

    Keras would store a loaded encoder's variables a second time, as its own. Here those are tracked
    that the answers come from, and the head's values are copied into variables. What only training
    calls, or nothing, is left behind.

    For a transformer there is `from_tokens` too, which is no signature: int32[B, S] token ids, mask
    and types to probabilities float32[B, C].

    Args:
        encoder: string[B] to float32[B, D].
        head: what the outputs mean.
        network: float32[B, D] to probabilities.
        temperature: logits are divided by it (Guo et al. 2017, arXiv 1706.04599, section 4.2).
        threshold: the score below which the label is `unknown`.
        separator: joins the labels of a text that has several.
    """

    def __init__(
        self,
        encoder: HubLayer,
        head: Head,
        network: keras.Model,
        *,
        temperature: float = 1.0,
        threshold: float | None = None,
        separator: str = "|",
    ):
        super().__init__(name="classifier")
        weights = network.trainable_variables
        self.head = [tf.Variable(weight.numpy(), name=weight.path) for weight in weights]
        self._vectors = encoder.vectors
        # A function, for a Keras model as an attribute would be written too.
        self._logits = _logits_of(network)
        self._temperature = temperature
        self._multi_label = head.multi_label
        self._threshold = threshold
        self._separator = separator
        self._labels = tf.constant(head.labels)
        if encoder.encoder.preprocess is not None:
            specs = {name: tf.TensorSpec([None, None], tf.int32, name) for name in _TOKENS}
            self.from_tokens = tf.function(self._probabilities, input_signature=[specs])
        self.weights = self.predict.get_concrete_function().variables
        self.resources = [resources_of(loaded) for loaded in encoder.loaded]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def predict(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return label string[B], score float32[B] and probabilities float32[B, C]."""
        probabilities = self._probabilities(text)
        label, score = self._decide(probabilities)
        return {"label": label, "score": score, "probabilities": probabilities}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return classes string[B, C] and scores float32[B, C] for serialized tf.Examples."""
        features = {"text": tf.io.FixedLenFeature([], tf.string)}
        probabilities = self._probabilities(tf.io.parse_example(inputs, features)["text"])
        classes = tf.broadcast_to(self._labels, tf.shape(probabilities))
        return {"classes": classes, "scores": probabilities}

    def _probabilities(self, inputs: tf.Tensor | dict[str, tf.Tensor]) -> tf.Tensor:
        logits = self._logits(self.head, self._vectors(inputs)) / self._temperature
        return tf.sigmoid(logits) if self._multi_label else tf.nn.softmax(logits)

    def _decide(self, probabilities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        highest = tf.reduce_max(probabilities, axis=1)
        if self._multi_label:
            applies = probabilities >= _SEVERAL
            several = tf.ragged.boolean_mask(
                tf.broadcast_to(self._labels, tf.shape(probabilities)), applies
            )
            label = tf.strings.reduce_join(several, axis=1, separator=self._separator)
            lowest = tf.reduce_min(tf.where(applies, probabilities, 1.0), axis=1)
            return label, tf.where(tf.reduce_any(applies, axis=1), lowest, highest)
        index = tf.argmax(probabilities, axis=1, output_type=tf.int32)
        if self._threshold is None:
            return tf.gather(self._labels, index), highest
        # chosen as a number, for TensorFlow Lite cannot choose between strings
        index = tf.where(highest < self._threshold, tf.size(self._labels), index)
        return tf.gather(tf.concat([self._labels, [UNKNOWN]], axis=0), index), highest


def without_activation(network: keras.Model) -> keras.Model:
    """Return a copy of the network that gives logits, float32[B, C], rather than probabilities."""
    config = network.get_config()
    config["layers"][-1]["config"]["activation"] = "linear"
    bare = type(network).from_config(config)
    bare.set_weights(network.get_weights())
    return bare


def _logits_of(network: keras.Model) -> Callable[[Sequence[tf.Variable], tf.Tensor], tf.Tensor]:
    """Return (weights, vectors float32[B, D]) -> float32[B, C]."""
    bare = without_activation(network)
    state = [variable.numpy() for variable in bare.non_trainable_variables]

    def logits(weights: Sequence[tf.Variable], vectors: tf.Tensor) -> tf.Tensor:
        values = [tf.convert_to_tensor(weight) for weight in weights]
        outputs, _ = bare.stateless_call(values, state, vectors, training=False)
        return outputs

    return logits


def save_classifier(
    encoder: HubLayer,
    head: Head,
    network: keras.Model,
    target: Path,
    *,
    temperature: float = 1.0,
    threshold: float | None = None,
    separator: str = "|",
) -> int:
    """Write the SavedModel with its signatures and `assets/labels.txt`.

    Args:
        encoder: of a trained classifier.
        head: of it.
        network: of it.
        target: the directory to write; its parents are made.
        temperature: see `ServedClassifier`, as the rest.
        threshold: only where labels exclude each other.
        separator: only where they do not.

    Returns:
        The bytes that the weights of encoder and head take.

    Raises:
        ArtifactError: a label that the artifact cannot hold.
    """
    _check_labels(head, threshold)
    module = ServedClassifier(
        encoder,
        head,
        network,
        temperature=temperature,
        threshold=threshold,
        separator=separator,
    )
    signatures = {DEFAULT_SIGNATURE: module.predict, OF_EXAMPLES: module.classify}
    size = save_module(module, target, signatures=signatures, lists={"labels.txt": head.labels})
    # TensorFlow 2 writes every signature as one of Predict; TensorFlow Serving can be told to check
    methods = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(target))
    methods.replace_method_name(OF_EXAMPLES, CLASSIFY)
    methods.save()
    return size


def _check_labels(head: Head, threshold: float | None) -> None:
    check_names("labels.txt", head.labels)
    if threshold is not None and head.multi_label:
        raise ArtifactError(
            "A reject threshold is for labels that exclude each other; where a text may have any "
            "number of labels, one without any is rejected already. Received: a multi-label run"
        )
    if threshold is not None and UNKNOWN in head.labels:
        raise ArtifactError(
            f"Texts below the reject threshold are labelled {UNKNOWN!r}, and a class has that name "
            f"already. Received: {list(head.labels)}"
        )

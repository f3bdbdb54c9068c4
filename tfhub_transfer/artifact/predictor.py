"""An exported model, read: what a server and `predict` answer with.

Nothing of how it was trained or written is imported here, and no Keras.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the ops of tokenizers)
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from tfhub_transfer.errors import ArtifactError

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
DEFAULT_SIGNATURE = "serving_default"
OF_EXAMPLES = "classify"
OF_WORDS = "words"
N_BEST = "n_best"
OF_TEXTS = ("text",)
OF_QUESTIONS = ("question", "context")
"""The inputs of a model of answers, in the order in which an instance has them."""
LABELS = "assets/labels.txt"
INTENTS = "assets/intents.txt"
WARM_UP = "assets.extra/tf_serving_warmup_requests"

Text: TypeAlias = str | tuple[str, str]
"""What a model is asked about: a text, or a question and its context."""
Instance: TypeAlias = bytes | tuple[bytes, ...]
"""The same in UTF-8, one string for each input; or a serialized tf.Example."""


def as_instance(text: Text, errors: str = "strict") -> Instance:
    """Return a text, or a question and its context, in UTF-8.

    Args:
        text: either.
        errors: what is done about half a surrogate pair, as `str.encode` takes it.
    """
    if isinstance(text, str):
        return text.encode("utf-8", errors)
    return tuple(part.encode("utf-8", errors) for part in text)


@dataclass(frozen=True)
class Signature:
    """A function that the model is asked for by name.

    Attributes:
        name: `serving_default`; or `classify`, or `words` of a tagger, or `n_best` of a model of
            answers.
        method: which of TensorFlow Serving's APIs it is for.
        inputs: the aliases of its inputs, string[B] each: one, or `OF_QUESTIONS`.
        outputs: the aliases of its outputs, each with B as its first axis.
        definition: as saved_model.pb has it.
    """

    name: str
    method: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    definition: meta_graph_pb2.SignatureDef


class Predictor:
    """A version of an exported model, in memory. Made by `Predictor.load`; safe to share.

    Attributes:
        path: its directory.
        labels: the classes or tags that it tells apart.
        signatures: its functions by name.
        intents: of a tagger, the labels of whole texts in the order of their probabilities; none
            where it gives no such label.
    """

    def __init__(
        self,
        path: Path,
        labels: tuple[str, ...],
        signatures: dict[str, Signature],
        loaded: Any,
        intents: tuple[str, ...] = (),
    ):
        self.path = path
        self.labels = labels
        self.signatures = signatures
        self.intents = intents
        self._loaded = loaded  # owns the variables, which the functions only refer to

    @classmethod
    def load(cls, path: str | Path) -> Predictor:
        """Read the version in `path`, as `saved_models/NAME/3`.

        Raises:
            ArtifactError: it is missing or damaged, or `export` did not write it.
        """
        path = Path(path)
        graph = path / "saved_model.pb"
        if not graph.is_file():
            raise ArtifactError(
                f"Not an exported model: a version directory, as `python -m tfhub_transfer.export` "
                f"writes it, has a saved_model.pb.{_version_hint(path)} Received: {path}"
            )
        try:
            content = saved_model_pb2.SavedModel.FromString(graph.read_bytes())
            signatures = {
                name: _signature(name, definition)
                for name, definition in content.meta_graphs[0].signature_def.items()
                if not name.startswith("__")
            }
            labels = (path / LABELS).read_text(encoding="utf-8").splitlines()
            intents = path / INTENTS
            named = intents.read_text(encoding="utf-8").splitlines() if intents.is_file() else ()
            loaded = tf.saved_model.load(str(path))
        except (DecodeError, IndexError, OSError, ValueError, tf.errors.OpError) as error:
            raise ArtifactError(
                f"The exported model cannot be read ({_first_line(error)}). Received: {path}"
            ) from error
        if DEFAULT_SIGNATURE not in signatures:
            raise ArtifactError(
                f"An exported model has a signature {DEFAULT_SIGNATURE!r}. "
                f"Received: {sorted(signatures)} in {path}"
            )
        return cls(path, tuple(labels), signatures, loaded, tuple(named))

    def run(
        self, values: Sequence[Instance], signature: str = DEFAULT_SIGNATURE
    ) -> dict[str, np.ndarray]:
        """Call a signature.

        Args:
            values: texts in UTF-8, or serialized tf.Examples for `classify`; or where it has
                several inputs a tuple of one text for each, in their order.
            signature: its name.

        Returns:
            Each output by its alias, [B, ...]; strings as bytes.

        Raises:
            tf.errors.OpError: the graph refuses the values, as bytes that are no tf.Example.
        """
        function = self._loaded.signatures[signature]
        inputs = self.signatures[signature].inputs
        columns = [values] if len(inputs) == 1 else zip(*values, strict=True)
        columns = list(columns) or [()] * len(inputs)
        outputs = function(
            **{
                name: tf.constant(list(column), tf.string, shape=[len(values)])
                for name, column in zip(inputs, columns, strict=True)
            }
        )
        return {alias: tensor.numpy() for alias, tensor in outputs.items()}

    def __call__(self, texts: Sequence[Text]) -> dict[str, np.ndarray]:
        """Return what the signature `serving_default` says of B texts, each output [B, ...].

        A classifier's are label and score, [B], and probabilities float32[B, C]; a tagger's words,
        tags, scores, starts and ends, [B, W], and those of its intents if it has any. A model of
        answers takes pairs of question and context, and gives answer, score, start and end, [B].
        """
        return self.run([as_instance(text) for text in texts])

    def warm_up(self) -> int:
        """Replay the warm-up requests that lie with the model, so that the first client is quick.

        Returns:
            How many there were.

        Raises:
            ArtifactError: the file is damaged.
        """
        file = self.path / WARM_UP
        if not file.is_file():
            return 0
        count = 0
        try:
            for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
                self.run(*self._replayed(prediction_log_pb2.PredictionLog.FromString(record)))
                count += 1
            if not count:
                raise ValueError("no record in it")
        except (DecodeError, ValueError, KeyError, tf.errors.OpError) as error:
            raise ArtifactError(
                f"The warm-up requests cannot be replayed ({_first_line(error)}). Received: {file}"
            ) from error
        return count

    def _replayed(self, log: prediction_log_pb2.PredictionLog) -> tuple[Sequence[Instance], str]:
        """Return the values of a logged request, and the signature that it asks."""
        kind = log.WhichOneof("log_type")
        if kind == "classify_log":
            request = log.classify_log.request
            examples = request.input.example_list.examples
            return [e.SerializeToString() for e in examples], request.model_spec.signature_name
        if kind == "predict_log":
            request = log.predict_log.request
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            inputs = self.signatures[name].inputs
            if set(request.inputs) != set(inputs):
                raise ValueError(f"inputs {sorted(request.inputs)} for {name}")
            columns = [request.inputs[alias].string_val for alias in inputs]
            return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True)), name
        raise ValueError(f"a {kind or 'record of no kind'} among them")


def _signature(name: str, definition: meta_graph_pb2.SignatureDef) -> Signature:
    inputs = tuple(definition.inputs)
    if set(inputs) == set(OF_QUESTIONS):
        inputs = OF_QUESTIONS
    elif len(inputs) != 1:
        raise ArtifactError(
            f"A signature of an exported text model has one input, string[B], or "
            f"{' and '.join(OF_QUESTIONS)}. Received: {name!r} with {sorted(inputs)}"
        )
    outputs = tuple(sorted(definition.outputs))
    return Signature(name, definition.method_name, inputs, outputs, definition)


def _version_hint(path: Path) -> str:
    if not path.is_dir():
        return ""
    versions = [child.name for child in path.iterdir() if re.fullmatch(r"\d+", child.name)]
    return f" There are versions below it: {', '.join(sorted(versions))}." if versions else ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

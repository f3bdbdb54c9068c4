"""An exported model's functions, one by one, as conversions to other formats take them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the ops of tokenizers)
from tensorflow.core.framework import graph_pb2

from tfhub_transfer.artifact import saved_graph
from tfhub_transfer.artifact.predictor import DEFAULT_SIGNATURE, LABELS
from tfhub_transfer.artifact.saved_graph import SavedNode
from tfhub_transfer.errors import ConversionError

TOKENS = ("input_mask", "input_type_ids", "input_word_ids")


class Functions:
    """What an exported version computes.

    Attributes:
        version: its directory.
        loaded: the SavedModel, which owns the variables.
        has_tokens: whether it is a transformer's, with probabilities from token ids.

    Raises:
        ConversionError: it is no classifier.
    """

    def __init__(self, version: Path):
        self.version = version
        self.loaded: Any = tf.saved_model.load(str(version))
        outputs = self.loaded.signatures[DEFAULT_SIGNATURE].structured_outputs
        if "probabilities" not in outputs:
            raise ConversionError(
                f"What classifies whole texts can be converted: its signature {DEFAULT_SIGNATURE} "
                f"has an output 'probabilities'. Received: {sorted(outputs)} in {version}"
            )
        self.has_tokens = hasattr(self.loaded, "from_tokens")
        self._to_tokens = self._tokenizer() if self.has_tokens else None

    def predict(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return label, score and probabilities, as the signature `serving_default` gives them."""
        outputs = self.loaded.signatures[DEFAULT_SIGNATURE](text=tf.constant(list(texts)))
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    def predict_tokens(self, tokens: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the probabilities of a transformer's tokens, int32[B, S] each."""
        tensors = {name: tf.constant(values) for name, values in tokens.items()}
        return {"probabilities": self.loaded.from_tokens(tensors).numpy()}

    def tokens(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return token ids, mask and types, int32[B, S], as the model itself makes them."""
        assert self._to_tokens is not None
        outputs = self._to_tokens(tf.constant(list(texts)))
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    def from_text(self) -> Any:
        """Return string[B] -> {"probabilities": float32[B, C]}, to convert."""
        signature = self.loaded.signatures[DEFAULT_SIGNATURE]
        return tf.function(
            lambda text: {"probabilities": signature(text=text)["probabilities"]},
            input_signature=[tf.TensorSpec([None], tf.string, "text")],
        )

    def from_tokens(self) -> Any:
        """Return {TOKENS: int32[B, S]} -> {"probabilities": float32[B, C]}, to convert."""
        return tf.function(
            lambda tokens: {"probabilities": self.loaded.from_tokens(tokens)},
            input_signature=[
                {name: tf.TensorSpec([None, None], tf.int32, name) for name in TOKENS}
            ],
        )

    def _tokenizer(self) -> Any:
        """Cut `predict` off behind its preprocessor, which the artifact has no name for.

        That is the one call with three int32 outputs, in the order of their names as in any
        function that returns a dict.
        """
        (predict,) = self.loaded.predict.concrete_functions
        (call,) = (
            operation
            for operation in predict.graph.get_operations()
            if [output.dtype for output in operation.outputs] == [tf.int32] * len(TOKENS)
        )
        kept = _ancestors(call)
        graph = predict.graph.as_graph_def()
        graph = graph_pb2.GraphDef(
            node=[node for node in graph.node if node.name in kept],
            library=graph.library,
            versions=graph.versions,
        )
        text, *inner = predict.inputs
        captures = [
            (placeholder.name, value)
            for placeholder, value in zip(inner, predict.captured_inputs, strict=True)
            if placeholder.op.name in kept
        ]

        def tokenize(texts: tf.Tensor) -> dict[str, tf.Tensor]:
            # tables and compiled vocabularies, which the loaded object holds
            capture = tf.compat.v1.get_default_graph().capture
            outputs = tf.graph_util.import_graph_def(
                graph,
                {text.name: texts, **{name: capture(value) for name, value in captures}},
                [output.name for output in call.outputs],
            )
            return dict(zip(TOKENS, outputs, strict=True))

        return tf.function(tokenize, input_signature=[tf.TensorSpec([None], tf.string)])

    def place_of(self, op: str) -> str | None:
        """Return where an op is, as "function/node", if it is anywhere."""
        return next((node.place for node in self._nodes if node.op == op), None)

    def tokenizer_ops(self) -> list[str]:
        """Return the ops that TensorFlow itself does not have, in alphabetical order."""
        return sorted({node.op for node in self._nodes if not hasattr(tf.raw_ops, node.op)})

    @functools.cached_property
    def _nodes(self) -> list[SavedNode]:
        return [node for node in saved_graph.read(self.version).nodes if node.served]

    def labels(self) -> str:
        """Return `assets/labels.txt`, one label a line."""
        return (self.version / LABELS).read_text(encoding="utf-8")

    def vocabularies(self) -> list[Path]:
        """Return the assets beside the labels: what lookup tables are read from."""
        return sorted(
            path for path in (self.version / LABELS).parent.iterdir() if path.name != "labels.txt"
        )


def _ancestors(operation: Any) -> set[str]:
    """Return the names of an operation and of all that it needs."""
    names: set[str] = set()
    waiting = [operation]
    while waiting:
        operation = waiting.pop()
        if operation.name not in names:
            names.add(operation.name)
            waiting += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
    return names

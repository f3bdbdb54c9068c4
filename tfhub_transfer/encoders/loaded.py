"""What a SavedModel of TF Hub's kind is, once TensorFlow has loaded it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfhub_transfer.errors import EncoderError

__all__ = [
    "adopted_variables",
    "checksum",
    "draws_repeatably",
    "in_a_replica",
    "load",
    "takes_training",
]


def load(path: Path) -> Any:
    """Load a SavedModel that can be called.

    Raises:
        EncoderError: it cannot be, being a TF1 Hub module.
    """
    loaded = tf.saved_model.load(str(path))
    if not callable(loaded):
        raise EncoderError(
            f"Not a TF2 SavedModel of TF Hub's kind: the loaded object cannot be called. A TF1 Hub "
            f"module has to be exchanged for its TF2 version. Received: {path}"
        )
    return loaded


def adopted_variables(model: Any) -> list[keras.Variable]:
    """Return a loaded object's variables, in its order, as Keras' own; none is copied."""
    can_move = {id(variable) for variable in getattr(model, "trainable_variables", [])}
    adopted = []
    for variable in getattr(model, "variables", []):
        *scopes, name = variable.name.partition(":")[0].split("/")
        with contextlib.ExitStack() as stack:
            for scope in scopes:
                stack.enter_context(keras.name_scope(scope))
            # A Keras Variable built on a tf.Variable keeps it rather than copying its value.
            weight = keras.Variable(
                initializer=variable,
                trainable=id(variable) in can_move,
                dtype=variable.dtype.name,
                autocast=False,
                name=name,
            )
        adopted.append(weight)
    return adopted


def takes_training(model: Any) -> bool:
    """Return whether the loaded object's traces have an argument `training`."""
    spec = getattr(model.__call__, "function_spec", None)
    return spec is not None and "training" in spec.fullargspec.args + spec.fullargspec.kwonlyargs


def draws_repeatably(path: Path) -> bool:
    """Return whether all random numbers in a SavedModel, such as dropout masks, have a seed."""
    content = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    return not any(
        node.op.startswith("Random") and not (node.attr["seed"].i or node.attr["seed2"].i)
        for meta_graph in content.meta_graphs
        for function in meta_graph.graph_def.library.function
        for node in function.node_def
    )


def in_a_replica(call: Callable[[], Any]) -> Any:
    """Call a loaded object; in the scope of a strategy a replica alone can read its variables."""
    if not tf.distribute.in_cross_replica_context():
        return call()
    strategy = tf.distribute.get_strategy()
    outputs = tf.function(lambda: strategy.run(call), autograph=False)()
    return tf.nest.map_structure(lambda o: strategy.experimental_local_results(o)[0], outputs)


def checksum(weight: keras.Variable) -> bytes:
    """Return a digest of a weight's present value."""
    return hashlib.blake2b(weight.numpy().tobytes(), digest_size=16).digest()

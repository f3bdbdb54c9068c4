"""A transformer cut short: its first layers, and none of the work or the weights of the others.

Leaving the outputs of the upper layers unused is not enough. TensorFlow then passes over them in a
forward pass, but in training it computes all of them, there and back, and a SavedModel is written
with all of their weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.grappler import tf_optimizer  # what TensorFlow's own converters inline with

__all__ = ["first_layers"]

Tokens = dict[str, tf.Tensor]
TOKENS = {
    name: tf.TensorSpec([None, None], tf.int32, name)
    for name in ("input_word_ids", "input_mask", "input_type_ids")
}


def first_layers(outputs: Callable[[Tokens], Any], layers: int) -> Callable[[Tokens], tf.Tensor]:
    """Return the part of a function that its first layers take.

    Args:
        outputs: tokens, int32[B, S] each, to a dict with `encoder_outputs`, a list with the
            float32[B, S, D] of each layer.
        layers: how many to keep.

    Returns:
        Tokens to the float32[B, S, D] of the last of those.
    """

    @tf.function(input_signature=[TOKENS])
    def last(tokens: Tokens) -> tf.Tensor:
        return outputs(tokens)["encoder_outputs"][layers - 1]

    whole = last.get_concrete_function()
    (output,) = whole.outputs
    graph = _needed(_inlined(whole), output.op.name)
    left = {node.name for node in graph.node}
    fed = whole.inputs[: len(TOKENS)]
    captured = [
        (placeholder.name, value)
        for placeholder, value in zip(
            whole.inputs[len(TOKENS) :], whole.captured_inputs, strict=True
        )
        if placeholder.op.name in left
    ]
    handles = {id(value) for _, value in captured}
    variables = [variable for variable in whole.variables if id(variable.handle) in handles]

    @tf.function(input_signature=[TOKENS])
    def cut(tokens: Tokens) -> tf.Tensor:
        for variable in variables:
            variable.read_value()  # tells gradients and SavedModels that it plays a part
        capture = tf.compat.v1.get_default_graph().capture
        inputs = {p.name: tokens[p.op.name] for p in fed if p.op.name in left}
        inputs |= {name: capture(value) for name, value in captured}
        (hidden,) = tf.graph_util.import_graph_def(graph, inputs, [output.name], name="first")
        return hidden

    return cut


def _inlined(function: Any) -> graph_pb2.GraphDef:
    """Return a concrete function's graph, with all that it calls in it."""
    meta_graph = meta_graph_pb2.MetaGraphDef(graph_def=function.graph.as_graph_def())
    ends = meta_graph.collection_def["train_op"].node_list.value
    ends.extend(tensor.name for tensor in function.inputs + function.outputs)
    config = tf.compat.v1.ConfigProto()
    options = config.graph_options.rewrite_options
    options.min_graph_nodes = -1  # of a small graph, too
    options.optimizers.append("function")
    options.function_optimization = options.AGGRESSIVE
    return tf_optimizer.OptimizeGraph(config, meta_graph)


def _needed(graph: graph_pb2.GraphDef, output: str) -> graph_pb2.GraphDef:
    """Return the nodes that a node's value depends on.

    A function returns after all that it does, even the reading of weights that its value does not
    need; it waits for those at nodes of type NoOp, which are left out. What a dropout's mask is
    drawn from waits for its counter directly.
    """
    nodes = {node.name: node for node in graph.node if node.op != "NoOp"}
    kept: dict[str, None] = {}
    waiting = [output]
    while waiting:
        name = waiting.pop().partition(":")[0].lstrip("^")
        if name in nodes and name not in kept:
            kept[name] = None
            waiting += nodes[name].input
    smaller = graph_pb2.GraphDef(library=graph.library, versions=graph.versions)
    for name in kept:
        node = smaller.node.add()
        node.CopyFrom(nodes[name])
        node.ClearField("input")
        node.input.extend(i for i in nodes[name].input if i.partition(":")[0].lstrip("^") in kept)
    return smaller

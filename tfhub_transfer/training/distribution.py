"""One training on several devices of a machine, each computing its share of every batch.

The model itself stays where it is. What trains is a copy of it, whose variables the strategy
mirrors on each device, with the weights of the model at its start; checkpoints are the copy's, and
the model takes the best of them at the end. So nothing but the training loop knows of devices.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import TrainingError

__all__ = ["Replicated", "copies", "replicated", "scope_of"]

# What dropout masks are drawn from, by Keras and by this package's BERTs: two integers, of which
# one counts the draws.
_RANDOM_STATE = re.compile(r"(seed_generator|dropout)_state$")
_BETWEEN_REPLICAS = 2**26


def replicated(model: keras.Model, distribute: str) -> keras.Model:
    """Return what is to be compiled and fitted in the place of `model`.

    Args:
        model: features to probabilities, on one device.
        distribute: `none` gives `model` itself. `mirrored` is data parallel on all GPUs of this
            machine, or on its logical CPUs where there is none. `tpu` is on all cores of the TPU
            that `TPU_NAME` or the machine itself names; it was never run on one.

    Raises:
        TrainingError: there are no such devices.
    """
    if distribute == "none":
        return model
    strategy = _strategy(distribute)
    with strategy.scope():
        copy = keras.models.clone_model(model, clone_function=_copied)
        copy = Replicated(copy.inputs[0], copy.outputs[0], name=model.name)
    for old, new in zip(_with_variables(model), _with_variables(copy), strict=True):
        if not isinstance(old, HubLayer):  # which has copied its own
            for value, variable in zip(old.variables, new.variables, strict=True):
                variable.assign(value)
    return copy


def scope_of(model: keras.Model) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which variables are made that train with `model`."""
    if not isinstance(model, Replicated):
        return contextlib.nullcontext()
    scope: contextlib.AbstractContextManager[Any] = model.distribute_strategy.scope()
    return scope


def copies(metrics: Sequence[keras.metrics.Metric]) -> list[keras.metrics.Metric]:
    """Return metrics like these, with variables of their own."""
    return [type(metric).from_config(metric.get_config()) for metric in metrics]


@functools.cache  # each has threads and communicators of its own
def _strategy(distribute: str) -> tf.distribute.Strategy:
    if distribute == "tpu":
        return _tpu()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        raise TrainingError(
            f"training.distribute mirrored takes two GPUs or more, and there are not so many on "
            f"this machine. Accepted: none. Received: {', '.join(d.name for d in devices)}"
        )
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _tpu() -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise TrainingError(
            f"training.distribute tpu found no TPU: it takes a TPU VM, or TPU_NAME in the "
            f"environment. Accepted: none, mirrored. Received: {str(error).splitlines()[0]}"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def _copied(layer: keras.layers.Layer) -> keras.layers.Layer:
    if isinstance(layer, HubLayer):
        return layer.copy()
    return type(layer).from_config(layer.get_config())


def _with_variables(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if layer.variables]


class Replicated(keras.Model):
    """A model whose loss is that of the whole batch, however its rows fall to the replicas.

    Keras takes the mean of each replica's mean, so that in a last batch of 5 rows, divided into 3
    and 2, the two count for more than the three. Here each replica divides the sum over its rows
    by the number of all, and the gradients, which are summed, are those of one device.

    Checkpoints hold what the first replica draws its masks from, and the others' lies at a constant
    distance, so that a resumed training goes on as if it had not been killed.

    A loss is taken row by row: `keras.losses.Loss.call`, times the row's weight.
    """

    def fit(self, *arguments: Any, **settings: Any) -> Any:
        """Train, each replica with dropout masks of its own."""
        for variable in self.variables:
            if _RANDOM_STATE.search(variable.path):
                parts = self.distribute_strategy.experimental_local_results(variable.value)
                for number, part in enumerate(parts):
                    part.assign_add([0, number * _BETWEEN_REPLICAS])
        return super().fit(*arguments, **settings)

    def _maybe_symbolic_build(self, *arguments: Any, **batch: Any) -> None:
        """Build what `fit` needs, in the strategy's scope.

        Keras would average a batch over the replicas to learn its shapes, and there is no average
        of texts.
        """
        del arguments, batch
        with scope_of(self):
            self.optimizer.build(self.trainable_variables)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take a step with a replica's share of a batch."""
        x, y, weights = data
        with tf.GradientTape() as tape:
            outputs = self(x, training=True)
            share = self._share(y, outputs, weights)
        moving = self.trainable_weights
        self.optimizer.apply(tape.gradient(share, moving), moving)
        return self._measured(data, outputs, share)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Measure a replica's share of a batch."""
        x, y, weights = data
        outputs = self(x, training=False)
        return self._measured(data, outputs, self._share(y, outputs, weights))

    def _share(self, y: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Return what a replica adds to the loss of the batch, penalties included."""
        rows = _summed(tf.cast(tf.shape(y)[0], tf.float32))
        of_rows = tf.reduce_sum(self.loss.call(y, outputs) * weights) / rows
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return tf.add_n([of_rows, *(penalty / replicas for penalty in self.losses)])

    def _measured(self, data: Any, outputs: tf.Tensor, share: tf.Tensor) -> dict[str, Any]:
        x, y, weights = data
        rows = tf.shape(y)[0]
        (loss,) = (metric for metric in self.metrics if metric.name == "loss")
        loss.update_state(_summed(share), sample_weight=rows)
        measured: dict[str, Any] = self.compute_metrics(x, y, outputs, sample_weight=weights)
        return measured


def _summed(value: tf.Tensor) -> tf.Tensor:
    """Return the sum over all replicas."""
    replica = tf.distribute.get_replica_context()
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, value)

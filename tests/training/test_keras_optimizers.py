"""Keras' own optimizers: rates of their own, decoupled decay, clipping, sparse gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.problems import Problem, losses
from tests.training.steps import SHAPES, START, gradients, weights_at_start
from tfhub_transfer.config import TrainingConfig
from tfhub_transfer.errors import TrainingError
from tfhub_transfer.training import checkpoint
from tfhub_transfer.training.optimizer import LazyAdamW, make_optimizer
from tfhub_transfer.training.schedule import WarmupDecay

KERAS = {
    "nadam": keras.optimizers.Nadam,
    "lion": keras.optimizers.Lion,
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
    "adafactor": keras.optimizers.Adafactor,
}


def moved(
    optimizer: keras.Optimizer, batches: int, *, dense: bool = False
) -> dict[str, np.ndarray]:
    """Take steps in a graph, with the sparse gradient of the table unless `dense`."""
    variables = weights_at_start()
    optimizer.build(variables)

    @tf.function
    def step(rows: tf.Tensor, table: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> None:
        words: Any = tf.IndexedSlices(table, rows, tf.constant([6, 3]))
        words = tf.math.unsorted_segment_sum(table, rows, 6) if dense else words
        optimizer.apply([words, kernel, bias], variables)

    for batch in range(batches):
        rows, values = gradients(batch)
        step(tf.constant(rows), *(tf.constant(v, tf.float32) for v in values.values()))
    return {variable.path: variable.numpy() for variable in variables}


def nesterov(
    rate: float, batches: int, accumulate: int, decay: float, clip: float, scale: dict[str, float]
) -> dict[str, np.ndarray]:
    """Return the same in float64 NumPy, of gradient descent with momentum 0.9."""
    found = {path: value.copy() for path, value in START.items()}
    momentum = {path: np.zeros(shape) for path, shape in SHAPES.items()}
    for step in range(batches // accumulate):
        total = {path: np.zeros(shape) for path, shape in SHAPES.items()}
        for batch in range(step * accumulate, (step + 1) * accumulate):
            rows, values = gradients(batch)
            np.add.at(total["words/embeddings"], rows, values.pop("words/embeddings"))
            for path, value in values.items():
                total[path] += value
        total = {path: value / accumulate for path, value in total.items()}
        norm = np.sqrt(sum((value**2).sum() for value in total.values()))
        for path, gradient in total.items():
            own = rate * scale.get(path, 1.0)
            if not path.endswith("bias"):
                found[path] *= 1 - own * decay
            change = own * gradient * min(1.0, clip / norm)
            momentum[path] = 0.9 * momentum[path] - change
            found[path] += 0.9 * momentum[path] - change
    return found


@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_agrees_with_float64(accumulate):
    config = TrainingConfig(optimizer="sgd", weight_decay=0.3, clip_norm=1.0, accumulate=accumulate)
    scale = {"words/embeddings": 0.5, "low/bias": 2.0}
    found = moved(make_optimizer(0.05, config, scale), 13)
    for path, value in nesterov(0.05, 13, accumulate, 0.3, 1.0, scale).items():
        np.testing.assert_allclose(found[path], value, atol=5e-6, err_msg=path)


@pytest.mark.parametrize("name", KERAS)
def test_without_settings_it_is_keras_own(name):
    rate = WarmupDecay(0.05, 10, 0.3, "cosine")
    options = {"momentum": 0.9, "nesterov": True} if name == "sgd" else {}
    found = moved(make_optimizer(rate, TrainingConfig(optimizer=name)), 6)
    # Keras squares the sparse gradient of a row that was looked up twice as if it were two
    for path, value in moved(KERAS[name](rate, **options), 6, dense=True).items():
        np.testing.assert_allclose(found[path], value, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("name", KERAS)
def test_a_rate_for_each_weight(name):
    def of(rate: float, scale: dict[str, float] | None = None) -> dict[str, np.ndarray]:
        config = TrainingConfig(optimizer=name, weight_decay=0.1)
        return moved(make_optimizer(rate, config, scale), 4)

    still, half = "low/kernel", "words/embeddings"
    found = of(0.02, {still: 0.0, half: 0.5})
    np.testing.assert_array_equal(found[still], START[still].astype(np.float32))
    np.testing.assert_allclose(found[half], of(0.01)[half], atol=1e-6)
    np.testing.assert_allclose(found["low/bias"], of(0.02)["low/bias"], atol=1e-6)


@pytest.mark.parametrize("name", KERAS)
def test_norms_and_biases_do_not_decay(name):
    for path, spared in {
        "query/bias": True,
        "output_norm/gamma": True,
        "layer_norm/beta": True,
        "query/kernel": False,
    }.items():
        scope, last = path.split("/")
        with keras.name_scope(scope):
            weight = keras.Variable(np.ones((2, 2), np.float32), name=last)
        config = TrainingConfig(optimizer=name, weight_decay=0.5)
        make_optimizer(0.1, config).apply([tf.zeros([2, 2])], [weight])
        np.testing.assert_allclose(weight.numpy(), 1.0 if spared else 0.95, err_msg=path)


@pytest.mark.parametrize("name", ["nadam", "adafactor"])  # with state that is no slot of a weight
@pytest.mark.parametrize("accumulate", [1, 2])
def test_its_state_goes_through_a_checkpoint(tmp_path: Path, name: str, accumulate: int):
    def compiled() -> keras.Model:
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Embedding(9, 3, name="words"), keras.layers.Flatten()]
        net = keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(1, name="top")])
        config = TrainingConfig(optimizer=name, accumulate=accumulate, weight_decay=0.1)
        net.compile(make_optimizer(WarmupDecay(0.1, 6, 0.5, "cosine"), config), "mse")
        return net

    def train(net: keras.Model, batches: int) -> None:
        for _ in range(batches):
            net.train_on_batch(np.array([[1, 2], [2, 2], [7, 1]]), np.ones((3, 1), np.float32))

    straight, resumed = compiled(), compiled()
    train(straight, 3)  # one batch into a step, where two are accumulated
    checkpoint.save(tmp_path / "last.safetensors", straight, {})
    train(straight, 3)
    checkpoint.load(tmp_path / "last.safetensors", resumed)
    assert resumed.optimizer.batches == 3
    train(resumed, 3)
    for one, other in zip(straight.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("name", "rate"), [("nadam", 0.05), ("sgd", 0.2), ("adafactor", 0.2)])
def test_it_trains(tmp_path, name, rate):
    progress, model = Problem(noise=0).fit(
        tmp_path, epochs=6, learning_rate=rate, optimizer=name, clip_norm=1.0
    )
    first, last = losses(progress)[0], losses(progress)[-1]
    assert last[1] < 0.9 * first[1]
    assert model.optimizer.batches == 6 * 10


@pytest.mark.parametrize("name", KERAS)
def test_it_comes_back_from_its_config(name):
    config: Any = TrainingConfig(optimizer=name, weight_decay=0.1, clip_norm=2.0, accumulate=3)
    optimizer = make_optimizer(WarmupDecay(0.1, 10, 0.0, "none"), config, {"a/kernel": 0.5})
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()
    assert again.multiplier("a/kernel") == 0.5
    assert (again.global_clipnorm, again.gradient_accumulation_steps) == (2.0, 3)


def test_the_default_is_adam_that_leaves_rows_alone():
    assert type(make_optimizer(0.1, TrainingConfig())) is LazyAdamW


def test_no_such_optimizer():
    config = TrainingConfig(optimizer="adamax")
    with pytest.raises(TrainingError, match=r"adamw, nadam, .*adafactor\. Received: 'adamax'"):
        make_optimizer(0.1, config)

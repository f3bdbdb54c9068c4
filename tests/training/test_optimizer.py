"""Adam with a rate for each weight."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.training.optimizer import GroupedAdam
from tfhub_transfer.training.schedule import WarmupDecay


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    low, top = keras.layers.Dense(3, name="low"), keras.layers.Dense(1, name="top")
    return keras.Sequential([keras.Input((4,)), low, top], name="net")


def trained(optimizer: keras.optimizers.Optimizer, steps: int = 3) -> dict[str, np.ndarray]:
    net = model()
    net.compile(optimizer, "mse")
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    for _ in range(steps):
        net.train_on_batch(x, x.sum(axis=1, keepdims=True))
    return {weight.path: weight.numpy() for weight in net.weights}


def test_without_multipliers_it_is_keras_adam():
    schedule = WarmupDecay(0.1, 10, 0.3, "cosine")
    plain = trained(keras.optimizers.Adam(schedule))
    for multipliers in (None, {}, {"low/kernel": 1.0, "nothing/of/that/name": 9.0}):
        ours = trained(GroupedAdam(schedule, multipliers))
        assert ours.keys() == plain.keys()
        for path, value in plain.items():
            np.testing.assert_array_equal(ours[path], value)


def test_zero_freezes_a_weight_and_no_other():
    start = {weight.path: weight.numpy() for weight in model().weights}
    low = [path for path in start if "low" in path]
    assert len(low) == 2
    moved = trained(GroupedAdam(0.1, dict.fromkeys(low, 0.0)))
    for path, value in start.items():
        assert np.array_equal(moved[path], value) == (path in low), path


def test_the_first_step_is_as_long_as_the_multiplied_rate():
    # Adam's first step is the rate, whatever the size of the gradient
    start = {weight.path: weight.numpy() for weight in model().weights}
    kernel = next(path for path in start if "low/kernel" in path)
    moved = trained(GroupedAdam(0.1, {kernel: 0.25}), steps=1)
    for path, value in start.items():
        step = 0.025 if path == kernel else 0.1
        np.testing.assert_allclose(np.abs(moved[path] - value), step, rtol=1e-3)


def test_it_works_inside_a_graph_too():
    net = model()
    net.compile(GroupedAdam(0.1, {net.weights[0].path: 0.0}), "mse")
    before = [weight.numpy() for weight in net.weights]
    net.fit(np.ones((8, 4), np.float32), np.ones((8, 1), np.float32), verbose=0)
    same = [np.array_equal(*pair) for pair in zip(before, net.get_weights(), strict=True)]
    assert same == [True, False, False, False]


def test_sparse_gradients_are_multiplied_as_well():
    table = keras.Variable(np.ones((5, 2), np.float32), name="table")
    optimizer = GroupedAdam(0.1, {table.path: 0.5})
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.gather(table.value, [1, 3]))
    gradient = tape.gradient(loss, table.value)
    assert isinstance(gradient, tf.IndexedSlices)
    optimizer.apply([gradient], [table])
    np.testing.assert_allclose(table.numpy()[[1, 3]], 0.95, atol=1e-4)
    np.testing.assert_array_equal(table.numpy()[[0, 2, 4]], 1.0)


def test_it_comes_back_from_its_config():
    optimizer = GroupedAdam(WarmupDecay(0.1, 10, 0.0, "none"), {"a/kernel": 0.5}, epsilon=1e-6)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is GroupedAdam
    assert again.get_config() == optimizer.get_config()
    assert again.get_config()["multipliers"] == {"a/kernel": 0.5}
    assert again.epsilon == 1e-6

"""A layer that changes nothing but what is learned before it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.training.gradient_reversal import GradientReversal, strength_at


@pytest.mark.parametrize(
    ("progress", "strength"),
    [(0.0, 0.0), (0.1, 0.46211716), (0.25, 0.84828364), (0.5, 0.98661430), (1.0, 0.99990920)],
)
def test_the_schedule(progress, strength):
    assert float(strength_at(progress)) == pytest.approx(strength, abs=1e-7)


@pytest.mark.parametrize("step", [0, 3, 10])
def test_the_gradient_is_reversed_as_far_as_the_training_is(step):
    layer = GradientReversal(steps=10, weight=1.5)
    x = tf.constant([[1.0, -2.0], [0.5, 3.0]])
    layer(x)
    layer.step.assign(step)
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = layer(x, training=True)
        loss = tf.reduce_sum(out**2)
    np.testing.assert_array_equal(out, x)
    strength = 1.5 * (2 / (1 + np.exp(-step)) - 1)
    np.testing.assert_allclose(tape.gradient(loss, x), -strength * 2 * x.numpy(), rtol=1e-6)


def test_steps_are_counted_in_training_alone_however_many_are_taken_in_one_call():
    layer = GradientReversal(steps=40)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), layer])
    model.compile("sgd", "mse", steps_per_execution=4)
    x = np.ones((40, 2), np.float32)
    model.fit(x, x, batch_size=4, epochs=2, validation_data=(x, x), verbose=0)
    assert int(layer.step) == 20
    model.predict(x, verbose=0)
    assert int(layer.step) == 20
    assert float(layer.strength()) == pytest.approx(float(strength_at(0.5)))
    assert layer.step in model.non_trainable_variables, "a checkpoint holds it"


def test_it_is_made_anew_from_its_configuration():
    layer = GradientReversal(steps=7, weight=0.5, name="reversal")
    again = GradientReversal.from_config(layer.get_config())
    assert (again.steps, again.weight, again.name) == (7, 0.5, "reversal")

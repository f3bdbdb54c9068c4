"""A training's state in a file."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.encoders import tiny
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import RunError
from tfhub_transfer.training import checkpoint


def head(units: int = 3, seed: int = 0, layers: int = 1) -> keras.Model:
    keras.utils.set_random_seed(seed)
    dense = [keras.layers.Dense(units, name=f"d{n}") for n in range(layers)]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5), *dense])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    return model


def step(model: keras.Model) -> None:
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    model.train_on_batch(x, np.ones((8, model.output_shape[1]), np.float32))


def test_a_step_after_loading_is_the_same_step(tmp_path):
    file = tmp_path / "checkpoints" / "last.safetensors"
    model = head()
    step(model)
    checkpoint.save(file, model, {"epoch": 1, "ä": [1.5]})
    step(model)
    again = head(seed=1)
    assert checkpoint.load(file, again) == {"epoch": 1, "ä": [1.5]}
    step(again)  # draws the same dropout, with the same moments
    for one, other in zip(model.variables, again.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    for one, other in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_without_the_optimizer_s_state(tmp_path):
    file = tmp_path / "best.safetensors"
    model = head()
    step(model)
    checkpoint.save(file, model, {}, optimizer=False)
    assert not [name for name in load_file(file) if name.startswith("optimizer")]
    again = head(seed=1)
    checkpoint.load(file, again, optimizer=False)
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
    with pytest.raises(RunError, match="of another model"):
        checkpoint.load(file, again)


@pytest.mark.parametrize("other", [{"units": 5}, {"layers": 2}])
def test_a_checkpoint_of_another_model(tmp_path, other):
    file = tmp_path / "last.safetensors"
    model = head()
    model.optimizer.build(model.trainable_variables)
    checkpoint.save(file, model, {})
    again = head(**other)
    before = again.get_weights()
    with pytest.raises(
        RunError, match=r"of another model: it should hold \d+ values .*begin anew\. Received: \d+ "
    ):
        checkpoint.load(file, again)
    for one, value in zip(before, again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, value)


def test_a_file_of_someone_else(tmp_path):
    file = tmp_path / "last.safetensors"
    save_file({"model/0": np.zeros(3)}, file)
    with pytest.raises(RunError, match="of another model"):
        checkpoint.load(file, head())
    model = head()
    model.optimizer.build(model.trainable_variables)
    checkpoint.save(file, model, {})
    save_file(load_file(file), file)  # without what it says of the progress
    with pytest.raises(RunError, match="cannot be read"):
        checkpoint.load(file, head())


@pytest.mark.parametrize(
    ("pattern", "stored"), [(None, 0), ("layer_1", 1), (".*", 4)], ids=["frozen", "some", "all"]
)
def test_an_encoder_s_weights_are_stored_only_if_they_move(tmp_path, pattern, stored):
    layer = HubLayer(tiny.write_transformer(tmp_path / "encoder"))
    if pattern:
        assert len(layer.move(pattern)) == stored
    text = keras.Input((), dtype="string")
    model = keras.Model(text, keras.layers.Dense(2)(layer(text)))
    model.compile("adam", "mse")
    checkpoint.save(tmp_path / "best.safetensors", model, {}, optimizer=False)
    assert len(load_file(tmp_path / "best.safetensors")) == stored + 2
    before = [weight.numpy() for weight in layer.movable]
    for weight in layer.movable:
        if weight.trainable:
            weight.assign(np.zeros(weight.shape))
    checkpoint.load(tmp_path / "best.safetensors", model, optimizer=False)
    for weight, value in zip(layer.movable, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)

"""Adam with decoupled decay, a rate for each weight, and rows out of use left alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.util import _pywrap_determinism

from tests.training.steps import SHAPES, START, gradients, weights_at_start
from tfhub_transfer.config import TrainingConfig
from tfhub_transfer.training import checkpoint
from tfhub_transfer.training.optimizer import LazyAdamW, make_optimizer
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


def test_without_settings_it_is_keras_adam():
    schedule = WarmupDecay(0.1, 10, 0.3, "cosine")
    plain = trained(keras.optimizers.Adam(schedule), 8)
    for multipliers in (None, {}, {"low/kernel": 1.0, "nothing/of/that/name": 9.0}):
        ours = trained(make_optimizer(schedule, TrainingConfig(), multipliers), 8)
        assert ours.keys() == plain.keys()
        for path, value in plain.items():
            np.testing.assert_allclose(ours[path], value, atol=1e-5)


def test_zero_freezes_a_weight_and_no_other():
    start = {weight.path: weight.numpy() for weight in model().weights}
    low = [path for path in start if "low" in path]
    assert len(low) == 2
    moved = trained(LazyAdamW(0.1, dict.fromkeys(low, 0.0), decoupled_decay=0.1))
    for path, value in start.items():
        assert np.array_equal(moved[path], value) == (path in low), path


@dataclass
class Reference:
    """The same in float64 NumPy, straight from the papers."""

    rate: float
    decay: float = 0.0
    clip: float | None = None
    accumulate: int = 1
    multipliers: dict[str, float] = field(default_factory=dict)
    lazy: bool = True

    def run(self, batches: int) -> dict[str, np.ndarray]:
        weights = {path: value.copy() for path, value in START.items()}
        first, second = ({path: np.zeros(s) for path, s in SHAPES.items()} for _ in range(2))
        for step in range(1, batches // self.accumulate + 1):
            total = {path: np.zeros(shape) for path, shape in SHAPES.items()}
            used: set[int] = set()
            for batch in range((step - 1) * self.accumulate, step * self.accumulate):
                rows, values = gradients(batch)
                used |= set(rows.tolist())
                np.add.at(total["words/embeddings"], rows, values.pop("words/embeddings"))
                for path, value in values.items():
                    total[path] += value
            total = {path: value / self.accumulate for path, value in total.items()}
            norm = np.sqrt(sum((value**2).sum() for value in total.values()))
            if self.clip is not None and norm > self.clip:
                total = {path: value * self.clip / norm for path, value in total.items()}
            for path, gradient in total.items():
                part: Any = slice(None)
                if path == "words/embeddings" and self.lazy:
                    part = sorted(used)
                rate = self.rate * self.multipliers.get(path, 1.0)
                if not path.endswith("bias"):
                    weights[path][part] *= 1 - rate * self.decay
                g, m, v = gradient[part], first[path], second[path]
                m[part] = 0.9 * m[part] + 0.1 * g
                v[part] = 0.999 * v[part] + 0.001 * g**2
                corrected = np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                weights[path][part] -= rate * corrected * m[part] / (np.sqrt(v[part]) + 1e-7)
        return weights


def ours(
    optimizer: LazyAdamW, batches: int, *, dense: bool = False, graph: bool = True
) -> dict[str, np.ndarray]:
    weights = weights_at_start()

    def step(rows: tf.Tensor, table: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> None:
        words: Any = tf.IndexedSlices(table, rows, tf.constant([6, 3]))
        optimizer.apply([tf.convert_to_tensor(words) if dense else words, kernel, bias], weights)

    run = tf.function(step) if graph else step
    optimizer.build(weights)
    for batch in range(batches):
        rows, values = gradients(batch)
        run(tf.constant(rows), *(tf.constant(v, tf.float32) for v in values.values()))
    return {weight.path: weight.numpy() for weight in weights}


CASES = {
    "adam": {},
    "decay": {"decay": 0.3},
    "multipliers": {"decay": 0.3, "multipliers": {"words/embeddings": 0.5, "low/bias": 2.0}},
    "clip": {"clip": 2.0},
    "accumulate": {"accumulate": 3},
    "all": {"decay": 0.1, "clip": 1.0, "accumulate": 2, "multipliers": {"low/kernel": 0.1}},
}


@pytest.mark.parametrize("dense", [False, True], ids=["sparse", "dense"])
@pytest.mark.parametrize("case", CASES)
def test_it_agrees_with_float64(case, dense):
    settings = CASES[case]
    config = TrainingConfig(
        weight_decay=settings.get("decay", 0.0),
        clip_norm=settings.get("clip"),
        accumulate=settings.get("accumulate", 1),
    )
    moved = ours(make_optimizer(0.05, config, settings.get("multipliers")), 13, dense=dense)
    wanted = Reference(0.05, lazy=not dense, **settings).run(13)
    for path, value in wanted.items():
        np.testing.assert_allclose(moved[path], value, atol=5e-6, err_msg=path)
    untouched = START["words/embeddings"][[2, 4]].astype(np.float32)
    assert np.array_equal(moved["words/embeddings"][[2, 4]], untouched) == (
        not dense or not config.weight_decay
    )


def test_it_works_outside_a_graph_too():
    eager = ours(LazyAdamW(0.05, accumulate=2, clip_norm=1.0), 5, graph=False)
    for path, value in ours(LazyAdamW(0.05, accumulate=2, clip_norm=1.0), 5).items():
        np.testing.assert_allclose(eager[path], value, atol=1e-6)


def test_a_schedule_counts_batches_and_the_correction_steps():
    rates: list[float] = []

    @keras.saving.register_keras_serializable("tests")
    class Seen(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            rates.append(float(step))
            return tf.where(step < 3, 0.0, 0.1)

    # the first step, with the fourth batch, is the rate, as Adam's first is
    moved = ours(LazyAdamW(Seen(), accumulate=4), 7, graph=False)
    step = np.abs(moved["low/kernel"] - START["low/kernel"])
    np.testing.assert_allclose(step, 0.1, rtol=1e-3)
    assert set(rates) == {3.0}


def test_tf_hub_s_attention_biases_do_not_decay_for_all_their_two_axes():
    for path, spared in {
        "layer_0/attention/query/bias": True,
        "layer_0/output_norm/gamma": True,
        "embeddings/layer_norm/beta": True,
        "layer_0/attention/query/kernel": False,
        "word_embeddings/embeddings": False,
    }.items():
        *scopes, name = path.split("/")
        with keras.name_scope(scopes[0]), keras.name_scope(scopes[-1]):
            weight = keras.Variable(np.ones((2, 2), np.float32), name=name)
        LazyAdamW(0.1, decoupled_decay=0.5).apply([tf.zeros([2, 2])], [weight])
        np.testing.assert_allclose(weight.numpy(), 1.0 if spared else 0.95, err_msg=path)


def test_a_weight_without_gradient_stays():
    for accumulate in (1, 2):
        weights = weights_at_start()
        optimizer = LazyAdamW(0.1, accumulate=accumulate, clip_norm=1.0)
        for _ in range(accumulate - 1):
            optimizer.apply([None, tf.ones([3, 4]), tf.ones([4])], weights)
        with pytest.warns(UserWarning, match="Gradients do not exist for variables"):
            optimizer.apply([None, tf.ones([3, 4]), tf.ones([4])], weights)
        moved = [not np.array_equal(w.numpy(), np.float32(START[w.path])) for w in weights]
        assert moved == [False, True, True]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_its_state_goes_through_a_checkpoint(tmp_path: Path, accumulate: int):
    def compiled() -> keras.Model:
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Embedding(9, 3, name="words"), keras.layers.Flatten()]
        net = keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(1, name="top")])
        net.compile(LazyAdamW(0.1, accumulate=accumulate, decoupled_decay=0.1), "mse")
        return net

    x, y = np.array([[1, 2], [2, 2], [7, 1]]), np.ones((3, 1), np.float32)

    def train(net: keras.Model, batches: int) -> None:
        for _ in range(batches):
            net.train_on_batch(x, y)

    straight = compiled()
    train(straight, 3)  # one batch into a step, where two are accumulated
    checkpoint.save(tmp_path / "last.safetensors", straight, {})
    train(straight, 3)
    resumed = compiled()
    checkpoint.load(tmp_path / "last.safetensors", resumed)
    train(resumed, 3)
    for one, other in zip(straight.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_repeats_itself_where_tensorflow_was_told_to_be_deterministic():
    before = _pywrap_determinism.is_enabled()
    _pywrap_determinism.enable(True)
    try:
        for accumulate in (1, 2):
            one, other = (
                ours(LazyAdamW(0.1, accumulate=accumulate, clip_norm=1.0), 6) for _ in range(2)
            )
            for path, value in one.items():
                np.testing.assert_array_equal(value, other[path])
    finally:
        _pywrap_determinism.enable(before)


def test_it_comes_back_from_its_config():
    optimizer = LazyAdamW(
        WarmupDecay(0.1, 10, 0.0, "none"),
        {"a/kernel": 0.5},
        epsilon=1e-6,
        decoupled_decay=0.1,
        clip_norm=2.0,
        accumulate=3,
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is LazyAdamW
    assert again.get_config() == optimizer.get_config()
    assert again.get_config()["multipliers"] == {"a/kernel": 0.5}
    assert (again.epsilon, again.accumulate, again.clip_norm) == (1e-6, 3, 2.0)

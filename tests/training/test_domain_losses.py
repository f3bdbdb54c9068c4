"""One step by hand: the losses between two domains and their gradients, in NumPy's float64."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.config import AdaptationConfig, Config, HeadConfig, TrainingConfig
from tfhub_transfer.heads.classification import ClassificationHead
from tfhub_transfer.training.adaptation import Dann, DeepCoral
from tfhub_transfer.training.domain_losses import Coral, DomainAdversarial, OnSource, packed
from tfhub_transfer.training.domain_order import DomainOrder

RNG = np.random.default_rng(0)
# four of the source and three of the target, interleaved as batches have them
OF_TARGET = np.array([0, 1, 0, 1, 0, 1, 0], bool)
LABELS = np.array([0, 0, 1, 0, 1, 0, 0])
TARGETS = packed(np.eye(2)[LABELS], OF_TARGET)


def inner() -> keras.losses.Loss:
    return keras.losses.CategoricalCrossentropy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mean_of(loss, outputs) -> float:
    return float(loss(TARGETS, outputs.astype(np.float32)))


def outputs_of(further: np.ndarray) -> np.ndarray:
    p = RNG.uniform(0.1, 0.9, len(LABELS))
    return np.column_stack([p, 1 - p, further])


def test_the_adversarial_loss_is_the_mean_of_each_domain():
    logits = RNG.normal(size=7)
    outputs = outputs_of(logits)
    truth = -np.log(outputs[np.arange(7), LABELS])[~OF_TARGET].mean()
    source = -np.log(1 - sigmoid(logits[~OF_TARGET])).mean()
    target = -np.log(sigmoid(logits[OF_TARGET])).mean()
    loss = DomainAdversarial(inner(), 2)
    loss.begin(0)
    assert mean_of(loss, outputs) == pytest.approx(truth + source + target, rel=1e-6)
    loss.begin(None)
    assert mean_of(loss, outputs) == pytest.approx(truth, rel=1e-6)


def test_coral_is_the_distance_of_the_covariances():
    features = RNG.normal(size=(7, 5)) + 3.0
    outputs = outputs_of(features)
    truth = -np.log(outputs[np.arange(7), LABELS])[~OF_TARGET].mean()
    apart = np.cov(features[~OF_TARGET].T) - np.cov(features[OF_TARGET].T)
    expected = truth + 2.5 * (apart**2).sum() / (4 * 5**2)
    loss = Coral(inner(), 2, weight=2.5)
    loss.begin(3)
    assert mean_of(loss, outputs) == pytest.approx(expected, rel=1e-5)
    loss.begin(None)
    assert mean_of(loss, outputs) == pytest.approx(truth, rel=1e-6)


def test_the_gradient_of_coral():
    """Sun and Saenko 2016, equations 4 and 5."""
    features = RNG.normal(size=(7, 3))
    x = tf.constant(features, tf.float32)
    loss = Coral(inner(), 2, weight=1.0)
    loss.begin(0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(TARGETS, tf.concat([tf.fill([7, 2], 0.5), x], axis=1))
    apart = np.cov(features[~OF_TARGET].T) - np.cov(features[OF_TARGET].T)
    expected = np.zeros_like(features)
    for chosen, sign in ((~OF_TARGET, 1), (OF_TARGET, -1)):
        centred = features[chosen] - features[chosen].mean(axis=0)
        expected[chosen] = sign * centred @ apart / (3**2 * (chosen.sum() - 1))
    np.testing.assert_allclose(tape.gradient(value, x), expected, rtol=1e-4, atol=1e-7)


def test_a_domain_with_a_single_row_has_no_covariance_and_no_nan():
    loss = Coral(inner(), 2, weight=1.0)
    loss.begin(0)
    targets = packed(np.eye(2), np.array([False, True]))
    outputs = tf.constant([[0.5, 0.5, 9.0, -9.0], [0.5, 0.5, 1.0, 2.0]])
    assert float(loss(targets, outputs)) == pytest.approx(np.log(2), rel=1e-6)


def config_of(strategy: str, **asked) -> Config:
    return Config(
        head=HeadConfig(hidden=(4,), activation="tanh", dropout=0.0),
        training=TrainingConfig(strategy=strategy),
        adaptation=AdaptationConfig(target="other", **asked),
    )


def test_a_step_of_dann_by_hand():
    """The features get -lambda times the gradient of the domain loss, its classifier all of it."""
    keras.utils.set_random_seed(0)
    config = config_of("dann", weight=0.8, hidden=3)
    head = ClassificationHead(config.head, ("a", "b"))
    plain = head.network(6)
    strategy = Dann(config, run=None)
    network, loss = strategy.network(plain, steps=100), strategy.loss(head.loss(), 2)
    loss.begin(0)
    network.get_layer("reversal").step.assign(20)
    x = RNG.normal(size=(7, 6))

    def gradients(domains: float, reverse: bool) -> dict[str, np.ndarray]:
        """Of the one loss or the other, or of both as the strategy trains on them."""
        weights = {weight.path: weight for weight in network.trainable_variables}
        with tf.GradientTape() as tape:
            if reverse:
                value = loss(TARGETS, network(x.astype(np.float32), training=True))
            else:
                features = network.get_layer("hidden_0")(x.astype(np.float32))
                logits = network.get_layer("domain")(network.get_layer("domain_hidden")(features))
                entropy = tf.nn.sigmoid_cross_entropy_with_logits(
                    OF_TARGET[:, None].astype(np.float32), logits
                )[:, 0]
                domain = tf.reduce_mean(entropy[~OF_TARGET]) + tf.reduce_mean(entropy[OF_TARGET])
                said = network.get_layer("probabilities")(features)
                truth = -tf.reduce_mean(tf.math.log(tf.gather(said[~OF_TARGET], LABELS[~OF_TARGET],
                                                              batch_dims=1)))
                value = (1.0 - domains) * truth + domains * domain
        found = tape.gradient(value, list(weights.values()))
        return {
            path: np.zeros(weight.shape) if g is None else np.asarray(g)
            for (path, weight), g in zip(weights.items(), found, strict=True)
        }

    of_labels, of_domains = gradients(0.0, reverse=False), gradients(1.0, reverse=False)
    strength = 0.8 * (2 / (1 + np.exp(-10 * 0.2)) - 1)
    for path, found in gradients(1.0, reverse=True).items():
        factor = -strength if "hidden_0" in path else 1.0
        assert np.abs(found).max() > 1e-4, path
        np.testing.assert_allclose(
            found, of_labels[path] + factor * of_domains[path], rtol=1e-4, atol=1e-6, err_msg=path
        )


@pytest.mark.parametrize(("kind", "width"), [(Dann, 2 + 1), (DeepCoral, 2 + 4)])
def test_the_classifier_is_the_ordinary_one(kind, width):
    config = config_of("dann" if kind is Dann else "coral")
    head = ClassificationHead(config.head, ("a", "b"))
    plain = head.network(6)
    network = kind(config, run=None).network(plain, steps=10)
    x = RNG.normal(size=(5, 6)).astype(np.float32)
    outputs = network(x).numpy()
    assert outputs.shape == (5, width)
    np.testing.assert_array_equal(outputs[:, :2], plain(x).numpy())


def test_metrics_look_at_the_source_alone():
    metric = OnSource(keras.metrics.CategoricalAccuracy(name="accuracy"), 2)
    outputs = np.column_stack([1 - LABELS, LABELS, RNG.normal(size=7)]).astype(np.float32)
    outputs[OF_TARGET, :2] = 0.5
    metric.update_state(TARGETS, outputs)
    assert float(metric.result()) == 1.0
    outputs[0, :2] = [0.1, 0.9]
    metric.update_state(TARGETS, outputs, sample_weight=np.ones(7))
    assert float(metric.result()) == pytest.approx(7 / 8)


class TestOrder:
    """Batches with as many rows of either domain."""

    @staticmethod
    def order(sources: int, targets: int, **settings) -> DomainOrder:
        from tests.training.problems import examples_of

        labels = np.array([0] * (sources - 2) + [1] * 2 + [0] * targets)
        return DomainOrder(examples_of(labels), 2, sources=sources, **settings)

    @pytest.mark.parametrize(("sources", "targets"), [(10, 10), (10, 4), (4, 10)])
    def test_an_epoch_is_a_pass_over_the_source(self, sources, targets):
        order = self.order(sources, targets)
        seen = set()
        for epoch in range(6):
            order.epoch = epoch
            positions = order.positions()
            assert len(positions) == len(order) == 2 * sources
            assert sorted(positions[::2]) == list(range(sources))
            assert all(sources <= p < sources + targets for p in positions[1::2])
            counts = np.bincount(positions[1::2] - sources, minlength=targets)
            assert counts.max() - counts.min() <= 1, "none is seen twice before all are once"
            seen |= set(positions[1::2])
        assert len(seen) == targets
        order.epoch = 0
        np.testing.assert_array_equal(order.positions(), self.order(sources, targets).positions())

    def test_the_domains_are_not_drawn_alike(self):
        positions = self.order(50, 50).positions()
        assert (positions[1::2] - 50 != positions[::2]).sum() > 40

    def test_classes_are_balanced_on_the_source(self):
        order = self.order(10, 6, balance="oversample")
        assert len(order) == 2 * 16
        assert np.isin(order.positions()[::2], [8, 9]).sum() == 8
        weights = self.order(10, 6, balance="class_weight").weights(np.arange(16))
        np.testing.assert_allclose(weights, [0.625] * 8 + [2.5] * 2 + [1.0] * 6)

    def test_texts_of_like_length_share_a_batch(self):
        lengths = np.concatenate([np.tile([1, 9], 8), np.tile([2, 8], 8)])
        order = self.order(16, 16, lengths=lengths, batch_size=8)
        for batch in lengths[order.positions()].reshape(-1, 4, 2):
            assert len(set(batch[:, 0])) == 1 == len(set(batch[:, 1]))

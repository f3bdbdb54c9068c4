"""The classification head keeps a head's contract, and does what its settings say."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.contracts import check_head
from tfhub_transfer.config import HeadConfig
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.heads.classification import ClassificationHead

LABELS = ("bad", "fair", "good")
WIDTH = 5
ONE_HOT = np.eye(3, dtype=np.float32)[np.arange(24) % 3]
MULTI_HOT = np.random.default_rng(1).integers(0, 2, (24, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("hidden", "bottleneck"), [((), None), ((16,), None), ((16, 8), None), ((), 2), ((8,), 3)]
)
@pytest.mark.parametrize("multi_label", [False, True])
def test_the_contract_of_a_head(hidden, bottleneck, multi_label):
    config = HeadConfig(
        hidden=hidden, bottleneck=bottleneck, l2=1e-4, label_smoothing=0.1, activation="gelu"
    )
    head = ClassificationHead(config, LABELS, multi_label=multi_label)
    check_head(head, WIDTH, MULTI_HOT if multi_label else ONE_HOT)


def network(**settings) -> keras.Model:
    return ClassificationHead(HeadConfig(**settings), LABELS).network(WIDTH)


def test_sizes_and_activation():
    layers = network(hidden=(7, 4), activation="tanh").layers
    dense = [layer for layer in layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in dense] == [7, 4, 3]
    assert [layer.activation.__name__ for layer in dense] == ["tanh", "tanh", "softmax"]


def test_a_bottleneck_is_a_projection_before_all_else():
    model = network(hidden=(7,), bottleneck=2, l2=0.5)
    assert [layer.name for layer in model.layers][:2] == ["bottleneck", "dropout_0"]
    assert model.get_layer("hidden_0").kernel.shape == (2, 7)
    projection = model.get_layer("bottleneck")
    assert projection.activation is keras.activations.linear
    assert len(model.losses) == 3


def test_an_unknown_activation():
    with pytest.raises(ConfigError, match=r"head\.activation .*relu.* Received: 'rellu'"):
        network(activation="rellu")


def test_dropout_stands_before_every_dense_layer_and_only_in_training():
    model = network(hidden=(7, 4), dropout=0.25)
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.25] * 3
    vectors = np.ones((4, WIDTH), np.float32)
    quiet = [keras.ops.convert_to_numpy(model(vectors, training=False)) for _ in range(2)]
    np.testing.assert_array_equal(*quiet)
    loud = keras.ops.convert_to_numpy(model(vectors, training=True))
    assert np.abs(loud - quiet[0]).max() > 1e-4


def test_l2_is_part_of_the_loss():
    model = network(hidden=(7,), l2=0.5)
    kernels = [weight for weight in model.weights if weight.path.endswith("kernel")]
    expected = 0.5 * sum(np.square(kernel.numpy()).sum() for kernel in kernels)
    assert len(kernels) == 2
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    assert network(hidden=(7,)).losses == []


@pytest.mark.parametrize(
    ("multi_label", "expected"),
    [
        # 0.3 spread over three classes: 0.8 for the right one, 0.1 for each other
        (False, -(0.1 * np.log(0.2) + 0.8 * np.log(0.5) + 0.1 * np.log(0.3))),
        # of each yes or no, 0.3 spread over two: 0.85 and 0.15
        (
            True,
            -np.mean(
                [
                    0.15 * np.log(0.2) + 0.85 * np.log(0.8),
                    0.85 * np.log(0.5) + 0.15 * np.log(0.5),
                    0.15 * np.log(0.3) + 0.85 * np.log(0.7),
                ]
            ),
        ),
    ],
)
def test_label_smoothing_by_hand(multi_label, expected):
    head = ClassificationHead(HeadConfig(label_smoothing=0.3), LABELS, multi_label=multi_label)
    target, probabilities = [[0.0, 1.0, 0.0]], [[0.2, 0.5, 0.3]]
    assert float(head.loss()(target, probabilities)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("multi_label", "predicted", "expected"),
    [
        (False, [[0.6, 0.3, 0.1], [0.4, 0.5, 0.1]], 0.5),  # the top class of each row
        (True, [[0.6, 0.3, 0.1], [0.9, 0.6, 0.1]], 4 / 6),  # each yes or no
    ],
)
def test_accuracy_by_hand(multi_label, predicted, expected):
    head = ClassificationHead(HeadConfig(), LABELS, multi_label=multi_label)
    (metric,) = head.metrics()
    metric.update_state([[1.0, 0.0, 0.0], [1.0, 0.0, 1.0]][: len(predicted)], predicted)
    assert metric.name == "accuracy"
    if not multi_label:
        metric.reset_state()
        metric.update_state([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], predicted)
    assert float(metric.result()) == pytest.approx(expected)


def test_decoding_one_label():
    (one,) = ClassificationHead(HeadConfig(), LABELS).decode(np.float32([[0.25, 0.25, 0.5]]))
    assert one == {
        "label": "good",
        "score": 0.5,
        "probabilities": {"bad": 0.25, "fair": 0.25, "good": 0.5},
    }


@pytest.mark.parametrize(
    ("row", "label", "score"),
    [
        ([0.75, 0.25, 0.5], ["bad", "good"], 0.5),  # as sure as of the least likely one
        ([0.25, 0.125, 0.375], [], 0.375),  # none, and how likely the likeliest was
    ],
)
def test_decoding_several_labels(row, label, score):
    head = ClassificationHead(HeadConfig(), LABELS, multi_label=True)
    (one,) = head.decode(np.float32([row]))
    assert (one["label"], one["score"]) == (label, score)


@pytest.mark.parametrize("multi_label", [False, True])
def test_probabilities_stay_float32_under_mixed_precision(multi_label):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        head = ClassificationHead(HeadConfig(hidden=(8,)), LABELS, multi_label=multi_label)
        model = head.network(WIDTH)
        assert model.get_layer("hidden_0").compute_dtype == "bfloat16"
        check_head(head, WIDTH, MULTI_HOT if multi_label else ONE_HOT)
    finally:
        keras.config.set_dtype_policy(before)

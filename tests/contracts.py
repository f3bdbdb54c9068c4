"""What every head and every strategy has to do, whatever it does beside that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfhub_transfer.heads.head import Head
from tfhub_transfer.training.optimizer import LazyAdamW


def check_head(head: Head, width: int, targets: np.ndarray) -> None:
    """Check shapes, ranges, the way through a config, and that a training step helps.

    Args:
        head: of any kind.
        width: D, of the vectors it is given.
        targets: float32[N, C], of N random vectors.
    """
    rows, classes = targets.shape
    assert classes == len(head.labels)
    vectors = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
    network = head.network(width)

    assert network.output_shape == (None, classes)
    probabilities = keras.ops.convert_to_numpy(network(vectors, training=False))
    assert probabilities.shape == (rows, classes)
    assert probabilities.dtype == np.float32
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    if not head.multi_label:
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)

    again = type(network).from_config(network.get_config())
    names = [[(weight.name, weight.shape) for weight in n.weights] for n in (again, network)]
    assert names[0] == names[1]
    assert again.get_config() == network.get_config()
    again.set_weights(network.get_weights())
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again(vectors)), probabilities)

    network.compile(LazyAdamW(0.01), head.loss(), weighted_metrics=head.metrics())
    before = network.evaluate(vectors, targets, verbose=0, return_dict=True)
    network.fit(vectors, targets, epochs=1, batch_size=rows, verbose=0)
    after = network.evaluate(vectors, targets, verbose=0, return_dict=True)
    assert after["loss"] < before["loss"]
    assert 0 <= after["accuracy"] <= 1

    decoded = head.decode(probabilities)
    assert len(decoded) == rows
    assert head.decode(probabilities[:0]) == []
    for one, row in zip(decoded, probabilities, strict=True):
        check_decoded(one, row, head.labels, multi_label=head.multi_label)


def check_decoded(
    one: dict[str, Any], row: np.ndarray, labels: Sequence[str], *, multi_label: bool
) -> None:
    """Check what a person gets to read of one row, float32[C]."""
    assert list(one) == ["label", "score", "probabilities"]
    assert list(one["probabilities"]) == list(labels)
    np.testing.assert_allclose(list(one["probabilities"].values()), row, atol=1e-6)
    numbers = [one["score"], *one["probabilities"].values()]
    assert {type(number) for number in numbers} == {float}, "which JSON takes"
    if multi_label:
        assert one["label"] == [label for label, p in zip(labels, row, strict=True) if p >= 0.5]
    else:
        assert one["label"] == labels[row.argmax()]
        np.testing.assert_allclose(one["score"], row.max(), atol=1e-6)

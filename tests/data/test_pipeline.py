"""Order, balance and batches."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.data.examples import Examples, TextColumn
from tfhub_transfer.data.pipeline import Order, batches, text_features
from tfhub_transfer.errors import ConfigError


def examples_of(labels: object, texts: list[str] | None = None) -> Examples:
    array = np.array(labels)
    array = array.astype(np.uint8 if array.ndim == 2 else np.int32)
    column = TextColumn()
    column.append(texts or [f"text {row}" for row in range(len(array))])
    rows = np.arange(len(array))
    return Examples(column, rows, array, rows + 1, "made up")


UNEVEN = examples_of([0] * 50 + [1] * 20 + [2] * 5)
TARGETS = partial(UNEVEN.targets, 3)
SEVERAL = examples_of([[1, 0, 0]] * 6 + [[1, 1, 0]] * 2 + [[0, 0, 0]] * 2)


def drawn(order: Order, epoch: int = 0) -> np.ndarray:
    order.epoch = epoch
    return order.positions()


@pytest.mark.parametrize("balance", ["none", "class_weight", "oversample", "undersample"])
def test_an_epoch_s_order_depends_on_seed_and_epoch_alone(balance):
    order = Order(UNEVEN, 3, balance=balance, seed=1)
    first, second = drawn(order, 0), drawn(order, 1)
    assert len(first) == len(second) == len(order)
    assert not np.array_equal(first, second)
    # as a resumed run asks for it, which has not seen the epochs before
    np.testing.assert_array_equal(drawn(Order(UNEVEN, 3, balance=balance, seed=1), 1), second)
    np.testing.assert_array_equal(drawn(order, 0), first)
    assert not np.array_equal(drawn(Order(UNEVEN, 3, balance=balance, seed=2), 0), first)


@pytest.mark.parametrize("balance", ["none", "class_weight"])
def test_every_example_once(balance):
    order = Order(UNEVEN, 3, balance=balance)
    assert len(order) == 75
    np.testing.assert_array_equal(np.sort(drawn(order)), np.arange(75))
    assert not np.array_equal(drawn(order), np.arange(75))


def test_oversampling_repeats_the_smaller_classes():
    order = Order(UNEVEN, 3, balance="oversample")
    positions = drawn(order)
    assert len(order) == len(positions) == 150
    assert np.bincount(UNEVEN.labels[positions]).tolist() == [50, 50, 50]
    times = np.bincount(positions, minlength=75)
    assert set(times[:50]) == {1}
    assert set(times[50:70]) == {2, 3}, "50 draws from 20: all twice, ten of them once more"
    assert set(times[70:]) == {10}


def test_the_ones_drawn_once_more_change_between_epochs():
    order = Order(UNEVEN, 3, balance="oversample")
    first, second = (np.bincount(drawn(order, epoch), minlength=75)[50:70] for epoch in (0, 1))
    assert not np.array_equal(first, second)


def test_undersampling_leaves_out_some_of_the_larger_classes():
    order = Order(UNEVEN, 3, balance="undersample")
    seen = set()
    for epoch in range(40):
        positions = drawn(order, epoch)
        assert len(set(positions)) == len(order) == 15
        assert np.bincount(UNEVEN.labels[positions]).tolist() == [5, 5, 5]
        seen |= set(positions)
    assert len(seen) > 70, "others in each epoch"


def test_a_class_without_examples_is_passed_over():
    order = Order(examples_of([0, 0, 2]), 4, balance="undersample")
    assert len(order) == 2
    assert sorted(examples_of([0, 0, 2]).labels[drawn(order)]) == [0, 2]


@pytest.mark.parametrize("balance", ["oversample", "undersample"])
def test_several_labels_cannot_be_sampled(balance):
    with pytest.raises(
        ConfigError, match=rf"several labels.*Accepted: none, class_weight\. .*{balance}"
    ):
        Order(SEVERAL, 3, balance=balance)


def test_class_weights_make_all_classes_count_alike():
    order = Order(UNEVEN, 3, balance="class_weight")
    targets, everything = UNEVEN.targets(3), np.arange(75)
    weights = order.weights(everything)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(targets.T @ weights, [25, 25, 25], rtol=1e-5)
    np.testing.assert_array_equal(Order(UNEVEN, 3).weights(everything), np.ones(75))


def test_weights_of_several_labels_are_their_mean():
    order = Order(SEVERAL, 2 + 1, balance="class_weight")
    # ten marks on two classes that occur: 10 / (2 * 8) and 10 / (2 * 2)
    np.testing.assert_allclose(order.weights(np.array([0, 6, 9])), [0.625, (0.625 + 2.5) / 2, 1.0])


LENGTHS = np.random.default_rng(0).integers(1, 60, 1000)
MANY = examples_of([0] * 700 + [1] * 300)


@pytest.mark.parametrize("balance", ["none", "oversample", "undersample"])
def test_batches_of_like_length(balance):
    plain = Order(MANY, 2, balance=balance, seed=1)
    order = Order(MANY, 2, balance=balance, seed=1, lengths=LENGTHS, batch_size=8)
    again = Order(MANY, 2, balance=balance, seed=1, lengths=LENGTHS, batch_size=8)
    first, second = drawn(order, 0), drawn(order, 1)
    np.testing.assert_array_equal(drawn(again, 1), second)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(np.sort(first), np.sort(drawn(plain, 0)))
    for positions in (first, second):
        spread = np.ptp(LENGTHS[positions[: len(order) // 8 * 8].reshape(-1, 8)], axis=1)
        assert spread.mean() < 4, "of at most 59; without sorting it is about 46"
        means = LENGTHS[positions[: len(order) // 8 * 8].reshape(-1, 8)].mean(axis=1)
        assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 0.4, "batches are in no order"


def test_the_smaller_batch_comes_last():
    lengths = np.arange(75)
    order = Order(UNEVEN, 3, lengths=lengths, batch_size=8)
    ends = [set(drawn(order, epoch)[72:].tolist()) for epoch in range(40)]
    assert len(set.union(*ends)) > 50, "it is drawn from all lengths"


def test_fewer_examples_than_a_batch():
    order = Order(UNEVEN, 3, lengths=np.arange(75), batch_size=100)
    np.testing.assert_array_equal(np.sort(drawn(order)), np.arange(75))


VECTORS = np.arange(75, dtype=np.float32)[:, None] * [1.0, 10.0]


def features(positions: np.ndarray) -> np.ndarray:
    return VECTORS[positions].astype(np.float32)


@pytest.mark.parametrize("size", [1, 7, 25, 75, 100])
@pytest.mark.parametrize("rows_at_once", [10, 2048])
def test_batches_hold_every_example_once_with_its_target(monkeypatch, size, rows_at_once):
    monkeypatch.setattr("tfhub_transfer.data.pipeline._ROWS_AT_ONCE", rows_at_once)
    dataset = batches(features, UNEVEN, TARGETS, size)
    assert int(dataset.cardinality()) == -(-75 // size)
    parts = list(dataset.as_numpy_iterator())
    assert [len(x) for x, _, _ in parts] == [size] * (75 // size) + [75 % size] * (75 % size > 0)
    x, y, w = (np.concatenate(column) for column in zip(*parts, strict=True))
    np.testing.assert_array_equal(x, VECTORS)
    np.testing.assert_array_equal(y, UNEVEN.targets(3))
    np.testing.assert_array_equal(w, np.ones(75))


def test_batches_in_order_carry_their_own_targets_and_weights():
    order = Order(UNEVEN, 3, balance="class_weight", seed=3)
    dataset = batches(features, UNEVEN, TARGETS, 8, order=order)
    for epoch in (0, 1, 0):
        order.epoch = epoch
        columns = zip(*dataset.as_numpy_iterator(), strict=True)
        x, y, w = (np.concatenate(column) for column in columns)
        positions = order.positions()
        np.testing.assert_array_equal(x[:, 0], positions)
        np.testing.assert_array_equal(y, UNEVEN.targets(3, positions))
        np.testing.assert_array_equal(w, order.weights(positions))


def test_oversampled_batches_have_the_length_they_promise():
    order = Order(UNEVEN, 3, balance="oversample")
    dataset = batches(features, UNEVEN, TARGETS, 64, order=order)
    assert int(dataset.cardinality()) == 3
    assert [len(x) for x, _, _ in dataset] == [64, 64, 22]


def test_texts_are_features_too():
    examples = examples_of([0, 1, 1], ["naïve", "", "日本"])
    dataset = batches(text_features(examples), examples, partial(examples.targets, 2), 2)
    spec = dataset.element_spec[0]
    assert (spec.dtype, spec.shape.as_list()) == (tf.string, [None])
    texts = np.concatenate([x.numpy() for x, _, _ in dataset])
    assert [text.decode() for text in texts] == ["naïve", "", "日本"]


def test_several_labels_are_multi_hot():
    dataset = batches(lambda p: p, SEVERAL, partial(SEVERAL.targets, 3), 4)
    targets = np.concatenate([y for _, y, _ in dataset])
    np.testing.assert_array_equal(targets, SEVERAL.labels)
    assert targets.dtype == np.float32

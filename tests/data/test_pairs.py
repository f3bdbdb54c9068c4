"""Pairs drawn from labels: balanced, repeatable, without a list of them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from tfhub_transfer.data.pairs import PairBatches
from tfhub_transfer.errors import DataError


def drawn_problem(seed: int) -> tuple[np.ndarray, int]:
    """Return labels of 2 to 20 classes of unequal sizes, some of one row, and a batch size."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, rng.choice([2, 4, 30]) + 1, rng.integers(2, 21))
    names = rng.permutation(40)[: len(sizes)]  # class indices without a row between them
    labels = rng.permutation(np.repeat(names, sizes)).astype(np.int32)
    return labels, int(rng.integers(4, 65))


@pytest.mark.parametrize("seed", range(60))
def test_each_batch_has_equally_many_rows_of_several_classes(seed: int):
    labels, size = drawn_problem(seed)
    pairs = PairBatches(labels, size, seed=seed)
    assert pairs.batch_size <= size
    for number in range(2 * pairs.round):
        rows = pairs.rows(number)
        assert rows.shape == (pairs.batch_size,)
        classes, counts = np.unique(labels[rows], return_counts=True)
        assert len(classes) == pairs.classes_per_batch >= 2  # negative pairs
        assert set(counts) == {pairs.rows_per_class}
        assert pairs.rows_per_class >= 2  # positive pairs


@pytest.mark.parametrize("seed", range(30))
def test_a_round_gives_each_class_its_turn(seed: int):
    labels, size = drawn_problem(seed)
    pairs = PairBatches(labels, size, seed=seed)
    for turn in range(3):
        numbers = range(turn * pairs.round, (turn + 1) * pairs.round)
        turns = [label for n in numbers for label in np.unique(labels[pairs.rows(n)])]
        classes, counts = np.unique(turns, return_counts=True)
        assert set(classes) == set(labels)
        assert counts.max() <= 2


@pytest.mark.parametrize("seed", range(30))
def test_a_row_is_repeated_only_where_its_class_is_short_of_rows(seed: int):
    labels, size = drawn_problem(seed)
    pairs = PairBatches(labels, size, seed=seed)
    rows, counts = np.unique(pairs.rows(seed), return_counts=True)
    for row, count in zip(rows, counts, strict=True):
        of_its_class = (labels == labels[row]).sum()
        assert count <= -(-pairs.rows_per_class // of_its_class)


def test_all_rows_of_few_stand_in_each_batch():
    labels = np.repeat(np.arange(4), 8).astype(np.int32)
    pairs = PairBatches(labels, 32)
    assert sorted(pairs.rows(5)) == list(range(32))
    assert pairs.round == 1


def test_a_batch_is_no_larger_than_the_rows_there_are():
    labels = np.array([0, 0, 0, 1, 1], np.int32)
    assert PairBatches(labels, 64).batch_size == 6


def test_with_one_row_a_class_each_is_its_own_partner():
    pairs = PairBatches(np.arange(10, dtype=np.int32), 8)
    rows, counts = np.unique(pairs.rows(0), return_counts=True)
    assert len(rows) == 4
    assert set(counts) == {2}


def test_batches_repeat_with_the_seed_and_differ_without():
    labels = np.repeat(np.arange(5), 40).astype(np.int32)
    first, again, other = (PairBatches(labels, 20, seed=seed) for seed in (3, 3, 4))
    # in any order: a resumed training begins in the middle
    late, early = again.rows(7), again.rows(2)
    np.testing.assert_array_equal(first.rows(2), early)
    np.testing.assert_array_equal(first.rows(7), late)
    assert not np.array_equal(first.rows(2), other.rows(2))
    assert not np.array_equal(early, late)


def test_memory_grows_with_the_labels_and_not_with_their_pairs():
    labels = np.random.default_rng(0).integers(0, 20, 200_000).astype(np.int32)
    tracemalloc.start()
    try:
        pairs = PairBatches(labels, 64)
        for number in range(20):
            pairs.rows(number)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 20 billion pairs; what is needed are a few arrays of 8 bytes a label
    assert peak < 50 * len(labels)


def test_several_labels_a_row_are_refused():
    with pytest.raises(DataError, match=r"exactly one label per text\. Received: 3 labels"):
        PairBatches(np.zeros((4, 3), np.uint8), 8)


def test_a_single_class_is_refused():
    with pytest.raises(DataError, match=r"at least two classes\. Received: 5 texts of 1"):
        PairBatches(np.full(5, 2, np.int32), 8)


def test_a_batch_without_room_for_two_pairs_is_refused():
    with pytest.raises(DataError, match=r"4 texts\. Received: a batch size of 3"):
        PairBatches(np.array([0, 0, 1, 1], np.int32), 3)

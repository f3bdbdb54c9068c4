"""Texts on disk, and the rows that point to them."""

from __future__ import annotations

import errno
import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfhub_transfer.data.examples import Examples, TextColumn
from tfhub_transfer.errors import DataError


def column_of(*texts: str) -> TextColumn:
    column = TextColumn()
    column.append(list(texts))
    return column


def examples_of(texts: list[str], labels: np.ndarray) -> Examples:
    rows = np.arange(len(texts), dtype=np.int64)
    return Examples(column_of(*texts), rows, labels, rows + 1, "a file")


@given(st.lists(st.lists(st.text(max_size=20), max_size=5), max_size=5), st.randoms())
def test_any_texts_are_read_back_in_any_order(batches, random):
    column = TextColumn()
    for batch in batches:
        column.append(batch)
    texts = [text for batch in batches for text in batch]
    assert len(column) == len(texts)
    rows = random.choices(range(len(texts)), k=10) if texts else []
    assert column.read(np.array(rows, np.int64)) == [texts[row] for row in rows]


def test_threads_may_read_one_column():
    texts = [f"text number {number}" for number in range(2000)]
    column = column_of(*texts)
    orders = [np.random.default_rng(seed).permutation(2000) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for order, read in zip(orders, pool.map(column.read, orders), strict=True):
            assert read == [texts[row] for row in order]


def test_equal_texts_have_equal_digests():
    digests = column_of("same", "other", "same").digests(0, 3)
    assert digests.shape == (3, 2)
    assert (digests[0] == digests[2]).all()
    assert (digests[0] != digests[1]).any()


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_the_files_are_closed_with_the_column():
    column = column_of("a")
    descriptor = column._texts._file
    del column
    gc.collect()
    assert descriptor.closed


def test_a_full_disk_is_named(monkeypatch):
    class FullDisk:
        def write(self, content: memoryview) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    column = TextColumn()
    monkeypatch.setattr(column._texts, "_file", FullDisk())
    with pytest.raises(DataError, match=r"disk of temporary files is full.*TMPDIR"):
        column.append(["a"])


def test_examples_are_taken_and_batched_in_order():
    examples = examples_of(list("abcde"), np.array([0, 1, 0, 1, 1], np.int32))
    assert len(examples) == 5
    assert examples.texts() == list("abcde")
    assert examples.texts(np.array([4, 0])) == ["e", "a"]
    assert list(examples.batches(2)) == [["a", "b"], ["c", "d"], ["e"]]
    taken = examples.take(np.array([3, 1, 1]))
    assert taken.texts() == ["d", "b", "b"]
    assert taken.ids.tolist() == [4, 2, 2]
    assert taken.origin == "a file"
    masked = examples.take(examples.labels == 0)
    assert masked.texts() == ["a", "c"]


def test_class_indices_become_one_hot_targets():
    examples = examples_of(list("abc"), np.array([2, 0, 2], np.int32))
    assert examples.targets(3).tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]
    assert examples.targets(3).dtype == np.float32
    assert examples.targets(3, np.array([1])).tolist() == [[1, 0, 0]]
    assert examples.class_counts(4).tolist() == [1, 0, 2, 0]


def test_multi_hot_labels_are_targets():
    examples = examples_of(list("ab"), np.array([[1, 1, 0], [0, 1, 0]], np.uint8))
    assert examples.targets(3).tolist() == [[1, 1, 0], [0, 1, 0]]
    assert examples.targets(3).dtype == np.float32
    assert examples.class_counts(3).tolist() == [1, 2, 0]


def test_examples_must_be_aligned():
    with pytest.raises(DataError, match=r"as many labels and ids as rows. Received: 2 rows, 1 lab"):
        examples_of(["a", "b"], np.array([0], np.int32))

"""Counts of neighbours against a count by hand, and what a kill leaves."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfhub_transfer.errors import ConfigError, DataError
from tfhub_transfer.pretraining.swivel import cooccurrence
from tfhub_transfer.pretraining.swivel.cooccurrence import Layout, count_pairs, summed_pairs

GIGABYTE = 1 << 30


def by_hand(ids: np.ndarray, words: int, window: int) -> np.ndarray:
    """Count as the paper says it: each word with the words on either side of it."""
    counts = np.zeros((words, words))
    ends = np.flatnonzero(ids < 0)
    for text in np.split(ids, ends + 1):
        for here, word in enumerate(text):
            for there, other in enumerate(text):
                known = min(word, other) >= 0 and max(word, other) < words
                if known and 0 < abs(here - there) <= window:
                    counts[word, other] += 1 / abs(here - there)
    return counts


def dense(found: cooccurrence.Cooccurrences) -> np.ndarray:
    """Put the shards together, in the words' order."""
    layout = found.layout
    blocks = np.zeros((layout.blocks, layout.side, layout.blocks, layout.side))
    for number, (row, column) in enumerate(layout.shards):
        cells, counts = found.read(number)
        assert (np.diff(cells) > 0).all() and (counts > 0).all()
        shard = np.zeros(layout.side**2)
        shard[cells] = counts
        blocks[row, :, column] = shard.reshape(layout.side, layout.side)
        blocks[column, :, row] = blocks[row, :, column].T
    rows = layout.in_order(blocks)
    return layout.in_order(np.moveaxis(rows, 0, -1)).T


def some_ids(words: int, texts: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    parts = []
    for _ in range(texts):
        length = random.integers(0, 40)
        # frequent and rare words, some outside the vocabulary
        parts += [np.minimum(random.geometric(0.1, length) - 1, words), [-1]]
    return np.concatenate(parts).astype(np.int32)


def in_chunks(ids: np.ndarray, every: int = 5):
    """Chunks of a few texts each, whatever size is asked for."""
    ends = np.flatnonzero(ids < 0)[every - 1 :: every] + 1
    return lambda size: [part for part in np.split(ids, ends) if len(part)]


@pytest.mark.parametrize("shard_size", [3, 7, 20, 100])
@pytest.mark.parametrize("window", [1, 4, 10])
def test_counts_are_those_by_hand(tmp_path, shard_size, window):
    words = 20
    ids = some_ids(words, 40)
    layout = Layout.of(words, shard_size)
    found = count_pairs(in_chunks(ids), 999, layout, window, tmp_path, GIGABYTE)
    expected = by_hand(ids, words, window)
    np.testing.assert_allclose(dense(found), expected, rtol=1e-6)
    np.testing.assert_allclose(layout.in_order(found.marginals), expected.sum(1), rtol=1e-12)
    assert not list(tmp_path.glob("chunks-of-*"))


@given(
    st.lists(st.integers(-1, 6), max_size=60),
    st.integers(1, 12),
    st.integers(1, 8),
)
def test_a_chunk_is_counted_as_by_hand(numbers, window, shard_size):
    ids = np.array([*numbers, -1], np.int32)
    layout = Layout.of(6, shard_size)
    keys, sums = summed_pairs(ids, layout, window)
    assert (np.diff(keys) > 0).all()
    assert sums.sum() * 2 == pytest.approx(by_hand(ids, 6, window).sum(), rel=1e-9)
    rows, columns = np.divmod(keys // layout.side**2, layout.blocks)
    assert (rows <= columns).all()


@given(st.integers(1, 500), st.integers(1, 600))
def test_blocks_hold_each_word_once_and_no_more_rows_than_asked(words, shard_size):
    layout = Layout.of(words, shard_size)
    assert layout.side <= shard_size
    assert 0 <= layout.blocks * layout.side - words < layout.blocks
    numbers = np.full((layout.blocks, layout.side), -1)
    for word in range(words):
        numbers[word % layout.blocks, word // layout.blocks] = word
    assert layout.in_order(numbers).tolist() == list(range(words))


def test_one_block_holds_frequent_and_rare_words():
    layout = Layout.of(100, 25)
    ranks = np.arange(100).reshape(layout.side, layout.blocks).T
    assert np.ptp(ranks.mean(axis=1)) < layout.blocks


def test_it_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    ids = some_ids(20, 60)
    layout = Layout.of(20, 7)
    chunks = in_chunks(ids)
    whole = count_pairs(chunks, 999, layout, 5, tmp_path / "whole", GIGABYTE)

    class Killed(BaseException):
        pass

    def until(number):
        def some(size):
            yield from chunks(size)[:number]
            raise Killed

        return some

    counted = []

    def watched(*arguments):
        counted.append(arguments)
        return summed_pairs(*arguments)

    monkeypatch.setattr(cooccurrence, "summed_pairs", watched)
    for number in (3, 8):
        with pytest.raises(Killed):
            count_pairs(until(number), 999, layout, 5, tmp_path / "killed", GIGABYTE)
    again = count_pairs(chunks, 999, layout, 5, tmp_path / "killed", GIGABYTE)
    assert len(counted) == len(chunks(0))
    assert np.array_equal(dense(whole), dense(again))
    assert np.array_equal(whole.marginals, again.marginals)
    count_pairs(chunks, 999, layout, 5, tmp_path / "killed", GIGABYTE)
    assert len(counted) == len(chunks(0)), "what is whole is not counted again"


def test_chunks_are_smaller_with_less_memory(tmp_path):
    asked = []

    def chunks(size):
        asked.append(size)
        return in_chunks(some_ids(20, 5))(size)

    layout = Layout.of(20, 20)
    count_pairs(chunks, 999, layout, 5, tmp_path / "much", 4 * GIGABYTE)
    count_pairs(chunks, 999, layout, 5, tmp_path / "little", GIGABYTE)
    assert asked[0] == pytest.approx(4 * asked[1], rel=1e-3)


@pytest.mark.parametrize("text_length", [600, 30_000])
def test_counting_stays_within_its_memory(tmp_path, text_length):
    """Words that are all different are the hardest case, in texts or in one that is a book."""
    words, window, memory = 30_000, 10, 32 << 20
    order = np.random.default_rng(0).permutation(words)
    texts = [np.append(text, -1) for text in np.split(order, words // text_length)]

    def chunks(size):
        taken = []
        for text in texts:
            if taken and sum(map(len, taken)) + len(text) > size:
                yield np.concatenate(taken).astype(np.int32)
                taken = []
            taken.append(text)
        yield np.concatenate(taken).astype(np.int32)

    tracemalloc.start()
    found = count_pairs(chunks, words, Layout.of(words, 1000), window, tmp_path, memory)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert memory / 8 < peak < memory
    here = np.arange(text_length)
    sides = np.minimum(np.stack([here, here[::-1]]), window)
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, window + 1))])
    expected = np.empty(words)
    expected[order] = np.tile(harmonic[sides].sum(axis=0), words // text_length)
    np.testing.assert_allclose(found.layout.in_order(found.marginals), expected)
    assert found.starts[-1] > words


def test_a_shard_must_fit_in_memory(tmp_path):
    with pytest.raises(ConfigError, match=r"4000 x 4000 cells .* --shard\. Received: .*67,108,864"):
        count_pairs(in_chunks(some_ids(9, 5)), 9, Layout.of(4000, 4000), 5, tmp_path, 64 << 20)


def test_words_that_are_always_alone_teach_nothing(tmp_path):
    ids = np.array([0, -1, 1, -1, 9, 2, 9, -1], np.int32)
    with pytest.raises(DataError, match=r"within 5 places .* Received: 5 words, 3 of them"):
        count_pairs(lambda size: [ids], 5, Layout.of(3, 3), 5, tmp_path, GIGABYTE)

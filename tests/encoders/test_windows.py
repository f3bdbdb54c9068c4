"""Which words are read together, where texts are longer than a transformer takes."""

from __future__ import annotations

import itertools

import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfhub_transfer.encoders.windows import best_windows, cover, pieces_before

TEXTS = st.lists(
    st.tuples(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 24)), max_size=4
)


def covered(texts: list[tuple[list[int], int]]) -> tuple[list[list[range]], list[int]]:
    """Return the windows of each text, as words of the batch, and each word's window."""
    pieces = tf.ragged.constant([pieces for pieces, _ in texts], tf.int64, ragged_rank=1)
    pieces = pieces.with_row_splits_dtype(tf.int64)
    room = tf.constant([room for _, room in texts], tf.int64)
    windows = cover(pieces, room)
    found: list[list[range]] = [[] for _ in texts]
    rows = zip(*(part.numpy().tolist() for part in windows), strict=True)
    of_texts = []
    for text, first, last in rows:
        found[text].append(range(first, last))
        of_texts.append(text)
    assert of_texts == sorted(of_texts)
    return found, best_windows(windows, pieces_before(pieces)).numpy().tolist()


@settings(max_examples=80, deadline=None)
@example([([], 3)])
@example([([9, 9, 9], 1), ([1], 1)])
@example([([1] * 30, 4)])
@given(TEXTS)
def test_each_word_is_read_whole_and_taken_from_where_it_has_most_context(texts):
    windows, best = covered(texts)
    sizes = [size for pieces, _ in texts for size in pieces]
    before = [sum(sizes[:word]) for word in range(len(sizes) + 1)]
    everywhere = [window for of_text in windows for window in of_text]
    assert len(best) == len(sizes)
    first = 0
    for (pieces, room), of_text in zip(texts, windows, strict=True):
        words = range(first, first + len(pieces))
        first += len(pieces)
        assert {word for window in of_text for word in window} == {*words}
        assert (len(of_text) == 1) == (sum(pieces) <= room or len(pieces) <= 1)
        for window in of_text:
            length = before[window.stop] - before[window.start]
            assert length <= room or len(window) == 1
        for one, two in itertools.pairwise(of_text):
            assert one.start < two.start <= one.stop < two.stop
            assert before[one.stop] - before[two.start] <= room // 4

        def context(word: int, window: range) -> int:
            left = before[word] - before[window.start]
            return min(left, before[window.stop] - before[word + 1])

        for word in words:
            chosen = everywhere[best[word]]
            assert word in chosen
            assert context(word, chosen) == max(
                context(word, window) for window in of_text if word in window
            )


def test_the_overlap_is_a_quarter():
    windows, best = covered([([1] * 20, 8)])
    assert windows == [[range(8), range(6, 14), range(12, 20)]]
    # word 6 has one word behind it in the first window, and none before it in the second
    assert best == [0] * 7 + [1] * 6 + [2] * 7


def test_a_word_that_would_not_fit_behind_the_overlap():
    assert covered([([1, 1, 1, 1, 8, 1], 8)])[0] == [[range(4), range(4, 5), range(5, 6)]]
    assert covered([([1, 1, 1, 1, 1, 1, 7, 1], 8)])[0] == [[range(6), range(5, 7), range(7, 8)]]

"""Windows of words, and texts that are held out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfhub_transfer.pretraining.nnlm.batches import held_out, shuffled, windows

V, BEFORE = 3, 4  # 3 is a word that is only seen
TEXTS = st.lists(st.lists(st.integers(0, V), max_size=6), max_size=6)


def joined(texts: list[list[int]]) -> np.ndarray:
    return np.array([i for text in texts for i in [*text, -1]], np.int32)


@given(TEXTS, st.integers(1, 4))
def test_windows_are_the_words_before_in_the_same_text(texts, context):
    expected = [
        [BEFORE] * (context - place) + text[max(0, place - context) : place + 1]
        for text in texts
        for place, word in enumerate(text)
        if word < V
    ]
    found = windows(joined(texts), context, BEFORE, V)
    assert found.shape == (len(expected), context + 1)
    assert found.tolist() == expected


@given(TEXTS, st.integers(1, 4), st.integers(0, 9))
def test_every_so_many_texts_one_is_held_out(texts, every, first):
    held = [text for i, text in enumerate(texts, first) if i % every == every - 1]
    ours = [text for i, text in enumerate(texts, first) if i % every != every - 1]
    ids = joined(texts)
    found = held_out(ids, every, first)
    assert ids[found].tolist() == joined(held).tolist()
    assert ids[~found].tolist() == joined(ours).tolist()


def test_a_shuffle_has_each_row_once():
    rows = np.arange(20).reshape(10, 2)
    batches = list(shuffled(rows, 4, np.random.default_rng(0)))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    together = np.concatenate(batches)
    assert together.tolist() != rows.tolist()
    assert sorted(together.tolist()) == rows.tolist()

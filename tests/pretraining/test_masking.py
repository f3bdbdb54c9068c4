"""What is hidden from a masked language model."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfhub_transfer.pretraining.mlm.masking import choose, hide


@given(
    st.lists(st.booleans(), min_size=1, max_size=60),
    st.floats(0.01, 0.9),
    st.integers(0, 2**32),
)
def test_words_are_chosen_whole_or_not_at_all(begins, share, seed):
    begins = np.array(begins)
    chosen = choose(begins, share, np.random.default_rng(seed))
    begins[0] = True
    word = np.cumsum(begins) - 1
    assert len(chosen) >= 1 and (np.diff(chosen) > 0).all()
    assert set(np.flatnonzero(np.isin(word, word[chosen]))) == set(chosen)
    # drawn until the share is reached: without the last word drawn it would not be
    goal = max(1, round(share * len(begins)))
    assert goal <= len(chosen) < goal + np.bincount(word).max()


def test_single_pieces_are_exactly_the_share():
    chosen = choose(np.ones(100, bool), 0.15, np.random.default_rng(0))
    assert len(chosen) == 15


def test_every_place_is_as_likely():
    random = np.random.default_rng(0)
    counts = np.zeros(20)
    for _ in range(4000):
        counts[choose(np.ones(20, bool), 0.15, random)] += 1
    np.testing.assert_allclose(counts / 4000, 0.15, atol=0.025)


def test_choosing_leaves_what_it_is_given_alone():
    begins = np.array([False, True, True])
    choose(begins, 0.5, np.random.default_rng(0))
    assert begins.tolist() == [False, True, True]


def test_eight_of_ten_are_masked_one_is_another_and_one_itself():
    pieces = np.full(50_000, 7, np.int32)
    shown = hide(pieces, 4, np.arange(100, 200, dtype=np.int32), np.random.default_rng(0))
    assert shown.dtype == np.int32
    np.testing.assert_allclose(
        [(shown == 4).mean(), (shown >= 100).mean(), (shown == 7).mean()],
        [0.8, 0.1, 0.1],
        atol=0.01,
    )
    assert set(shown) == {4, 7, *range(100, 200)}

"""Draws keep every class' share, and depend on nothing but the seed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfhub_transfer.data.stratify import apportion, draw_fraction, draw_limit, draw_shots

class_sizes = st.lists(st.integers(0, 40), min_size=1, max_size=8)
seeds = st.integers(0, 1000)


def labels_of(sizes: list[int], seed: int = 0) -> np.ndarray:
    labels = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    return np.random.default_rng(seed).permutation(labels)


@given(class_sizes, st.integers(0, 400))
def test_seats_are_within_bounds_and_add_up(sizes, total):
    counts = np.array(sizes, np.int64)
    least, most = np.minimum(counts // 2, 1), counts
    seats = apportion(counts, total, least=least, most=most)
    assert ((least <= seats) & (seats <= most)).all()
    assert seats.sum() == np.clip(total, least.sum(), most.sum())


@given(class_sizes, st.floats(0.05, 0.9), seeds)
def test_a_held_out_share_leaves_and_takes_something_of_every_class(sizes, fraction, seed):
    labels, counts = labels_of(sizes), np.array(sizes)
    held = draw_fraction(labels, fraction, len(sizes), np.random.default_rng(seed))
    taken = np.bincount(labels[held], minlength=len(sizes))
    assert (taken[counts >= 2] >= 1).all()
    assert (counts - taken)[counts >= 1].min(initial=1) >= 1
    assert (taken[counts == 1] == 0).all()


@given(st.lists(st.integers(20, 60), min_size=1, max_size=6), st.floats(0.1, 0.9), seeds)
def test_a_held_out_share_has_every_class_in_proportion(sizes, fraction, seed):
    labels = labels_of(sizes)
    held = draw_fraction(labels, fraction, len(sizes), np.random.default_rng(seed))
    taken = np.bincount(labels[held], minlength=len(sizes))
    assert (np.abs(taken - fraction * np.array(sizes)) <= 1).all()
    assert held.sum() == round(fraction * len(labels))


@given(class_sizes, st.integers(1, 200), seeds)
def test_a_limit_is_kept_and_reaches_every_class_it_can(sizes, limit, seed):
    labels = labels_of(sizes)
    drawn = draw_limit(labels, limit, len(sizes), np.random.default_rng(seed))
    assert drawn.sum() == min(limit, len(labels))
    present = np.unique(labels)
    if limit >= len(present):
        assert (np.unique(labels[drawn]) == present).all()


@given(class_sizes, st.integers(1, 50), seeds)
def test_shots_are_drawn_of_each_class(sizes, shots, seed):
    labels = labels_of(sizes)
    drawn = draw_shots(labels, shots, len(sizes), np.random.default_rng(seed))
    taken = np.bincount(labels[drawn], minlength=len(sizes))
    assert (taken == np.minimum(sizes, shots)).all()


@given(st.integers(0, 60), st.integers(1, 10), seeds)
def test_no_class_of_multi_label_rows_passes_its_shots(size, shots, seed):
    labels = np.random.default_rng(1).integers(0, 2, (size, 3), np.uint8)
    drawn = draw_shots(labels, shots, 3, np.random.default_rng(seed))
    assert labels[drawn].sum(axis=0).max(initial=0) <= shots
    assert labels[drawn].any(axis=1).all()


def test_a_draw_is_the_seeds():
    labels = labels_of([50, 30, 20])

    def draw(seed: int) -> list[bool]:
        return draw_fraction(labels, 0.3, 3, np.random.default_rng(seed)).tolist()

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)

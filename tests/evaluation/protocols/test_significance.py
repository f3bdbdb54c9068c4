"""Differences between methods, beside scipy's tests and beside simulated seeds and rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from tfhub_transfer.evaluation.protocols.significance import compare, holm


def test_one_seed_is_the_paired_t_test_over_rows():
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(200) < 0.8, rng.random(200) < 0.7
    found = compare([ours], [theirs], same_rows=True)
    expected = stats.ttest_rel(ours.astype(float), theirs.astype(float))
    low, high = expected.confidence_interval(0.95)
    assert found.mean == pytest.approx(ours.mean() - theirs.mean())
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_other_rows_for_each_seed_are_the_paired_t_test_over_seeds():
    rng = np.random.default_rng(1)
    ours = [rng.random(50) < 0.8 for _ in range(5)]
    theirs = [rng.random(50) < 0.7 for _ in range(5)]
    found = compare(ours, theirs, same_rows=False)
    means = [[seed.mean() for seed in side] for side in (ours, theirs)]
    assert found.p == pytest.approx(stats.ttest_rel(*means).pvalue)


def test_seeds_that_agree_by_chance_do_not_make_rows_certain():
    # 8 rows gained and 4 lost under one seed, 8 and 4 others under the next: the means are equal
    ours = [np.repeat([1, 0, 1], [8, 4, 48]), np.repeat([1, 0, 1], [8, 4, 48])]
    theirs = [np.repeat([0, 1, 1], [8, 4, 48]), np.repeat([0, 1, 1], [8, 4, 48])]
    found = compare(ours, theirs, same_rows=False)
    differences = np.concatenate(ours) - np.concatenate(theirs)
    assert found.mean == pytest.approx(4 / 60)
    assert found.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=0.05)
    assert found.low < 0 < found.high


def test_seeds_and_rows_crossed_is_clarks_min_f():
    rng = np.random.default_rng(2)
    ours, theirs = rng.random((4, 30)), rng.random((4, 30)) - 0.1
    found = compare(list(ours), list(theirs), same_rows=True)
    # Clark 1973, from the two ordinary F ratios of the difference against nothing
    by_seed = stats.ttest_1samp((ours - theirs).mean(axis=1), 0)
    by_row = stats.ttest_1samp((ours - theirs).mean(axis=0), 0)
    f1, f2 = by_seed.statistic**2, by_row.statistic**2
    min_f = f1 * f2 / (f1 + f2)
    degrees = (f1 + f2) ** 2 / (f1**2 / 29 + f2**2 / 3)
    assert found.p == pytest.approx(stats.f.sf(min_f, 1, degrees))


@pytest.mark.parametrize(("seed_effect", "row_effect"), [(0.2, 0.0), (0.0, 1.0), (0.1, 1.0)])
def test_false_alarms_are_as_rare_as_promised(seed_effect, row_effect):
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(400):
        difference = (
            seed_effect * rng.normal(size=(5, 1))
            + row_effect * rng.normal(size=(1, 40))
            + 0.3 * rng.normal(size=(5, 40))
        )
        alarms += compare(list(difference), [np.zeros(40)] * 5, same_rows=True).p < 0.05
    assert alarms / 400 < 0.08


def test_rows_alone_would_call_a_kind_draw_of_seeds_certain():
    rng = np.random.default_rng(4)
    difference = 0.1 * rng.normal(size=(3, 1)) + 0.01 * rng.normal(size=(3, 1000))
    by_rows = stats.ttest_1samp(difference.ravel(), 0).pvalue
    assert by_rows < 1e-6
    assert compare(list(difference), [np.zeros(1000)] * 3, same_rows=True).p > 0.05


@pytest.mark.parametrize(("difference", "p"), [(0.0, 1.0), (1.0, 0.0)])
def test_no_spread_at_all(difference, p):
    found = compare([np.full(9, difference)] * 2, [np.zeros(9)] * 2, same_rows=True)
    assert (found.mean, found.low, found.high, found.p) == (difference, difference, difference, p)


def test_a_single_row_decides_nothing():
    assert compare([np.array([True])], [np.array([False])], same_rows=True).p == 1.0


def test_holm_by_hand_and_whatever_the_order():
    expected = {0.01: 0.04, 0.02: 0.06, 0.03: 0.06, 0.9: 0.9}
    for ps in itertools.permutations(expected):
        assert holm(ps) == pytest.approx([expected[p] for p in ps])
    assert holm([]) == []
    assert holm([0.6, 0.7]) == [1.0, 1.0]

"""Exact match and F1 of answers: cases by hand, and what holds for any answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfhub_transfer.errors import DataError
from tfhub_transfer.evaluation.answers import (
    agreement,
    answer_metrics,
    best_threshold,
    normalised,
)

TEXTS = st.text("aAbthe .,'-\n", max_size=12)
GOLDS = st.lists(TEXTS, max_size=3)
ROWS = st.lists(st.tuples(TEXTS, GOLDS), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The Panthers", "panthers"),
        ("  an  apple\tand a pear. ", "apple and pear"),
        ("U.S.", "us"),
        ("e-mail", "email"),
        ("$1,000", "1000"),
        ("theatre", "theatre"),
        ("A", ""),
        ("a-an-the", "aanthe"),
        ("the Münster’s", "münster’s"),
        ("", ""),
    ],
)
def test_what_is_left_of_an_answer(answer, expected):
    assert normalised(answer) == expected


@pytest.mark.parametrize(
    ("answer", "golds", "exact", "f1"),
    [
        ("the Panthers.", ["Panthers"], 1, 1),
        ("Denver", ["Denver Broncos"], 0, 2 / 3),
        ("Denver Broncos of Denver", ["Denver Denver"], 0, 2 * 2 / 6),
        ("Denver", ["Carolina", "Denver Broncos", "the Denver"], 1, 1),
        ("in May", ["May 1843", "in the month of May"], 0, 2 * 2 / 6),
        ("nothing", ["something"], 0, 0),
        ("", ["something"], 0, 0),
        ("", [], 1, 1),
        ("the", [], 1, 1),
        ("something", [], 0, 0),
        ("something", ["the", "something"], 1, 1),  # a gold that is nothing is left out
        ("", ["the", "something"], 0, 0),
        ("", ["the"], 1, 1),  # unless there is no other
    ],
)
def test_cases_by_hand(answer, golds, exact, f1):
    found = agreement([answer], [golds])
    assert found.exact[0] == exact
    assert found.f1[0] == pytest.approx(f1)
    assert found.answerable[0] == bool(golds)


@settings(max_examples=200, deadline=None)
@given(ROWS)
def test_what_holds_for_any_answers(rows):
    answers, golds = map(list, zip(*rows, strict=True))
    found = agreement(answers, golds)
    assert ((found.f1 >= found.exact) & (found.f1 <= 1)).all()
    assert set(found.exact) <= {0.0, 1.0}
    assert ((found.f1 == 1) >= (found.exact == 1)).all()
    more = agreement(answers, [[*several, *several[::-1]] for several in golds])
    np.testing.assert_array_equal(more.f1, found.f1)
    changed = agreement([f" The {answer.upper()}!" for answer in answers], golds)
    np.testing.assert_array_equal(changed.exact, found.exact)
    np.testing.assert_array_equal(changed.f1, found.f1)
    given_golds = [several[0] if several else "" for several in golds]
    nothing = [bool(several) and not normalised(several[0]) for several in golds]
    own = agreement(given_golds, golds)
    assert (own.exact[~np.array(nothing)] == 1).all()


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS)
def test_f1_is_symmetric(one, other):
    if normalised(one) and normalised(other):
        assert agreement([one], [[other]]).f1[0] == agreement([other], [[one]]).f1[0]


def test_metrics_where_all_have_an_answer():
    answers, golds = ["red", "red house", "blue", "x"], [["red"], ["red"], ["blue"], ["y", "z"]]
    metrics = answer_metrics(answers, golds, bootstrap=50)
    assert metrics["n"] == 4
    assert metrics["exact_match"] == 0.5
    assert metrics["f1"] == pytest.approx((1 + 2 / 3 + 1) / 4)
    assert set(metrics) == {"n", "exact_match", "f1", "ci95"}
    for name, (low, high) in metrics["ci95"].items():
        assert 0 <= low <= metrics[name] <= high <= 1


def test_metrics_where_some_have_none():
    metrics = answer_metrics(["red", "", "blue", ""], [["red"], [], [], ["y"]], bootstrap=10)
    assert metrics["exact_match"] == metrics["f1"] == 0.5
    assert metrics["with_answer"] == {"n": 2, "exact_match": 0.5, "f1": 0.5}
    assert metrics["without_answer"] == {"n": 2, "accuracy": 0.5}
    metrics = answer_metrics(["", ""], [[], []], bootstrap=10)
    assert metrics["without_answer"] == {"n": 2, "accuracy": 1.0}
    assert "with_answer" not in metrics


def test_questions_on_one_context_are_resampled_together():
    answers, golds = ["red"] * 50 + ["x"] * 50, [["red"]] * 100
    alone = answer_metrics(answers, golds, bootstrap=300)["ci95"]["f1"]
    contexts = np.repeat([7, 9, 11, 13], 25)
    together = answer_metrics(answers, golds, contexts=contexts, bootstrap=300)["ci95"]["f1"]
    assert together[1] - together[0] > 3 * (alone[1] - alone[0])
    uneven = answer_metrics(answers, golds, contexts=np.r_[np.zeros(50), np.ones(50)], bootstrap=20)
    assert uneven["ci95"]["f1"] == [0.0, 1.0]


def test_answers_without_golds_are_refused():
    with pytest.raises(DataError, match=r"Received: 1 answers, 2 lists of gold answers"):
        answer_metrics(["a"], [["a"], ["b"]])
    with pytest.raises(DataError, match=r"one at least. Received: 0 answers, 0 lists"):
        agreement([], [])


def test_a_threshold_by_hand():
    answers = ["red", "blue", "x", "y"]
    golds = [["red"], ["blue"], [], []]
    found = best_threshold(answers, golds, np.array([-3.0, 1.0, 2.0, 5.0]))
    assert (found.value, found.score) == (1.5, 1.0)
    found = best_threshold(answers, golds, np.array([-3.0, 5.0, 2.0, 1.0]))
    assert (found.value, found.score) == (-1.0, 0.75)
    everything = best_threshold(answers[:2], golds[:2], np.array([1.0, 4.0]))
    assert (everything.value, everything.score) == (5.0, 1.0)
    nothing = best_threshold(answers[2:], golds[2:], np.array([1.0, 4.0]))
    assert (nothing.value, nothing.score) == (0.0, 1.0)


def test_the_threshold_of_exact_matches():
    answers, golds = ["red house", "red house", "x"], [["red"], ["red"], []]
    scores = np.array([1.0, 2.0, 1.0])
    assert best_threshold(answers, golds, scores).value == 3.0
    assert best_threshold(answers, golds, scores, measure="exact_match").value == 0.0


@settings(max_examples=200, deadline=None)
@given(st.data(), ROWS)
def test_no_threshold_is_better(data, rows):
    answers, golds = map(list, zip(*rows, strict=True))
    scores = np.array([data.draw(st.sampled_from([-2.0, -0.5, 0.0, 1.0, 7.0])) for _ in rows])
    found = best_threshold(answers, golds, scores)

    def score_at(threshold):
        given_up = [
            "" if score > threshold else one for one, score in zip(answers, scores, strict=True)
        ]
        right = agreement(given_up, golds)
        # a question whose golds are nothing has an answer still
        silent = np.array([score > threshold for score in scores])
        return np.where(silent, ~right.answerable, right.f1).mean()

    assert score_at(found.value) == pytest.approx(found.score)
    for threshold in (-3.0, -1.0, -0.2, 0.5, 4.0, 8.0):
        assert score_at(threshold) <= found.score + 1e-9
        if threshold > found.value and not ((scores > found.value) & (scores <= threshold)).any():
            assert score_at(threshold) == pytest.approx(found.score)

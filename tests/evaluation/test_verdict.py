"""The one sentence must not promise more than the intervals hold."""

import re

import pytest

from tfhub_transfer.evaluation.verdict import compare, verdict


def measured(accuracy, half):
    return {
        "n": 1000,
        "accuracy": accuracy,
        "ci95": {"accuracy": [accuracy - half, accuracy + half]},
    }


def of(ours, theirs, half=0.01, name="tfidf_logreg"):
    return {
        "encoder": "e",
        "test": measured(ours, half),
        "baselines": {name: measured(theirs, half)},
    }


def test_interval_of_the_difference_by_hand():
    comparison = compare(of(0.9, 0.85, half=0.03))
    assert comparison.difference == pytest.approx(0.05)
    assert comparison.low == pytest.approx(0.05 - 0.03 * 2**0.5)
    assert comparison.high == pytest.approx(0.05 + 0.03 * 2**0.5)


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome", "text"),
    [
        (0.90, 0.80, "wins", r"encoder \(e\) beats TF-IDF.*0.900 against 0.800.*\+10.0 points"),
        (0.80, 0.90, "loses", r"loses to TF-IDF.*-10.0 points.*use the baseline, or try"),
        (0.905, 0.90, "undecided", r"does not beat TF-IDF.*\+0.5 points.*more test rows"),
        (0.90, 0.90, "undecided", "does not beat"),
    ],
)
def test_outcomes(ours, theirs, outcome, text):
    metrics = of(ours, theirs)
    assert compare(metrics).outcome == outcome
    sentence = verdict(metrics)
    assert re.search(text, sentence)
    assert sentence.endswith(".")


def test_few_rows():
    close, far = of(0.90, 0.88, half=0.1), of(0.05, 1.0, half=0.04)
    close["test"]["n"] = far["test"]["n"] = 24
    assert re.search(r"Too few test rows to tell .* against 0\.880 on 24 rows", verdict(close))
    assert re.search(r"loses to TF-IDF.* on 24 test rows", verdict(far))


def test_tfidf_is_the_rival_even_where_the_majority_stands_first():
    metrics = of(0.9, 0.95)
    metrics["baselines"] = {"majority": measured(0.5, 0.01), **metrics["baselines"]}
    assert "loses to TF-IDF" in verdict(metrics)


def test_majority_is_the_rival_where_there_is_no_other():
    assert "beats the majority class" in verdict(of(0.9, 0.5, name="majority"))


@pytest.mark.parametrize("metrics", [{"test": measured(0.9, 0.01)}, of(0.9, 0.5, name="other")])
def test_without_a_baseline_nothing_is_claimed(metrics):
    assert compare(metrics) is None
    assert verdict(metrics).startswith("No baseline was fitted")

"""Every number against scikit-learn or a calculation by hand; every refusal by its text."""

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tfhub_transfer.errors import DataError
from tfhub_transfer.evaluation.bootstrap import bootstrap_intervals, resample_weights
from tfhub_transfer.evaluation.metrics import (
    calibration_bins,
    classification_metrics,
    expected_calibration_error,
)


def drawn(rows, classes, seed=0, skill=2.0):
    """Targets and probabilities that are right more often than not."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(classes, size=rows)
    scores = generator.normal(size=(rows, classes))
    scores[np.arange(rows), targets] += skill
    odds = np.exp(scores)
    return targets, odds / odds.sum(axis=1, keepdims=True), [f"c{i}" for i in range(classes)]


def drawn_multi_label(rows, classes, seed=0):
    generator = np.random.default_rng(seed)
    targets = (generator.random((rows, classes)) < 0.3).astype(np.uint8)
    probabilities = np.clip(0.7 * generator.random((rows, classes)) + 0.3 * targets, 0, 1)
    return targets, probabilities, [f"c{i}" for i in range(classes)]


@st.composite
def predictions(draw):
    rows, classes = draw(st.integers(1, 40)), draw(st.integers(2, 5))
    return drawn(rows, classes, seed=draw(st.integers(0, 2**16)), skill=draw(st.floats(-3, 6)))


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_multi_class_equals_scikit_learn(classes):
    targets, probabilities, labels = drawn(400, classes)
    predicted = probabilities.argmax(axis=1)
    measured = classification_metrics(targets, probabilities, labels, bootstrap=20)

    assert measured["n"] == 400
    assert measured["accuracy"] == sk.accuracy_score(targets, predicted)
    assert measured["macro_f1"] == pytest.approx(sk.f1_score(targets, predicted, average="macro"))
    assert measured["log_loss"] == pytest.approx(sk.log_loss(targets, probabilities))
    assert measured["confusion_matrix"] == sk.confusion_matrix(targets, predicted).tolist()
    auc = (
        sk.roc_auc_score(targets, probabilities[:, 1])
        if classes == 2
        else sk.roc_auc_score(targets, probabilities, multi_class="ovr", average="macro")
    )
    assert measured["roc_auc"] == pytest.approx(auc)
    reference = sk.classification_report(
        targets, predicted, target_names=labels, output_dict=True, zero_division=0
    )
    for label in labels:
        ours = measured["per_class"][label]
        assert ours["precision"] == pytest.approx(reference[label]["precision"])
        assert ours["recall"] == pytest.approx(reference[label]["recall"])
        assert ours["f1"] == pytest.approx(reference[label]["f1-score"])
        assert ours["support"] == reference[label]["support"]


def test_multi_label_equals_scikit_learn():
    targets, probabilities, labels = drawn_multi_label(300, 4)
    predicted = probabilities >= 0.5
    measured = classification_metrics(targets, probabilities, labels, bootstrap=20)

    assert measured["accuracy"] == sk.accuracy_score(targets, predicted)
    for average in ("micro", "macro"):
        expected = sk.f1_score(targets, predicted, average=average)
        assert measured[f"{average}_f1"] == pytest.approx(expected)
    assert measured["hamming_loss"] == pytest.approx(sk.hamming_loss(targets, predicted))
    assert measured["roc_auc"] == pytest.approx(sk.roc_auc_score(targets, probabilities))
    per_label = [sk.log_loss(t, p) for t, p in zip(targets.T, probabilities.T, strict=True)]
    assert measured["log_loss"] == pytest.approx(np.mean(per_label))
    expected = sk.multilabel_confusion_matrix(targets, predicted).tolist()
    assert measured["confusion_matrix"] == expected


def test_result_is_strict_json():
    for case in (drawn(30, 3), drawn_multi_label(30, 3)):
        json.dumps(classification_metrics(*case, bootstrap=10), allow_nan=False)


def test_macro_f1_leaves_out_classes_that_never_occur():
    measured = classification_metrics(
        np.array([0, 0, 1, 1]),
        np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.2, 0.8, 0], [0.7, 0.3, 0]]),
        ["a", "b", "never"],
    )
    # a: precision 2/3, recall 1; b: precision 1, recall 1/2
    assert measured["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert measured["per_class"]["never"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert measured["roc_auc"] == 1.0  # over the two classes that occur


@pytest.mark.parametrize("classes", [2, 5])
def test_single_class_in_the_test_set(classes):
    _, probabilities, labels = drawn(20, classes)
    measured = classification_metrics(np.zeros(20, int), probabilities, labels, bootstrap=50)
    assert measured["roc_auc"] is None
    assert measured["log_loss"] == pytest.approx(-np.log(probabilities[:, 0]).mean())
    json.dumps(measured, allow_nan=False)


def test_a_single_row():
    measured = classification_metrics(np.array([1]), np.array([[0.3, 0.7]]), ["a", "b"])
    assert measured["accuracy"] == 1.0
    # Wilson's interval: one right answer says little
    assert measured["ci95"]["accuracy"] == pytest.approx([1 / 4.8415, 1.0], abs=1e-4)


def test_calibration_by_hand():
    # bins (0.5, 0.75] and (0.75, 1]: two predictions each
    bins = calibration_bins(
        np.array([0.6, 0.7, 0.8, 1.0]), np.array([True, False, True, True]), bins=4
    )
    assert bins.count.tolist() == [0, 0, 2, 2]
    assert bins.confidence[2:] == pytest.approx([0.65, 0.9])
    assert bins.accuracy[2:] == pytest.approx([0.5, 1.0])
    assert expected_calibration_error(bins) == pytest.approx((0.15 + 0.1) / 2)


def test_calibration_bins_are_closed_above():
    bins = calibration_bins(np.array([0.0, 0.5, 0.75]), np.ones(3, bool), bins=4)
    assert bins.count.tolist() == [1, 1, 1, 0]


def test_calibrated_predictions_have_no_calibration_error():
    targets = np.array([0] * 8 + [1] * 2)
    measured = classification_metrics(targets, np.tile([0.8, 0.2], (10, 1)), ["a", "b"])
    assert measured["ece"] == pytest.approx(0)


@settings(max_examples=40, deadline=None)
@given(predictions())
def test_invariants(case):
    targets, probabilities, labels = case
    measured = classification_metrics(targets, probabilities, labels, bootstrap=200)
    low, high = measured["ci95"]["accuracy"]
    assert 0 <= low <= measured["accuracy"] <= high <= 1
    assert 0 <= measured["ece"] <= 1
    assert 0 <= measured["macro_f1"] <= 1
    assert measured["roc_auc"] is None or 0 <= measured["roc_auc"] <= 1
    assert sum(map(sum, measured["confusion_matrix"])) == len(targets)


@settings(max_examples=40, deadline=None)
@given(predictions(), st.randoms(use_true_random=False))
def test_order_of_rows_and_classes_does_not_matter(case, random):
    targets, probabilities, labels = case
    rows, classes = list(range(len(targets))), list(range(len(labels)))
    random.shuffle(rows)
    random.shuffle(classes)
    before = classification_metrics(targets, probabilities, labels, bootstrap=10)
    after = classification_metrics(
        np.argsort(classes)[targets[rows]],
        probabilities[rows][:, classes],
        [labels[index] for index in classes],
        bootstrap=10,
    )
    assert after["accuracy"] == before["accuracy"]
    assert after["per_class"] == before["per_class"]
    for name in ("macro_f1", "log_loss", "ece"):
        assert after[name] == pytest.approx(before[name])


@pytest.mark.parametrize("make", [drawn, drawn_multi_label])
def test_bootstrap_equals_measuring_each_resample(make):
    targets, probabilities, labels = make(60, 4)
    measured = classification_metrics(targets, probabilities, labels, bootstrap=40, seed=3)

    repeated = []
    for weights in resample_weights(60, 40, seed=3):
        rows = np.repeat(np.arange(60), weights.astype(int))
        sample = classification_metrics(targets[rows], probabilities[rows], labels, bootstrap=1)
        repeated.append([sample[name] for name in measured["ci95"]])
    expected = np.percentile(repeated, [2.5, 97.5], axis=0).T
    assert np.array(list(measured["ci95"].values())) == pytest.approx(expected)


def test_bootstrap_of_a_mean_agrees_with_the_normal_interval():
    correct = np.repeat([1.0, 0.0], [800, 200])
    statistic = {"mean": lambda weights: float(np.average(correct, weights=weights))}
    intervals = bootstrap_intervals(statistic, 1000, resamples=2000, seed=0)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert intervals["mean"] == pytest.approx([0.8 - half, 0.8 + half], abs=0.004)


def test_seed_decides_the_intervals():
    case = drawn(50, 3)
    first, again, other = (
        classification_metrics(*case, bootstrap=50, seed=seed)["ci95"] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_many_rows_and_classes_stay_fast():
    case = drawn(25_000, 150)
    began = time.perf_counter()
    classification_metrics(*case, bootstrap=200)
    assert time.perf_counter() - began < 15


def test_float32_probabilities_are_normalised():
    targets, probabilities, labels = drawn(50, 5)
    rounded = (probabilities * 1.0005).astype(np.float32)
    measured = classification_metrics(targets, rounded, labels, bootstrap=10)
    assert measured["log_loss"] == pytest.approx(sk.log_loss(targets, probabilities), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"probabilities": [[np.nan, 1], [0.5, 0.5]]}, "finite.*row 0 for 'a'.*Received: nan"),
        ({"probabilities": [[np.inf, 0], [0.5, 0.5]]}, "finite.*Received: inf"),
        ({"probabilities": [[-0.1, 1.1], [0.5, 0.5]]}, "2 are not.*Received: -0.1"),
        ({"probabilities": [[0.5, 0.5], [0.6, 0.6]]}, "sum to 1.*row 1.*Received: 1.2"),
        ({"probabilities": [[0.5, 0.5]]}, r"\[2, 2\]. Received shape: \[1, 2\]"),
        ({"targets": [0, 2]}, "from 0 to 1. Received: int64 from 0 to 2"),
        ({"targets": [-1, 0]}, "Received: int64 from -1"),
        ({"targets": [0.0, 1.0]}, "integers.*Received: float64"),
        ({"targets": [[0, 2], [1, 0]]}, "zeros and ones.*Received: shape.*from 0 to 2"),
        ({"targets": [[0], [1]]}, r"Received: shape \[2, 1\]"),
        ({"targets": np.zeros((0,), int)}, r"N at least 1. Received shape: \[0\]"),
        ({"labels": ["a", "a"]}, r"distinct names. Received: \['a', 'a'\]"),
        ({"labels": ["a"]}, r"two or more.*Received: \['a'\]"),
    ],
)
def test_refusals_say_what_was_received(change, text):
    given_case = {
        "targets": [0, 1],
        "probabilities": [[0.5, 0.5], [0.5, 0.5]],
        "labels": ["a", "b"],
        **change,
    }
    with pytest.raises(DataError, match=text):
        classification_metrics(
            np.array(given_case["targets"]),
            np.array(given_case["probabilities"]),
            given_case["labels"],
        )

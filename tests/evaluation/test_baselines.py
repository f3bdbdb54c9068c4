"""The baselines on a tiny corpus, on awkward ones, and on a real one with a known answer."""

import csv

import numpy as np
import pytest

from tfhub_transfer.config import Config, EvaluationConfig
from tfhub_transfer.errors import UnknownNameError
from tfhub_transfer.evaluation.baselines import (
    class_frequencies,
    majority,
    tfidf_logreg,
    tfidf_probabilities,
)
from tfhub_transfer.evaluation.metrics import classification_metrics
from tfhub_transfer.registry import BASELINES

TRAIN = [
    "the match was won in extra time",
    "a late goal decided the match",
    "shares fell as the bank cut its forecast",
    "the bank raised its rate and shares rose",
    "the team scored a goal",
]
TARGETS = np.array([0, 0, 1, 1, 0])
TEST = [["a goal won the match"], ["the shares of the bank", "a team and a goal"]]
LABELS = ["sport", "business"]


PREDICTORS = {"majority": majority, "tfidf_logreg": tfidf_logreg}


def test_the_names_are_those_of_the_configuration():
    assert set(Config().evaluation.baselines) == PREDICTORS.keys()
    assert PREDICTORS.keys() < set(BASELINES)
    with pytest.raises(UnknownNameError, match=r"Unknown baseline\. Did you mean 'linear_probe'"):
        EvaluationConfig(baselines=("linear_prob",))


@pytest.mark.parametrize("name", PREDICTORS)
def test_one_signature_and_the_metrics_of_the_whole(name):
    targets = np.array([0, 1, 0])
    baseline = PREDICTORS[name]
    found = baseline(TRAIN, TARGETS, iter(TEST), targets, LABELS, seed=1, bootstrap=20)
    measured = found.metrics
    assert found.probabilities.shape == (3, 2)
    whole = classification_metrics(targets, np.full((3, 2), 0.5), LABELS, bootstrap=5)
    details = {"per_class", "confusion_matrix"}
    assert set(measured) == set(whole) - details | {"n_train", "fit_s", "predict_s"}
    assert measured["n"] == 3
    assert measured["n_train"] == 5
    assert min(measured["fit_s"], measured["predict_s"]) >= 0


def test_majority_by_hand():
    measured = majority(TRAIN, TARGETS, TEST, np.array([0, 1, 0]), LABELS, bootstrap=20).metrics
    assert measured["accuracy"] == pytest.approx(2 / 3)
    assert measured["roc_auc"] == 0.5
    # one more row for each class: 4 of 7 and 3 of 7
    assert measured["log_loss"] == pytest.approx(-np.log([4 / 7, 3 / 7, 4 / 7]).mean())


def test_majority_leaves_a_chance_to_classes_that_training_lacks():
    probabilities = class_frequencies(TRAIN, TARGETS, TEST, 3)
    assert probabilities.shape == (3, 3)
    assert probabilities[0] == pytest.approx([4 / 8, 3 / 8, 1 / 8])


def test_tfidf_learns_a_tiny_corpus():
    measured = tfidf_logreg(TRAIN, TARGETS, TEST, np.array([0, 1, 0]), LABELS, bootstrap=20).metrics
    assert measured["accuracy"] == 1.0


def test_tfidf_keeps_the_order_of_batches():
    texts = [text for batch in TEST for text in batch]
    together = tfidf_probabilities(TRAIN, TARGETS, [texts], 2)
    assert tfidf_probabilities(TRAIN, TARGETS, TEST, 2) == pytest.approx(together)


def test_tfidf_puts_classes_into_their_own_columns():
    # class 1 of three has no training row
    probabilities = tfidf_probabilities(TRAIN, TARGETS * 2, TEST, 3)
    assert probabilities.argmax(axis=1).tolist() == [0, 2, 0]
    assert probabilities[:, 1].tolist() == [0, 0, 0]


def test_tfidf_with_several_labels_a_row():
    targets = np.array([[1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1], [1, 0, 0, 1]])
    test = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [1, 0, 0, 1]])
    labels = [*LABELS, "never", "always"]
    for name, baseline in PREDICTORS.items():
        measured = baseline(TRAIN, targets, TEST, test, labels, bootstrap=20).metrics
        assert measured["accuracy"] == (1.0 if name == "tfidf_logreg" else pytest.approx(2 / 3))


def test_tfidf_of_texts_without_words_is_the_class_frequencies():
    texts, test = ["?!", "...", "!!", "?", "-"], [["!"], ["??", "."]]
    expected = class_frequencies(texts, TARGETS, test, 2)
    assert tfidf_probabilities(texts, TARGETS, test, 2) == pytest.approx(expected)


def test_tfidf_of_a_single_class_is_the_class_frequencies():
    targets = np.zeros(5, int)
    expected = class_frequencies(TRAIN, targets, TEST, 2)
    assert tfidf_probabilities(TRAIN, targets, TEST, 2) == pytest.approx(expected)


@pytest.mark.real_data
def test_banking77(real_data):
    def read(name):
        with (real_data / "text" / "banking77" / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [row["text"] for row in rows], [row["category"] for row in rows]

    (train, train_names), (test, test_names) = read("train.csv"), read("test.csv")
    labels = sorted(set(train_names))
    number = {label: index for index, label in enumerate(labels)}
    measured = tfidf_logreg(
        train,
        np.array([number[name] for name in train_names]),
        [test],
        np.array([number[name] for name in test_names]),
        labels,
    ).metrics
    assert measured["accuracy"] == pytest.approx(0.891, abs=0.003)

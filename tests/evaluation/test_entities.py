"""Entities counted as conlleval and seqeval count them, broken sequences included."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import metrics as seqeval
from seqeval.metrics.sequence_labeling import get_entities

from tfhub_transfer.data.schemes import Entity, entities, scheme_tags
from tfhub_transfer.errors import DataError
from tfhub_transfer.evaluation.entities import entity_metrics, overlaps

TAG = st.sampled_from(scheme_tags(["PER", "LOC", "creative-work"], "iobes"))


@st.composite
def tagged(draw) -> tuple[list[list[str]], list[list[str]]]:
    """Draw true and predicted tags; each word of the latter is right half of the time."""
    true = draw(st.lists(st.lists(TAG, min_size=1, max_size=8), min_size=1, max_size=6))
    predicted = [[draw(st.one_of(st.just(tag), TAG)) for tag in tags] for tags in true]
    return true, predicted


def measured(true: str, predicted: str) -> dict:
    return entity_metrics([true.split()], [predicted.split()], bootstrap=10)


@given(st.lists(TAG, max_size=12))
def test_sequences_are_read_as_seqeval_reads_them(tags):
    assert entities(tags) == [Entity(*found) for found in get_entities(tags)]


@settings(deadline=None)
@given(tagged())
def test_metrics_are_seqeval_s(pair):
    true, predicted = pair
    found = entity_metrics(true, predicted, bootstrap=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is 0/0
        report = seqeval.classification_report(true, predicted, output_dict=True, zero_division=0)
        accuracy = seqeval.accuracy_score(true, predicted)
    assert found["accuracy"] == pytest.approx(accuracy)
    if not found["per_type"]:
        assert found["f1"] == found["macro_f1"] == 0
        return
    micro, macro = report["micro avg"], report["macro avg"]
    assert found["precision"] == pytest.approx(micro["precision"])
    assert found["recall"] == pytest.approx(micro["recall"])
    assert found["f1"] == pytest.approx(micro["f1-score"])
    assert found["macro_f1"] == pytest.approx(macro["f1-score"])
    types = set(report) - {"micro avg", "macro avg", "weighted avg"}
    assert types == set(found["per_type"])
    for type in types:
        ours, theirs = found["per_type"][type], report[type]
        assert ours["f1"] == pytest.approx(theirs["f1-score"])
        assert ours["precision"] == pytest.approx(theirs["precision"])
        assert ours["recall"] == pytest.approx(theirs["recall"])
        assert ours["support"] == theirs["support"]


@given(tagged())
def test_partial_credit_lies_between_exact_and_full(pair):
    found = entity_metrics(*pair, bootstrap=10)
    partial = found["partial"]
    assert found["precision"] <= partial["precision"] <= 1
    assert found["recall"] <= partial["recall"] <= 1
    same = entity_metrics(pair[0], pair[0], bootstrap=10)
    assert same["partial"]["f1"] == same["f1"]


def test_the_example_of_conlleval():
    """Two true, three found, one of them right: what conlleval prints as 33.33, 50.00, 40.00."""
    found = measured("B-PER I-PER O B-LOC O O", "B-PER I-PER O B-ORG O I-LOC")
    assert found["precision"] == pytest.approx(1 / 3)
    assert found["recall"] == pytest.approx(1 / 2)
    assert found["f1"] == pytest.approx(2 / 5)
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert (found["entities"], found["found"], found["words"], found["n"]) == (2, 3, 6, 1)
    assert found["per_type"]["ORG"] == {
        "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0, "predicted": 1, "partial_f1": 0.0,
    }
    assert found["macro_f1"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("true", "predicted", "f1", "partial"),
    [
        ("B-A I-A O", "B-A O O", 0, 0.5),  # half of it found
        ("B-A I-A O", "B-B I-B O", 0, 0),  # of another type
        ("B-A I-A I-A", "B-A B-A I-A", 0, 2 * 0.5 / 3),  # one counts, the other is superfluous
        ("B-A I-A B-A", "B-A I-A I-A", 0, 2 * 0.5 / 3),
        ("B-A O B-A", "B-A O B-A", 1, 1),
        ("B-A I-A O B-A", "I-A I-A O I-A", 1, 1),  # broken, and read as conlleval does
        ("O O", "O O", 0, 0),  # 0/0, which conlleval prints as 0
        ("O O", "B-A O", 0, 0),
    ],
)
def test_by_hand(true, predicted, f1, partial):
    found = measured(true, predicted)
    assert found["f1"] == pytest.approx(f1)
    assert found["partial"]["f1"] == pytest.approx(partial)


def test_an_exact_match_is_never_given_away_for_a_partial_one():
    true = "B-A I-A I-A B-A"
    found = measured(true, "B-A I-A B-A B-A")
    assert found["per_type"]["A"]["partial_f1"] == pytest.approx(2 * 1.5 / 5)


def test_overlaps_are_as_many_as_can_be():
    true = [Entity("A", 0, 1), Entity("A", 2, 5), Entity("B", 6, 7)]
    found = [Entity("A", 1, 2), Entity("A", 5, 5), Entity("B", 7, 7), Entity("B", 9, 9)]
    assert overlaps(true, found) == 3


def test_intervals_hold_the_value_and_narrow_with_the_number_of_sentences():
    few = [["B-A", "O", "B-B"]] * 10, [["B-A", "O", "B-A"], ["O", "O", "B-B"]] * 5
    widths = []
    for times in (1, 20):
        found = entity_metrics(few[0] * times, few[1] * times, bootstrap=200)
        for name in ("precision", "recall", "f1", "macro_f1", "accuracy"):
            low, high = found["ci95"][name]
            assert low <= found[name] <= high
        widths.append(np.ptp(found["ci95"]["precision"]))
    assert widths[1] < widths[0] / 2
    assert entity_metrics(*few, bootstrap=50, seed=3) == entity_metrics(*few, bootstrap=50, seed=3)


@pytest.mark.parametrize(
    ("true", "predicted", "message"),
    [
        ([], [], r"one sentence at least\. Received: none"),
        ([["O"]], [], r"for each sentence\. Received: 0 for 1 sentences"),
        ([["O"], ["O", "O"]], [["O"], ["O"]], r"Received: 1 for the 2 words of sentence 1, "),
    ],
)
def test_tags_that_cannot_be_compared(true, predicted, message):
    with pytest.raises(DataError, match=message):
        entity_metrics(true, predicted)

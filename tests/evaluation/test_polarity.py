"""TextBlob's polarity as classes; what it says of words needs the package."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tests import trained
from tests.training.problems import examples_of
from tfhub_transfer.config import Config
from tfhub_transfer.data.examples import Dataset
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.evaluation.polarity import make_textblob, polarity_probabilities


def data_of(*labels: str, multi_label: bool = False) -> Dataset:
    rows = examples_of(np.arange(len(labels)))
    return Dataset("made up", labels, multi_label, rows, rows, rows, (), {})


def test_the_class_is_that_of_the_polarity():
    polarities = np.array([-1.0, -0.06, -0.04, 0.0, 0.04, 0.06, 1.0])
    found = polarity_probabilities(polarities, np.array([-1, 0, 1]))
    assert found.argmax(axis=1).tolist() == [0, 0, 1, 1, 1, 2, 2]
    np.testing.assert_allclose(found.sum(axis=1), 1)
    two = polarity_probabilities(polarities, np.array([1, -1]))
    assert two[:3].argmax(axis=1).tolist() == [1, 1, 1]
    assert two[3].tolist() == [0.5, 0.5]
    assert two[4:].argmax(axis=1).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "labels", [("0", "1"), ("negative", "neutral"), ("pos", "positive"), ("neg", "pos", "mixed")]
)
def test_labels_that_say_no_polarity_are_refused(labels):
    with pytest.raises(ConfigError, match=r"must be named so, or neg, pos.*Received: " + labels[0]):
        make_textblob(Config(), data_of(*labels))


def test_several_labels_are_refused():
    with pytest.raises(ConfigError, match="neg, pos, any number of them to a row"):
        make_textblob(Config(), data_of("neg", "pos", multi_label=True))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "textblob", None)
    with pytest.raises(ConfigError, match=r"pip install 'tfhub-transfer\[textblob\]'"):
        make_textblob(Config(), data_of("Negative", "Positive"))


def test_words_have_a_polarity():
    pytest.importorskip("textblob")
    baseline = make_textblob(Config(), data_of("Negative", "neutral", "positive"))
    texts = [["What a wonderful day."], ["It was awful.", "The table is made of wood.", ""]]
    targets = np.array([2, 0, 1, 1])
    measured = baseline([], np.array([0]), texts, targets, ("Negative", "neutral", "positive"),
                        bootstrap=10)  # fmt: skip
    assert measured.metrics["accuracy"] == 1.0


def test_it_is_refused_before_anything_is_trained(tmp_path):
    source = trained.write_csv(tmp_path / "some.csv", trained.sentences(40))
    config = trained.settings(tmp_path / "run", source, evaluation={"baselines": ("textblob",)})
    with pytest.raises(ConfigError, match="Received: good, poor"):
        run_experiment(config)
    assert not (tmp_path / "run" / "checkpoints").exists()

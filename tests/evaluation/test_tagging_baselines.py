"""Taggers without an encoder."""

from __future__ import annotations

import contextlib
import sys

import pytest

from tests.data.test_tagged import load, three_files
from tfhub_transfer.config import Config, EvaluationConfig
from tfhub_transfer.data.tagged_examples import TaggedDataset
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.evaluation import tagging_baselines
from tfhub_transfer.evaluation.baselines import baseline_rows
from tfhub_transfer.evaluation.tagging_baselines import crf_features, frequent_tag, hmm
from tfhub_transfer.evaluation.word_features import shape, word_features
from tfhub_transfer.registry import BASELINES

NAMES = ("frequent_tag", "hmm", "crf_features")
TOWNS = ["Rome", "Paris", "Oslo", "Bern", "Lima", "Kiev"]
TRAIN = [f"she lives in {town} now" for town in TOWNS] + ["he lives there", "now she left ."] * 3
TAGS = [["O", "O", "O", "B-LOC", "O"]] * len(TOWNS) + [["O"] * 3, ["O"] * 4] * 3
WORDS = [text.split() for text in TRAIN]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> TaggedDataset:
    test = ([["he", "lives", "in", "Cairo", "now"]], [["O", "O", "O", "B-LOC", "O"]])
    folder = three_files(tmp_path_factory.mktemp("towns"), train=(WORDS, TAGS), test=test)
    return load(folder)


@pytest.mark.parametrize("name", NAMES)
def test_fitted_and_measured(data, name):
    baseline = BASELINES.load(name)(Config(), data)
    measured = baseline(data.train, data.test, data, bootstrap=20)
    assert measured["f1"] == (0.0 if name == "frequent_tag" else 1.0)
    assert (measured["n"], measured["n_train"], measured["entities"]) == (1, 12, 1)
    assert min(measured["fit_s"], measured["predict_s"]) >= 0


def test_the_most_frequent_tag():
    tag = frequent_tag([["a", "b"], ["a", "b"], ["a"]], [["O", "B-X"], ["B-X", "B-X"], ["B-X"]])
    assert tag(["a", "b", "c"]) == ["B-X", "B-X", "O"]


@pytest.mark.parametrize("fit", [hmm, crf_features])
def test_context_decides_on_words_that_training_lacks(fit):
    tag = fit(WORDS, TAGS)
    assert tag(["she", "lives", "in", "Quito", "now"]) == ["O", "O", "O", "B-LOC", "O"]
    assert tag(["lives"]) == ["O"]
    assert len(tag(["☃", "\U0001f600", "Ωmega", "a" * 500])) == 4


@pytest.mark.parametrize("fit", [hmm, crf_features])
def test_a_second_fit_says_the_same(fit):
    first, second = fit(WORDS, TAGS), fit(WORDS, TAGS)
    for words in WORDS:
        assert first(words) == second(words)


def test_the_steps_of_a_fit_are_told(monkeypatch):
    told = {}

    @contextlib.contextmanager
    def progress(what, unit, total=None):
        yield lambda units: told.update({unit: told.get(unit, 0) + units})

    monkeypatch.setattr(tagging_baselines, "progress", progress)
    crf_features(WORDS, TAGS)
    assert told["sentences"] == len(WORDS)
    assert 1 < told["steps"] <= 100


@pytest.mark.parametrize(
    ("word", "expected"),
    [("EU", "X"), ("McDonald", "XxXx"), ("DC-10", "X-d"), ("3.50", "d.d"), ("", ""), ("...", ".")],
)
def test_shapes(word, expected):
    assert shape(word) == expected


def test_features_know_the_neighbours_and_the_ends():
    first, second, third = word_features(["In", "Rome", "now"])
    assert {"w=in", "s=Xx", "end-1", "w+1=rome", "w+2=now", "s0,1=Xx Xx"} <= set(first)
    assert {"w=rome", "p=ro", "e=me", "w-1=in", "w+1=now", "w-1,0=in rome"} <= set(second)
    assert {"end+1", "w-2=in"} <= set(third)
    assert word_features([]) == []


@pytest.mark.parametrize("name", NAMES)
def test_data_without_tags_are_refused(data, name):
    from tfhub_transfer.config import DataConfig
    from tfhub_transfer.data import splits

    texts = splits.load(DataConfig(), seed=0)
    with pytest.raises(ConfigError, match=rf"{name} tags words, and .* Received: sample"):
        BASELINES.load(name)(Config(), texts)


@pytest.mark.parametrize(("name", "module"), [("hmm", "nltk"), ("crf_features", "pycrfsuite")])
def test_a_package_that_is_missing(data, monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"needs {module}: pip install 'tfhub-transfer\[tagg"):
        BASELINES.load(name)(Config(), data)


def test_few_rows_are_drawn_for_a_baseline(data):
    config = Config(evaluation=EvaluationConfig(baseline_limit=10))
    train, told = baseline_rows(config, data)
    assert len(train) == 10
    assert len(train.tags) == 10
    assert "10 of 12 training rows" in told[0]


@pytest.mark.real_data
def test_conll_2003_without_an_encoder(real_data):
    data = load(real_data / "ner" / "conll2003", limit=4000)
    scores = {
        name: BASELINES.load(name)(Config(), data)(data.train, data.test, data, bootstrap=10)["f1"]
        for name in ("frequent_tag", "hmm")
    }
    assert 0.4 < scores["frequent_tag"] < scores["hmm"] < 0.8

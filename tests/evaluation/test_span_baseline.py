"""The window among the question's words, on contexts where it is plain what it should find."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.asked import article, question, write_squad
from tests.trained import settings, write_csv
from tfhub_transfer.config import Config, DataConfig
from tfhub_transfer.data.questions import load_answered, load_questions
from tfhub_transfer.data.splits import load
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.evaluation.span_baseline import TfidfWindow, make_tfidf_window

NAMES = ["Ada Lovelace", "Grace Hopper", "Alan Turing", "Mary Jackson", "John Backus"]
THINGS = ["engine", "compiler", "machine", "tunnel", "language"]


def articles(count):
    found = []
    for n in range(count):
        name, thing = NAMES[n % 5], THINGS[n // 5 % 5]
        context = f"In the year {1800 + n} it was {name} who built the {thing} , and it was good ."
        asked = question(f"q{n}", f"Who built the {thing} ?", (name, context.index(name)))
        found.append(article((context, [asked])))
    return found


@pytest.fixture
def data(tmp_path):
    path = write_squad(tmp_path / "a.json", *articles(60))
    return load_questions(DataConfig(source=str(path)), seed=0)


def test_it_finds_what_stands_beside_the_question_s_words(data):
    baseline = make_tfidf_window(Config(), data)
    metrics = baseline(data.train, data.test, data, bootstrap=20)
    assert metrics["f1"] > 0.7
    assert metrics["width"] in (2, 3)
    assert metrics["n_train"] == len(data.train)
    assert metrics["n"] == len(data.test)
    assert min(metrics["fit_s"], metrics["predict_s"]) >= 0
    assert metrics["ci95"]["f1"][0] <= metrics["f1"] <= metrics["ci95"]["f1"][1]


def test_words_of_the_question_are_no_answer(data):
    window = TfidfWindow().fit(data.train)
    window.width, window.reach = 1, 2
    context = "Painted yesterday , the HOUSE was . It was it and painted ."
    assert window.answer(["Was the house painted and was it?"], [context]) == ["yesterday"]


def test_short_and_empty_contexts(data):
    window = TfidfWindow().fit(data.train)
    window.width = 5
    assert window.answer(["Who?"] * 3, ["", " . ! ", "Ada"]) == ["", "", "Ada"]


def test_questions_without_answer_choose_nothing(tmp_path):
    path = write_squad(tmp_path / "a.json", article(("Ada.", [question("q", "Why?")])))
    examples = load_answered(DataConfig(source=str(path)), seed=0).examples
    window = TfidfWindow().fit(examples)
    assert window.answer(["Who?"], ["Ada"]) == ["Ada"]


def test_one_seed_one_window(data):
    first, second = (TfidfWindow().fit(data.train, seed=3) for _ in range(2))
    assert (first.width, first.reach) == (second.width, second.reach)


def test_labelled_texts_are_refused(tmp_path):
    path = write_csv(tmp_path / "a.csv", [(f"text {n}", "ab"[n % 2]) for n in range(40)])
    config = settings(tmp_path / "run", path)
    with pytest.raises(ConfigError, match=r"tfidf_window answers questions.* Received: task 'cla"):
        make_tfidf_window(config, load(config.data, seed=0))


@pytest.mark.real_data
def test_qamr(real_data):
    data = load_questions(DataConfig(source=str(real_data / "qa" / "qamr")), seed=0)
    test = data.test.take(np.arange(1000))
    metrics = make_tfidf_window(Config(), data)(data.train, test, data, bootstrap=20)
    assert 0.2 < metrics["f1"] < 0.35

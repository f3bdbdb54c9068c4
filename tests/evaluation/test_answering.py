"""`--task span` from files to a measured run, through the same experiment as any other."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from tests.data.asked import numbered, unanswered, write_squad
from tests.encoders.tiny import write_bert, write_text_embedding
from tfhub_transfer.config import (
    Config,
    DataConfig,
    EncoderConfig,
    EvaluationConfig,
    TrainingConfig,
)
from tfhub_transfer.encoders.resolve import resolve
from tfhub_transfer.errors import ConfigError, EncoderError, RunError
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.evaluation.page import print_result
from tfhub_transfer.evaluation.predictions import load_pairs, load_texts
from tfhub_transfer.evaluation.scoring import score_run
from tfhub_transfer.heads.raw_words import word_offsets

pytestmark = pytest.mark.slow


def settings(run, source, encoder, **training) -> Config:
    return Config(
        task="span",
        run=str(run),
        data=DataConfig(source=str(source)),
        encoder=EncoderConfig(str(encoder)),
        training=TrainingConfig(**{"epochs": 1, "batch_size": 8, **training}, learning_rate=0.05),
        evaluation=EvaluationConfig(bootstrap=10),
    )


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def run(encoder, tmp_path_factory):
    """A frozen encoder, on questions of which some have no answer."""
    folder = tmp_path_factory.mktemp("frozen")
    source = write_squad(folder / "squad.json", *numbered(20), *unanswered(20))
    return run_experiment(settings(folder / "run", source, encoder, epochs=6))


def test_a_text_embedding_cannot_read_a_question_with_its_context(tmp_path):
    source = write_squad(tmp_path / "squad.json", *numbered(20))
    with pytest.raises(
        EncoderError, match=r"takes a transformer: .*such as minilm-l6.* Received: \S+, a text emb"
    ):
        run_experiment(settings(tmp_path / "run", source, write_text_embedding(tmp_path / "words")))


def test_answers_are_learnt_and_measured(run):
    metrics = run.load_metrics()
    assert metrics["task"] == "span"
    test = metrics["test"]
    assert 0 <= test["exact_match"] <= test["f1"] <= 1
    assert test["without_answer"]["n"] + test["with_answer"]["n"] == test["n"]
    assert test["f1"] > metrics["baselines"]["tfidf_window"]["f1"] - 0.5
    history = run.history_file.read_text().splitlines()
    losses = [float(line.split(",")[2]) for line in history[1:]]
    assert losses[-1] < losses[0]


def test_from_where_on_there_is_no_answer_is_found_and_kept(run, encoder):
    resolve(str(encoder))  # each test has a cache directory of its own, which knows no encoder
    threshold = run.load_metrics()["no_answer"]
    assert isinstance(threshold, float)
    _, metrics = score_run(run, None, bootstrap=10)
    assert metrics["no_answer"] == threshold
    assert metrics["test"]["f1"] == pytest.approx(run.load_metrics()["test"]["f1"], abs=0.05)


def test_the_report_marks_answers_in_their_contexts(run, capsys, monkeypatch):
    page = run.report_file.read_text(encoding="utf-8")
    assert "Exact match" in page and "Right not to answer" in page
    assert "Which colour" in page or "Every test question was answered exactly." in page
    monkeypatch.setenv("COLUMNS", "120")
    print_result(run.load_metrics(), run.report_file)
    assert "TF-IDF window" in capsys.readouterr().out


def test_validation_questions_are_kept_with_their_contexts(run):
    pairs = load_pairs(run)
    assert pairs and all(question.endswith("?") for question, _ in pairs)
    assert {context.split()[0] for _, context in pairs} <= {"This", "The"}
    with pytest.raises(RunError, match=r"should be a list of texts.*Received: "):
        load_texts(run)


def test_an_encoder_that_moves(encoder, tmp_path):
    source = write_squad(tmp_path / "squad.json", *numbered(12))
    run = run_experiment(settings(tmp_path / "run", source, encoder, strategy="fine_tuning"))
    metrics = run.load_metrics()
    assert metrics["no_answer"] is None  # every question has an answer
    other = write_squad(tmp_path / "other.json", *numbered(3, word="thing"))
    directory, measured = score_run(run, DataConfig(source=str(other)), bootstrap=10)
    assert measured["test"]["n"] == 6
    assert json.loads((directory / "metrics.json").read_text()) == measured


def test_where_words_stand():
    (first, second) = word_offsets(["Zoë's 3.5 €!", ""], "punctuation")
    assert [tuple(place) for place in first.tolist()] == [(0, 5), (6, 9), (10, 11), (11, 12)]
    assert second.shape == (0, 2)
    assert first.dtype == np.int32


def test_settings_of_texts_are_refused(encoder, tmp_path):
    config = settings(tmp_path / "run", "x.json", encoder)
    with pytest.raises(ConfigError, match="data.balance .* Received: data.balance oversample"):
        dataclasses.replace(config, data=DataConfig(balance="oversample"))
    with pytest.raises(ConfigError, match="Accepted: tfidf_window. Received: majority"):
        dataclasses.replace(config, evaluation=EvaluationConfig(baselines=("majority",)))

"""`--task tagging` from files to a measured run, through the same experiment as any other."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
import yaml

from tests.tagged import sentences, settings, write_conll, write_slots
from tfhub_transfer.config import DataConfig, EncoderConfig
from tfhub_transfer.errors import ConfigError, RunError
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.evaluation.page import print_result
from tfhub_transfer.evaluation.scoring import score_run
from tfhub_transfer.evaluation.tagging import Tagging
from tfhub_transfer.runs import Run
from tfhub_transfer.training import loop
from tfhub_transfer.training.classifier import Classifier

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_conll(tmp_path_factory.mktemp("conll") / "all.conll", sentences(120))


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    """A frozen encoder with LSTM and CRF."""
    config = settings(
        tmp_path_factory.mktemp("run") / "run",
        source,
        tagging={"recurrent": 8, "crf": True, "scheme": "iobes"},
        evaluation={"baselines": ("frequent_tag",), "bootstrap": 20},
    )
    return run_experiment(config)


@pytest.fixture(scope="module")
def joint(tmp_path_factory):
    """An encoder that moves, with intents; its test rows have some that training rows lack."""
    folder = tmp_path_factory.mktemp("joint")
    strange = [([("ring", "O"), ("Oslo", "B-town")], "ring")]
    source = write_slots(
        folder / "data",
        {
            "train": sentences(60),
            "valid": sentences(20, seed=1),
            "test": [*sentences(20, seed=2), *strange],
        },
    )
    config = settings(folder / "run", source, training={"strategy": "fine_tuning", "epochs": 3})
    return run_experiment(config)


def test_a_tagger_learns_and_is_measured(run):
    metrics = run.load_metrics()
    assert metrics["task"] == "tagging"
    assert metrics["labels"][0] == "O" and "E-person" in metrics["labels"]
    assert metrics["test"]["f1"] > 0.9
    assert metrics["test"]["per_type"].keys() == {"city", "person"}
    low, high = metrics["test"]["ci95"]["f1"]
    assert low <= metrics["test"]["f1"] <= high
    assert metrics["baselines"]["frequent_tag"]["f1"] > 0.5
    assert metrics["timing"]["encode_s"] > 0
    assert metrics["data_summary"]["splits"]["train"]["class_counts"].keys() == {"city", "person"}


def test_the_report_shows_types_and_mistakes(run, joint):
    page = run.report_file.read_text(encoding="utf-8")
    assert "Type by type" in page and "All words of the test sentences have their tag." in page
    assert (run.plots / "types.png").exists()
    page = joint.report_file.read_text(encoding="utf-8")
    # the mistake that no model can avoid, with the truth marked in its sentence
    assert re.search(r'<mark class="entity c\d">Oslo <small>town</small></mark>', page)
    assert "truth: ring" in page


def test_intents_are_learnt_beside_the_tags(joint):
    metrics = joint.load_metrics()
    assert metrics["intents"] == ["call", "flight"]
    assert metrics["test"]["n"] == 21
    assert 0.8 < metrics["test"]["intent_accuracy"] < 1  # that of the strange row is not known
    assert metrics["test"]["sentence_accuracy"] <= metrics["test"]["intent_accuracy"]
    assert any("B-town" in note for note in metrics["notes"])
    with joint.history_file.open() as history:
        assert "val_intent_accuracy" in history.readline()


def test_what_is_saved_answers_as_what_was_trained(run):
    loaded = Classifier.load(run)
    texts = ["call Ada Lovelace now", "book flights to Oslo today ."]
    lengths = [len(text.split()) for text in texts]
    outputs = loaded.model(tf.constant(texts), training=False).numpy()
    first, second = loaded.head.decode(outputs, lengths)
    assert [entity["type"] for entity in first["entities"]] == ["person"]
    assert second["entities"][0]["first"] == 3
    (alone,) = loaded.predict([texts[1:]])
    (decoded,) = loaded.head.decode(alone, lengths[1:])
    assert decoded["tags"] == second["tags"]
    np.testing.assert_allclose(decoded["scores"], second["scores"], atol=2e-3)


def test_scripts_without_spaces_are_told(source, tmp_path):
    rows = [([(word, "O") for word in "我们还会再来"] + [("京", "B-city")], "") for _ in range(20)]
    chinese = write_conll(tmp_path / "all.conll", rows)
    told = [Tagging(settings(tmp_path, file)).load().notes for file in (chinese, source)]
    assert ["no spaces between words" in str(notes) for notes in told] == [True, False]


def test_measured_on_other_sentences(run, tmp_path):
    other = write_conll(tmp_path / "other.conll", sentences(30, seed=3))
    directory, metrics = score_run(run, DataConfig(source=str(other)), bootstrap=10)
    assert metrics["test"]["n"] == 30 and metrics["test"]["f1"] > 0.9
    assert json.loads((directory / "metrics.json").read_text()) == metrics
    assert (directory / "report.html").exists()


def test_other_sentences_get_the_types_that_an_adapted_run_gave_its_own(run, tmp_path):
    rows = sentences(30, seed=3)
    named = {"city": "town", "person": "human"}
    renamed = [
        ([(word, tag[:2] + named.get(tag[2:], tag[2:])) for word, tag in words], intent)
        for words, intent in rows
    ]
    types = tmp_path / "types.yaml"
    types.write_text(
        "source: {city: city, person: person}\ntarget: {town: city, human: person, song: O}\n"
    )
    adapted = tmp_path / "adapted"
    shutil.copytree(run.path, adapted)
    config = yaml.safe_load(run.config_file.read_text())
    config["training"]["strategy"] = "coral"
    config["adaptation"] |= {"target": "unused", "labels": str(types)}
    Run(adapted).config_file.write_text(yaml.safe_dump(config))
    found = {}
    for name, given in (("own", rows), ("renamed", renamed)):
        other = write_conll(tmp_path / f"{name}.conll", given)
        _, metrics = score_run(Run(adapted), DataConfig(source=str(other)), bootstrap=10)
        found[name] = metrics["test"]["f1"]
        side = {"own": "source", "renamed": "target"}[name]
        assert metrics["notes"][-1].endswith(f"types.yaml maps those of the {side}.")
    assert found["own"] == found["renamed"] > 0.9


def test_its_own_test_rows_give_the_same_measures(joint):
    _, metrics = score_run(joint, None, bootstrap=10)
    trained = joint.load_metrics()["test"]
    for key in ("f1", "accuracy", "intent_accuracy"):
        assert metrics["test"][key] == pytest.approx(trained[key], abs=1e-3)


def test_the_terminal_shows_entities(run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    print_result(run.load_metrics(), run.report_file)
    shown = capsys.readouterr().out
    assert "Entity F1" in shown and "Most frequent tag" in shown
    assert "each word's most frequent tag" in shown


def test_without_the_cache_about_the_same_head_is_trained(source, tmp_path):
    one, other = (
        run_experiment(
            settings(
                tmp_path / str(cache),
                source,
                training={"epochs": 2},
                evaluation={"baselines": ()},
                encoder=EncoderConfig(cache=cache),
            )
        )
        for cache in (True, False)
    )
    losses = [run.load_metrics()["validation"]["loss"] for run in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=0.15)  # half precision, other batches


def test_an_interrupted_training_goes_on(source, tmp_path, monkeypatch):
    whole = run_experiment(settings(tmp_path / "whole", source, evaluation={"baselines": ()}))
    config = settings(tmp_path / "parts", source, evaluation={"baselines": ()})
    with monkeypatch.context() as patch:
        epochs = loop._Epochs.on_epoch_begin

        def stop(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt
            epochs(self, epoch, logs)

        patch.setattr(loop._Epochs, "on_epoch_begin", stop)
        assert not run_experiment(config).load_metrics()["finished"]
    resumed = run_experiment(dataclasses.replace(config, resume=True))
    assert resumed.load_metrics()["test"]["f1"] == whole.load_metrics()["test"]["f1"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training": {"strategy": "contrastive"}}, "training.strategy contrastive"),
        ({"data": {"balance": "oversample"}}, "data.balance"),
        ({"data": {"word_dropout": 0.1}, "training": {"strategy": "fine_tuning"}}, "word_dropout"),
        ({"evaluation": {"baselines": ("tfidf_logreg",)}}, "tfidf_logreg"),
    ],
)
def test_settings_of_texts_are_refused(changes, said, source, tmp_path):
    with pytest.raises((ConfigError, RunError), match=said):
        run_experiment(settings(tmp_path / "run", source, **changes))
    assert not (tmp_path / "run" / "checkpoints").exists()

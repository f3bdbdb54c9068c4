"""From a configuration to a run directory."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import trained
from tests.encoders import tiny
from tfhub_transfer.config import Config, EncoderConfig
from tfhub_transfer.encoders.cache import features_dir
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import (
    ConfigError,
    DataError,
    EncoderError,
    RunError,
    TrainingError,
    UnknownNameError,
)
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.runs import Run, config_from_dict
from tfhub_transfer.training import checkpoint
from tfhub_transfer.training.classifier import Classifier

pytestmark = pytest.mark.slow


@pytest.fixture
def sample(tmp_path_factory) -> Run:
    return trained.sample_run(tmp_path_factory.getbasetemp())


@pytest.fixture
def source(tmp_path) -> Path:
    return trained.write_csv(tmp_path / "some.csv", trained.sentences(120))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("encoders")
    return {
        "text_embedding": tiny.write_text_embedding(root / "text_embedding"),
        "bert": tiny.write_bert(root / "bert"),
    }


def weights_of(run: Run) -> dict[str, np.ndarray]:
    model = keras.models.load_model(run.model_file, compile=False)
    return {weight.path: weight.numpy() for weight in model.weights}


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def without_time(run: Run) -> dict[str, Any]:
    return {key: value for key, value in run.load_metrics().items() if key != "timing"}


def losses(run: Run) -> list[list[str]]:
    """The history but for its last column, the seconds."""
    return [line.split(",")[:-1] for line in run.history_file.read_text().splitlines()]


def test_the_run_directory_holds_what_was_promised(sample):
    names = {path.name for path in sample.path.iterdir()}
    assert names == {
        ".lock", "config.yaml", "environment.json", "history.csv", "metrics.json", "model.keras",
        "report.html", "plots", "checkpoints", "predictions.npz", "validation_texts.json",
    }  # fmt: skip
    figures = {path.stem for path in sample.plots.iterdir()}
    assert {"confusion_matrix", "learning_curves", "class_balance", "text_lengths"} <= figures
    assert {path.name for path in sample.checkpoints.iterdir()} == {
        "last.safetensors", "best.safetensors",
    }  # fmt: skip
    assert config_from_dict(sample.load_config()).run == str(sample.path)
    assert json.loads((sample.path / "environment.json").read_text())["seed"] == 0
    assert len(losses(sample)) == 9


def test_metrics_keep_the_contract(sample):
    metrics = sample.load_metrics()
    assert {
        "task": "classification",
        "encoder": "minilm-static",
        "strategy": "feature_extraction",
        "labels": ["negative", "neutral", "positive"],
        "multi_label": False,
        "data": "sample",
    }.items() <= metrics.items()
    test = metrics["test"]
    assert {"n", "accuracy", "macro_f1", "roc_auc", "log_loss", "ece", "ci95"} <= test.keys()
    assert test["n"] == 168
    assert test["ci95"]["accuracy"][0] <= test["accuracy"] <= test["ci95"]["accuracy"][1]
    assert metrics["baselines"].keys() == {"majority", "tfidf_logreg"}
    assert metrics["validation"].keys() == {"n", "loss", "accuracy"}
    assert metrics["timing"].keys() == {"encode_s", "train_s", "total_s"}
    assert metrics["timing"]["total_s"] >= metrics["timing"]["train_s"] > 0
    assert 0 <= metrics["parity"] <= 1e-5
    assert any("carved out" in note for note in metrics["notes"])


def test_it_is_better_than_chance(sample):
    assert sample.load_metrics()["test"]["accuracy"] > 0.5


def test_the_report_shows_the_data(sample):
    page = sample.report_file.read_text(encoding="utf-8")
    assert '<th scope="row">train</th><td>475</td>' in page
    assert "--run NEW_DIRECTORY" in page


def test_the_saved_model_takes_strings_and_is_the_one_that_was_measured(sample):
    model = keras.models.load_model(sample.model_file, compile=False)
    classifier = Classifier.load(sample)
    texts = ["What a wonderful place.", "Never again.", ""]
    (ours,) = classifier.predict([texts])
    np.testing.assert_allclose(model.predict(np.array(texts, object), verbose=0), ours, atol=1e-5)
    assert ours.shape == (3, 3)


def test_one_seed_gives_one_result(tmp_path, source, encoders, no_report):
    encoder = EncoderConfig(str(encoders["text_embedding"]))
    runs = [
        run_experiment(trained.settings(tmp_path / str(n), source, seed=seed, encoder=encoder))
        for n, seed in enumerate([5, 5, 6])
    ]
    assert without_time(runs[0]) == without_time(runs[1])
    assert losses(runs[0]) == losses(runs[1])
    assert equal(weights_of(runs[0]), weights_of(runs[1]))
    assert without_time(runs[0]) != without_time(runs[2])
    assert not equal(weights_of(runs[0]), weights_of(runs[2]))


def test_the_feature_cache_changes_nothing_but_the_time(tmp_path, source, encoders, no_report):
    texts = [text for text, _ in trained.sentences(40, seed=3)]
    probabilities, history = [], []
    for cache in (True, False):
        encoder = EncoderConfig(str(encoders["text_embedding"]), cache=cache)
        run = run_experiment(trained.settings(tmp_path / str(cache), source, encoder=encoder))
        probabilities += Classifier.load(run).predict([texts])
        history.append(np.array(losses(run)[1:], float))
    np.testing.assert_allclose(*probabilities, atol=1e-5)
    np.testing.assert_allclose(*history, atol=1e-4)
    assert np.ptp(probabilities[0][:, 0]) > 0.05, "the texts should not all look alike"


def fine_tuning(run: Path, source: Path, encoder: Path, **training: Any) -> Config:
    training = {"strategy": "fine_tuning", "encoder_learning_rate": 1e-2, **training}
    config = trained.settings(run, source, training=training)
    return dataclasses.replace(config, encoder=EncoderConfig(name=str(encoder)))


@contextmanager
def killed_in_epoch(epoch: int) -> Iterator[None]:
    """Let a training die in the middle of an epoch's end; each epoch before writes two files."""
    save, left = checkpoint.save, [2 * (epoch - 1)]

    def saving(*args: Any, **kwargs: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise ZeroDivisionError
        save(*args, **kwargs)

    # a context of its own: undoing the fixture's would bring back the user's caches
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", saving)
        yield


def test_an_encoder_that_cannot_repeat_itself_is_fine_tuned_and_told(
    tmp_path, source, no_report
):
    tf.random.set_seed(None)  # an earlier run's would go into the graph that is written
    # anew, for what an earlier test wrote may have such a seed in it
    encoder = tiny.write_transformer.__wrapped__(tmp_path / "transformer")
    run = run_experiment(fine_tuning(tmp_path / "run", source, encoder=encoder))
    assert any("without a seed" in note for note in run.load_metrics()["notes"])


@pytest.mark.parametrize(("kind", "pattern"), [("text_embedding", ".*"), ("bert", "layer_1")])
def test_fine_tuning_moves_the_weights_it_names_and_resumes(
    tmp_path, source, encoders, kind, pattern, no_report
):
    changes = {"encoder": encoders[kind], "trainable": pattern, "epochs": 2}
    straight = run_experiment(fine_tuning(tmp_path / "straight", source, **changes))
    assert straight.load_metrics()["strategy"] == "fine_tuning"
    pristine = {weight.path: weight.numpy() for weight in HubLayer(encoders[kind]).movable}
    loaded = Classifier.load(straight).encoder.movable
    moved = {w.path for w in loaded if not np.array_equal(w.numpy(), pristine[w.path])}
    assert moved
    assert moved <= {path for path in pristine if re.search(pattern, path)}

    config = fine_tuning(tmp_path / "killed", source, **changes)
    with killed_in_epoch(2), pytest.raises(ZeroDivisionError):
        run_experiment(config)
    with pytest.raises(RunError, match="not empty"):
        run_experiment(config)
    resumed = run_experiment(dataclasses.replace(config, resume=True))
    assert losses(resumed) == losses(straight)
    assert equal(weights_of(resumed), weights_of(straight))
    assert resumed.load_metrics()["test"] == straight.load_metrics()["test"]


def test_a_pattern_that_matches_nothing_lists_the_paths(tmp_path, source, encoders):
    config = fine_tuning(tmp_path / "run", source, encoders["bert"], trainable="layer_77")
    with pytest.raises(
        EncoderError, match=r"can be trained matches\. It has \d+: .*layer_0.*: 'layer_77'"
    ):
        run_experiment(config)


def test_several_labels(tmp_path_factory):
    metrics = trained.several_run(tmp_path_factory.getbasetemp()).load_metrics()
    assert metrics["multi_label"] is True
    assert metrics["labels"] == ["good", "poor"]
    assert metrics["test"].keys() >= {"micro_f1", "hamming_loss"}
    assert metrics["test"]["micro_f1"] > 0.6
    assert metrics["baselines"].keys() == {"majority", "tfidf_logreg"}


@pytest.mark.parametrize("balance", ["class_weight", "oversample", "undersample"])
def test_balances(tmp_path, encoders, no_report, balance):
    good, poor = trained.sentences(120)[::2], trained.sentences(30)[1::2]
    source = trained.write_csv(tmp_path / "uneven.csv", good + poor)
    changes = {"data": {"balance": balance}, "training": {"epochs": 2}}
    changes["encoder"] = EncoderConfig(str(encoders["text_embedding"]))
    run = run_experiment(trained.settings(tmp_path / "run", source, **changes))
    assert run.load_metrics()["test"]["n"] == 15
    assert len(losses(run)) == 3


def test_several_labels_cannot_be_sampled(tmp_path, tmp_path_factory):
    source = trained.several_run(tmp_path_factory.getbasetemp()).path.parent / "several.csv"
    data = {"label_separator": "|", "balance": "oversample"}
    with pytest.raises(ConfigError, match=r"several labels.*oversample"):
        run_experiment(trained.settings(tmp_path / "run", source, data=data))


def test_a_damaged_feature_cache_is_noticed(tmp_path, source, encoders, no_report, monkeypatch):
    monkeypatch.setenv("TFHUB_TRANSFER_CACHE_DIR", str(tmp_path / "cache"))
    changes = {"training": {"epochs": 1}, "encoder": EncoderConfig(str(encoders["text_embedding"]))}
    run_experiment(trained.settings(tmp_path / "before", source, **changes))
    (file,) = features_dir().glob("*/vectors.f32")
    vectors = np.fromfile(file, np.float32)
    (-vectors).tofile(file)
    with pytest.raises(
        TrainingError, match=r"differs from the one that was trained.*--encoder\.cache false.*: 0\."
    ):
        run_experiment(trained.settings(tmp_path / "run", source, **changes))
    run = Run(tmp_path / "run")
    assert not run.model_file.exists()
    assert not run.metrics_file.exists()


def test_rows_that_were_left_out_are_told(tmp_path, encoders, no_report):
    rows = trained.sentences(60)
    source = trained.write_csv(tmp_path / "some.csv", [*rows, ("", "good"), ("no label", "")])
    evaluation = {"baselines": ("majority",), "baseline_limit": 20}
    changes = {"evaluation": evaluation, "training": {"epochs": 1}}
    changes["encoder"] = EncoderConfig(str(encoders["text_embedding"]))
    run = run_experiment(trained.settings(tmp_path / "run", source, **changes))
    rejected = [json.loads(line) for line in run.rejected_file.read_text().splitlines()]
    assert [row["row"] for row in rejected] == [61, 62]
    notes = " ".join(run.load_metrics()["notes"])
    assert "1 row was rejected: empty text." in notes
    assert "fitted on 20 of 43 training rows" in notes


@pytest.mark.parametrize(
    ("mistyped", "error", "text"),
    [
        ({"data": {"label_column": "lable"}}, DataError, "lable"),
        ({"encoder": EncoderConfig("minilm-statik")}, UnknownNameError, "minilm-statik"),
        ({"head": {"activation": "rulu"}}, ConfigError, "rulu"),
    ],
)
def test_what_is_mistyped_does_not_cost_the_run_that_it_would_overwrite(
    tmp_path, source, sample, mistyped, error, text
):
    run = trained.copied(sample, tmp_path / "run")
    before = contents(run)
    with pytest.raises(error, match=text):
        run_experiment(trained.settings(run.path, source, overwrite=True, **mistyped))
    assert contents(run) == before


def contents(run: Run) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def test_overwriting_leaves_nothing_of_the_run_before(tmp_path, sample, encoders, no_report):
    run = trained.copied(sample, tmp_path / "run")
    rows = [*trained.sentences(60), ("", "good")]
    source = trained.write_csv(tmp_path / "other.csv", rows)
    changes = {"training": {"epochs": 1}, "encoder": EncoderConfig(str(encoders["text_embedding"]))}
    config = trained.settings(run.path, source, overwrite=True, **changes)
    assert run_experiment(config).load_metrics()["epochs"] == 1
    assert not run.report_file.exists()
    assert "empty text" in run.rejected_file.read_text()


def test_data_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match=r"No such file or folder\. Received: .*none\.csv"):
        run_experiment(trained.settings(tmp_path / "run", tmp_path / "none.csv"))
    assert Run(tmp_path / "run").config_file.exists()

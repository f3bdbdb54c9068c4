"""Runs that adapt to another domain, and the problem of the paper that takes it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.encoders.tiny import write_text_embedding
from tests.trained import sentences, settings, write_csv
from tfhub_transfer.config import AdaptationConfig, Config, EncoderConfig
from tfhub_transfer.data.splits import load
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.registry import STRATEGIES
from tfhub_transfer.runs import Run
from tfhub_transfer.training import checkpoint
from tfhub_transfer.training.classifier import Classifier

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("adaptation")
    write_csv(folder / "source.csv", sentences(120))
    there = [(f"over there {text} and so on", label) for text, label in sentences(100, seed=1)]
    write_csv(folder / "target.csv", there)
    write_text_embedding(folder / "encoder")
    return folder


def adapting(folder: Path, name: str, strategy: str = "dann", **changes) -> Config:
    asked = {"target": str(folder / "target.csv"), **changes.pop("adaptation", {})}
    training = {"strategy": strategy, **changes.pop("training", {})}
    return settings(
        folder / name,
        folder / "source.csv",
        training=training,
        adaptation=AdaptationConfig(**asked),
        **changes,
    )


def trained(config: Config):
    """Train as a run does, without its report."""
    run = Run.create(config)
    run.write_config(config)
    run.write_environment(config.seed)
    keras.utils.set_random_seed(config.seed)
    data = load(config.data, seed=config.seed)
    classifier = Classifier.build(config, data.labels, multi_label=data.multi_label)
    strategy = STRATEGIES.load(config.training.strategy)
    return strategy(config, run).fit(classifier, data), classifier


def test_a_run_reports_what_it_adapted_to(folder):
    run = run_experiment(adapting(folder, "dann", adaptation={"weight": 0.5}))
    metrics = run.load_metrics()
    told = metrics["adaptation"]
    assert (told["target"], told["target_rows"], told["weight"]) == ("target.csv", 79, 0.5)
    assert told["lambda"] == pytest.approx(0.5 * 0.9999, abs=1e-4)
    assert told["source_accuracy"] == metrics["test"]["accuracy"]
    assert told["target_test_rows"] == 21
    assert told["target_accuracy"] > 0.8
    assert 0.0 <= told["domain_accuracy"] <= 1.0
    assert (metrics["epochs"], metrics["best_epoch"]) == (3, 3), "the last is kept"
    report = run.report_file.read_text(encoding="utf-8")
    assert "The model was adapted to target.csv, whose labels it did not see." in report
    assert "79 unlabelled texts of" in report
    # the domain classifier is thrown away
    model = keras.models.load_model(run.model_file, compile=False)
    assert model.output_shape == (None, 2)
    names = [layer.name for layer in model._flatten_layers()]
    assert not {"reversal", "domain", "domain_hidden", "both"} & set(names)
    assert json.loads(run.metrics_file.read_text())["strategy"] == "dann"


def test_coral_learns(folder):
    config = adapting(folder, "coral", "coral", training={"epochs": 8})
    metrics = run_experiment(config).load_metrics()
    assert metrics["adaptation"]["target_accuracy"] > 0.8
    assert not {"lambda", "domain_accuracy"} & metrics["adaptation"].keys()


@pytest.mark.parametrize("strategy", ["dann", "coral"])
def test_an_encoder_that_moves(folder, strategy):
    changes = {
        "adaptation": {"student": "fine_tuning"},
        "training": {"encoder_learning_rate": 0.05},
        "encoder": EncoderConfig(str(folder / "encoder")),
        "head": {"hidden": (), "dropout": 0.0},  # what is adapted is the encoder's own vector
    }
    config = adapting(folder, f"moving-{strategy}", strategy, **changes)
    outcome, classifier = trained(config)
    told = outcome.details["adaptation"]
    assert 0.4 < told["target_accuracy"] <= 1.0
    begun = Classifier.build(config, classifier.head.labels, multi_label=False)
    before, after = (c.encoder.get_weights()[0] for c in (begun, classifier))
    assert not np.array_equal(before, after)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"encoder": EncoderConfig(cache=False)},
        {"training": {"accumulate": 2}, "data": {"balance": "oversample"}},
        {
            "adaptation": {"student": "fine_tuning"},
            "data": {"word_dropout": 0.1},
        },
    ],
    ids=["vectors", "texts", "accumulated", "moving"],
)
def test_a_killed_adaptation_resumes_to_the_same_weights(folder, changes, request, monkeypatch):
    """Lambda, which moves with each step, goes on where it was."""
    name = request.node.callspec.id
    _, straight = trained(adapting(folder, f"straight-{name}", **changes))
    killed = adapting(folder, f"killed-{name}", **changes)
    save, left = checkpoint.save, [3]

    def dying(*args, **kwargs) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise SystemExit
        save(*args, **kwargs)

    monkeypatch.setattr(checkpoint, "save", dying)
    with pytest.raises(SystemExit):
        trained(killed)
    monkeypatch.setattr(checkpoint, "save", save)
    outcome, resumed = trained(dataclasses.replace(killed, resume=True))
    assert outcome.progress.epoch == 3
    weights = [classifier.model.get_weights() for classifier in (straight, resumed)]
    assert all(map(np.array_equal, *weights))


def test_texts_without_labels_are_adapted_to(folder):
    (folder / "lines.txt").write_text("over there\nand so on\nwhat a place\n", encoding="utf-8")
    config = adapting(folder, "lines", adaptation={"target": str(folder / "lines.txt")})
    outcome, _ = trained(config)
    told = outcome.details["adaptation"]
    assert told["target_rows"] == 3
    assert not {"target_accuracy", "domain_accuracy"} & told.keys()
    assert any("has no labels, and nothing was measured there" in note for note in outcome.notes)


def test_both_domains_get_the_labels_that_a_file_gives_them(folder):
    stars = [(text, {"good": "5", "poor": "1"}[label]) for text, label in sentences(60, seed=2)]
    write_csv(folder / "stars.csv", stars)
    (folder / "labels.yaml").write_text(
        "source: {good: positive, poor: negative}\ntarget: {1: negative, 5: positive}\n"
    )
    asked = {"target": str(folder / "stars.csv"), "labels": str(folder / "labels.yaml")}
    run = run_experiment(adapting(folder, "mapped", adaptation=asked))
    metrics = run.load_metrics()
    assert metrics["labels"] == ["negative", "positive"]
    assert metrics["adaptation"]["target_accuracy"] > 0.8


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"adaptation": {"target": None}}, r"add --adaptation\.target SOURCE\. Received: none"),
        ({"head": {"hidden": ()}}, r"there is none: give --head\.hidden sizes.*head\.hidden \[\]"),
        ({"data": {"stages": (0.5, 1.0)}}, r"does not go with these\. Received: data\.stages"),
        ({"training": {"truncate_loss": 0.1}}, r"Received: training\.truncate_loss 0\.1"),
        (
            {
                "training": {"unfreezing": "gradual"},
                "adaptation": {"student": "fine_tuning"},
            },
            r"Received: training\.unfreezing gradual",
        ),
        ({"training": {"batch_size": 2}}, r"must be at least 4\. Received: 2"),
        ({"training": {"distribute": "mirrored"}}, r"Received: training\.strategy dann \(the loss"),
        ({"training": {"last_layers": 2}}, r"no weight of the encoder moves"),
        ({"strategy": "coral", "adaptation": {"hidden": 7}}, r"no domain classifier.* Received: 7"),
        ({"strategy": "fine_tuning"}, r"strategy 'fine_tuning', adaptation\.target .*target\.csv"),
        ({"adaptation": {"weight": -1}}, r"adaptation\.weight must be at least 0\. Received: -1"),
    ],
)
def test_settings_that_cannot_work_are_refused(folder, changes, match):
    with pytest.raises(ConfigError, match=match):
        adapting(folder, "refused", **changes)


def test_a_bottleneck_is_a_hidden_layer_too(folder):
    config = adapting(folder, "bottleneck", head={"hidden": (), "bottleneck": 4})
    outcome, _ = trained(config)
    assert outcome.details["adaptation"]["target_accuracy"] > 0.8

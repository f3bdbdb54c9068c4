"""Stages: what they are of, and that a staged run goes on where it was killed."""

from __future__ import annotations

import csv
import dataclasses
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests import trained
from tests.encoders import tiny
from tests.processes import killed
from tests.training.problems import examples_of
from tfhub_transfer.config import Config, DataConfig, EncoderConfig, TrainingConfig
from tfhub_transfer.data.examples import Dataset
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import DataError, TrainingError
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.runs import Run, config_from_dict
from tfhub_transfer.training import checkpoint, loop
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.stages import plan

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_report")]

LABELS = np.repeat([0, 1, 2], [70, 20, 10])
PATHS = ["layer_0/a", "layer_1/a", "layer_1/b", "embeddings/word", "pooler/kernel"]


def data_of(labels: np.ndarray = LABELS) -> Dataset:
    part = examples_of(labels)
    return Dataset("made up", ("a", "b", "c"), False, part, part, part, (), {})


def growing(*shares: float, seed: int = 0, **training: Any) -> Config:
    return Config(
        seed=seed, data=DataConfig(stages=shares), training=TrainingConfig(epochs=5, **training)
    )


def gradual(**training: Any) -> Config:
    return Config(
        training=TrainingConfig(strategy="fine_tuning", unfreezing="gradual", **training)
    )


def test_without_stages_there_is_one_of_all():
    data, rates = data_of(), {"a": 0.5}
    (stage,) = plan(Config(), data, rates)
    assert (stage.name, stage.epochs, stage.moving) == ("", 40, rates)
    assert stage.train is data.train
    assert plan(growing(1.0), data)[0].name == ""
    assert plan(growing(1.0), data)[0].train is data.train


def test_growing_data_is_nested_and_stratified():
    data = data_of()
    stages = plan(growing(0.1, 0.25, 0.5, 1.0), data)
    assert [stage.name for stage in stages] == ["10%", "25%", "50%", "100%"]
    assert [stage.epochs for stage in stages] == [5, 5, 5, 5]
    counts = [stage.train.class_counts(3).tolist() for stage in stages]
    assert [sum(count) for count in counts] == [10, 25, 50, 100]
    assert counts[0] == [7, 2, 1]
    assert counts[2] == [35, 10, 5]
    rows = [set(stage.train.rows.tolist()) for stage in stages]
    assert rows[0] < rows[1] < rows[2]
    again, other = (plan(growing(0.1, 0.5, 1.0, seed=seed), data) for seed in (0, 1))
    assert set(again[1].train.rows.tolist()) == rows[2]
    assert set(other[1].train.rows.tolist()) != rows[2]


def test_a_share_too_small_for_the_classes():
    with pytest.raises(DataError, match=r"of 100 rows, 0\.02 is 2\. Received: \[0\.02, 1\.0\]"):
        plan(growing(0.02, 1.0), data_of())


def test_gradual_unfreezing_goes_from_the_top_down():
    rates = {path: number / 10 for number, path in enumerate(PATHS, start=1)}
    stages = plan(gradual(epochs=6), data_of(), rates, depth=2)
    assert [(stage.name, stage.epochs) for stage in stages] == [
        ("head", 1), ("layer_1", 1), ("layer_0", 1), ("embeddings", 3),
    ]  # fmt: skip
    assert [sorted(stage.moving.values()) for stage in stages] == [
        [], [0.2, 0.3, 0.5], [0.1, 0.2, 0.3, 0.5], [0.1, 0.2, 0.3, 0.4, 0.5],
    ]  # fmt: skip
    some = plan(gradual(epochs=3), data_of(), {"layer_1/a": 1, "layer_0/a": 1}, depth=3)
    assert [stage.name for stage in some] == ["head", "layer_1", "layer_0"]
    top = plan(gradual(epochs=3), data_of(), {"pooler/kernel": 1}, depth=3)
    assert [stage.name for stage in top] == ["head", "pooler"]


def test_too_few_epochs_to_unfreeze_all():
    text = r"--training\.epochs 4 or more here \(head, layer_1, layer_0, embeddings\)\. Received: 3"
    with pytest.raises(TrainingError, match=text):
        plan(gradual(epochs=3), data_of(), dict.fromkeys(PATHS, 1.0), depth=2)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("encoders")
    return {
        "words": tiny.write_text_embedding(root / "words"),
        "bert": tiny.write_bert(root / "bert"),
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    table = tmp_path_factory.mktemp("data") / "some.csv"
    return trained.write_csv(table, trained.sentences(120))


def settings(run: Path, source: Path, encoder: Path, **changes: Any) -> Config:
    data = changes.pop("data", {})
    training = {"strategy": "fine_tuning", "encoder_learning_rate": 1e-2, "epochs": 2, **changes}
    config = trained.settings(run, source, training=training, data=data)
    return dataclasses.replace(config, encoder=EncoderConfig(name=str(encoder)))


def growing_run(run: Path, source: Path, encoders: dict[str, Path]) -> Config:
    return settings(run, source, encoders["words"], data={"stages": (0.3, 1.0)})


def gradual_run(run: Path, source: Path, encoders: dict[str, Path]) -> Config:
    asked = {"unfreezing": "gradual", "last_layers": 2, "epochs": 4, "accumulate": 2}
    return settings(run, source, encoders["bert"], **asked)


@pytest.fixture(scope="module")
def straight(tmp_path_factory, source, encoders):
    """Return what makes a run of a kind that nothing disturbs, once."""
    made: dict[Any, Run] = {}

    def run(kind: Any) -> Run:
        if kind not in made:
            made[kind] = run_experiment(kind(tmp_path_factory.mktemp("straight"), source, encoders))
        return made[kind]

    return run


def history_of(run: Run) -> list[dict[str, str]]:
    with run.history_file.open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def weights_of(run: Run) -> list[np.ndarray]:
    return keras.models.load_model(run.model_file, compile=False).get_weights()


def same(one: Run, other: Run) -> bool:
    assert history_of(one) == history_of(other)
    assert one.load_metrics()["test"] == other.load_metrics()["test"]
    pairs = zip(weights_of(one), weights_of(other), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


def test_growing_data_from_stage_to_stage(straight):
    run = straight(growing_run)
    metrics, history = run.load_metrics(), history_of(run)
    assert [row["stage"] for row in history] == ["30%", "30%", "100%", "100%"]
    assert [row["epoch"] for row in history] == ["1", "2", "3", "4"]
    stages = metrics["stages"]
    train = metrics["data_summary"]["splits"]["train"]["n"]
    assert [(s["name"], s["rows"], s["epochs"]) for s in stages] == [
        ("30%", round(0.3 * train), 2), ("100%", train, 2),
    ]  # fmt: skip
    for stage in stages:
        of_stage = [row for row in history if row["stage"] == stage["name"]]
        best = min(of_stage, key=lambda row: float(row["val_loss"]))
        assert stage["best_epoch"] == int(best["epoch"])
        assert stage["val_loss"] == float(best["val_loss"])
        assert stage["val_accuracy"] == float(best["val_accuracy"])
    assert metrics["best_epoch"] == stages[-1]["best_epoch"]
    assert metrics["epochs"] == 4
    # each falls along a schedule of its own
    assert history[1]["learning_rate"] == history[3]["learning_rate"] < history[0]["learning_rate"]
    assert {path.name for path in run.checkpoints.iterdir()} == {"30%", "100%"}


def test_gradual_unfreezing_moves_one_layer_more_each_time(straight):
    run = straight(gradual_run)
    assert [row["stage"] for row in history_of(run)] == [
        "head", "layer_1", "layer_0", "layer_0",
    ]  # fmt: skip
    sizes = [
        (run.checkpoints / stage["name"] / "best.safetensors").stat().st_size
        for stage in run.load_metrics()["stages"]
    ]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3, "each holds what moves, and no more"


def test_killed_in_a_later_stage_and_resumed(tmp_path, straight, source, encoders):
    save, left = checkpoint.save, [5]  # two files an epoch: the third stage's best, not its last

    def saving(*args: Any, **kwargs: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise ZeroDivisionError
        save(*args, **kwargs)

    config = gradual_run(tmp_path / "run", source, encoders)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(checkpoint, "save", saving)
        run_experiment(config)
    files = list(Run(tmp_path / "run").checkpoints.glob("*/last.safetensors"))
    written = [file.stat().st_mtime_ns for file in files]
    resumed = run_experiment(dataclasses.replace(config, resume=True))
    assert same(resumed, straight(gradual_run))
    assert {file.parent.name for file in files} == {"head", "layer_1"}
    assert [file.stat().st_mtime_ns for file in files] == written, "finished stages are finished"


def test_ctrl_c_in_a_later_stage_keeps_the_earlier_ones(
    tmp_path, source, encoders, capsys, monkeypatch
):
    began = loop._Epochs.on_train_batch_end

    def on_train_batch_end(self: Any, batch: int, logs: Any = None) -> None:
        began(self, batch, logs)
        if self._stage == "layer_0" and batch == 3:
            raise KeyboardInterrupt

    config = gradual_run(tmp_path / "run", source, encoders)
    with monkeypatch.context() as patch:
        patch.setattr(loop._Epochs, "on_train_batch_end", on_train_batch_end)
        run = run_experiment(config)
    assert "in stage layer_0: what stands before it is kept; --resume" in capsys.readouterr().err
    metrics = run.load_metrics()
    assert [stage["name"] for stage in metrics["stages"]] == ["head", "layer_1"]
    assert not metrics["finished"]
    assert any("after 2 of 4 epochs" in note for note in metrics["notes"])
    # the batches of the stage that was broken off have left nothing behind
    assert metrics["validation"]["loss"] == float(history_of(run)[1]["val_loss"])
    pristine = {weight.path: weight.numpy() for weight in HubLayer(encoders["bert"]).movable}
    for weight in Classifier.load(run).encoder.movable:
        moved = not np.array_equal(weight.numpy(), pristine[weight.path])
        assert moved == ("layer_1" in weight.path), weight.path


def test_a_process_killed_in_its_second_stage_is_resumed(tmp_path, straight, source, encoders):
    config = growing_run(tmp_path / "run", source, encoders)
    file = tmp_path / "run.yaml"
    given = Run(tmp_path)
    given.write_config(config)
    (tmp_path / "config.yaml").rename(file)
    second = tmp_path / "run" / "checkpoints" / "100%" / "last.safetensors"
    code, _, _ = killed("train", "--config", file, when=second.exists)
    assert code == -signal.SIGKILL
    run = Run.open(tmp_path / "run")
    assert not run.metrics_file.exists()
    config = config_from_dict(run.load_config())
    assert same(run_experiment(dataclasses.replace(config, resume=True)), straight(growing_run))


def test_a_head_alone_in_stages(tmp_path, source):
    run = run_experiment(trained.settings(tmp_path / "run", source, data={"stages": (0.5, 1.0)}))
    assert [stage["name"] for stage in run.load_metrics()["stages"]] == ["50%", "100%"]

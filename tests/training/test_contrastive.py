"""Pairs of a few texts move the encoder, and the head is fitted on its vectors."""

from __future__ import annotations

import functools
import random
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import trained
from tests.encoders import tiny
from tfhub_transfer.config import Config, ContrastiveConfig, DataConfig, EncoderConfig
from tfhub_transfer.data.pairs import PairBatches
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import ConfigError, DataError, TrainingError
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.runs import Run
from tfhub_transfer.training import pair_training
from tfhub_transfer.training.classifier import Classifier

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_report")]

SHOTS = 8
STEPS = 6


def texts_of(rows: int, seed: int) -> list[tuple[str, str]]:
    """Return texts of fifteen words: one tells the class, the others do not.

    In vectors of random words that one is lost among the others until the words' vectors move.
    """
    draw = random.Random(seed)
    telling = {"good": "xq", "bad": "zk"}
    table = []
    for row in range(rows):
        label = ("good", "bad")[row % 2]
        words = [draw.choice("abcdefghij") for _ in range(14)] + [telling[label]]
        draw.shuffle(words)
        table.append((" ".join(words), label))
    return table


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, rows, seed in (("train", 200, 0), ("validation", 40, 1), ("test", 200, 2)):
        trained.write_csv(folder / f"{name}.csv", texts_of(rows, seed))
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return tiny.write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def embedding(tmp_path_factory) -> Path:
    return tiny.write_text_embedding(tmp_path_factory.mktemp("embedding"))


def settings(run: Path, source: Path, encoder: Path, **changes: Any) -> Config:
    training = changes.pop("training", {})
    if training.setdefault("strategy", "contrastive") == "contrastive":
        training = {"encoder_learning_rate": 1e-2, **training}
    changes.setdefault("contrastive", ContrastiveConfig(steps=STEPS, batch_size=8))
    return trained.settings(
        run,
        source,
        encoder=EncoderConfig(name=str(encoder)),
        data={"shots": SHOTS, **changes.pop("data", {})},
        training=training,
        **changes,
    )


def weights_of(run: Run) -> list[np.ndarray]:
    model = keras.models.load_model(run.model_file, compile=False)
    return [weight.numpy() for weight in model.weights]


def assert_equal(run: Run, other: Run) -> None:
    for one, two in zip(weights_of(run), weights_of(other), strict=True):
        np.testing.assert_array_equal(one, two)


def interrupting(monkeypatch: pytest.MonkeyPatch, step: int, error: type[BaseException]) -> None:
    """Have the drawing of a step's batch fail, until the monkeypatch is undone."""
    drawn = PairBatches.rows

    def rows(self: PairBatches, number: int) -> np.ndarray:
        if number == step:
            raise error
        return drawn(self, number)

    monkeypatch.setattr(PairBatches, "rows", rows)


@functools.cache
def _whole(source: Path, bert: Path, folder: Path) -> Run:
    return run_experiment(settings(folder, source, bert))


@pytest.fixture
def whole(tmp_path_factory, source, bert) -> Run:
    """A run that nothing disturbed; not to be written to."""
    return _whole(source, bert, tmp_path_factory.getbasetemp() / "contrastive-run")


def test_it_beats_the_frozen_encoder_where_words_must_move(tmp_path, source, embedding):
    measured = {}
    rates = {"feature_extraction": {}, "contrastive": {"encoder_learning_rate": 0.05}}
    for strategy, rate in rates.items():
        config = settings(
            tmp_path / strategy,
            source,
            embedding,
            data={"shots": 16},
            training={"strategy": strategy, "epochs": 10, **rate},
            contrastive=ContrastiveConfig(steps=60),
        )
        measured[strategy] = run_experiment(config).load_metrics()["test"]["accuracy"]
    assert measured["feature_extraction"] < 0.75
    assert measured["contrastive"] > 0.95


def test_it_saves_what_it_measured(whole, source):
    metrics = whole.load_metrics()
    assert metrics["finished"] is True
    assert metrics["parity"] < 1e-5
    assert metrics["contrastive"]["steps"] == STEPS
    assert metrics["contrastive"]["texts"] == 8 * STEPS
    texts = [text for text, _ in texts_of(200, 2)]
    labels = [label for _, label in texts_of(200, 2)]
    classifier = Classifier.load(whole)
    (probabilities,) = classifier.predict([texts])
    said = [metrics["labels"][column] for column in probabilities.argmax(axis=1)]
    accuracy = np.mean([one == two for one, two in zip(said, labels, strict=True)])
    assert accuracy == pytest.approx(metrics["test"]["accuracy"])


def test_validation_rows_choose_nothing(tmp_path, whole, source, bert):
    other = tmp_path / "data"
    other.mkdir()
    for name in ("train", "test"):
        (other / f"{name}.csv").write_text((source / f"{name}.csv").read_text())
    wrong = [(text, {"good": "bad", "bad": "good"}[label]) for text, label in texts_of(40, 1)]
    trained.write_csv(other / "validation.csv", wrong)
    run = run_experiment(settings(tmp_path / "run", other, bert))
    assert_equal(run, whole)
    metrics = run.load_metrics()
    assert metrics["epochs"] == metrics["best_epoch"] == 3


def test_ctrl_c_keeps_the_steps_before_it_and_a_killed_run_goes_on(
    tmp_path, monkeypatch, capsys, whole, source, bert
):
    with monkeypatch.context() as patch:
        interrupting(patch, 2, KeyboardInterrupt)
        run = run_experiment(settings(tmp_path / "run", source, bert))
    metrics = run.load_metrics()
    assert metrics["finished"] is False
    assert metrics["contrastive"]["steps"] == 2
    assert any("interrupted after 2 of 6 steps" in note for note in metrics["notes"])
    assert "2 of 6 steps on pairs are kept" in capsys.readouterr().err
    assert not np.array_equal(weights_of(run)[0], weights_of(whole)[0])

    class Killed(BaseException):
        pass

    monkeypatch.setattr(pair_training, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    with monkeypatch.context() as patch:
        interrupting(patch, 4, Killed)
        with pytest.raises(Killed):
            run_experiment(settings(tmp_path / "run", source, bert, resume=True))
    steps: list[int] = []
    drawn = PairBatches.rows
    monkeypatch.setattr(
        PairBatches, "rows", lambda self, number: (steps.append(number), drawn(self, number))[1]
    )
    resumed = run_experiment(settings(tmp_path / "run", source, bert, resume=True))
    assert steps == [4, 5]
    assert resumed.load_metrics()["finished"] is True
    assert_equal(resumed, whole)


def test_ctrl_c_before_the_first_step_leaves_nothing(tmp_path, monkeypatch, source, bert):
    interrupting(monkeypatch, 0, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(settings(tmp_path / "run", source, bert))
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_only_the_weights_that_were_chosen_move(tmp_path, source, bert):
    changes = {"training": {"trainable": "layer_1"}}
    run = run_experiment(settings(tmp_path / "run", source, bert, **changes))
    model = keras.models.load_model(run.model_file, compile=False)
    layer = model.get_layer("encoder")
    moved = {
        weight.path
        for weight, value in zip(layer.movable, _published(bert), strict=True)
        if not np.array_equal(weight.numpy(), value)
    }
    assert moved
    assert all("layer_1" in path for path in moved)


def _published(encoder: Path) -> list[np.ndarray]:
    return [weight.numpy() for weight in HubLayer(str(encoder)).movable]


def test_one_example_a_class_is_enough(tmp_path, source, embedding):
    run = run_experiment(settings(tmp_path / "run", source, embedding, data={"shots": 1}))
    assert run.load_metrics()["contrastive"]["texts"] == 4 * STEPS


def test_steps_follow_the_number_of_classes_where_none_are_given(tmp_path, source, embedding):
    config = settings(tmp_path / "run", source, embedding, contrastive=ContrastiveConfig())
    assert run_experiment(config).load_metrics()["contrastive"]["steps"] == 25


def test_all_classes_meet_in_a_batch_where_no_size_is_given(tmp_path, embedding):
    for classes, texts in ((20, 40), (100, 160)):
        rows = [(f"{word} {n}", f"class {n}") for n in range(classes) for word in "abcdefgh"]
        source = trained.write_csv(tmp_path / f"{classes}.csv", rows)
        asked = ContrastiveConfig(steps=1)
        config = settings(
            tmp_path / f"run {classes}", source, embedding, data={"shots": 4}, contrastive=asked
        )
        metrics = run_experiment(config).load_metrics()
        assert metrics["contrastive"]["texts"] == texts
        assert any("is no transformer" in note for note in metrics["notes"])


def test_a_loss_that_is_no_number_is_an_error(tmp_path, monkeypatch, source, embedding):
    monkeypatch.setattr(
        pair_training, "supervised_contrastive", lambda vectors, *_: np.nan * tf.reduce_sum(vectors)
    )
    with pytest.raises(
        TrainingError,
        match=r"in step 1 of 6\. A lower --training\.encoder_learning_rate than 0\.01 .*: nan",
    ):
        run_experiment(settings(tmp_path / "run", source, embedding))


def test_several_labels_a_text_are_refused(tmp_path, embedding):
    rows = [(f"{word} {n}", "a|b" if n % 3 else "a") for n in range(30) for word in "xy"]
    source = trained.write_csv(tmp_path / "several.csv", rows)
    config = settings(tmp_path / "run", source, embedding, data={"label_separator": "|"})
    with pytest.raises(DataError, match=r"exactly one label per text\. Received: 2 labels"):
        run_experiment(config)


@pytest.mark.parametrize(
    ("changes", "received"),
    [
        ({"data": {"stages": (0.5, 1.0)}}, r"data\.stages \[0\.5, 1\.0\]"),
        ({"training": {"unfreezing": "gradual"}}, r"training\.unfreezing gradual"),
    ],
)
def test_stages_are_refused(tmp_path, changes, received):
    with pytest.raises(ConfigError, match=rf"it has no stages\. .* Received: {received}"):
        settings(tmp_path, Path("some.csv"), Path("some"), **changes)
    assert DataConfig().stages == ()

"""Training on two devices: the loss curve of one, resuming, exporting, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import trained
from tests.encoders import tiny
from tests.training.mirrored import CASES, ROWS, settings
from tests.training.problems import Problem
from tfhub_transfer.artifact.predictor import Predictor
from tfhub_transfer.artifact.signatures import save_classifier
from tfhub_transfer.config import Config, EncoderConfig, TrainingConfig
from tfhub_transfer.errors import ConfigError, TrainingError
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.runs import Run
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.distribution import replicated

ROOT = Path(__file__).parents[2]
# all trainings are one fixture's, which takes half a minute where nothing else runs
pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]
MEASURED = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trainings of all cases, on two devices in `mirrored/` and on one in `one/`."""
    folder = tmp_path_factory.mktemp("distribution")
    trained.write_csv(folder / "some.csv", trained.sentences(ROWS))
    tiny.write_text_embedding(folder / "words")
    tiny.write_bert(folder / "bert", hidden_dropout_prob=0.0)
    with pytest.MonkeyPatch.context() as patch:
        # the session's own, which the tests have too
        root = tmp_path_factory.getbasetemp()
        patch.setenv("TFHUB_CACHE_DIR", str(root / "encoders"))
        patch.setenv("TFHUB_TRANSFER_CACHE_DIR", str(root / "features"))
        with trained.without_report():
            for name, case in CASES.items():
                run_experiment(settings(folder, folder / "one" / name, case))
        two = subprocess.run(
            [sys.executable, "-W", "error::UserWarning", "-m", "tests.training.mirrored", folder],
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
        )
    assert two.returncode == 0, two.stderr
    return folder


def history(run: Path) -> list[dict[str, float]]:
    with (run / "history.csv").open(newline="") as file:
        return [{name: float(row[name]) for name in MEASURED} for row in csv.DictReader(file)]


@pytest.mark.parametrize("case", CASES)
def test_the_loss_curve_is_that_of_one_device(folder, case):
    one, two = history(folder / "one" / case), history(folder / "mirrored" / case)
    assert len(one) == len(two) >= 2
    for expected, found in zip(one, two, strict=True):
        assert found == pytest.approx(expected, abs=1e-4)
    first, last = one[0]["loss"], one[-1]["loss"]
    assert abs(first - last) > 1e-3, "weights should move, or the comparison says nothing"


@pytest.mark.parametrize("case", CASES)
def test_the_model_is_that_of_one_device(folder, case):
    texts = [text for text, _ in trained.sentences(20, seed=1)]
    (one,), (two,) = (
        Classifier.load(Run(folder / kind / case)).predict([texts]) for kind in ("one", "mirrored")
    )
    np.testing.assert_allclose(two, one, atol=1e-4)


def test_resumed_is_as_if_it_had_not_been_killed(folder):
    straight, resumed = (folder / "mirrored" / name for name in ("straight", "resumed"))
    assert history(resumed) == history(straight)
    weights = [Classifier.load(Run(run)).model.get_weights() for run in (straight, resumed)]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_is_exported_as_any_other(folder, tmp_path):
    classifier = Classifier.load(Run(folder / "mirrored" / "bert"))
    texts = [text for text, _ in trained.sentences(8, seed=2)]
    save_classifier(classifier.encoder, classifier.head, classifier.network, tmp_path / "1")
    (expected,) = classifier.predict([texts])
    found = Predictor.load(tmp_path / "1")(texts)["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_machine_without_the_devices():
    network, _ = Problem().model()
    with pytest.raises(TrainingError, match=r"two GPUs or more.* Received: /device:CPU:0$"):
        replicated(network, "mirrored")
    with pytest.raises(TrainingError, match=r"found no TPU.* Received: .*TPU Name"):
        replicated(network, "tpu")
    assert replicated(network, "none") is network


@pytest.mark.parametrize(
    ("training", "encoder", "text"),
    [
        ({"strategy": "contrastive"}, {}, r"Received: training\.strategy contrastive \("),
        ({"truncate_loss": 0.1}, {}, r"Received: training\.truncate_loss 0\.1 \(it ranks"),
        ({"accumulate": 4}, {}, r"Received: training\.accumulate 4 \("),
        ({"strategy": "fine_tuning"}, {"layers": 3}, r"Received: encoder\.layers 3 \("),
        ({}, {"layers": 3, "cache": False}, r"Received: encoder\.layers 3 \("),
    ],
)
def test_what_cannot_be_divided(training, encoder, text):
    encoder = EncoderConfig(**encoder)
    whole = Config(training=TrainingConfig(**training), encoder=encoder)
    divided = dataclasses.replace(whole.training, distribute="mirrored")
    with pytest.raises(ConfigError, match=rf"--training\.distribute mirrored divides.* {text}"):
        dataclasses.replace(whole, training=divided)


def test_a_frozen_encoder_s_cut_stays_on_its_device():
    Config(training=TrainingConfig(distribute="mirrored"), encoder=EncoderConfig(layers=3))


@pytest.mark.parametrize(
    ("strategy", "cache"), [("fine_tuning", True), ("feature_extraction", False)]
)
def test_no_strings_on_a_tpu(strategy, cache):
    training = TrainingConfig(strategy=strategy, distribute="tpu")
    with pytest.raises(ConfigError, match=rf"A TPU has no strings.*: strategy '{strategy}'"):
        Config(training=training, encoder=EncoderConfig(cache=cache))
    Config(training=TrainingConfig(distribute="tpu"))

"""From text to a module: the command, what it leaves, and a kill in the middle."""

from __future__ import annotations

import csv
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
from safetensors import safe_open
from safetensors.numpy import load_file

from tests.processes import killed
from tfhub_transfer import pretrain
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.resolve import resolve
from tfhub_transfer.errors import TrainingError
from tfhub_transfer.pretraining.nnlm.model import FeedForwardModel
from tfhub_transfer.pretraining.nnlm.run import perplexity, train
from tfhub_transfer.pretraining.nnlm.settings import NnlmConfig
from tfhub_transfer.pretraining.nnlm.training import NnlmTraining

# Of each sentence the subject is either of two, which nothing before it tells.
FORMS = (
    "the {film} was a {great} delight to watch",
    "what a {great} piece of work this {film} is",
    "i watched this {film} and it was {great}",
)
CHOICES = {"film": ("film", "movie"), "great": ("great", "awful")}
SETTINGS = {
    "dimensions": 8, "vocabulary": 15, "min_count": 2, "oov_buckets": 3, "context": 3,
    "hidden": 16, "sampled": 8, "batch_size": 64, "epochs": 4, "validation_words": 300,
    "memory": "64M",
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    chance = random.Random(0)
    file = tmp_path_factory.mktemp("corpus") / "texts.txt"
    texts = [
        chance.choice(FORMS).format(**{k: chance.choice(v) for k, v in CHOICES.items()})
        for _ in range(1500)
    ]
    file.write_text("\n".join(texts), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory) -> Path:
    """A run that nothing came between."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    return train(NnlmConfig(corpus=(str(corpus),), run=str(path), **SETTINGS))


def history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_learns_what_follows_what(run):
    rows = history(run)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    perplexities = [float(row["validation_perplexity"]) for row in rows]
    metrics = json.loads((run / "metrics.json").read_text())
    validation = metrics["validation"]
    assert validation["perplexity"] == perplexities[-1] < perplexities[0]
    # Of ten words two to three are free, between two: 2 ** 0.25, and the form itself.
    assert perplexities[-1] < 2 < 10 < validation["unigram_perplexity"] < 20
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert metrics["texts"] == 1500
    assert metrics["vocabulary"] == 15
    assert 0 < metrics["outside_vocabulary"] < 0.5


def test_the_module_is_an_encoder_that_trains(run, corpus):
    loaded = hub.load(str(run / "module"))
    vectors = loaded(tf.constant(["the film", "movie!", "", "unheard of"])).numpy()
    assert vectors.shape == (4, 8)
    assert not vectors[2].any()
    assert all(vectors[row].any() for row in (0, 1, 3))
    assert len(loaded.trainable_variables) == 1
    encoder = resolve(str(run / "module"))
    layer = HubLayer(str(run / "module"), trainable=True)
    np.testing.assert_allclose(layer(tf.constant(["the film"])), vectors[:1], atol=1e-6)
    assert encoder is not None


def test_the_runs_work_is_deleted_and_its_settings_stay(run):
    assert not (run / "work").exists()
    names = {"config.yaml", "environment.json", "metrics.json", "history.csv", "module"}
    assert names <= {entry.name for entry in run.iterdir()}


def test_words_in_the_same_places_are_neighbours(run):
    words = (run / "module" / "assets" / "vocabulary.txt").read_text().splitlines()
    (table,) = hub.load(str(run / "module")).trainable_variables
    vectors = table.numpy()[: len(words)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near = vectors @ vectors[words.index("film")]
    assert words[int(np.argsort(near)[-2])] == "movie"


def test_a_run_that_is_killed_ends_with_the_same_bits(run, corpus, tmp_path):
    path = tmp_path / "killed"
    flags = [f"--{name}={value}" for name, value in SETTINGS.items()]
    flags += ["--corpus", str(corpus), "--run", str(path), "--checkpoint_seconds", "0.02"]
    checkpoint = path / "checkpoints" / "last.safetensors"

    def in_the_second_epoch() -> bool:
        if not (path / "history.csv").exists():
            return False
        with safe_open(checkpoint, framework="numpy") as file:
            state = json.loads(file.metadata()["progress"])
        return len(state["history"]) == 1 and state["examples"] > 0

    code, _, err = killed("pretrain", "nnlm", *flags, when=in_the_second_epoch)
    assert code == -9, err
    assert len(history(path)) == 1
    assert not (path / "module").exists()
    assert pretrain.main(["nnlm", *flags, "--resume"]) == 0
    assert [{**row, "seconds": ""} for row in history(path)] == [
        {**row, "seconds": ""} for row in history(run)
    ]
    expected = load_file(run / "checkpoints" / "last.safetensors")
    for name, value in load_file(checkpoint).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    vectors = [hub.load(str(at / "module")).trainable_variables[0].numpy() for at in (path, run)]
    np.testing.assert_array_equal(*vectors)


def test_a_run_that_is_finished_is_left_as_it_is(run, corpus):
    before = {entry: entry.stat().st_mtime_ns for entry in run.rglob("*") if entry.is_file()}
    train(NnlmConfig(corpus=(str(corpus),), run=str(run), resume=True, **SETTINGS))
    assert {entry: entry.stat().st_mtime_ns for entry in before} == before


def test_a_training_that_diverges(corpus, tmp_path, monkeypatch):
    losses = iter([3.0, 9.0, math.inf])
    monkeypatch.setattr(NnlmTraining, "step", lambda *_: next(losses))
    path = tmp_path / "run"
    with pytest.raises(TrainingError, match=r"in step 3; .* than 0\.1 usually .* Received: inf"):
        train(NnlmConfig(corpus=(str(corpus),), run=str(path), **SETTINGS))
    assert not (path / "module").exists()


def test_a_measure_that_is_too_large_for_a_number_is_infinite():
    model = FeedForwardModel(np.ones(3), 4, dimensions=1, context=1, hidden=1)
    model.output_bias.assign([0.0, 3000.0, 0.0])
    rows = np.zeros((2, 2), np.int32)
    assert perplexity(model, rows) == math.inf

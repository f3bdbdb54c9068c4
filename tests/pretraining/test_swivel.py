"""From text to a module: the command, what it leaves, and kills in the middle."""

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
from tfhub_transfer.errors import ConfigError, TrainingError
from tfhub_transfer.pretraining.swivel.run import train
from tfhub_transfer.pretraining.swivel.settings import SwivelConfig
from tfhub_transfer.pretraining.swivel.training import SwivelTraining

# Texts are about one of two things; the words of a thing stand near each other.
TOPICS = {
    "film": ["film", "movie", "actor", "plot", "scene", "camera", "director", "role"],
    "food": ["bread", "butter", "cheese", "oven", "salt", "flour", "sugar", "taste"],
}
SETTINGS = {
    "dimensions": 6, "vocabulary": 20, "min_count": 2, "oov_buckets": 3, "window": 4,
    "shard": 7, "epochs": 30, "memory": "64M",
}  # fmt: skip
COMMON = ["the", "a", "and", "of"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    chance = random.Random(0)
    lines = []
    for _ in range(400):
        words = TOPICS[chance.choice(list(TOPICS))]
        line = [chance.choice(words if chance.random() < 0.6 else COMMON) for _ in range(12)]
        # each of these is there once
        lines.append(" ".join([*line, f"once{len(lines)}", chance.choice(words)]))
    file = tmp_path_factory.mktemp("corpus") / "texts.txt"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory) -> Path:
    """A run that nothing came between."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    return train(SwivelConfig(corpus=(str(corpus),), run=str(path), **SETTINGS))


def history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def table(run: Path) -> np.ndarray:
    (variable,) = hub.load(str(run / "module")).trainable_variables
    return variable.numpy()


def test_the_loss_falls_and_is_told(run):
    losses = [float(row["loss"]) for row in history(run)]
    assert len(losses) == 30
    assert losses[-1] < 0.8 * losses[0]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["loss"] == losses[-1]
    assert metrics["vocabulary"] == 20 and metrics["texts"] == 400
    assert metrics["without_neighbours"] == 0
    assert metrics["outside_vocabulary"] == pytest.approx(1 / 14)


def test_words_that_stand_near_each_other_are_neighbours(run):
    words = (run / "module" / "assets" / "vocabulary.txt").read_text().splitlines()
    vectors = table(run)[: len(words)]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for topic in TOPICS.values():
        rows = [words.index(word) for word in topic]
        near = vectors @ vectors[rows].mean(axis=0)
        assert {words[row] for row in np.argsort(near)[-8:]} == set(topic)


def test_the_module_is_an_encoder_that_trains(run):
    loaded = hub.load(str(run / "module"))
    vectors = loaded(tf.constant(["the film", "movie!", "", "unheard of it"])).numpy()
    assert vectors.shape == (4, 6)
    assert vectors[:2].any(axis=1).all() and not vectors[2].any()
    assert table(run).shape == (23, 6)
    assert not table(run)[20:].any(), "a word outside the vocabulary says nothing yet"
    layer = HubLayer(str(run / "module"), trainable=True)
    np.testing.assert_allclose(layer(tf.constant(["the film"])), vectors[:1], atol=1e-6)


def test_the_runs_work_is_deleted_and_its_settings_stay(run):
    assert not (run / "work").exists()
    names = {"config.yaml", "environment.json", "metrics.json", "history.csv", "module"}
    assert names <= {entry.name for entry in run.iterdir()}


def test_a_run_that_is_killed_ends_with_the_same_bits(run, corpus, tmp_path):
    path = tmp_path / "killed"
    flags = [f"--{name}={value}" for name, value in SETTINGS.items()]
    flags += ["--corpus", str(corpus), "--run", str(path), "--checkpoint_seconds", "0"]
    checkpoint = path / "checkpoints" / "last.safetensors"
    shards = 6  # of three blocks

    def within_an_epoch() -> bool:
        if not checkpoint.exists():
            return False
        with safe_open(checkpoint, framework="numpy") as file:
            state = json.loads(file.metadata()["progress"])
        return len(state["history"]) >= 1 and state["step"] % shards > 0

    code, _, err = killed("pretrain", "swivel", *flags, when=within_an_epoch)
    assert code == -9, err
    assert not (path / "module").exists()
    assert pretrain.main(["swivel", *flags, "--resume"]) == 0
    assert history(path) == history(run)
    expected = load_file(run / "checkpoints" / "last.safetensors")
    for name, value in load_file(checkpoint).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    np.testing.assert_array_equal(table(path), table(run))


def test_a_run_that_is_finished_is_left_as_it_is(run, corpus):
    before = {entry: entry.stat().st_mtime_ns for entry in run.rglob("*") if entry.is_file()}
    train(SwivelConfig(corpus=(str(corpus),), run=str(run), resume=True, **SETTINGS))
    assert {entry: entry.stat().st_mtime_ns for entry in before} == before


def test_another_seed_other_vectors_the_same_neighbours(run, corpus, tmp_path):
    other = train(SwivelConfig((str(corpus),), str(tmp_path / "run"), seed=1, **SETTINGS))
    assert not np.allclose(table(other), table(run), atol=1e-2)
    cosines = [vectors @ vectors.T for vectors in (table(run)[:20], table(other)[:20])]
    assert np.corrcoef(cosines[0].ravel(), cosines[1].ravel())[0, 1] > 0.8


@pytest.mark.parametrize("train_biases", [False, True])
def test_biases_move_only_where_they_are_asked_to(corpus, tmp_path, train_biases):
    changes = {**SETTINGS, "epochs": 1, "train_biases": train_biases, "keep_work": True}
    path = train(SwivelConfig((str(corpus),), str(tmp_path / "run"), **changes))
    marginals = np.load(path / "work" / "pairs" / "index.npz")["marginals"]
    state = load_file(path / "checkpoints" / "last.safetensors")
    begun = np.log(np.maximum(marginals, 1e-300)) - np.log(marginals.sum()) / 2
    word = marginals > 0
    for role in ("rows", "columns"):
        found = state[f"{role}/biases"]
        assert np.allclose(found[word], begun[word], atol=1e-5) is not train_biases


def test_a_training_that_diverges(corpus, tmp_path, monkeypatch):
    losses = iter([3.0, 9.0, math.nan])
    monkeypatch.setattr(SwivelTraining, "step", lambda *_: next(losses))
    path = tmp_path / "run"
    with pytest.raises(TrainingError, match=r"in step 3; .* than 0\.1 usually .* Received: nan"):
        train(SwivelConfig((str(corpus),), str(path), **SETTINGS))
    assert not (path / "module").exists()


def test_a_vocabulary_larger_than_the_corpus_has(corpus, tmp_path):
    changes = {**SETTINGS, "vocabulary": 21}
    with pytest.raises(ConfigError, match="Received: vocabulary 21, min_count 2"):
        train(SwivelConfig((str(corpus),), str(tmp_path / "run"), **changes))


def test_a_word_without_neighbours_says_nothing(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("one two one two\ntwo one\nalone\nalone\n" * 3, encoding="utf-8")
    changes = {**SETTINGS, "vocabulary": 3, "epochs": 2}
    path = train(SwivelConfig((str(file),), str(tmp_path / "run"), **changes))
    words = (path / "module" / "assets" / "vocabulary.txt").read_text().split()
    assert set(words) == {"one", "two", "alone"}
    present = table(path).any(axis=1)
    assert present[:3].tolist() == [word != "alone" for word in words]
    metrics = json.loads((path / "metrics.json").read_text())
    assert metrics["without_neighbours"] == 1 and math.isfinite(metrics["loss"])

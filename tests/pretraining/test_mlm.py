"""Pre-training by masked words, from the corpus to the module."""

from __future__ import annotations

import csv
import dataclasses
import json
import random
import re
import string

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
from safetensors.numpy import load_file

from tests.encoders import tiny
from tests.processes import killed
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import ConfigError, EncoderError, TrainingError
from tfhub_transfer.pretraining.mlm import model as mlm_model
from tfhub_transfer.pretraining.mlm import run as mlm
from tfhub_transfer.pretraining.mlm.settings import MlmConfig
from tfhub_transfer.pretraining.mlm.training import rate_at

TEXTS = ["The film was good!", "bad film.", "", "the bad film was bad: was it? it was."]
SHAPE = {
    "vocabulary": 60,
    "layers": 2,
    "width": 32,
    "heads": 4,
    "intermediate": 48,
    "positions": 24,
    "dropout": 0.0,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> str:
    """Texts of four sentences, each of which is easy to guess."""
    draw = random.Random(0)
    lines = []
    for _ in range(120):
        film, good = draw.choice([("film", "good"), ("actor", "bad"), ("story", "slow")])
        lines.append(" ".join(f"The {film} was {good}." for _ in range(draw.randint(2, 6))))
    # letters, so that words the corpus lacks have pieces
    lines += [" ".join(string.ascii_lowercase), " ".join(f"x{c}" for c in string.ascii_lowercase)]
    file = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(file)


def run_of(corpus, path, **settings) -> MlmConfig:
    defaults = {"batch_size": 8, "evaluations": 2, "steps": 4}
    return MlmConfig(corpus=(corpus,), run=str(path), **{**defaults, **settings})


def history(path) -> list[dict[str, str]]:
    with (path / "history.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def weights(path) -> dict[str, np.ndarray]:
    loaded = tf.saved_model.load(str(path))
    return {variable.name: variable.numpy() for variable in loaded.variables}


@pytest.fixture(scope="module")
def scratch(corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "scratch"
    config = run_of(corpus, path, steps=150, learning_rate=5e-3, **SHAPE)
    assert mlm.train(config) == path
    return path


def test_from_scratch_gives_a_pair_that_is_used_by_its_path(scratch):
    layer = HubLayer(scratch / "module", trainable=True)
    assert layer(tf.constant(TEXTS)).shape == (4, 32)
    preprocess = hub.load(str(scratch / "module/preprocess"))
    encoder = hub.load(str(scratch / "module/encoder"))
    outputs = encoder(preprocess(tf.constant(TEXTS)))
    np.testing.assert_allclose(outputs["pooled_output"], layer(tf.constant(TEXTS)), atol=1e-6)
    assert len(outputs["encoder_outputs"]) == 2
    layer.train_in("bfloat16")
    assert layer(tf.constant(TEXTS), training=True).dtype == tf.float32
    np.testing.assert_allclose(
        encoder.encode_bfloat16(preprocess(tf.constant(TEXTS)))["pooled_output"],
        outputs["pooled_output"],
        atol=0.05,
    )


def test_it_learns_to_guess_and_says_so(scratch):
    rows = history(scratch)
    assert [int(row["step"]) for row in rows] == [0, 75, 150]
    assert rows[0]["loss"] == "" and float(rows[-1]["loss"]) < 2.0
    assert float(rows[-1]["val_loss"]) < 0.6 * float(rows[0]["val_loss"])
    assert float(rows[-1]["val_masked_accuracy"]) > 0.6
    metrics = json.loads((scratch / "metrics.json").read_text())
    assert metrics["vocabulary"] == 60 and metrics["steps"] == 150 and metrics["notes"] == []
    assert metrics["validation"]["loss"] == pytest.approx(float(rows[-1]["val_loss"]))
    assert metrics["tied_table"] == "embeddings/word/embeddings"
    assert not (scratch / "work").exists()


@pytest.mark.parametrize("write", [tiny.write_bert, tiny.write_transformer])
def test_no_step_gives_the_encoder_that_was_continued(corpus, tmp_path, write):
    write(tmp_path / "given")
    config = run_of(corpus, tmp_path / "run", continue_from=str(tmp_path / "given"), steps=0)
    mlm.train(config)
    given, module = HubLayer(tmp_path / "given"), HubLayer(tmp_path / "run/module")
    np.testing.assert_array_equal(module(tf.constant(TEXTS)), given(tf.constant(TEXTS)))
    before, after = (weights(tmp_path / name) for name in ("given/encoder", "run/module/encoder"))
    assert list(before) == list(after), "and they are found by the same paths"
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
    with_dropout = HubLayer(tmp_path / "run/module", trainable=True)
    assert with_dropout(tf.constant(TEXTS), training=True).shape == given(tf.constant(TEXTS)).shape


def test_a_module_can_be_continued_and_only_pairs_move_its_pooler(corpus, tmp_path):
    tiny.write_bert(tmp_path / "given", pooling="pooler", normalize=False)
    before = weights(tmp_path / "given/encoder")
    paths = [tmp_path / "given"]
    for pairs, moves in ((False, False), (True, True)):
        config = run_of(
            corpus, tmp_path / f"run{pairs}", continue_from=str(paths[-1]), next_sentence=pairs
        )
        mlm.train(config)
        paths.append(tmp_path / f"run{pairs}" / "module")
        after = weights(paths[-1] / "encoder")
        assert (after["pooler/kernel:0"] != before["pooler/kernel:0"]).any() == moves
        assert (after["layer_0/attention/qkv/kernel:0"]
                != before["layer_0/attention/qkv/kernel:0"]).any()
        notes = json.loads((tmp_path / f"run{pairs}/metrics.json").read_text())["notes"]
        assert any("does not move without --next_sentence" in note for note in notes) != pairs
    last = history(tmp_path / "runTrue")[-1]
    assert 0 <= float(last["val_next_sentence_accuracy"]) <= 1


def test_what_tf_hub_publishes_can_be_continued(corpus, tmp_path, monkeypatch, capsys):
    tiny.write_transformer(tmp_path / "given")
    monkeypatch.setattr(mlm_model, "_TABLE", re.compile("called otherwise"))
    mlm.train(run_of(corpus, tmp_path / "run", continue_from=str(tmp_path / "given")))
    before, after = (weights(tmp_path / name) for name in ("given/encoder", "run/module/encoder"))
    moved = {name for name, value in before.items() if (after[name] != value).any()}
    assert "word_embeddings/embeddings:0" in moved and "transformer/layer_1/kernel:0" in moved
    told = capsys.readouterr().out
    assert "note: the table of word pieces of given@sha256:" in told
    assert "draws its dropout without a seed" in told


def test_a_killed_run_is_resumed_as_if_it_had_not_been(corpus, tmp_path):
    tiny.write_bert(tmp_path / "given", pooling="pooler", normalize=False)
    settings = {
        "continue_from": str(tmp_path / "given"),
        "steps": 60,
        "next_sentence": True,
        "evaluations": 5,
        "checkpoint_seconds": 0.0,
    }
    whole = run_of(corpus, tmp_path / "whole", **settings)
    mlm.train(whole)
    checkpoint = tmp_path / "run" / "checkpoints" / "last.safetensors"
    flags = {"corpus": corpus, "run": tmp_path / "run", "batch_size": 8, **settings}
    arguments = [part for name, value in flags.items() for part in (f"--{name}", value)]
    code, _, _ = killed("pretrain", "mlm", *arguments, when=checkpoint.exists)
    assert code == -9 and not (tmp_path / "run" / "metrics.json").exists()
    mlm.train(dataclasses.replace(whole, run=str(tmp_path / "run"), resume=True))
    assert history(tmp_path / "run") == history(tmp_path / "whole")
    resumed, expected = (
        load_file(tmp_path / name / "checkpoints/last.safetensors") for name in ("run", "whole")
    )
    assert resumed.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(resumed[name], value)
    # a run that is done stays as it is
    mlm.train(dataclasses.replace(whole, run=str(tmp_path / "run"), resume=True))


def test_text_embeddings_are_refused(corpus, tmp_path):
    tiny.write_text_embedding(tmp_path / "given")
    config = run_of(corpus, tmp_path / "run", continue_from=str(tmp_path / "given"))
    with pytest.raises(EncoderError, match=r"trains transformers.*, a text embedding$"):
        mlm.train(config)


def test_a_vocabulary_that_is_hidden_is_an_error(corpus, tmp_path):
    tiny.write_transformer(tmp_path / "given")
    assets = tmp_path / "given/preprocess/assets/vocabulary.txt"
    assets.write_text(assets.read_text().replace("[MASK]", "[OTHER]"))
    config = run_of(corpus, tmp_path / "run", continue_from=str(tmp_path / "given"))
    expected = r"replaces word pieces by \[MASK\].*has to be built anew\. Received: .*no vocabulary"
    with pytest.raises(EncoderError, match=expected):
        mlm.train(config)


def test_rows_longer_than_the_encoder_takes_are_an_error(corpus, tmp_path):
    tiny.write_bert(tmp_path / "given")
    given = {"continue_from": str(tmp_path / "given"), "max_tokens": tiny.POSITIONS + 1}
    with pytest.raises(ConfigError, match=r"must be at most 32, .*Received: 33"):
        mlm.train(run_of(corpus, tmp_path / "run", **given))


def test_a_training_that_diverges_says_so(corpus, tmp_path):
    tiny.write_bert(tmp_path / "given")
    config = run_of(
        corpus, tmp_path / "run", continue_from=str(tmp_path / "given"), learning_rate=100.0,
        head_learning_rate=100.0, steps=400, clip_norm=1e9, weight_decay=10.0,
    )
    with pytest.raises(TrainingError, match=r"no number any more.*lower --learning_rate"):
        mlm.train(config)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"continue_from": "x", "layers": 2}, r"leave out .*Received: --layers 2"),
        ({"width": 30, "heads": 4}, "multiple of heads. Received: 30 and 4"),
        ({"max_tokens": 129}, "at most positions, 128. Received: 129"),
        ({"steps": -1}, "steps must be at least 0. Received: -1"),
        ({"mask_share": 0.95}, "mask_share must be from 0.01 to 0.9. Received: 0.95"),
    ],
)
def test_settings_that_cannot_be(settings, expected):
    with pytest.raises(ConfigError, match=expected):
        MlmConfig(corpus=("x",), **settings)


def test_rates_rise_and_fall_along_lines():
    rates = [rate_at(step, 100, 0.1, 2.0) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) * 0.2)
    np.testing.assert_allclose(np.diff(rates[10:]), -2.0 / 90)
    assert rates[-1] == pytest.approx(2.0 / 90)
    assert rate_at(0, 1, 0.0, 2.0) == 2.0

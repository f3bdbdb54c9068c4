"""Fine-tuning: batches of like length, and products in bfloat16."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import trained
from tests.encoders import tiny
from tfhub_transfer.config import Config, EncoderConfig
from tfhub_transfer.data.splits import load
from tfhub_transfer.errors import EncoderError
from tfhub_transfer.runs import Run
from tfhub_transfer.training import fine_tuning
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.fine_tuning import FineTuning

pytestmark = pytest.mark.slow

BATCH = 8


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("encoders")
    return {
        "bert": tiny.write_bert(folder / "bert", hidden_dropout_prob=0.0),
        "words": tiny.write_text_embedding(folder / "words"),
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    # one token each
    words = {"good": "praise", "bad": "blame"}
    rows = [
        (" ".join([word, *["film"] * rng.integers(0, 20), str(row)]), words[word])
        for row, word in enumerate(rng.choice(list(words), 120))
    ]
    return trained.write_csv(tmp_path_factory.mktemp("data") / "some.csv", rows)


def settings(run: Path, source: Path, encoder: Path, **training: Any) -> Config:
    training = {"strategy": "fine_tuning", "epochs": 1, "batch_size": BATCH, **training}
    config = trained.settings(run, source, training=training)
    return dataclasses.replace(config, encoder=EncoderConfig(name=str(encoder)))


def fitted(config: Config) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    keras.utils.set_random_seed(0)
    data = load(config.data, seed=config.seed)
    classifier = Classifier.build(config, data.labels, multi_label=False)
    outcome = FineTuning(config, Run(Path(str(config.run)))).fit(classifier, data)
    return outcome.progress.history, classifier.encoder.get_weights()


def test_products_in_bfloat16_move_the_weights_almost_the_same_way(tmp_path, source, encoders):
    found = {}
    for precision in ("float32", "bfloat16"):
        config = settings(tmp_path / precision, source, encoders["bert"], precision=precision)
        found[precision] = fitted(config)
    (exact,), (fast,) = (history for history, _ in found.values())
    assert exact["loss"] != fast["loss"]
    np.testing.assert_allclose(fast["loss"], exact["loss"], rtol=0.05)
    for one, other in zip(*(weights for _, weights in found.values()), strict=True):
        assert one.dtype == other.dtype
        if one.dtype == np.float32:
            np.testing.assert_allclose(one, other, atol=0.01)


def test_a_text_embedding_has_no_products_in_bfloat16(tmp_path, source, encoders):
    config = settings(tmp_path / "run", source, encoders["words"], precision="bfloat16")
    with pytest.raises(EncoderError, match=r"no function for training with bfloat16.*'bfloat16'"):
        fitted(config)


@pytest.mark.parametrize("kind", ["bert", "words"])
def test_a_transformer_s_batches_are_of_like_length(
    tmp_path, source, encoders, monkeypatch, kind
):
    seen: list[tf.data.Dataset] = []
    plain = fine_tuning.batches

    def recorded(*arguments: Any, **options: Any) -> tf.data.Dataset:
        seen.append(plain(*arguments, **options))
        return seen[-1]

    monkeypatch.setattr(fine_tuning, "batches", recorded)
    fitted(settings(tmp_path / "run", source, encoders[kind]))
    lengths = [
        [[len(text.split()) for text in texts.numpy()] for texts, *_ in dataset] for dataset in seen
    ]
    _, training = sorted(lengths, key=len)
    spread = np.mean([np.ptp(batch) for batch in training[:-1]])
    everything = np.ptp(np.concatenate(training))
    assert (spread < everything / 3) == (kind == "bert"), (spread, everything)

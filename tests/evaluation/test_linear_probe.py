"""A linear probe is logistic regression on the frozen encoder's vectors."""

from __future__ import annotations

import numpy as np
import pytest

from tests import trained
from tests.encoders import tiny
from tfhub_transfer.config import Config, DataConfig, EncoderConfig, EvaluationConfig
from tfhub_transfer.data.splits import load
from tfhub_transfer.encoders.cache import FeatureCache, features_dir
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.evaluation.baselines import baseline_rows, measure, ready_baselines


@pytest.fixture
def config(tmp_path) -> Config:
    source = trained.write_csv(tmp_path / "some.csv", trained.sentences(120))
    return Config(
        data=DataConfig(source=str(source)),
        encoder=EncoderConfig(name=str(tiny.write_text_embedding(tmp_path / "encoder"))),
        evaluation=EvaluationConfig(baselines=("linear_probe",), bootstrap=10),
    )


def test_it_learns_what_the_vectors_tell_and_uses_the_cache(config, monkeypatch, tmp_path):
    monkeypatch.setenv("TFHUB_TRANSFER_CACHE_DIR", str(tmp_path / "cache"))
    data = load(config.data, seed=0)
    probe = ready_baselines(config, data)["linear_probe"]
    train, notes = baseline_rows(config, data)
    assert notes == ()
    measured = measure(probe, config, data, train)
    assert measured.probabilities.shape == (len(data.test), 2)
    assert measured.metrics["accuracy"] > 0.8
    assert measured.metrics["n_train"] == len(data.train)
    fingerprint = HubLayer(config.encoder.name).fingerprint
    cache = FeatureCache.open(fingerprint, width=tiny.EMBEDDING_WIDTH, root=features_dir())
    assert len(cache) == len(data.train) + len(data.test)

    again = measure(probe, config, data, train)
    np.testing.assert_array_equal(again.probabilities, measured.probabilities)

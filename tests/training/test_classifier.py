"""An encoder and a head, kept in a file and found again."""

from __future__ import annotations

import dataclasses
import shutil

import keras
import numpy as np
import pytest

from tests import trained
from tests.encoders import tiny
from tfhub_transfer.config import Config, EncoderConfig
from tfhub_transfer.errors import EncoderError, RunError
from tfhub_transfer.training.classifier import Classifier

TEXTS = ["the good film", "bad", ""]


@pytest.fixture
def config(tmp_path) -> Config:
    encoder = EncoderConfig(name=str(tiny.write_text_embedding(tmp_path / "encoder")))
    return dataclasses.replace(trained.settings(tmp_path / "run", "sample"), encoder=encoder)


def saved(config: Config):
    run = trained.Run.create(config)
    run.write_config(config)
    run.write_json("metrics.json", {"labels": ["a", "b"], "multi_label": False})
    classifier = Classifier.build(config, ["a", "b"], multi_label=False)
    classifier.save(run.model_file)
    return run, classifier


def test_three_views_of_one_model(config):
    classifier = Classifier.build(config, ["a", "b"], multi_label=False)
    vectors = classifier.encoder(np.array(TEXTS, object))
    whole = classifier.model.predict(np.array(TEXTS, object), verbose=0)
    np.testing.assert_allclose(classifier.network(vectors), whole, atol=1e-6)
    np.testing.assert_allclose(classifier.from_vectors(np.asarray(vectors)), whole, atol=1e-6)
    assert classifier.from_vectors(np.empty((0, tiny.EMBEDDING_WIDTH), np.float32)).shape == (0, 2)
    classifier.network.set_weights([0 * weight for weight in classifier.network.get_weights()])
    np.testing.assert_allclose(classifier.model.predict(np.array(TEXTS, object), verbose=0), 0.5)


def test_a_saved_one_is_the_same(config):
    run, classifier = saved(config)
    again = Classifier.load(run)
    assert again.head.labels == ("a", "b")
    np.testing.assert_array_equal(*(next(c.predict([TEXTS])) for c in (classifier, again)))


def test_what_is_saved_leaves_out_the_training(config):
    run, classifier = saved(config)
    before = run.model_file.stat().st_size
    classifier.model.compile("adam", "categorical_crossentropy")
    classifier.network.compile("adam", "categorical_crossentropy")
    classifier.network.train_on_batch(np.ones((2, tiny.EMBEDDING_WIDTH)), np.eye(2))
    classifier.save(run.model_file)
    assert run.model_file.stat().st_size < before + 500, "no moments"
    model = keras.models.load_model(run.model_file)
    assert not model.compiled
    np.testing.assert_array_equal(model.get_weights()[-1], classifier.network.get_weights()[-1])


def test_predictions_follow_the_encoder_s_weights(config):
    classifier = Classifier.build(config, ["a", "b"], multi_label=False)
    before = next(classifier.predict([TEXTS]))
    for weight in classifier.encoder.movable:
        weight.assign(weight.numpy() * 3)
    assert np.abs(next(classifier.predict([TEXTS])) - before).max() > 1e-4


def test_an_encoder_that_is_gone_is_named(config, tmp_path):
    run, _ = saved(config)
    shutil.rmtree(tmp_path / "encoder")
    with pytest.raises(EncoderError, match=r"was in .*encoder and is not .*encoder@sha256:"):
        Classifier.load(run)


def test_metrics_that_do_not_say_what_is_answered(config):
    run, _ = saved(config)
    run.write_json("metrics.json", {"labels": ["a", "b"]})
    with pytest.raises(RunError, match=r"multi_label should be there\. Received: .*metrics\.json"):
        Classifier.load(run)

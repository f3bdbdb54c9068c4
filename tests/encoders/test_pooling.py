"""A transformer's tokens pooled otherwise than it does itself."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import trained
from tests.encoders import tiny
from tfhub_transfer.artifact.predictor import Predictor
from tfhub_transfer.artifact.signatures import save_classifier
from tfhub_transfer.config import Config, EncoderConfig, HeadConfig
from tfhub_transfer.encoders.bulk import BulkEncoder
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.resolve import Encoder, resolve
from tfhub_transfer.errors import EncoderError
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.heads.classification import ClassificationHead
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.published_vectors import published_vectors

pytestmark = pytest.mark.slow

TEXTS = ["the good film !", "bad", "good good good film was bad ."]
# Of one text's real tokens, float32[S, D], in NumPy.
EXPECTED = {
    "mean": lambda tokens: tokens.mean(0),
    "max": lambda tokens: tokens.max(0),
    "first": lambda tokens: tokens[0],
}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Encoder]:
    """TF Hub's kind and our own, both with a pooler; negative values make a wrong maximum seen."""
    root = tmp_path_factory.mktemp("encoders")
    tiny.write_transformer(root / "hub")
    tiny.write_bert(root / "bert", pooling="pooler")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFHUB_CACHE_DIR", str(root / "cache"))
        return {kind: resolve(root / kind) for kind in ("hub", "bert")}


@pytest.fixture(params=["hub", "bert"])
def encoder(request, encoders) -> Encoder:
    return encoders[request.param]


def pooled(layer: HubLayer, pooling: str) -> np.ndarray:
    """Return what NumPy makes of the layer's real tokens, float32[B, D]."""
    tokens = layer.preprocess(tf.constant(TEXTS))
    outputs = layer.model(tokens)
    hidden = outputs["encoder_outputs"][(layer.layers or 2) - 1].numpy()
    lengths = tokens["input_mask"].numpy().sum(1)
    rows = zip(hidden, lengths, strict=True)
    return np.stack([EXPECTED[pooling](row[:length]) for row, length in rows])


@pytest.mark.parametrize("layers", [None, 1])
@pytest.mark.parametrize("pooling", EXPECTED)
def test_the_vectors(encoder, pooling, layers):
    layer = HubLayer(encoder, pooling=pooling, layers=layers, max_tokens=6)
    expected = pooled(layer, pooling)
    np.testing.assert_allclose(layer(tf.constant(TEXTS)), expected, atol=1e-5)
    if layers is None:  # traces anew for each
        np.testing.assert_allclose(BulkEncoder(layer)(TEXTS), expected, atol=1e-5)


def test_the_published_one_is_the_encoder_s_own(encoder):
    layer = HubLayer(encoder, pooling="published")
    tokens = layer.preprocess(tf.constant(TEXTS))
    np.testing.assert_array_equal(
        layer(tf.constant(TEXTS)), layer.model(tokens)["pooled_output"]
    )
    assert layer.fingerprint == encoder.fingerprint


def test_each_has_a_cache_of_its_own(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_TRANSFER_CACHE_DIR", str(tmp_path))
    vectors = {
        pooling: published_vectors(EncoderConfig(name=str(encoder.path.parent), pooling=pooling))
        for pooling in ("published", "mean", "max", "first")
    }
    found = [of(TEXTS) for of in vectors.values()]
    assert len(list((tmp_path / "features").iterdir())) == len(found)
    assert len({row.tobytes() for row in found}) == len(found)


def test_a_pooler_has_no_part_in_it(encoder):
    layer = HubLayer(encoder, pooling="mean", trainable=True)
    assert any("pooler" in weight.path for weight in layer.weights)
    assert not any("pooler" in weight.path for weight in layer.movable)
    text = keras.Input((), dtype="string")
    model = keras.Model(text, keras.layers.Dense(1)(layer(text)))
    model.trainable = True  # lets all of its layers' weights move that can
    before = {weight.path: weight.numpy() for weight in layer.weights}
    model.compile(keras.optimizers.SGD(0.1), "mse")
    # a weight without a gradient would be warned of
    model.train_on_batch(tf.constant(TEXTS), np.ones((3, 1), np.float32))
    moved = {w.path for w in layer.weights if not np.array_equal(w.numpy(), before[w.path])}
    assert any("layer_1" in path for path in moved)
    assert not any("pooler" in path for path in moved)


def test_its_configuration_makes_it_again(encoder):
    layer = HubLayer(encoder, pooling="max", name="again")
    again = HubLayer.from_config({**layer.get_config(), "encoder": encoder})
    assert again.pooling == "max"
    np.testing.assert_array_equal(again(tf.constant(TEXTS)), layer(tf.constant(TEXTS)))
    older = {k: v for k, v in layer.get_config().items() if k != "pooling"}
    assert HubLayer.from_config({**older, "encoder": encoder}).pooling == "published"


def test_an_export_pools_the_same(encoder, tmp_path):
    layer = HubLayer(encoder, pooling="max", name="encoder")
    network = (head := ClassificationHead(HeadConfig(hidden=()), ("a", "b"))).network(layer.width)
    save_classifier(layer, head, network, tmp_path / "1")
    answers = Predictor.load(tmp_path / "1")(TEXTS)
    expected = network(pooled(layer, "max"))
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)


def test_a_run_has_it(encoders, tmp_path):
    source = trained.write_csv(tmp_path / "some.csv", trained.sentences(60))
    path = str(encoders["hub"].path.parent)
    config: Config = trained.settings(tmp_path / "run", source, training={"epochs": 1})
    config = dataclasses.replace(config, encoder=EncoderConfig(name=path, pooling="first"))
    classifier = Classifier.load(run_experiment(config))
    assert classifier.encoder.pooling == "first"


@pytest.mark.parametrize("pooling", EXPECTED)
def test_a_text_embedding_has_no_tokens(tmp_path, pooling):
    encoder = tiny.write_text_embedding(tmp_path / "words")
    with pytest.raises(
        EncoderError, match=rf"is for the tokens of a transformer.*text embedding.*: '{pooling}'"
    ):
        HubLayer(encoder, pooling=pooling)


def test_no_such_pooling(encoders):
    with pytest.raises(EncoderError, match=r"'published', 'mean', 'max', 'first'\. .*: 'sum'"):
        HubLayer(encoders["hub"], pooling="sum")
    with pytest.raises(EncoderError, match=r"output='sequence' gives as they are.*: 'mean'"):
        HubLayer(encoders["hub"], output="sequence", pooling="mean")

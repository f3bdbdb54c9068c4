"""A transformer's first layers: what they give, what moves, and what is written of them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.encoders import tiny
from tfhub_transfer.artifact.predictor import Predictor
from tfhub_transfer.artifact.signatures import save_classifier
from tfhub_transfer.config import HeadConfig
from tfhub_transfer.encoders.bulk import BulkEncoder
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.resolve import Encoder, resolve
from tfhub_transfer.errors import EncoderError
from tfhub_transfer.heads.classification import ClassificationHead

pytestmark = pytest.mark.slow

TEXTS = tf.constant(["the good film !", "bad", "good good good film was bad ."])


def encoder_of(root, kind: str, **options) -> Encoder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFHUB_CACHE_DIR", str(root / "encoders"))
        write = tiny.write_transformer if kind == "hub" else tiny.write_bert
        return resolve(write(root / "-".join([kind, *map(str, options.values())]), **options))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> dict[str, Encoder]:
    root = tmp_path_factory.getbasetemp()
    return {kind: encoder_of(root, kind) for kind in ("hub", "bert")}


@pytest.fixture(params=["hub", "bert"])
def encoder(request, encoders) -> Encoder:
    return encoders[request.param]


def first_of(layer: HubLayer) -> tuple[np.ndarray, np.ndarray]:
    """Return the first layer's output and the mask."""
    tokens = layer.preprocess(TEXTS)
    return layer.model(tokens)["encoder_outputs"][0].numpy(), tokens["input_mask"].numpy()


def mean_of(hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
    weights = mask[..., np.newaxis]
    return (hidden * weights).sum(1) / weights.sum(1)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_the_vectors_are_those_of_the_layer(encoder):
    layer = HubLayer(encoder, layers=1)
    expected = mean_of(*first_of(layer))
    # a BERT that has a pooler is read by the mean, as one without; this one's vectors have length 1
    expected = expected if encoder.path.parent.name == "hub" else unit(expected)
    np.testing.assert_allclose(layer(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(BulkEncoder(layer)(["bad"])[0], expected[1], atol=1e-5)
    assert HubLayer(encoder).fingerprint != layer.fingerprint


@pytest.mark.parametrize(
    ("pooling", "normalize", "expected"),
    [
        ("cls", True, lambda hidden, mask: unit(hidden[:, 0])),
        ("cls", False, lambda hidden, mask: hidden[:, 0]),
        ("mean", False, mean_of),
        ("pooler", False, mean_of),
    ],
)
def test_pooling_is_the_encoder_s_own(tmp_path, pooling, normalize, expected):
    encoder = encoder_of(tmp_path, "bert", pooling=pooling, normalize=normalize)
    layer = HubLayer(encoder, layers=1)
    np.testing.assert_allclose(layer(TEXTS), expected(*first_of(layer)), atol=1e-5)


def test_all_layers_are_the_encoder(encoders):
    whole, cut = HubLayer(encoders["bert"]), HubLayer(encoders["bert"], layers=2)
    np.testing.assert_allclose(cut(TEXTS), whole(TEXTS), atol=1e-5)
    assert cut.depth == whole.depth == 2


def test_bfloat16(encoders):
    layer = HubLayer(encoders["bert"], layers=1)
    vectors = BulkEncoder(layer, "bfloat16")(["bad", "the good film !"])
    np.testing.assert_allclose(vectors, layer(tf.constant(["bad", "the good film !"])), atol=0.05)


def test_the_sequence(encoder):
    layer = HubLayer(encoder, layers=1, output="sequence")
    hidden, mask = first_of(layer)
    np.testing.assert_allclose(layer(TEXTS), hidden * mask[..., np.newaxis], atol=1e-6)


def test_only_the_first_layers_move(encoder):
    layer = HubLayer(encoder, layers=1, trainable=True)
    paths = [weight.path for weight in layer.trainable_weights]
    assert paths
    assert not [path for path in paths if "layer_1" in path or "pooler" in path]
    assert layer.depth == 1
    before = {weight.path: weight.numpy() for weight in layer.weights}
    text = keras.Input((), dtype="string")
    model = keras.Model(text, keras.layers.Dense(1)(layer(text)))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.train_on_batch(TEXTS, np.ones((3, 1), np.float32))
    moved = {w.path for w in layer.weights if not np.array_equal(w.numpy(), before[w.path])}
    assert set(paths) - moved <= {"embeddings/position/embeddings", "embeddings/type/embeddings"}
    assert moved - set(paths) <= {"dropout_state"}
    with pytest.raises(EncoderError, match=r"No weight .*: 'layer_1'"):
        layer.move("layer_1")


def test_a_model_around_it_lets_no_others_move(encoder):
    text = keras.Input((), dtype="string")
    layer = HubLayer(encoder, layers=1, trainable=True)
    model = keras.Model(text, layer(text))
    before = [weight.path for weight in layer.trainable_weights]
    model.trainable = True  # as `fit` does, which warns of weights without a gradient
    assert [weight.path for weight in layer.trainable_weights] == before


def test_dropout_is_applied_anew_in_each_call(encoder):
    layer = HubLayer(encoder, layers=1, trainable=True)
    one, other = (layer(TEXTS, training=True).numpy() for _ in range(2))
    assert not np.array_equal(one, other)


def test_its_configuration_makes_it_again(encoder):
    layer = HubLayer(encoder, layers=1, name="again")
    config = layer.get_config()
    assert config["layers"] == 1
    again = HubLayer.from_config({**config, "encoder": encoder})
    np.testing.assert_array_equal(again(TEXTS), layer(TEXTS))


def test_an_export_holds_the_first_layers_alone(encoder, tmp_path):
    layer = HubLayer(encoder, layers=1, name="encoder")
    head = ClassificationHead(HeadConfig(hidden=(), bottleneck=3), ("a", "b"))
    network = head.network(layer.width)
    size = save_classifier(layer, head, network, tmp_path / "1")
    moved = [*layer.movable, *network.weights]
    assert size == sum(weight.numpy().nbytes for weight in moved)
    answers = Predictor.load(tmp_path / "1")([text.decode() for text in TEXTS.numpy()])
    np.testing.assert_allclose(answers["probabilities"], network(layer(TEXTS)), atol=1e-5)


@pytest.mark.parametrize("layers", [0, 3])
def test_more_layers_than_there_are(encoders, layers):
    with pytest.raises(EncoderError, match=rf"has 2 layers: encoder\.layers .* Received: {layers}"):
        HubLayer(encoders["bert"], layers=layers)


def test_a_text_embedding_has_none(tmp_path):
    encoder = tiny.write_text_embedding(tmp_path / "words")
    with pytest.raises(EncoderError, match=r"is a text embedding without layers.* Received: 1"):
        HubLayer(encoder, layers=1)

"""The written SavedModel answers as the Keras model does, and as TensorFlow Serving wants it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from tests.encoders import tiny
from tfhub_transfer.artifact.predictor import Predictor
from tfhub_transfer.artifact.signatures import save_classifier, without_activation
from tfhub_transfer.config import HeadConfig
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import ArtifactError
from tfhub_transfer.heads.classification import ClassificationHead

pytestmark = pytest.mark.slow

TEXTS = ["good film", "", "the bad film was bad !", "nul \x00", "电影", "good " * 5_000]
WRITERS = {
    "text_embedding": tiny.write_text_embedding,
    "transformer": tiny.write_transformer,
    "bert": tiny.write_bert,
}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    made = {}

    def encoder(kind: str) -> HubLayer:
        if kind not in made:
            made[kind] = WRITERS[kind](tmp_path_factory.mktemp(kind) / "encoder")
        return HubLayer(made[kind], name="encoder")

    return encoder


def trained(encoder, labels=("good", "poor", "other"), *, several=False, hidden=(6,)):
    """Return a head, its network with random weights, and the strings-in Keras model of both."""
    head = ClassificationHead(HeadConfig(hidden=hidden), labels, multi_label=several)
    network = head.network(encoder.width)
    draw = np.random.default_rng(0)
    network.set_weights([draw.normal(0, 1.5, w.shape) for w in network.get_weights()])
    text = keras.Input((), dtype="string")
    return head, network, keras.Model(text, network(encoder(text)))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("kind", WRITERS)
def test_answers_are_the_keras_model_s(encoders, tmp_path, kind, several):
    encoder = encoders(kind)
    head, network, model = trained(encoder, several=several)
    save_classifier(encoder, head, network, tmp_path / "1")
    expected = model(tf.constant(TEXTS), training=False).numpy()
    answers = Predictor.load(tmp_path / "1")(TEXTS)
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-6)
    decoded = head.decode(expected)
    labels = ["|".join(d["label"]) if several else d["label"] for d in decoded]
    assert [label.decode() for label in answers["label"]] == labels
    np.testing.assert_allclose(answers["score"], [d["score"] for d in decoded], atol=1e-5)


def test_moved_encoder_weights_are_the_ones_written(encoders, tmp_path):
    encoder = encoders("text_embedding")
    head, network, model = trained(encoder)
    before = model(tf.constant(TEXTS)).numpy()
    encoder.movable[0].assign(encoder.movable[0] * 2.0)
    save_classifier(encoder, head, network, tmp_path / "1")
    found = Predictor.load(tmp_path / "1")(TEXTS)["probabilities"]
    np.testing.assert_allclose(found, model(tf.constant(TEXTS)).numpy(), atol=1e-6)
    assert np.abs(found - before).max() > 1e-3


@pytest.mark.parametrize("several", [False, True])
def test_the_temperature_is_in_the_graph(encoders, tmp_path, several):
    encoder = encoders("text_embedding")
    head, network, _ = trained(encoder, several=several)
    save_classifier(encoder, head, network, tmp_path / "1", temperature=2.5)
    logits = without_activation(network)(encoder(tf.constant(TEXTS))).numpy() / 2.5
    expected = special.expit(logits) if several else special.softmax(logits, axis=1)
    found = Predictor.load(tmp_path / "1")(TEXTS)["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_below_the_threshold_the_label_is_unknown(encoders, tmp_path):
    encoder = encoders("text_embedding")
    head, network, _ = trained(encoder)
    save_classifier(encoder, head, network, tmp_path / "all")
    plain = Predictor.load(tmp_path / "all")(TEXTS)
    threshold = float(np.median(plain["score"]))
    save_classifier(encoder, head, network, tmp_path / "1", threshold=threshold)
    found = Predictor.load(tmp_path / "1")(TEXTS)
    expected = np.where(plain["score"] < threshold, b"unknown", plain["label"])
    assert found["label"].tolist() == expected.tolist()
    assert b"unknown" in found["label"]
    np.testing.assert_array_equal(found["score"], plain["score"])


def example(**features: bytes) -> bytes:
    named = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for name, value in features.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=named)).SerializeToString()


def test_classify_takes_tf_examples(encoders, tmp_path):
    encoder = encoders("bert")
    head, network, model = trained(encoder)
    save_classifier(encoder, head, network, tmp_path / "1")
    predictor = Predictor.load(tmp_path / "1")
    requests = [example(text=text.encode(), other=b"ignored") for text in TEXTS]
    answers = predictor.run(requests, "classify")
    np.testing.assert_allclose(answers["scores"], model(tf.constant(TEXTS)).numpy(), atol=1e-6)
    assert answers["classes"].tolist() == [[b"good", b"poor", b"other"]] * len(TEXTS)
    for broken in (b"no example", example(words=b"good")):
        with pytest.raises(tf.errors.InvalidArgumentError):
            predictor.run([requests[0], broken], "classify")


def test_the_contract_with_tensorflow_serving(encoders, tmp_path):
    encoder = encoders("text_embedding")
    head, network, _ = trained(encoder)
    save_classifier(encoder, head, network, tmp_path / "1")
    predictor = Predictor.load(tmp_path / "1")
    default, classify = (predictor.signatures[n] for n in ("serving_default", "classify"))
    assert (default.method, default.inputs) == ("tensorflow/serving/predict", ("text",))
    assert default.outputs == ("label", "probabilities", "score")
    assert (classify.method, classify.inputs) == ("tensorflow/serving/classify", ("inputs",))
    assert classify.outputs == ("classes", "scores")
    kinds = {name: (info.dtype, info.tensor_shape.dim[0].size, len(info.tensor_shape.dim))
             for name, info in default.definition.outputs.items()}
    assert kinds == {
        "label": (tf.string.as_datatype_enum, -1, 1),
        "score": (tf.float32.as_datatype_enum, -1, 1),
        "probabilities": (tf.float32.as_datatype_enum, -1, 2),
    }
    assert (tmp_path / "1/assets/labels.txt").read_text() == "good\npoor\nother\n"
    assert predictor.labels == ("good", "poor", "other")


@pytest.mark.parametrize("kind", WRITERS)
def test_each_weight_is_written_once(encoders, tmp_path, kind):
    encoder = encoders(kind)
    head, network, _ = trained(encoder, hidden=(512,))
    weights = save_classifier(encoder, head, network, tmp_path / "1")
    written = (tmp_path / "1/variables/variables.data-00000-of-00001").stat().st_size
    # `model.variables` has a counter besides, where dropout is
    own = sum(weight.numpy().nbytes for weight in encoder.movable)
    assert weights == own + sum(weight.nbytes for weight in network.get_weights())
    # checkpoints hold a graph of the objects besides the values
    assert weights <= written < weights + 5_000


def test_what_only_training_calls_is_left_behind(encoders, tmp_path):
    encoder = encoders("transformer")  # has dropout without a seed when trained
    head, network, _ = trained(encoder)
    save_classifier(encoder, head, network, tmp_path / "1")
    graph = (tmp_path / "1/saved_model.pb").read_bytes()
    assert b"RandomUniform" in (encoder.encoder.path / "saved_model.pb").read_bytes()
    assert b"RandomUniform" not in graph


def test_a_transformer_takes_token_ids_too(encoders, tmp_path):
    encoder = encoders("bert")
    head, network, model = trained(encoder)
    save_classifier(encoder, head, network, tmp_path / "1")
    tokens = encoder.preprocess(tf.constant(TEXTS))
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    found = loaded.from_tokens(tokens)
    np.testing.assert_allclose(found, model(tf.constant(TEXTS)), atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "options", "text"),
    [
        (("good", "two\nlines"), {}, r"no label may be empty or hold a line break.*two\\nlines"),
        (("good", ""), {}, r"no label may be empty.*Received: ''"),
        (("good", "unknown"), {"threshold": 0.5}, r"labelled 'unknown', and a class has that name"),
    ],
)
def test_labels_that_an_artifact_cannot_hold(encoders, tmp_path, labels, options, text):
    encoder = encoders("text_embedding")
    head, network, _ = trained(encoder, labels)
    with pytest.raises(ArtifactError, match=text):
        save_classifier(encoder, head, network, tmp_path / "1", **options)
    assert not list(tmp_path.iterdir())


def test_no_threshold_for_several_labels(encoders, tmp_path):
    encoder = encoders("text_embedding")
    head, network, _ = trained(encoder, several=True)
    with pytest.raises(ArtifactError, match="for labels that exclude each other"):
        save_classifier(encoder, head, network, tmp_path / "1", threshold=0.5)

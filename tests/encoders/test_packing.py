"""How many tokens of a text a transformer reads, where that is chosen."""

from __future__ import annotations

import functools
from typing import Any

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

TEXTS = ["the good film !", "", "bad", "a b c d e f g h i j k l m n o p q r s t u v w x y z"]
SPECIAL = tuple(tiny.VOCABULARY.index(piece) for piece in ("[CLS]", "[SEP]", "[PAD]"))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> dict[str, Encoder]:
    root = tmp_path_factory.mktemp("encoders")
    writers = (tiny.write_transformer, tiny.write_bert, tiny.write_text_embedding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFHUB_CACHE_DIR", str(root / "cache"))
        return {write.__name__: resolve(write(root / write.__name__)) for write in writers}


@pytest.fixture(params=["write_transformer", "write_bert"])
def encoder(request, encoders) -> Encoder:
    return encoders[request.param]


@functools.cache
def layer_of(encoder: Encoder, **options: Any) -> HubLayer:
    """Load an encoder once for the tests that change nothing of it."""
    return HubLayer(encoder, **options)


def rows(layer: HubLayer) -> list[list[int]]:
    """Return the ids of each text, without padding."""
    tokens = layer.preprocess(tf.constant(TEXTS))
    ids, mask = tokens["input_word_ids"].numpy(), tokens["input_mask"].numpy()
    assert not tokens["input_type_ids"].numpy().any()
    assert (ids[mask == 0] == SPECIAL[2]).all()
    return [row[: int(kept.sum())].tolist() for row, kept in zip(ids, mask, strict=True)]


def test_the_preprocessors_own_limit_gives_its_own_tokens(encoder):
    own = rows(layer_of(encoder))
    assert rows(layer_of(encoder, max_tokens=max(map(len, own)))) == own


@pytest.mark.parametrize("max_tokens", [3, 5, 28])
def test_texts_are_cut_between_the_special_tokens(encoder, encoders, max_tokens):
    start, end, _ = SPECIAL
    tokenize = layer_of(encoders["write_bert"]).loaded[0].tokenize
    expected = [
        [start, *ids[: max_tokens - 2], end] for ids in tokenize(tf.constant(TEXTS)).to_list()
    ]
    assert rows(layer_of(encoder, max_tokens=max_tokens)) == expected


@pytest.mark.parametrize(("truncation", "kept"), [("tail", "vwxyz"), ("ends", "awxyz")])
def test_what_is_left_of_a_long_text(encoder, truncation, kept):
    layer = layer_of(encoder, max_tokens=7, truncation=truncation)
    letters = [tiny.VOCABULARY.index(letter) for letter in kept]
    short, empty, single, long = rows(layer)
    assert long == [SPECIAL[0], *letters, SPECIAL[1]]
    assert [short, empty, single] == rows(layer_of(encoder, max_tokens=7))[:3]


def test_no_texts(encoder):
    vectors = layer_of(encoder, max_tokens=5)(tf.constant([], tf.string))
    assert vectors.shape[0] == 0


def test_what_is_cut_off_changes_nothing(encoder):
    layer = layer_of(encoder, max_tokens=5)
    long, short = layer(tf.constant(["good bad film !", "good bad film was the"])).numpy()
    np.testing.assert_allclose(long, short, atol=1e-6)
    whole = layer_of(encoder)(tf.constant(["good bad film !", "good bad film was the"])).numpy()
    assert np.abs(whole[0] - whole[1]).max() > 1e-3


def test_bulk_encoding_and_the_first_layers_cut_alike(encoder):
    for layer in (layer_of(encoder, max_tokens=6), layer_of(encoder, max_tokens=6, layers=1)):
        np.testing.assert_allclose(BulkEncoder(layer)(TEXTS), layer(tf.constant(TEXTS)), atol=1e-5)


def test_cached_vectors_are_those_of_the_limit(encoder):
    prints = {layer_of(encoder, max_tokens=limit).fingerprint for limit in (None, 6, 7)}
    assert len(prints) == 3


def test_a_saved_model_cuts_as_before(tmp_path):
    layer = HubLayer(tiny.write_bert(tmp_path / "bert"), max_tokens=6, name="encoder")
    text = keras.Input((), dtype="string", name="text")
    model = keras.Model(text, keras.layers.Dense(2)(layer(text)))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.get_layer("encoder").max_tokens == 6
    np.testing.assert_allclose(again(tf.constant(TEXTS)), model(tf.constant(TEXTS)), atol=1e-6)


def test_an_export_cuts_as_trained(encoder, tmp_path):
    layer = HubLayer(encoder, max_tokens=6, name="encoder")
    head = ClassificationHead(HeadConfig(hidden=()), ("bad", "good"))
    network = head.network(layer.width)
    save_classifier(layer, head, network, tmp_path / "1")
    answers = Predictor.load(tmp_path / "1")(TEXTS)
    expected = network(layer(tf.constant(TEXTS)))
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)


@pytest.mark.parametrize("max_tokens", [2, tiny.POSITIONS + 1])
def test_no_room(encoders, max_tokens):
    with pytest.raises(
        EncoderError,
        match=rf"between 3 and the {tiny.POSITIONS} positions.* Received: {max_tokens}",
    ):
        HubLayer(encoders["write_bert"], max_tokens=max_tokens)


def test_a_text_embedding_reads_all(encoders):
    with pytest.raises(EncoderError, match=r"a text embedding, which reads all.* Received: 64"):
        HubLayer(encoders["write_text_embedding"], max_tokens=64)

"""The vectors of many words are those of the layer."""

from __future__ import annotations

import random

import numpy as np
import pytest
import tensorflow as tf

from tests.encoders import tiny
from tfhub_transfer.encoders import bulk, bulk_words
from tfhub_transfer.encoders.bulk_words import BulkWordEncoder
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.resolve import Encoder, resolve
from tfhub_transfer.encoders.word_pieces import as_inputs
from tfhub_transfer.errors import EncoderError


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> dict[str, Encoder]:
    root = tmp_path_factory.mktemp("encoders")
    kinds = {
        "text_embedding": tiny.write_text_embedding,
        "transformer": tiny.write_transformer,
        "bert": tiny.write_bert,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFHUB_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "encoders"))
        return {kind: resolve(write(root / kind)) for kind, write in kinds.items()}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Of no word to 50, so that some are read in windows."""
    draw = random.Random(0)
    lengths = [0, 1, 2, 5, 50]
    return [
        " ".join(draw.choice(tiny.VOCABULARY[5:]) for _ in range(draw.choice(lengths)))
        for _ in range(30)
    ]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(bulk, "_BATCH_TOKENS", 64)
    monkeypatch.setattr(bulk_words, "_TEXTS", 7)


def check(layer: HubLayer, texts, lengths: list[int], fronts: int) -> None:
    vectors, found = BulkWordEncoder(layer)(texts)
    assert vectors.dtype == np.float16
    assert found.dtype == np.int64
    assert found.tolist() == [length + fronts for length in lengths]
    expected = layer(as_inputs(texts)).numpy()
    mine = np.zeros(expected.shape, np.float32)
    for text, (end, length) in enumerate(zip(found.cumsum(), found, strict=True)):
        mine[text, :length] = vectors[end - length : end]
    np.testing.assert_allclose(mine, expected, rtol=2e-3, atol=1e-3)  # half precision


@pytest.mark.parametrize("output", ["words", "text_and_words"])
@pytest.mark.parametrize("kind", ["text_embedding", "transformer", "bert"])
def test_as_the_layer_has_them(encoders, texts, kind, output):
    layer = HubLayer(encoders[kind], output=output)
    lengths = [len(text.split()) for text in texts]
    check(layer, texts, lengths, fronts=int(output == "text_and_words"))


def test_questions(encoders, texts):
    layer = HubLayer(encoders["bert"], output="words")
    pairs = [*zip(texts[::-1], texts, strict=True)]
    check(layer, pairs, [len(text.split()) for text in texts], fronts=1)


def test_no_texts(encoders):
    for encoder in encoders.values():
        vectors, lengths = BulkWordEncoder(HubLayer(encoder, output="words"))([])
        assert vectors.shape == (0, HubLayer(encoder).width)
        assert lengths.shape == (0,)
        assert (vectors.dtype, lengths.dtype) == (np.float16, np.int64)


def test_bfloat16_products(encoders, texts):
    layer = HubLayer(encoders["bert"], output="words")
    exact, _ = BulkWordEncoder(layer)(texts)
    fast, _ = BulkWordEncoder(layer, "bfloat16")(texts)
    difference = np.abs(exact.astype(np.float32) - fast)
    assert 0 < difference.max() < 0.2
    with pytest.raises(EncoderError, match=r"no bfloat16 products.* Received: 'bfloat16'"):
        BulkWordEncoder(HubLayer(encoders["transformer"], output="words"), "bfloat16")


def test_with_the_weights_of_now(encoders):
    layer = HubLayer(encoders["text_embedding"], output="words").copy()
    encode = BulkWordEncoder(layer)
    before, _ = encode(["good film"])
    layer.movable[0].assign(layer.movable[0] * 2)
    after, _ = encode(["good film"])
    np.testing.assert_allclose(after, 2 * before, rtol=1e-2)
    assert tf.reduce_any(after != before)


def test_a_layer_without_words(encoders):
    with pytest.raises(EncoderError, match=r"'words' or 'text_and_words'\. Received: 'pooled'"):
        BulkWordEncoder(HubLayer(encoders["bert"]))

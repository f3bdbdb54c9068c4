from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.encoders import tiny
from tfhub_transfer.encoders import bulk
from tfhub_transfer.encoders.bulk import BulkEncoder
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import EncoderError


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, HubLayer]]:
    root = tmp_path_factory.mktemp("encoders")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFHUB_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "encoders"))
        yield {
            "text_embedding": HubLayer(tiny.write_text_embedding(root / "text_embedding")),
            "transformer": HubLayer(tiny.write_transformer(root / "transformer")),
            "bert": HubLayer(tiny.write_bert(root / "bert")),
        }


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Of very different lengths, all distinct, in no order."""
    chance = random.Random(0)
    return [
        " ".join(chance.choice(tiny.VOCABULARY[5:]) for _ in range(chance.choice([0, 1, 3, 40])))
        + f" {number}"
        for number in range(60)
    ]


@pytest.mark.parametrize("kind", ["text_embedding", "transformer", "bert"])
@pytest.mark.parametrize("window", [7, 4096])
def test_as_the_layer_has_it_and_in_order(
    layers: dict[str, HubLayer],
    texts: list[str],
    kind: str,
    window: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk, "_WINDOW", window)
    monkeypatch.setattr(bulk, "_EMBEDDING_BATCH", window)
    monkeypatch.setattr(bulk, "_BATCH_TOKENS", 64)  # many batches, some of one text
    layer = layers[kind]
    vectors = BulkEncoder(layer)(texts)
    assert vectors.dtype == np.float32
    expected = np.concatenate([layer(tf.constant([text])) for text in texts])
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-6)


def test_no_text(layers: dict[str, HubLayer]) -> None:
    for layer in layers.values():
        vectors = BulkEncoder(layer)([])
        assert vectors.shape == (0, layer.width)
        assert vectors.dtype == np.float32


def test_bfloat16_products_are_close(layers: dict[str, HubLayer], texts: list[str]) -> None:
    exact = BulkEncoder(layers["bert"])(texts)
    fast = BulkEncoder(layers["bert"], "bfloat16")(texts)
    assert fast.dtype == np.float32
    assert 0 < np.abs(fast - exact).max() < 0.1
    assert (exact * fast).sum(axis=1).min() > 0.995  # cosine: the vectors have length one


@pytest.mark.parametrize("kind", ["text_embedding", "transformer"])
def test_bfloat16_where_there_is_no_such_function(layers: dict[str, HubLayer], kind: str) -> None:
    with pytest.raises(EncoderError, match=r"no bfloat16 products: .*Received: 'bfloat16'"):
        BulkEncoder(layers[kind], "bfloat16")


def test_a_mixed_policy_does_not_round_the_vectors(
    layers: dict[str, HubLayer], texts: list[str]
) -> None:
    layer = layers["bert"]
    mixed = HubLayer(layer.encoder, dtype="mixed_float16")
    np.testing.assert_array_equal(BulkEncoder(mixed)(texts), BulkEncoder(layer)(texts))


def test_a_layer_of_sequences(layers: dict[str, HubLayer]) -> None:
    sequences = HubLayer(layers["transformer"].encoder, output="sequence")
    with pytest.raises(EncoderError, match=r"one vector per text.* Received: 'sequence'"):
        BulkEncoder(sequences)


def test_with_the_weights_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    layer = HubLayer(tiny.write_text_embedding(tmp_path / "encoder"))
    encode = BulkEncoder(layer)
    before = encode(["good film"])
    layer.movable[0].assign(layer.movable[0] * 2)
    np.testing.assert_allclose(encode(["good film"]), 2 * before, rtol=1e-6)


def test_an_error_in_a_worker_comes_out(
    layers: dict[str, HubLayer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(inputs: object) -> None:
        raise RuntimeError("out of order")

    encode = BulkEncoder(layers["text_embedding"])
    monkeypatch.setattr(encode, "_model", fail)
    with pytest.raises(RuntimeError, match="out of order"):
        encode(["good"] * 5000)

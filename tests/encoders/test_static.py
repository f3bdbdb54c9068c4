from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub

from tests.encoders import tiny
from tfhub_transfer.encoders import static
from tfhub_transfer.encoders.handles import packaged_archive
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.resolve import resolve
from tfhub_transfer.errors import EncoderError

TEXTS = ["the good film", "", "bad !", "the good film " * 40]
WIDTH = 8


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("encoders")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFHUB_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "encoders"))
        yield root


@pytest.fixture(scope="module")
def bert(root: Path) -> Path:
    return tiny.write_bert(root / "bert")


@pytest.fixture(scope="module")
def distilled(root: Path, bert: Path) -> HubLayer:
    static.build(resolve(bert), root / "distilled", width=WIDTH)
    return HubLayer(root / "distilled")


def test_a_text_is_the_mean_of_its_tokens_at_length_one(distilled: HubLayer, bert: Path) -> None:
    table = distilled.weights[0].numpy()
    assert table.shape == (len(tiny.VOCABULARY), WIDTH)
    vectors = distilled(tf.constant(TEXTS)).numpy()
    tokens = tf.saved_model.load(str(bert / "preprocess")).tokenize(tf.constant(TEXTS)).to_list()
    for vector, ids in zip(vectors, tokens, strict=True):
        if not ids:
            continue
        mean = table[ids].mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), rtol=0, atol=1e-6)


def test_a_text_without_tokens_is_zero(distilled: HubLayer) -> None:
    np.testing.assert_array_equal(distilled(tf.constant(["", "  "])), np.zeros((2, WIDTH)))
    assert distilled(tf.constant([], tf.string)).shape == (0, WIDTH)


def test_plain_hub_load_and_serving_take_it(distilled: HubLayer) -> None:
    model = hub.load(str(distilled.encoder.path))
    assert len(model.trainable_variables) == 1
    expected = distilled(tf.constant(TEXTS))
    np.testing.assert_array_equal(model(tf.constant(TEXTS)), expected)
    served = model.signatures["serving_default"](text=tf.constant(TEXTS))
    np.testing.assert_array_equal(served["output_0"], expected)


def test_the_gradient_reaches_the_tokens_of_the_text_only(distilled: HubLayer) -> None:
    table = distilled.model.trainable_variables[0]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(distilled.vectors(tf.constant(["good film", ""]))[:, 0])
    gradient = tf.convert_to_tensor(tape.gradient(loss, table)).numpy()
    touched = {int(row) for row in np.flatnonzero(np.abs(gradient).sum(axis=1))}
    assert touched == {tiny.VOCABULARY.index("good"), tiny.VOCABULARY.index("film")}
    assert np.isfinite(gradient).all()


def test_the_table_is_the_transformers_principal_components(
    distilled: HubLayer, bert: Path
) -> None:
    transformer = HubLayer(resolve(bert))
    start, end = (tiny.VOCABULARY.index(piece) for piece in ("[CLS]", "[SEP]"))
    ids = np.array([[start, token, end] for token in range(len(tiny.VOCABULARY))], np.int32)
    tokens = {
        "input_word_ids": tf.constant(ids),
        "input_mask": tf.ones_like(ids),
        "input_type_ids": tf.zeros_like(ids),
    }
    vectors = transformer(tokens).numpy().astype(np.float64)
    rank = 1 / (np.arange(len(vectors)) + 2.7)
    rarity = 1e-3 / (1e-3 + rank / rank.sum())
    centred = vectors - vectors.mean(axis=0)
    eigenvalues, directions = np.linalg.eigh(centred.T @ centred)
    expected = centred @ directions[:, np.argsort(-eigenvalues)[:WIDTH]] * rarity[:, None]
    # each component's sign is free
    received = distilled.weights[0].numpy()
    np.testing.assert_allclose(np.abs(received), np.abs(expected), rtol=0, atol=1e-5)


def test_from_a_transformer_of_tf_hubs_making(root: Path) -> None:
    # its tokenizer gives a word axis more, and uses a lookup table that reads a file
    source = tiny.write_transformer(root / "transformer")
    static.build(resolve(source), root / "from_hub", width=WIDTH)
    expected = HubLayer(root / "from_hub")(tf.constant(TEXTS)).numpy()
    assert np.linalg.norm(expected, axis=1).round(5).tolist() == [1, 0, 1, 1]
    # nothing outside of it is needed
    shutil.rmtree(source)
    shutil.move(root / "from_hub", root / "moved")
    np.testing.assert_array_equal(HubLayer(root / "moved")(tf.constant(TEXTS)), expected)


def test_rounded_values_take_few_bits(root: Path, bert: Path, distilled: HubLayer) -> None:
    static.build(resolve(bert), root / "rounded", width=WIDTH, bits=8)
    layer = HubLayer(root / "rounded")
    table, exact = layer.weights[0].numpy(), distilled.weights[0].numpy()
    step = np.abs(table[table != 0]).min()
    assert len(np.unique(table)) <= 256
    assert np.abs(table).max() <= 127 * step
    np.testing.assert_array_equal(table / step, np.round(table / step))
    assert np.abs(table - exact).max() <= step / 2
    cosines = np.sum(layer(tf.constant(TEXTS)) * distilled(tf.constant(TEXTS)), axis=1)
    assert cosines[[0, 2, 3]].min() > 0.99


def test_what_cannot_be_distilled(root: Path, bert: Path) -> None:
    embedding = resolve(tiny.write_text_embedding(root / "embedding"))
    with pytest.raises(EncoderError, match=r"distilled from a transformer\. Received: embedding@"):
        static.build(embedding, root / "no", width=4)
    with pytest.raises(EncoderError, match=r"vectors of 16; .*Received: width 17"):
        static.build(resolve(bert), root / "no", width=17)
    assert not (root / "no").exists()


class TestThePackagedOne:
    def test_it_is_small_and_its_checksum_is_there(self) -> None:
        archive = packaged_archive("minilm-static")
        assert archive.stat().st_size <= 8_000_000
        checksum = archive.with_name(f"{archive.name}.sha256").read_text(encoding="utf-8")
        assert checksum.split() == [hashlib.sha256(archive.read_bytes()).hexdigest(), archive.name]

    def test_it_needs_no_network_and_no_cache(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "empty"))
        layer = HubLayer("minilm-static", offline=True)
        assert layer.width == 256
        assert layer.get_config()["encoder"] == "minilm-static"
        good, fine, soil = layer(tf.constant(["a great film", "an excellent movie", "wet soil"]))
        assert np.dot(good, fine) > np.dot(good, soil) + 0.2
        np.testing.assert_array_equal(layer(tf.constant([""])), np.zeros((1, 256)))

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from tests.encoders import tiny
from tfhub_transfer.encoders import bert, store
from tfhub_transfer.encoders.bulk import BulkEncoder
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.resolve import resolve
from tfhub_transfer.errors import CorruptEncoderError, EncoderError

# What is built on this machine is only seen where the tests' own cache is not in the way.
USERS_CACHE = os.environ.get("TFHUB_CACHE_DIR")
TEXTS = ["the good film !", "", "Bad", "good bad film the was . ! xyz", "a " * 60]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "mean")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    target = tmp_path_factory.mktemp("built")
    bert.build(checkpoint, target)
    return target


def load(built: Path) -> tuple[Any, Any]:
    return tuple(tf.saved_model.load(str(built / part)) for part in ("preprocess", "encoder"))


def reference(checkpoint: Path, tokens: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Each layer's output by Devlin et al. 2018 in float64, one text at a time, without padding."""
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    weights = {
        name.removeprefix("bert."): value.astype(np.float64)
        for name, value in load_file(checkpoint / "model.safetensors").items()
    }
    heads = config["num_attention_heads"]
    activation: Callable[[np.ndarray], np.ndarray] = {
        "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
        "gelu_new": lambda x: (
            x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        ),
        "relu": lambda x: np.maximum(x, 0),
    }[config["hidden_act"]]

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        scaled = (x - mean) / np.sqrt(variance + config["layer_norm_eps"])
        return scaled * weights[f"{name}.LayerNorm.weight"] + weights[f"{name}.LayerNorm.bias"]

    def forward(ids: np.ndarray) -> list[np.ndarray]:
        hidden = weights["embeddings.word_embeddings.weight"][ids]
        hidden = hidden + weights["embeddings.position_embeddings.weight"][: len(ids)]
        hidden = norm(hidden + weights["embeddings.token_type_embeddings.weight"][0], "embeddings")
        outputs = []
        for index in range(config["num_hidden_layers"]):
            layer = f"encoder.layer.{index}"
            parts = []
            query, key, value = (
                np.split(dense(hidden, f"{layer}.attention.self.{name}"), heads, axis=-1)
                for name in ("query", "key", "value")
            )
            for q, k, v in zip(query, key, value, strict=True):
                scores = np.exp(q @ k.T / math.sqrt(q.shape[-1]))
                parts.append(scores / scores.sum(-1, keepdims=True) @ v)
            attended = dense(np.concatenate(parts, -1), f"{layer}.attention.output.dense")
            hidden = norm(hidden + attended, f"{layer}.attention.output")
            inner = activation(dense(hidden, f"{layer}.intermediate.dense"))
            hidden = norm(hidden + dense(inner, f"{layer}.output.dense"), f"{layer}.output")
            outputs.append(hidden)
        return outputs

    lengths = tokens["input_mask"].sum(1)
    rows = zip(tokens["input_word_ids"], lengths, strict=True)
    each_text = [forward(ids[:length]) for ids, length in rows]
    return [np.concatenate(layer) for layer in zip(*each_text, strict=True)]


def pooled(
    checkpoint: Path, last: np.ndarray, lengths: np.ndarray, pooling: str, normalize: bool
) -> np.ndarray:
    texts = np.split(last, np.cumsum(lengths)[:-1])
    if pooling == "mean":
        vectors = np.array([tokens.mean(0) for tokens in texts])
    else:
        vectors = np.array([tokens[0] for tokens in texts])
    if pooling == "pooler":
        weights = load_file(checkpoint / "model.safetensors")
        kernel, bias = weights["bert.pooler.dense.weight"], weights["bert.pooler.dense.bias"]
        vectors = np.tanh(vectors @ kernel.T.astype(np.float64) + bias)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if normalize else vectors


@pytest.mark.parametrize(
    ("pooling", "normalize", "activation", "prefix"),
    [
        ("mean", True, "gelu", ""),
        ("cls", False, "gelu_new", ""),
        ("pooler", False, "relu", "bert."),
    ],
)
def test_as_the_paper_has_it(
    tmp_path: Path, pooling: str, normalize: bool, activation: str, prefix: str
) -> None:
    built = tiny.write_bert(
        tmp_path, pooling=pooling, normalize=normalize, activation=activation, prefix=prefix
    )
    preprocess, encoder = load(built)
    tokens = {name: value.numpy() for name, value in preprocess(tf.constant(TEXTS)).items()}
    outputs = encoder({name: tf.constant(value) for name, value in tokens.items()})
    expected = reference(tmp_path / "checkpoint", tokens)
    real = tokens["input_mask"] > 0
    assert len(outputs["encoder_outputs"]) == len(expected) == 2
    for output, layer in zip(outputs["encoder_outputs"], expected, strict=True):
        np.testing.assert_allclose(output.numpy()[real], layer, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(outputs["sequence_output"], outputs["encoder_outputs"][-1])
    vectors = pooled(
        tmp_path / "checkpoint", expected[-1], real.sum(1), pooling, normalize=normalize
    )
    np.testing.assert_allclose(outputs["pooled_output"], vectors, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(outputs["default"], outputs["pooled_output"])


def test_tokens(built: Path) -> None:
    preprocess, _ = load(built)
    tokens = preprocess(tf.constant(["The film, WAS", "zzé", "", "a " * 60]))
    ids = tokens["input_word_ids"].numpy()
    assert {value.dtype for value in tokens.values()} == {tf.int32}

    def pieces(row: int) -> list[str]:
        return [tiny.VOCABULARY[token] for token in ids[row] if token]

    assert pieces(0) == ["[CLS]", "the", "film", "[UNK]", "was", "[SEP]"]
    assert pieces(1) == ["[CLS]", "z", "##z", "##e", "[SEP]"]
    assert pieces(2) == ["[CLS]", "[SEP]"]
    assert pieces(3) == ["[CLS]", *["a"] * (tiny.POSITIONS - 2), "[SEP]"]
    np.testing.assert_array_equal(tokens["input_mask"], (ids > 0).astype(np.int32))
    assert not tokens["input_type_ids"].numpy().any()
    # not cut, and without what goes around a text
    assert preprocess.tokenize(tf.constant(["a " * 60])).row_lengths().numpy().tolist() == [60]
    assert preprocess(tf.constant([], tf.string))["input_word_ids"].shape[0] == 0


def test_padding_changes_nothing(built: Path) -> None:
    preprocess, encoder = load(built)
    alone = encoder(preprocess(tf.constant(["bad"])))["pooled_output"][0]
    padded = encoder(preprocess(tf.constant(["bad", "good film " * 12])))["pooled_output"][0]
    np.testing.assert_allclose(alone, padded, rtol=0, atol=1e-6)


def test_padding_has_no_vectors(built: Path) -> None:
    preprocess, encoder = load(built)
    inputs = preprocess(tf.constant(["bad", "good film " * 12, ""]))
    padding = inputs["input_mask"].numpy() == 0
    assert padding.any()
    for outputs in (encoder(inputs), encoder.encode_bfloat16(inputs)):
        for layer in outputs["encoder_outputs"]:
            np.testing.assert_array_equal(np.any(layer, axis=-1), ~padding)


def test_bfloat16_products_are_close(built: Path) -> None:
    preprocess, encoder = load(built)
    tokens = preprocess(tf.constant(TEXTS))
    exact, fast = encoder(tokens), encoder.encode_bfloat16(tokens)
    assert {output.dtype for output in tf.nest.flatten(fast)} == {tf.float32}
    cosines = tf.reduce_sum(exact["pooled_output"] * fast["pooled_output"], axis=1).numpy()
    assert 0.999 < cosines.min() < 1


def gradients(layer: HubLayer, precision: str) -> dict[str, np.ndarray]:
    layer.train_in(precision)
    with tf.GradientTape() as tape:
        vectors = layer(tf.constant(["the good film !", "bad", ""]), training=True)
        loss = tf.reduce_sum(vectors * tf.range(vectors.shape[1], dtype=tf.float32))
    weights = {weight.path: weight.value for weight in layer.trainable_weights}
    found = tape.gradient(loss, weights)
    return {path: tf.convert_to_tensor(g).numpy() for path, g in found.items()}


def test_training_in_bfloat16_gives_float32_gradients_that_are_close(tmp_path: Path) -> None:
    built = tiny.write_bert(tmp_path, hidden_dropout_prob=0.0)
    layer = HubLayer(resolve(str(built)), trainable=True)
    exact, fast = gradients(layer, "float32"), gradients(layer, "bfloat16")
    assert exact.keys() == fast.keys()
    for path, wanted in exact.items():
        received = fast[path]
        assert received.dtype == np.float32
        assert np.abs(received - wanted).max() <= 0.05 * np.abs(wanted).max() + 1e-4, path
    assert any(not np.array_equal(fast[path], exact[path]) for path in exact)


def test_training_in_bfloat16_drops_out_and_measuring_does_not(built: Path) -> None:
    layer = HubLayer(resolve(str(built)), trainable=True)
    layer.train_in("bfloat16")
    texts = tf.constant(TEXTS)
    first, second = (layer(texts, training=True).numpy() for _ in range(2))
    assert not np.array_equal(first, second)
    plain = HubLayer(resolve(str(built)))
    np.testing.assert_array_equal(layer(texts, training=False), plain(texts))
    layer.trainable = False
    np.testing.assert_array_equal(layer(texts, training=True), plain(texts))


def test_training_in_bfloat16_where_an_older_version_built_it(built: Path) -> None:
    layer = HubLayer(resolve(str(built)))
    del layer.model.train_bfloat16
    with pytest.raises(
        EncoderError,
        match=r"build it anew.*--training\.precision float32\. Received: 'bfloat16'",
    ):
        layer.train_in("bfloat16")


def test_dropout_repeats_from_a_fresh_load_and_differs_between_calls(built: Path) -> None:
    def three_calls() -> list[np.ndarray]:
        preprocess, encoder = load(built)
        tokens = preprocess(tf.constant(TEXTS))
        return [encoder(tokens, training=True)["pooled_output"].numpy() for _ in range(3)]

    first, again = three_calls(), three_calls()
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[1], first[2])


class TestBrokenCheckpoints:
    @pytest.fixture
    def broken(self, tmp_path: Path) -> Path:
        return tiny.write_checkpoint(tmp_path / "checkpoint")

    def refuse(self, broken: Path, error: type[EncoderError], match: str, **options: Any) -> None:
        target = broken.parent / "target"
        with pytest.raises(error, match=match):
            bert.build(broken, target, **options)
        assert not (target / "encoder").exists()

    @pytest.mark.parametrize("name", ["config.json", "vocab.txt", "model.safetensors"])
    def test_a_missing_file(self, broken: Path, name: str) -> None:
        (broken / name).unlink()
        self.refuse(broken, EncoderError, rf"has config\.json, vocab\.txt.*Missing: .*{name}")

    def test_a_missing_tensor(self, broken: Path) -> None:
        weights = load_file(broken / "model.safetensors")
        del weights["encoder.layer.1.output.dense.bias"]
        save_file(weights, broken / "model.safetensors")
        self.refuse(broken, CorruptEncoderError, r"lacks the tensor 'encoder\.layer\.1\.output\.")

    @pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
    def test_truncated_weights(self, broken: Path, share: float) -> None:
        file = broken / "model.safetensors"
        os.truncate(file, int(share * file.stat().st_size))
        self.refuse(broken, CorruptEncoderError, r"no readable safetensors file")

    def test_other_weights_than_asked_for(self, broken: Path) -> None:
        told = rf"its sha256 should be {'0' * 64}\. Received: "
        told += store.sha256(broken / "model.safetensors")
        self.refuse(broken, CorruptEncoderError, told, sha256="0" * 64)

    def test_a_vocabulary_of_another_size(self, broken: Path) -> None:
        with (broken / "vocab.txt").open("a", encoding="utf-8") as file:
            file.write("more\n")
        count = len(tiny.VOCABULARY)
        told = rf"should have {count} word pieces.* Received: {count + 1}"
        self.refuse(broken, CorruptEncoderError, told)

    def test_a_vocabulary_without_its_special_tokens(self, broken: Path) -> None:
        file = broken / "vocab.txt"
        file.write_text(file.read_text(encoding="utf-8").replace("[SEP]", "sep"), encoding="utf-8")
        self.refuse(broken, CorruptEncoderError, r"Received: \d+, without \[SEP\]")

    @pytest.mark.parametrize(
        ("key", "value", "told"),
        [
            ("model_type", "roberta", r"model_type must be one of bert\. Received: 'roberta'"),
            ("position_embedding_type", "relative_key", r"must be one of absolute\. Received"),
            ("hidden_act", "silu", r"must be one of gelu, gelu_new, relu\. Received: 'silu'"),
            ("num_attention_heads", 3, r"multiple of num_attention_heads\. Received: 16 and 3"),
        ],
    )
    def test_another_architecture(self, broken: Path, key: str, value: Any, told: str) -> None:
        self.change(broken / "config.json", **{key: value})
        self.refuse(broken, EncoderError, told)

    def test_a_configuration_of_something_else(self, broken: Path) -> None:
        (broken / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
        self.refuse(broken, EncoderError, r"lacks .*vocab_size\. Received: model_type")

    def test_a_configuration_that_is_no_json(self, broken: Path) -> None:
        (broken / "config.json").write_text("{", encoding="utf-8")
        self.refuse(broken, CorruptEncoderError, r"Not JSON .*Received: .*config\.json")

    def test_another_pooling(self, broken: Path) -> None:
        self.change(broken / "1_Pooling/config.json", pooling_mode_max_tokens=True)
        self.refuse(broken, EncoderError, r"pooling that is not built here.*Received: .*max_tokens")

    def test_a_pipeline_with_more_in_it(self, broken: Path) -> None:
        modules = [{"type": "sentence_transformers.models.Dense"}]
        (broken / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
        self.refuse(broken, EncoderError, r"Transformer, Pooling, Normalize\. Received: 'Dense'")

    def change(self, file: Path, **values: Any) -> None:
        content = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps({**content, **values}), encoding="utf-8")


@pytest.mark.real_data
def test_minilm_against_sentence_transformers(
    real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if USERS_CACHE is None:
        monkeypatch.delenv("TFHUB_CACHE_DIR")
    else:
        monkeypatch.setenv("TFHUB_CACHE_DIR", USERS_CACHE)
    try:
        layer = HubLayer(resolve("minilm-l6", offline=True))
    except EncoderError as error:
        pytest.skip(str(error))
    folder = real_data / "reference"
    texts = json.loads((folder / "minilm_l6.json").read_text(encoding="utf-8"))["texts"]
    expected = np.load(folder / "minilm_l6.npy", allow_pickle=False)
    vectors = BulkEncoder(layer)(texts)
    errors = np.abs(vectors - expected).max(axis=1)
    # Tokens that only look special are text here, and U+2026 and ligatures are taken apart.
    other = [text for text, error in zip(texts, errors, strict=True) if error > 1e-5]
    assert len(other) == 3
    for text in other:
        assert any(sign in text for sign in ("[CLS]", "[SEP]", "[MASK]", "\u2026", "\ufb01"))
    fast = BulkEncoder(layer, "bfloat16")(texts)
    assert (fast * vectors).sum(axis=1).min() >= 0.999

"""Transformers run in ONNX Runtime from their tokens; an error names what text embeddings lack."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.artifact.tiny_artifacts import TEXTS
from tfhub_transfer.artifact import comparison
from tfhub_transfer.artifact.functions import TOKENS
from tfhub_transfer.artifact.onnx import convert
from tfhub_transfer.errors import ConversionError

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(comparison, "_TURN_SECONDS", 0.001)


@pytest.fixture(scope="module")
def runtime():
    for package in ("onnx", "tf2onnx"):
        pytest.importorskip(package, reason="needs the extra: pip install tfhub-transfer[onnx]")
    return pytest.importorskip(
        "onnxruntime", reason="needs the extra: pip install tfhub-transfer[onnx]"
    )


@pytest.mark.parametrize("quantize", [False, True])
def test_a_transformer_runs_from_its_tokens(runtime, version_of, quantize):
    version = version_of("bert")
    conversion = convert(version, TEXTS, quantize=quantize)
    assert (conversion.inputs, conversion.outputs) == (TOKENS, ("probabilities",))
    assert ("MatMulInteger" in conversion.ops["builtin"]) == quantize
    assert "Erf" in conversion.ops["builtin"]
    assert conversion.runtime == "ONNX Runtime, opset 18"
    assert "the vocab.txt that the encoder was built from" in conversion.notes[0]
    session = runtime.InferenceSession(conversion.file, providers=["CPUExecutionProvider"])
    loaded = tf.saved_model.load(str(version))
    for shape in ([2, 5], [1, 9]):
        ids = np.ones(shape, np.int32)
        tokens = dict.fromkeys(TOKENS, ids) | {"input_type_ids": ids * 0}
        (found,) = session.run(["probabilities"], tokens)
        expected = loaded.from_tokens({k: tf.constant(v) for k, v in tokens.items()})
        np.testing.assert_allclose(found, expected, atol=0.1 if quantize else 1e-5)


def test_a_transformer_of_tf_hub_brings_its_vocabulary(runtime, version_of):
    conversion = convert(version_of("transformer"), TEXTS)
    assert (conversion.file.parent / "vocabulary.txt").is_file()


@pytest.mark.parametrize(
    ("encoder", "ops"),
    [
        ("static", ["FastBertNormalize", "FastWordpieceTokenizeWithOffsets"]),
        ("text_embedding", ["StringSplitV2", "StringToHashBucketFast"]),
    ],
)
def test_a_text_embedding_cannot_be_converted(runtime, version_of, tmp_path, encoder, ops):
    version = version_of(encoder)
    with pytest.raises(ConversionError, match="only transformers can be") as caught:
        convert(version, TEXTS)
    for op in ops:
        assert f"{op} (__inference" in str(caught.value)
    assert str(caught.value).endswith(f"in {version}")
    assert not list((tmp_path / "onnx").glob("[!.]*"))


def test_logging_is_left_as_it_was(runtime, version_of):
    version = version_of("text_embedding")
    logging.disable(logging.DEBUG)
    try:
        with pytest.raises(ConversionError):
            convert(version, TEXTS)
        assert logging.root.manager.disable == logging.DEBUG
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "tf2onnx"])
def test_a_missing_package_is_named(monkeypatch, tmp_path, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConversionError, match=r"pip install 'tfhub-transfer\[onnx\]'.*: no "):
        convert(tmp_path / "1", TEXTS)

"""Exported models run in TensorFlow Lite, or an error names the op that prevents it."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.lite.python import interpreter
from tensorflow_text.core.pybinds import tflite_registrar

from tests.artifact.tiny_artifacts import TEXTS
from tfhub_transfer.artifact import comparison
from tfhub_transfer.artifact.functions import TOKENS
from tfhub_transfer.artifact.predictor import Predictor
from tfhub_transfer.artifact.tflite import convert
from tfhub_transfer.errors import ConversionError

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(comparison, "_TURN_SECONDS", 0.001)


def runner_of(file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = interpreter.InterpreterWithCustomOps(
            model_path=str(file), custom_op_registerers=tflite_registrar.SELECT_TFTEXT_OPS
        )
    return model.get_signature_runner("serving_default")


def test_a_static_embedding_takes_text_and_gives_labels(version_of):
    version = version_of("static")
    conversion = convert(version, TEXTS)
    assert conversion.inputs == ("text",)
    assert conversion.outputs == ("label", "probabilities", "score")
    assert conversion.ops["tensorflow_text"] == [
        "FastBertNormalize",
        "FastWordpieceTokenizeWithOffsets",
    ]
    assert "UNSORTED_SEGMENT_SUM" in conversion.ops["builtin"]
    assert conversion.runtime == "TensorFlow Lite with TensorFlow Text's ops registered"
    assert conversion.notes == []
    run = runner_of(conversion.file)
    for texts in (TEXTS, TEXTS[:1], [""], TEXTS[:3]):
        expected = Predictor.load(version)(texts)
        found = run(text=np.array([text.encode() for text in texts], object))
        np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=1e-5)
        assert found["label"].tolist() == expected["label"].tolist()


def test_where_only_the_label_prevents_it_probabilities_are_given(version_of):
    version = version_of("static", several=True)
    conversion = convert(version, TEXTS)
    assert (conversion.inputs, conversion.outputs) == (("text",), ("probabilities",))
    first, labels = conversion.notes
    assert first.startswith("It could not be had as text to label: only the Flex delegate runs")
    assert "SegmentJoin (" in first
    assert "in the order of labels.txt" in labels
    found = runner_of(conversion.file)(text=np.array([b"good film"], object))
    expected = Predictor.load(version)(["good film"])
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=1e-5)


def test_int8_makes_it_smaller(version_of):
    version = version_of("static")
    quantized = convert(version, TEXTS, quantize=True)
    assert quantized.quantized
    assert 0 < quantized.largest_difference < 0.02
    shutil.rmtree(quantized.file.parent)
    assert quantized.bytes < convert(version, TEXTS).bytes


def test_a_transformer_runs_at_least_from_its_tokens(version_of):
    version = version_of("bert")
    conversion = convert(version, TEXTS)
    assert conversion.inputs in (TOKENS, ("text",))
    if conversion.inputs == TOKENS:
        ids = np.ones([2, 5], np.int32)
        tokens = dict.fromkeys(TOKENS, ids) | {"input_type_ids": ids * 0}
        found = runner_of(conversion.file)(**tokens)["probabilities"]
        loaded = tf.saved_model.load(str(version))
        expected = loaded.from_tokens({k: tf.constant(v) for k, v in tokens.items()})
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_error_names_the_ops_and_their_places(version_of, tmp_path):
    version = version_of("text_embedding")
    with pytest.raises(ConversionError) as caught:
        convert(version, TEXTS)
    text = str(caught.value)
    assert text.startswith("The model cannot be converted to TensorFlow Lite. Received: text to ")
    assert "only the Flex delegate runs these" in text
    assert "StringSplit/StringSplitV2), StringToHashBucketFast (__inference" in text
    assert text.endswith(f"in {version}")
    assert not list((tmp_path / "tflite").glob("[!.]*"))

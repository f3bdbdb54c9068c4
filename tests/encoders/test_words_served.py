"""Vectors of words in a SavedModel, as TensorFlow Serving runs it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.encoders import tiny
from tfhub_transfer.artifact.audit import audit
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.resolve import resolve
from tfhub_transfer.encoders.reusable import resources_of
from tfhub_transfer.encoders.words import split_words

WRITERS = (tiny.write_text_embedding, tiny.write_bert)
TEXTS = ["The good film!", "", "a b c d e f g h i j k l m n o p q r s t.", "it's \x00 bad\u200d"]
TEXT = tf.TensorSpec([None], tf.string)


class Served(tf.Module):
    """Words with their places and vectors."""

    def __init__(self, layer: HubLayer):
        super().__init__()
        self.weights = layer.model.variables
        self.resources = [resources_of(loaded) for loaded in layer.loaded]
        self._vectors, self._how = layer.vectors, layer.words

    @tf.function(input_signature=[TEXT])
    def words(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        words = split_words(text, self._how)
        return {
            "words": words.words.to_tensor(),
            "starts": words.starts.to_tensor(-1),
            "ends": words.ends.to_tensor(-1),
            "vectors": self._vectors(text),
        }


class ServedQuestions(Served):
    """With questions, which a transformer alone takes; their vectors."""

    @tf.function(input_signature=[TEXT, TEXT])
    def answers(self, question: tf.Tensor, context: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"vectors": self._vectors({"question": question, "context": context})}


@pytest.mark.parametrize("write", WRITERS)
def test_the_audit_accepts_it_and_it_answers_as_the_layer(write, tmp_path):
    settings = {} if write is tiny.write_text_embedding else {"max_tokens": 12}
    layer = HubLayer(
        resolve(write(tmp_path / "encoder")), output="words", words="punctuation", **settings
    )
    module = (ServedQuestions if settings else Served)(layer)
    signatures = {"words": module.words}
    if settings:
        signatures["answers"] = module.answers
    tf.saved_model.save(module, str(tmp_path / "served"), signatures=signatures)
    assert audit(tmp_path / "served", "2.19") == []

    loaded = tf.saved_model.load(str(tmp_path / "served"))
    answer = {name: part.numpy() for name, part in loaded.words(tf.constant(TEXTS)).items()}
    expected = layer(tf.constant(TEXTS)).numpy()
    assert expected.shape == (4, 21, layer.width)
    np.testing.assert_allclose(answer["vectors"], expected, rtol=0, atol=1e-5)
    for text, words, starts, ends in zip(
        TEXTS, answer["words"], answer["starts"], answer["ends"], strict=True
    ):
        for word, start, end in zip(words, starts, ends, strict=True):
            assert word.decode() == (text[start:end] if start >= 0 else "")
    if settings:
        pair = tf.constant(["was it good?"] * 4), tf.constant(TEXTS)
        expected = layer({"question": pair[0], "context": pair[1]}).numpy()
        answer = loaded.answers(*pair)["vectors"]
        np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5)

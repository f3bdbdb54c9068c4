"""Exported taggers: words, tags, scores and places, the same as the model that was trained."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.encoders import tiny
from tests.exported import TAGS, write_tagger
from tests.trained import joint_run, tagger_run
from tfhub_transfer.artifact import audit
from tfhub_transfer.artifact.predictor import PREDICT, Predictor
from tfhub_transfer.artifact.tagger import save_tagger
from tfhub_transfer.artifact.tflite import convert
from tfhub_transfer.errors import ArtifactError, ConversionError
from tfhub_transfer.evaluation.predictions import load_texts
from tfhub_transfer.training.classifier import Classifier

pytestmark = pytest.mark.slow

PLACES = {"words", "tags", "scores", "starts", "ends"}
OF_INTENTS = {"intent", "intent_score", "intent_probabilities"}


@pytest.fixture(scope="module", params=["plain", "joint"])
def trained(request, tmp_path_factory):
    """A trained tagger, its validation sentences and what was saved: without and with CRF."""
    root = tmp_path_factory.getbasetemp()
    run = tagger_run(root) if request.param == "plain" else joint_run(root)
    classifier = Classifier.load(run)
    path = tmp_path_factory.mktemp(request.param) / "1"
    size = save_tagger(classifier.encoder, classifier.head, classifier.network, path)
    return classifier, load_texts(run), path, size


def decoded(outputs):
    """Return rows of words and tags without their padding."""
    return [
        [(word.decode(), tag.decode()) for word, tag in zip(words, tags, strict=True) if tag]
        for words, tags in zip(outputs["words"], outputs["tags"], strict=True)
    ]


def test_labelled_sentences_are_answered_as_by_the_trained_model(trained):
    classifier, texts, path, _ = trained
    outputs = Predictor.load(path).run([text.encode() for text in texts], "words")
    assert outputs.keys() == PLACES | (OF_INTENTS if classifier.head.intents else set())
    lengths = [len(text.split(" ")) for text in texts]
    plain = classifier.model(tf.constant(texts), training=False).numpy()
    expected = classifier.head.decode(plain, lengths)
    assert decoded(outputs) == [
        list(zip(text.split(" "), answer["tags"], strict=True))
        for text, answer in zip(texts, expected, strict=True)
    ]
    assert {tag for answer in expected for tag in answer["tags"]} - {"O"}, "else it says nothing"
    for row, answer in enumerate(expected):
        scores = outputs["scores"][row, : lengths[row]]
        np.testing.assert_allclose(scores, answer["scores"], atol=1e-5)
        if classifier.head.intents:
            assert outputs["intent"][row].decode() == answer["intent"]
            assert outputs["intent_score"][row] == pytest.approx(answer["intent_score"], abs=1e-5)
            probabilities = list(answer["intents"].values())
            np.testing.assert_allclose(
                outputs["intent_probabilities"][row], probabilities, atol=1e-5
            )


def test_raw_text_is_parted_and_told_where(trained):
    path = trained[2]
    texts = ["Call Ada Lovelace😀,\nnow!", "", " \t ", "flights to 👩🏽‍🚀 Oslo (e\u0301)"]
    outputs = Predictor.load(path)(texts)
    words = [[word for word, _ in row] for row in decoded(outputs)]
    assert words == [
        ["Call", "Ada", "Lovelace", "😀", ",", "now", "!"],
        [],
        [],
        ["flights", "to", "👩🏽‍🚀", "Oslo", "(", "e\u0301", ")"],
    ]
    for row, text in enumerate(texts):
        places = zip(outputs["starts"][row], outputs["ends"][row], strict=True)
        spans = [text[start:end] for start, end in places]
        assert spans[: len(words[row])] == words[row]
        for name in ("scores", "starts", "ends"):
            assert not outputs[name][row, len(words[row]) :].any()
    # the same words in the signature for labelled sentences
    joined = [" ".join(row) for row in words]
    again = Predictor.load(path).run([text.encode() for text in joined], "words")
    assert decoded(again) == decoded(outputs)
    np.testing.assert_allclose(again["scores"], outputs["scores"], atol=1e-6)


def test_what_is_no_utf_8_is_a_word_of_its_own(trained):
    outputs = Predictor.load(trained[2]).run([b"to \xff Oslo"])
    assert [word for word, _ in decoded(outputs)[0]] == ["to", "\ufffd", "Oslo"]
    assert outputs["starts"].tolist() == [[0, 3, 5]]


def test_a_batch_without_words_has_one_empty_column(trained):
    outputs = Predictor.load(trained[2])(["", "  "])
    assert outputs["words"].tolist() == outputs["tags"].tolist() == [[b""], [b""]]
    assert outputs["scores"].tolist() == [[0.0], [0.0]]


def test_every_weight_is_stored_once(trained):
    _, _, path, size = trained
    variables = path / "variables" / "variables.data-00000-of-00001"
    assert variables.stat().st_size == pytest.approx(size, rel=1e-3)


def test_tags_and_intents_lie_with_it_and_signatures_are_of_predict(trained):
    classifier, _, path, _ = trained
    predictor = Predictor.load(path)
    assert predictor.labels == classifier.head.labels
    assert predictor.intents == classifier.head.intents
    assert (path / "assets/intents.txt").exists() == bool(classifier.head.intents)
    methods = {name: signature.method for name, signature in predictor.signatures.items()}
    assert methods == {"serving_default": PREDICT, "words": PREDICT}


@pytest.mark.parametrize("release", ["2.18", "2.19", "2.20"])
def test_stock_servers_run_it(trained, release):
    assert audit.audit(trained[2], release) == []


def test_other_formats_are_refused(trained, tmp_path):
    with pytest.raises(ConversionError, match=r"output 'probabilities'\. Received: \['ends'"):
        convert(trained[2], ["a text"], tmp_path / "tflite")


def test_an_lstm_and_a_text_longer_than_the_encoder_reads_at_once(tmp_path):
    path = tmp_path / "tagger" / "1"
    layer, head, network = write_tagger(
        path, crf=True, recurrent=3, encoder=tiny.write_transformer
    )
    texts = ["the good film was bad . " * 12, "film"]
    assert len(texts[0].split()) > 4 * tiny.LENGTH
    outputs = Predictor.load(path)(texts)
    lengths = [len(text.split()) for text in texts]
    assert [len(row) for row in decoded(outputs)] == lengths
    text = tf.constant([text.strip() for text in texts])
    expected = head.decode(network(layer(text)).numpy(), lengths)
    assert [[tag for _, tag in row] for row in decoded(outputs)] == [a["tags"] for a in expected]
    np.testing.assert_allclose(outputs["scores"][0], expected[0]["scores"], atol=1e-4)
    assert audit.audit(path, "2.18") == []


def test_a_name_that_a_file_of_lines_cannot_hold(tmp_path):
    with pytest.raises(ArtifactError, match=r"one intent a line, .*Received: 'two\\nlines'"):
        write_tagger(tmp_path / "tagger" / "1", intents=("one", "two\nlines"))
    with pytest.raises(ArtifactError, match=r"one label a line, .*Received: ''"):
        write_tagger(tmp_path / "other" / "1", labels=(*TAGS, ""))
    assert not (tmp_path / "tagger" / "1").exists()

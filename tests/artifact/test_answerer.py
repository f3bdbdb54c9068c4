"""Exported models of answers: the same as the trained one says, at the places where it stands."""

from __future__ import annotations

import random

import numpy as np
import pytest
import tensorflow as tf

from tests.encoders.tiny import POSITIONS
from tests.exported import write_answerer
from tfhub_transfer.artifact import audit
from tfhub_transfer.artifact.answering import HARD_PAIRS
from tfhub_transfer.artifact.predictor import PREDICT, Predictor
from tfhub_transfer.artifact.tflite import convert
from tfhub_transfer.encoders.word_pieces import as_inputs
from tfhub_transfer.errors import ConversionError
from tfhub_transfer.evaluation.located import answers_to

pytestmark = pytest.mark.slow

N = 4  # the best and three more
# Of one to four bytes, and what text processing likes to lose or to join.
ALPHABET = "aB9 .,'-\t\n\x00\x07é\u0301ßİ中文ا\u202e\u200b\u200d\ufeff\u2028👩🏽🚀\U0010ffff\ufffd"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """An untrained model of answers, and what was saved of it."""
    path = tmp_path_factory.mktemp("answers") / "1"
    return write_answerer(path, no_answer=0.0), path


def columns(predictor, pairs, signature):
    values = [(question.encode(), context.encode()) for question, context in pairs]
    return predictor.run(values, signature)


def test_it_answers_as_an_evaluation_of_the_trained_model(written):
    classifier, path = written
    long = "the film was good and the film was bad . " * 20
    assert len(long.split()) > 4 * POSITIONS
    pairs = [("who was good", "the good film was a great film !"), ("what", long), *HARD_PAIRS[:9]]
    several = columns(Predictor.load(path), pairs, "n_best")
    best = Predictor.load(path)(pairs)
    # in bulk, vectors are rounded to float16
    found = answers_to(classifier, pairs, lambda some: classifier.encoder(as_inputs(some)).numpy())
    assert {bool(answers[0].text) for answers in found} == {True, False}, "else it says nothing"
    for row, answers in enumerate(found):
        padding = [0.0] * (N - len(answers))
        scores = [*(answer.score for answer in answers), *padding]
        np.testing.assert_allclose(several["scores"][row], scores, atol=1e-5)
        clear = np.all(np.diff(scores[: len(answers)][bool(not answers[0].text) :]) < -1e-5)
        for place, answer in enumerate(answers if clear else ()):
            assert several["answers"][row, place].decode() == answer.text
            assert several["starts"][row, place] == answer.start
            assert several["ends"][row, place] == answer.end
        assert set(several["answers"][row, len(answers) :]) <= {b""}
        assert set(several["starts"][row, len(answers) :]) <= {-1}
    for one, name in [("answer", "answers"), ("start", "starts"), ("end", "ends")]:
        assert best[one].tolist() == several[name][:, 0].tolist()
    np.testing.assert_allclose(best["score"], several["scores"][:, 0], atol=1e-6)


def test_the_end_of_a_long_context_is_read(written):
    _, path = written
    text = "the film was good and the film was bad . " * 20
    outputs = columns(Predictor.load(path), [("what", text), ("what", text + "great !")], "n_best")
    assert outputs["scores"][0].tolist() != outputs["scores"][1].tolist()


def test_places_slice_any_text_to_the_answer(written):
    draw = random.Random(0)
    contexts = ["".join(draw.choices(ALPHABET, k=draw.randrange(40))) for _ in range(150)]
    outputs = columns(Predictor.load(written[1]), [("a 中", text) for text in contexts], "n_best")
    answered = 0
    for row, context in enumerate(contexts):
        for place in range(N):
            answer = outputs["answers"][row, place].decode()
            start, end = outputs["starts"][row, place], outputs["ends"][row, place]
            if start >= 0:
                assert context[start:end] == answer != ""
                answered += 1
            else:
                assert (answer, end) == ("", -1)
    assert answered > 2 * len(contexts)


def test_what_is_no_utf_8_counts_as_one_character(written):
    outputs = Predictor.load(written[1]).run([(b"\xff", b"a \xff b")], "n_best")
    words = {0: "a", 2: "\ufffd", 4: "b"}
    for answer, start, end in zip(
        outputs["answers"][0], outputs["starts"][0], outputs["ends"][0], strict=True
    ):
        assert answer.decode() == "a \ufffd b"[max(start, 0) : max(end, 0)]
        assert start in {-1, *words}


def test_a_context_without_words_has_no_answer(written):
    outputs = columns(Predictor.load(written[1]), [("who", ""), ("", " \t\x00")], "n_best")
    assert outputs["answers"].tolist() == [[b""] * N] * 2
    assert outputs["starts"].tolist() == outputs["ends"].tolist() == [[-1] * N] * 2
    np.testing.assert_allclose(outputs["scores"], [[1.0, 0.0, 0.0, 0.0]] * 2)


def test_the_threshold_decides_whether_there_is_an_answer(tmp_path):
    write_answerer(tmp_path / "m" / "1", no_answer=-1e6)
    pairs = [("who was it", "the good film was a great film")]
    several = columns(Predictor.load(tmp_path / "m" / "1"), pairs, "n_best")
    assert several["starts"][0, 0] == -1
    assert (several["starts"][0, 1:] >= 0).all()
    assert (np.diff(several["scores"][0, 1:]) <= 0).all()


def test_one_question_does_not_stand_for_two_contexts(written):
    loaded = Predictor.load(written[1])._loaded.signatures["serving_default"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="one context for each question"):
        loaded(question=tf.constant(["who"]), context=tf.constant(["a film", "a good film"]))


def test_signatures_are_of_predict(written):
    predictor = Predictor.load(written[1])
    assert {name: one.method for name, one in predictor.signatures.items()} == {
        "serving_default": PREDICT,
        "n_best": PREDICT,
    }
    assert {one.inputs for one in predictor.signatures.values()} == {("question", "context")}
    assert predictor.labels == ("answer", "no answer")


@pytest.mark.parametrize("release", ["2.18", "2.19", "2.20"])
def test_stock_servers_run_it(written, release):
    assert audit.audit(written[1], release) == []


def test_other_formats_are_refused(written, tmp_path):
    with pytest.raises(ConversionError, match=r"output 'probabilities'\. Received: \['answer'"):
        convert(written[1], ["a text"], tmp_path / "tflite")

"""The pointers learn where answers are, keep off the padding, and answer alike when exported."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.encoders.tiny import write_bert
from tfhub_transfer.artifact.audit import audit
from tfhub_transfer.config import Config, HeadConfig, SpanConfig
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.heads.losses import TruncatedLoss
from tfhub_transfer.heads.span import SpanHead, SpanLoss
from tfhub_transfer.heads.span_decoding import LOW
from tfhub_transfer.training.optimizer import LazyAdamW

WIDTH = 6


def vectors_of(lengths, *, seed=0, width=WIDTH, padding=0):
    """Return float32[B, 1 + W, D], zeros behind the last word."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(len(lengths), 1 + max(lengths) + padding, width))
    for row, length in enumerate(lengths):
        vectors[row, 1 + length :] = 0
    return vectors.astype(np.float32)


def marked(rows, *, seed=0):
    """Return vectors in which two features say where the answer begins and ends, and targets."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 9, rows)
    vectors = vectors_of(lengths, seed=seed)
    first = rng.integers(0, lengths + 1)
    last = np.where(first, rng.integers(first, lengths + 1), 0)
    vectors[np.arange(rows), first, 0] += 6
    vectors[np.arange(rows), last, 1] += 6
    return vectors, lengths, np.stack([first, last], axis=1).astype(np.int32)


def trained(**settings):
    keras.utils.set_random_seed(0)
    head = SpanHead(HeadConfig(**settings), span=SpanConfig(no_answer=0.0, n_best=2))
    network = head.network(WIDTH)
    network.compile(LazyAdamW(0.05), head.loss(), weighted_metrics=head.metrics())
    vectors, _, targets = marked(256)
    network.fit(vectors, targets, epochs=12, batch_size=64, verbose=0)
    return head, network


def test_it_learns_where_answers_are():
    head, network = trained(dropout=0.0, l2=1e-6, hidden=(8,), bottleneck=4, label_smoothing=0.1)
    vectors, lengths, targets = marked(64, seed=1)
    measured = network.evaluate(vectors, targets, verbose=0, return_dict=True)
    assert measured["accuracy"] > 0.9
    decoded = head.decode(network.predict(vectors, verbose=0), lengths)
    right = [
        ((one["first"], one["last"]) == (None, None))
        if not first
        else (one["first"], one["last"]) == (first - 1, last - 1)
        for one, (first, last) in zip(decoded, targets, strict=True)
    ]
    assert np.mean(right) > 0.9


def test_what_a_person_gets_to_read():
    head = SpanHead(HeadConfig(), span=SpanConfig(n_best=1, no_answer=0.0))
    logits = np.full((2, 4, 2), -20.0, np.float32)
    logits[0, 2, 0] = logits[0, 3, 1] = 20.0
    logits[1, 0] = 20.0
    logits[1, 2:] = LOW
    first, second = head.decode(logits, [3, 1])
    best = {"first": 1, "last": 2, "score": 1.0}
    assert first == {**best, "n_best": [best, {"first": 0, "last": 2, "score": 0.0}]}
    assert second["n_best"][0] == {"first": None, "last": None, "score": 1.0}
    assert second["first"] is None
    assert [one["first"] for one in second["n_best"]] == [None, 0]
    assert head.decode(logits, [3, 1], no_answer=1e9)[1]["first"] == 0
    assert head.decode(logits[:0], []) == []
    assert head.decode(logits[:1], [0])[0]["first"] is None


def test_shapes_and_the_way_through_a_config():
    head = SpanHead.of(Config(head=HeadConfig(hidden=(8, 4), activation="gelu")), ("answer",))
    network = head.network(WIDTH)
    assert network.name == "head"
    assert network.output_shape == (None, None, 2)
    vectors = vectors_of([3, 5])
    logits = network(vectors, training=False).numpy()
    assert logits.shape == (2, 6, 2)
    again = type(network).from_config(network.get_config())
    again.set_weights(network.get_weights())
    np.testing.assert_array_equal(again(vectors), logits)


def test_saved_and_loaded(tmp_path):
    network = SpanHead(HeadConfig()).network(WIDTH)
    network.compile("sgd", SpanLoss(0.1))
    network.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras")
    assert loaded.loss.label_smoothing == 0.1
    vectors = vectors_of([2, 4])
    np.testing.assert_array_equal(loaded(vectors), network(vectors))


def test_padding_changes_nothing():
    head = SpanHead(HeadConfig(dropout=0.0))
    network = head.network(WIDTH)
    lengths, targets = [3, 5, 1], np.array([[1, 3], [0, 0], [1, 1]], np.int32)
    short, padded = vectors_of(lengths), np.pad(vectors_of(lengths), [(0, 0), (0, 4), (0, 0)])
    one, other = network(short).numpy(), network(padded).numpy()
    np.testing.assert_array_equal(other[:, :6], one)
    assert (other[:, 6:] == LOW).all()
    assert (one[0, 4:] == LOW).all()
    loss = head.loss()
    np.testing.assert_allclose(loss(targets, one), loss(targets, other), rtol=1e-6)
    alone = [
        loss(targets[[n]], network(short[[n], : 1 + length])) for n, length in enumerate(lengths)
    ]
    np.testing.assert_allclose(np.mean(alone), loss(targets, one), rtol=1e-6)


def test_a_word_of_zeros_is_no_padding_while_another_follows():
    vectors = vectors_of([4])
    vectors[0, 2] = 0
    logits = SpanHead(HeadConfig()).network(WIDTH)(vectors).numpy()
    assert (logits > LOW / 2).all()
    vectors[0] = 0
    assert (SpanHead(HeadConfig()).network(WIDTH)(vectors).numpy()[0, :, 0] > LOW / 2).tolist() == [
        True,
        False,
        False,
        False,
        False,
    ]


def test_the_loss_by_hand():
    logits = np.random.default_rng(0).normal(size=(2, 4, 2)).astype(np.float32)
    logits[1, 3:] = LOW
    targets = np.array([[1, 3], [0, 2]], np.int32)

    def expected(smoothing):
        rows = []
        for row, inside in enumerate((4, 3)):
            likelihoods = logits[row, :inside] - np.log(np.exp(logits[row, :inside]).sum(0))
            gold = likelihoods[targets[row], [0, 1]]
            rows.append(-((1 - smoothing) * gold + smoothing * likelihoods.mean(0)).mean())
        return rows

    for smoothing in (0.0, 0.2):
        found = SpanLoss(smoothing).call(tf.constant(targets), tf.constant(logits))
        np.testing.assert_allclose(found, expected(smoothing), rtol=1e-5)
    weighted = SpanLoss()(targets, logits, sample_weight=np.array([1.0, 0.0]))
    np.testing.assert_allclose(weighted, expected(0.0)[0] / 2, rtol=1e-5)


def test_a_target_in_padding_adds_nothing():
    logits = np.zeros((1, 3, 2), np.float32)
    logits[0, 2] = LOW
    loss = SpanLoss().call(tf.constant([[1, 2]]), tf.constant(logits))
    np.testing.assert_allclose(loss, [np.log(2) / 2], rtol=1e-6)


def test_accuracy_wants_both_words():
    (accuracy,) = SpanHead(HeadConfig()).metrics()
    assert accuracy.name == "accuracy"
    logits = np.zeros((2, 3, 2), np.float32)
    logits[:, 1, 0] = logits[:, 2, 1] = 1
    accuracy.update_state(np.array([[1, 2], [1, 1]]), logits)
    assert accuracy.result() == 0.5
    accuracy.reset_state()
    accuracy.update_state(np.array([[1, 2], [1, 1]]), logits, sample_weight=np.array([3.0, 1.0]))
    assert accuracy.result() == 0.75


def test_examples_can_be_left_out_of_the_loss():
    head = SpanHead(HeadConfig(dropout=0.0))
    truncated = TruncatedLoss(head.loss(), 0.5)
    truncated.begin(1)
    logits = np.zeros((2, 3, 2), np.float32)
    logits[0, 1] = 5
    targets = np.array([[1, 1], [2, 2]], np.int32)
    own = SpanLoss().call(tf.constant(targets), tf.constant(logits)).numpy()
    np.testing.assert_allclose(truncated(targets, logits), own[1] * 0 + min(own), rtol=1e-5)


class Exported(tf.Module):
    def __init__(self, head, network):
        super().__init__()
        self.weights = [tf.Variable(weight.numpy()) for weight in network.trainable_variables]
        self._answer = head.served(network, no_answer=0.25)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, WIDTH], tf.float32, "vectors"),
            tf.TensorSpec([None], tf.int32, "lengths"),
        ]
    )
    def answer(self, vectors, lengths):
        return self._answer(self.weights, vectors, lengths)._asdict()


def test_the_exported_graph_answers_alike(tmp_path):
    head = SpanHead(HeadConfig(hidden=(8,)))
    network = head.network(WIDTH)
    module = Exported(head, network)
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.answer})
    assert audit(tmp_path) == []
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    vectors, lengths, _ = marked(20, seed=2)
    lengths = tf.constant(lengths, tf.int32)
    found = served(vectors=tf.constant(vectors), lengths=lengths)
    expected = head.decide(network(vectors, training=False), lengths, no_answer=0.25)
    assert set(found) == set(expected._fields)
    for name, values in expected._asdict().items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)
    assert {variable.shape.rank for variable in module.variables} == {1, 2}
    assert len(module.variables) == len(network.trainable_variables)


def test_on_an_encoder_of_questions_and_contexts(tmp_path):
    encoder = HubLayer(write_bert(tmp_path), output="words", words="punctuation")
    head = SpanHead(HeadConfig(dropout=0.0))
    assert set(head.inputs) == {"question", "context"}
    asked = {
        "question": tf.constant(["was it good", "the film"]),
        "context": tf.constant(["the film was good!", "bad."]),
    }
    vectors = encoder(asked)
    logits = head.network(encoder.width)(vectors).numpy()
    assert logits.shape == (2, 6, 2)
    assert (logits[1, 3:] == LOW).all()
    assert (logits[0] > LOW / 2).all()
    assert (logits[1, :3] > LOW / 2).all()


def test_settings_that_are_for_classes():
    with pytest.raises(ConfigError, match=r"With task span, head.loss .* Received: 'focal'"):
        SpanHead(HeadConfig(loss="focal"))
    with pytest.raises(ConfigError, match=r"head.activation must be .* Received: 'rellu'"):
        SpanHead(HeadConfig(hidden=(4,), activation="rellu")).network(WIDTH)

"""The tagging head keeps its contract, whatever decides on the tags."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.artifact.audit import audit
from tfhub_transfer.config import Config, HeadConfig, TaggingConfig
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.heads.classification import ClassificationHead
from tfhub_transfer.heads.crf import CRF
from tfhub_transfer.heads.tag_grammar import may_follow
from tfhub_transfer.heads.tag_losses import TaggingLoss
from tfhub_transfer.heads.tag_outputs import Layout
from tfhub_transfer.heads.tagging import TaggingHead
from tfhub_transfer.training import checkpoint
from tfhub_transfer.training.distribution import copies
from tfhub_transfer.training.optimizer import LazyAdamW

pytestmark = pytest.mark.slow

LABELS = ("O", "B-a", "I-a", "B-b", "I-b")
INTENTS = ("ask", "tell", "thank")
WIDTH, WORDS, ROWS = 4, 6, 12
LENGTHS = np.int32([6, 1, 3, 0, 2, 4, 5, 6, 1, 2, 3, 4])
KINDS = [
    {"recurrent": recurrent, "crf": crf, "joint": joint}
    for recurrent, crf, joint in itertools.product([0, 3], [False, True], [False, True])
]


def make(
    labels=LABELS, *, recurrent=0, crf=False, joint=False, scheme="iob2", weight=1.0, **settings
) -> TaggingHead:
    tagging = TaggingConfig(recurrent, crf, scheme, weight)
    config = HeadConfig(**{"dropout": 0.1, **settings})
    return TaggingHead(config, labels, tagging=tagging, intents=INTENTS if joint else ())


def problem(head: TaggingHead) -> tuple[np.ndarray, np.ndarray]:
    """Return random vectors, zeros at the padding, and legal targets, -1 there."""
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(ROWS, WORDS, WIDTH)).astype(np.float32)
    tags = np.where(draw.random((ROWS, WORDS)) < 0.5, 0, draw.choice([1, 3], (ROWS, WORDS)))
    follows = (tags[:, 1:] > 0) & (draw.random((ROWS, WORDS - 1)) < 0.5) & (tags[:, :-1] > 0)
    tags[:, 1:] = np.where(follows & (tags[:, :-1] == 1), 2, tags[:, 1:])
    allowed = may_follow(head.labels, head.tagging.scheme)
    assert all(allowed[pair] for row in tags for pair in itertools.pairwise(row))
    padding = np.arange(WORDS) >= LENGTHS[:, np.newaxis]
    vectors[padding], tags[padding] = 0, -1
    if head.intents:
        text = draw.normal(size=(ROWS, 1, WIDTH)).astype(np.float32)
        vectors = np.concatenate([text, vectors], axis=1)
        tags = np.concatenate([np.arange(ROWS)[:, np.newaxis] % len(INTENTS), tags], axis=1)
    return vectors, tags.astype(np.int32)


@pytest.mark.parametrize("kind", [KINDS[i] for i in (0, 1, 2, 4, 7)])  # each alone, and all
def test_the_contract_of_a_head(kind, tmp_path):
    head = make(**kind, hidden=(5,), bottleneck=3, l2=1e-4)
    vectors, targets = problem(head)
    network = head.network(WIDTH)
    outputs = network(vectors, training=False)
    assert outputs.dtype == tf.float32
    assert network.output_shape == (None, None, len(LABELS) + len(head.intents))
    parts = head.layout.parts(outputs)
    assert parts.logits.shape == (ROWS, WORDS, len(LABELS))
    assert (parts.chain is not None) is kind["crf"]
    assert (parts.intents is not None) is kind["joint"]

    network.save(tmp_path / "head.keras")
    again = keras.models.load_model(tmp_path / "head.keras")
    np.testing.assert_array_equal(again(vectors), outputs)
    rebuilt = type(network).from_config(network.get_config())
    assert rebuilt.get_config() == network.get_config()

    network.compile(LazyAdamW(0.01), head.loss(), weighted_metrics=head.metrics())
    before = network.evaluate(vectors, targets, verbose=0, return_dict=True)
    network.fit(vectors, targets, epochs=2, batch_size=ROWS, verbose=0)
    after = network.evaluate(vectors, targets, verbose=0, return_dict=True)
    assert after["loss"] < before["loss"]
    assert 0 <= after["accuracy"] <= 1
    assert ("intent_accuracy" in after) is kind["joint"]
    old, new = again.get_weights(), network.get_weights()
    assert all(np.abs(a - b).max() > 0 for a, b in zip(old, new, strict=True)), "all weights move"

    checkpoint.save(tmp_path / "last.safetensors", network, {})
    again.compile(LazyAdamW(0.01))
    checkpoint.load(tmp_path / "last.safetensors", again)
    np.testing.assert_array_equal(again(vectors), network(vectors))


def test_one_seed_trains_one_model():
    head = make(recurrent=3, crf=True, joint=True)
    vectors, targets = problem(head)
    trained = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        network = head.network(WIDTH)
        network.compile(LazyAdamW(0.01), head.loss())
        network.fit(vectors, targets, epochs=1, batch_size=4, verbose=0, shuffle=False)
        trained.append(network.get_weights())
    for one, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, other)


def randomised(network: keras.Model) -> keras.Model:
    draw = np.random.default_rng(7)
    network.set_weights([draw.normal(size=weight.shape) for weight in network.get_weights()])
    return network


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_neighbours_change_nothing(kind):
    head = make(**kind)
    vectors, _ = problem(head)
    network = randomised(head.network(WIDTH))
    decoded = head.decode(np.asarray(network(vectors)), LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone = vectors[row : row + 1, : length + kind["joint"]]
        (one,) = head.decode(np.asarray(network(alone)), [length])
        assert one["tags"] == decoded[row]["tags"]
        np.testing.assert_allclose(one["scores"], decoded[row]["scores"], atol=2e-6)
        assert len(one["tags"]) == length


@pytest.mark.parametrize("kind", KINDS)
def test_the_exported_graph_answers_as_the_head_does(kind, tmp_path):
    head = make(**kind)
    vectors, _ = problem(head)
    network = randomised(head.network(WIDTH))
    served = head.served(network)

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.head = [tf.Variable(weight.numpy()) for weight in network.trainable_variables]

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None, WIDTH], tf.float32),
                tf.TensorSpec([None], tf.int32),
            ]
        )
        def answer(self, vectors, lengths):
            decided = served(self.head, vectors, lengths)
            return {key: value for key, value in decided._asdict().items() if value is not None}

    module = Module()
    tf.saved_model.save(module, str(tmp_path), signatures=module.answer)
    assert audit(tmp_path) == [], "a stock TensorFlow Serving runs it"
    loaded = tf.saved_model.load(str(tmp_path))
    answers = loaded.answer(vectors, LENGTHS)
    expected = head.decide(network(vectors, training=False), tf.constant(LENGTHS))
    np.testing.assert_array_equal(answers["tags"], expected.tags)
    np.testing.assert_allclose(answers["scores"], expected.scores, atol=1e-6)
    if kind["joint"]:
        np.testing.assert_allclose(answers["intents"], expected.intents, atol=1e-6)
    # the graph's own weights answer, not the network's
    for weight in loaded.head:
        weight.assign(tf.zeros_like(weight))
    assert np.abs(loaded.answer(vectors, LENGTHS)["scores"] - expected.scores).max() > 0.1
    nobody = loaded.answer(vectors[:0], LENGTHS[:0])
    assert nobody["tags"].shape[0] == 0


@pytest.mark.parametrize("scheme", ["iob2", "iobes"])
@pytest.mark.parametrize("crf", [False, True])
def test_what_the_scheme_forbids_is_never_answered(scheme, crf):
    labels = LABELS if scheme == "iob2" else (*LABELS, "E-a", "S-a", "E-b", "S-b")
    head = make(labels, crf=crf, scheme=scheme)
    outputs = np.random.default_rng(1).normal(size=(ROWS, WORDS, len(labels))) * 3
    if crf:
        outputs = randomised(head.network(WIDTH)).get_layer("crf")(outputs)
    allowed = may_follow(labels, scheme)
    edge = len(labels)
    seen = set()
    for one in head.decode(np.asarray(outputs, np.float32), LENGTHS):
        places = [edge, *map(labels.index, one["tags"]), edge]
        assert all(allowed[pair] for pair in itertools.pairwise(places))
        seen |= set(one["tags"])
    assert len(seen) > 4


def test_entities_and_their_scores():
    head = make(joint=True)
    logits = np.full((1, 7, 8), -20.0, np.float32)
    for word, tag in enumerate([0, 1, 2, 4, 0, 2]):
        logits[0, word + 1, tag] = 0
    logits[0, 3, 0] = -1e-4  # nearly as likely as I-a
    logits[0, 0, 5:] = np.log([0.25, 0.5, 0.25])
    (one,) = head.decode(logits, [6])
    assert one["tags"] == ["O", "B-a", "I-a", "B-b", "O", "B-a"]
    np.testing.assert_allclose(one["scores"], [1, 1, 0.5, 1, 1, 1], atol=1e-3)
    assert [(e["type"], e["first"], e["last"]) for e in one["entities"]] == [
        ("a", 1, 2),
        ("b", 3, 3),
        ("a", 5, 5),
    ]
    np.testing.assert_allclose([e["score"] for e in one["entities"]], [0.75, 1, 1], atol=1e-3)
    assert (one["intent"], one["intent_score"]) == ("tell", 0.5)
    assert one["intents"] == {"ask": 0.25, "tell": 0.5, "thank": 0.25}
    assert {type(number) for number in one["scores"]} == {float}
    assert head.decode(logits[:0], []) == []


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_of_words_and_intents_by_hand(smoothing):
    loss = TaggingLoss(Layout(2, 3), smoothing, intent_weight=0.5)
    draw = np.random.default_rng(0)
    outputs = draw.normal(size=(2, 3, 5)).astype(np.float32)
    targets = np.int32([[2, 1, 0], [-1, 1, -1]])

    def entropy(logits, target):
        logs = logits - np.log(np.exp(logits).sum())
        return -(1 - smoothing) * logs[target] - smoothing * logs.mean()

    of_words = [entropy(outputs[0, 1, :2], 1), entropy(outputs[0, 2, :2], 0)]
    of_words.append(entropy(outputs[1, 1, :2], 1))
    expected = np.mean(of_words) + 0.5 * entropy(outputs[0, 0, 2:], 2) / 2
    assert float(loss(targets, outputs)) == pytest.approx(expected, abs=1e-6)


def test_the_loss_of_a_crf_is_per_word():
    head = make(crf=True)
    vectors, targets = problem(head)
    network = head.network(WIDTH)
    outputs = network(vectors)
    whole = float(head.loss()(targets, outputs))
    words = (targets >= 0).sum(axis=1)
    alone = [float(head.loss()(targets[i : i + 1], outputs[i : i + 1])) for i in range(ROWS)]
    assert whole == pytest.approx(np.average(alone, weights=words), abs=1e-5)
    assert alone[LENGTHS.tolist().index(0)] == 0


def test_accuracy_counts_words_and_texts():
    head = make(joint=True)
    outputs = np.zeros((2, 4, 8), np.float32)
    outputs[:, 1:, 1] = 1
    outputs[:, 0, 6] = 1
    targets = np.int32([[1, 1, 0, 1], [0, 1, -1, -1]])
    for metrics in (head.metrics(), copies(head.metrics())):
        for metric in metrics:
            metric.update_state(targets, outputs, np.float32([1, 1]))
        assert {metric.name: float(metric.result()) for metric in metrics} == {
            "accuracy": 0.75,
            "intent_accuracy": 0.5,
        }


def test_accuracy_is_that_of_the_best_path():
    head = make(crf=True)
    network = head.network(WIDTH)
    crf = next(layer for layer in network.layers if isinstance(layer, CRF))
    logits = np.zeros((1, 2, 5), np.float32)
    logits[0, :, 2] = 1  # I-a twice, which must not begin
    logits[0, 0, 1] = 0.5
    (metric,) = head.metrics()
    metric.update_state(np.int32([[1, 2]]), crf(logits))
    assert float(metric.result()) == 1


def fitted(head: TaggingHead, vectors: np.ndarray, targets: np.ndarray) -> float:
    keras.utils.set_random_seed(0)
    network = head.network(vectors.shape[-1])
    network.compile(LazyAdamW(0.05), head.loss(), weighted_metrics=head.metrics())
    network.fit(vectors, targets, epochs=10, batch_size=8, verbose=0)
    measured = network.evaluate(vectors, targets, verbose=0, return_dict=True)
    return measured["accuracy"]


def test_only_a_chain_can_tell_the_second_of_two_like_words():
    """Each entity has two words, and which is the first only the word before tells."""
    draw = np.random.default_rng(0)
    targets = np.zeros((64, 8), np.int32)
    for row in targets:
        for place in draw.choice([[1, 5], [0, 3], [2, 6]]):
            row[place : place + 2] = [1, 2]
    vectors = np.eye(2, dtype=np.float32)[np.minimum(targets, 1)]
    labels = LABELS[:3]
    assert fitted(make(labels, dropout=0.0), vectors, targets) < 0.9
    assert fitted(make(labels, dropout=0.0, crf=True), vectors, targets) == 1
    assert fitted(make(labels, dropout=0.0, recurrent=8), vectors, targets) == 1


def test_heads_are_made_from_a_runs_settings():
    config = Config(tagging=TaggingConfig(recurrent=7, crf=True), head=HeadConfig(hidden=()))
    head = TaggingHead.of(config, LABELS, intents=INTENTS)
    assert (head.tagging.recurrent, head.intents) == (7, INTENTS)
    other = ClassificationHead.of(config, ["a", "b"], multi_label=True)
    assert (other.config, other.multi_label) == (config.head, True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "focal"}, r"head\.loss must be cross_entropy\. Received: 'focal'"),
        ({"label_smoothing": 0.1, "crf": True}, r"head\.label_smoothing .*Received: 0\.1"),
    ],
)
def test_settings_that_tags_cannot_be_trained_with(settings, message):
    with pytest.raises(ConfigError, match=message):
        make(**settings)


def test_an_unknown_activation():
    with pytest.raises(ConfigError, match=r"head\.activation .*relu.* Received: 'rellu'"):
        make(hidden=(3,), activation="rellu").network(WIDTH)


def test_logits_stay_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        head = make(hidden=(8,), recurrent=3, crf=True, joint=True)
        vectors, targets = problem(head)
        network = head.network(WIDTH)
        assert network.get_layer("hidden_0").compute_dtype == "bfloat16"
        assert network(vectors).dtype == tf.float32
        network.compile(LazyAdamW(0.01), head.loss())
        assert np.isfinite(network.train_on_batch(vectors, targets))
    finally:
        keras.config.set_dtype_policy(before)

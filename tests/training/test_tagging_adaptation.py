"""Taggers that adapt to another domain's words, whose tags they do not see."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.encoders.tiny import write_text_embedding
from tests.tagged import sentences, settings, write_conll
from tfhub_transfer.config import AdaptationConfig, Config, EncoderConfig
from tfhub_transfer.data.label_map import read_type_map
from tfhub_transfer.data.tagged import load_tagged
from tfhub_transfer.data.tagged_examples import WITHHELD
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.evaluation.tagging import Tagging
from tfhub_transfer.heads.tag_losses import TaggingLoss, WordAccuracy
from tfhub_transfer.heads.tag_outputs import Layout
from tfhub_transfer.heads.tagging import TaggingHead
from tfhub_transfer.registry import STRATEGIES
from tfhub_transfer.runs import Run
from tfhub_transfer.training import checkpoint
from tfhub_transfer.training.adaptation import Dann, DeepCoral
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.domain_losses import Coral, DomainAdversarial, OnSource

pytestmark = pytest.mark.slow

HEADS = {
    "dense": {"head": {"hidden": (8,)}},
    "lstm": {"tagging": {"recurrent": 4}},
    "crf": {"tagging": {"crf": True}, "head": {"hidden": (8,), "dropout": 0.1}},
    "both": {"tagging": {"recurrent": 4, "crf": True}},
}


def there(count: int, seed: int, city: str = "B-town") -> list:
    """Sentences as people write them elsewhere, with other names of types, and one type more."""
    made, first = [], ("lol", "hm")[seed % 2]
    for number, (words, intent) in enumerate(sentences(count, seed=seed)):
        tags = {"B-city": city, "B-person": "B-human", "I-person": "I-human"}
        said = [(first, "O"), *((word, tags.get(tag, tag)) for word, tag in words)]
        song = [("sing", "O"), ("Yesterday", "B-song")] * (number % 5 == 0)
        made.append(([*said, *song], intent))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("adaptation")
    write_conll(folder / "source.conll", sentences(80))
    for name, city in (("target", "B-town"), ("otherwise", "B-human")):
        (folder / name).mkdir()
        write_conll(folder / name / "train.conll", there(50, 1, city))
        write_conll(folder / name / "test.conll", there(20, 2))
    (folder / "types.yaml").write_text(
        "source: {city: place, person: person}\n"
        "target: {town: place, human: person, song: work}\n"
    )
    write_text_embedding(folder / "encoder")
    return folder


def adapting(folder: Path, name: str, strategy: str = "dann", **changes) -> Config:
    asked = {"target": str(folder / "target"), "labels": str(folder / "types.yaml")}
    training = {"strategy": strategy, "epochs": 3, **changes.pop("training", {})}
    return settings(
        folder / name,
        folder / "source.conll",
        training=training,
        adaptation=AdaptationConfig(**{**asked, **changes.pop("adaptation", {})}),
        **changes,
    )


def trained(config: Config):
    """Train as a run does, without its measures and its report."""
    run = Run.create(config)
    run.write_config(config)
    run.write_environment(config.seed)
    keras.utils.set_random_seed(config.seed)
    data = Tagging(config).load()
    classifier = Classifier.build(config, data.labels, **data.facts)
    strategy = STRATEGIES.load(config.training.strategy)
    return strategy(config, run).fit(classifier, data), classifier


def test_a_run_reports_what_it_adapted_to(folder):
    config = adapting(folder, "dann", training={"epochs": 6}, **HEADS["both"])
    run = run_experiment(config)
    metrics = run.load_metrics()
    told = metrics["adaptation"]
    assert metrics["labels"] == ["O", "B-person", "I-person", "B-place", "I-place"]
    assert (told["target"], told["target_rows"], told["target_test_rows"]) == ("target", 50, 20)
    assert told["source_f1"] == pytest.approx(metrics["test"]["f1"])
    assert told["source_accuracy"] == pytest.approx(metrics["test"]["accuracy"])
    assert 0.7 < told["target_f1"] <= 1.0
    assert told["target_accuracy"] > 0.8
    assert 0.0 <= told["domain_accuracy"] <= 1.0
    assert (metrics["epochs"], metrics["best_epoch"]) == (6, 6), "the last is kept"
    report = run.report_file.read_text(encoding="utf-8")
    assert "The model was adapted to target, whose labels it did not see." in report
    assert f"Entity F1 on 20 test rows of target: {told['target_f1']:.3f}" in report
    assert "the map of types leaves out count as O: 4 of type song." in report
    # what looked at the domains is thrown away
    model = keras.models.load_model(run.model_file, compile=False)
    names = {layer.name for layer in model._flatten_layers()}
    assert "crf" in names
    assert not {"reversal", "domain", "domain_hidden", "below_scores"} & names
    # and the saved tagger says of the target what was reported
    loaded = Classifier.load(run)
    types = read_type_map(str(folder / "types.yaml"), "target")
    rows = dataclasses.replace(config.data, source=str(folder / "target"))
    there = load_tagged(rows, seed=0, types=types)
    task = Tagging(config)
    measured = task.rows(there, "test")
    answers = task.answer(loaded, measured)
    f1 = task.measure(loaded, measured, answers, bootstrap=2)["f1"]
    assert told["target_f1"] == pytest.approx(f1)


@pytest.mark.parametrize("head", ["lstm", "crf"])
def test_coral_on_every_head(folder, head):
    outcome, classifier = trained(adapting(folder, f"coral-{head}", "coral", **HEADS[head]))
    told = outcome.details["adaptation"]
    assert told["target_f1"] > 0.4
    assert not {"lambda", "domain_accuracy"} & told.keys()
    assert classifier.network.output_shape[-1] == 5


def test_an_encoder_that_moves(folder):
    """With no layer of the head, what is adapted are the encoder's own vectors of words."""
    config = adapting(
        folder,
        "moving",
        "coral",
        adaptation={"student": "fine_tuning"},
        training={"encoder_learning_rate": 0.05, "epochs": 1},
        encoder=EncoderConfig(str(folder / "encoder")),
    )
    outcome, classifier = trained(config)
    assert 0.0 <= outcome.details["adaptation"]["target_f1"] <= 1.0
    begun = Classifier.build(config, classifier.head.labels, intents=())
    before, after = (c.encoder.get_weights()[0] for c in (begun, classifier))
    assert not np.array_equal(before, after)


def test_the_targets_tags_are_withheld(folder):
    """Other tags, in what is learnt from, make no difference to any weight."""
    of_target = adapting(folder, "told", **HEADS["dense"])
    target = {"target": str(folder / "otherwise")}
    otherwise = adapting(folder, "told-otherwise", adaptation=target, **HEADS["dense"])
    (_, one), (_, other) = trained(of_target), trained(otherwise)
    assert all(map(np.array_equal, one.network.get_weights(), other.network.get_weights()))


@pytest.mark.parametrize(
    "changes",
    [HEADS["crf"], {"adaptation": {"student": "fine_tuning"}}],
    ids=["vectors", "moving"],
)
def test_a_killed_adaptation_resumes_to_the_same_weights(folder, changes, request, monkeypatch):
    name = request.node.callspec.id
    _, straight = trained(adapting(folder, f"straight-{name}", **changes))
    killed = adapting(folder, f"killed-{name}", **changes)
    save, left = checkpoint.save, [3]

    def dying(*args, **kwargs) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise SystemExit
        save(*args, **kwargs)

    monkeypatch.setattr(checkpoint, "save", dying)
    with pytest.raises(SystemExit):
        trained(killed)
    monkeypatch.setattr(checkpoint, "save", save)
    outcome, resumed = trained(dataclasses.replace(killed, resume=True))
    assert outcome.progress.epoch == 3
    weights = [classifier.model.get_weights() for classifier in (straight, resumed)]
    assert all(map(np.array_equal, *weights))


def test_sentences_without_tags_are_adapted_to(folder):
    lines = [" ".join(word for word, _ in words) for words, _ in there(30, seed=3)]
    (folder / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    target = {"target": str(folder / "lines.txt"), "labels": None}
    outcome, _ = trained(adapting(folder, "lines", adaptation=target, **HEADS["dense"]))
    told = outcome.details["adaptation"]
    assert told["target_rows"] == 30
    assert not {"target_f1", "domain_accuracy"} & told.keys()
    assert any("has no tags, and nothing was measured there" in note for note in outcome.notes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({}, r"there is none: give --head\.hidden sizes, --tagging\.recurrent, or .*hidden \[\]"),
        ({"data": {"balance": "class_weight"}, **HEADS["lstm"]}, r"data\.balance class_weight"),
        ({"adaptation": {"target": None}, **HEADS["lstm"]}, r"add --adaptation\.target SOURCE\."),
    ],
)
def test_settings_that_cannot_work_are_refused(folder, changes, match):
    with pytest.raises(ConfigError, match=match):
        adapting(folder, "refused", **changes)


def test_answers_in_contexts_are_not_adapted(folder):
    measured = {"baselines": ()}
    config = adapting(folder, "span", evaluation=measured, **HEADS["dense"])
    with pytest.raises(ConfigError, match=r"feature_extraction or fine_tuning\. Received: .* dann"):
        dataclasses.replace(config, task="span")


RNG = np.random.default_rng(0)
# two sentences of each domain, of three, one, two and three words
TAGS = np.array([[0, 2, 1], [WITHHELD, -1, -1], [1, 0, -1], [WITHHELD] * 3], np.int32)
OF_SOURCE, OF_TARGET = TAGS >= 0, TAGS == WITHHELD


def outputs_of(further: np.ndarray, above: int = 0) -> np.ndarray:
    """Logits of three tags, and behind them the further outputs, float[4, 3, K]."""
    outputs = np.concatenate([RNG.normal(size=(4, 3, 3)), further], axis=2)
    return np.concatenate([np.zeros((4, above, outputs.shape[2])), outputs], axis=1)


def own_loss(outputs: np.ndarray) -> float:
    logits = outputs[OF_SOURCE][:, :3]
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(logs)), TAGS[OF_SOURCE]].mean()


@pytest.mark.parametrize("padding", [0, 2])
def test_each_word_is_a_row_of_its_domain(padding):
    """The losses by hand, in NumPy's float64; what stands at the padding does not matter."""
    further = RNG.normal(size=(4, 3, 4)) + 2.0
    outputs = outputs_of(further)
    tags = np.pad(TAGS, [(0, 0), (0, padding)], constant_values=-1)
    padded = np.pad(outputs, [(0, 0), (0, padding), (0, 0)], constant_values=9.0)
    inner = TaggingLoss(Layout(3))
    logits = further[..., 0]
    between = np.log1p(np.exp(logits[OF_SOURCE])).mean()
    between += np.log1p(np.exp(-logits[OF_TARGET])).mean()
    apart = np.cov(further[OF_SOURCE].T) - np.cov(further[OF_TARGET].T)
    for loss, expected in (
        (DomainAdversarial(inner, 3), between),
        (Coral(inner, 3, weight=2.5), 2.5 * (apart**2).sum() / (4 * 4**2)),
    ):
        loss.begin(0)
        found = float(loss(tags, padded.astype(np.float32)))
        assert found == pytest.approx(own_loss(outputs) + expected, rel=1e-5)
        loss.begin(None)
        found = float(loss(tags, padded.astype(np.float32)))
        assert found == pytest.approx(own_loss(outputs), rel=1e-5), "validation is not changed"


def test_a_crfs_own_scores_are_no_words():
    outputs = outputs_of(RNG.normal(size=(4, 3, 1)), above=5)
    outputs[:, :5, 3:] = 99.0
    loss = DomainAdversarial(TaggingLoss(Layout(3, crf=True)), 3)
    loss.begin(0)
    # a chain of zeros: words are independent
    logits = outputs[:, 5:, 3]
    expected = own_loss(outputs[:, 5:]) + np.log1p(np.exp(logits[OF_SOURCE])).mean()
    expected += np.log1p(np.exp(-logits[OF_TARGET])).mean()
    assert float(loss(TAGS, outputs.astype(np.float32))) == pytest.approx(expected, rel=1e-5)


def test_metrics_look_at_the_sources_words_alone():
    outputs = outputs_of(RNG.normal(size=(4, 3, 1))).astype(np.float32)
    metric = OnSource(WordAccuracy(Layout(3)), 3)
    metric.update_state(TAGS, outputs, sample_weight=np.ones(4))
    right = outputs[..., :3].argmax(axis=2) == TAGS
    assert float(metric.result()) == pytest.approx(right[OF_SOURCE].mean())


@pytest.mark.parametrize("crf", [False, True])
@pytest.mark.parametrize(("kind", "width"), [(Dann, 3 + 1), (DeepCoral, 3 + 8)])
def test_the_tagger_is_the_ordinary_one(folder, kind, width, crf):
    strategy = "dann" if kind is Dann else "coral"
    config = adapting(folder, "ordinary", strategy, tagging={"crf": crf}, head={"hidden": (8,)})
    head = TaggingHead(config.head, ("O", "B-a", "I-a"), tagging=config.tagging)
    plain = head.network(6)
    network = kind(config, run=None).network(plain, steps=10)
    x = RNG.normal(size=(5, 7, 6)).astype(np.float32)
    outputs = network(x).numpy()
    assert outputs.shape == (5, 7 + 5 * crf, width)
    np.testing.assert_array_equal(outputs[..., :3], plain(x).numpy())


def test_the_features_get_the_gradient_of_the_domain_loss_reversed(folder):
    """From a word of the target, which has no tag, nothing else comes."""
    keras.utils.set_random_seed(0)
    config = adapting(folder, "step", head={"hidden": (4,), "activation": "tanh"})
    head = TaggingHead(config.head, ("O", "B-a", "I-a"), tagging=config.tagging)
    strategy = Dann(config, run=None)
    network, loss = strategy.network(head.network(6), steps=100), strategy.loss(head.loss(), 3)
    loss.begin(0)
    network.get_layer("reversal").step.assign(20)
    x = tf.constant(RNG.normal(size=(4, 3, 6)), tf.float32)
    hidden, logits = (network.get_layer(name) for name in ("domain_hidden", "domain"))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        value = loss(TAGS, network(x, training=True))
        said = logits(hidden(network.get_layer("hidden_0")(x)))[..., 0]
        entropy = tf.nn.softplus(-said) * OF_TARGET / OF_TARGET.sum()
        entropy += tf.nn.softplus(said) * OF_SOURCE / OF_SOURCE.sum()
        domains = tf.reduce_sum(entropy)
    found, plain = (tape.gradient(of, x).numpy() for of in (value, domains))
    strength = 2 / (1 + np.exp(-10 * 0.2)) - 1
    assert np.abs(plain[OF_TARGET]).max() > 1e-3
    np.testing.assert_allclose(
        found[OF_TARGET], -strength * plain[OF_TARGET], rtol=1e-4, atol=1e-7
    )
    assert np.abs(found[TAGS == -1]).max() == 0, "nor from padding"

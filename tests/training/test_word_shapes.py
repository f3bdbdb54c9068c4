"""A tagger for words that differ in their capitals alone, from the settings to the artifact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests import tagged
from tfhub_transfer.artifact.audit import audit
from tfhub_transfer.artifact.predictor import Predictor
from tfhub_transfer.artifact.tagger import save_tagger
from tfhub_transfer.config import EncoderConfig
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.word_shapes import SHAPES
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.training.classifier import Classifier

pytestmark = pytest.mark.slow

PLACES = ("US", "UN", "WHO")
STRATEGIES = {
    "cached": {"tagging": {"recurrent": 4, "crf": True}},
    "not_cached": {"encoder": EncoderConfig(cache=False)},
    "moving": {"training": {"strategy": "fine_tuning", "encoder_learning_rate": 1e-3}},
    "with_intents": {"intents": True},
}


def sentences(count: int) -> list[tuple[tagged.Sentence, str]]:
    """Return sentences in which a word is a place, or is in lower case and is not."""
    made = []
    for number in range(count):
        word, is_place = PLACES[number // 2 % 3], number % 2 == 0
        middle = (word, "B-place") if is_place else (word.lower(), "O")
        words = [("they", "O"), ("told", "O"), middle, (f"no{number}", "O"), (".", "O")]
        made.append((words, "place" if is_place else "people"))
    return made


def write(root: Path, *, intents: bool) -> Path:
    if not intents:
        return tagged.write_conll(root / "places.conll", sentences(150))
    sizes = {"train": 90, "valid": 30, "test": 30}
    return tagged.write_slots(root / "slots", {part: sentences(n) for part, n in sizes.items()})


def test_the_encoder_does_not_see_capitals():
    layer = HubLayer("minilm-static", output="words", name="encoder")
    upper, lower = layer(tf.constant([" ".join(PLACES), " ".join(PLACES).lower()])).numpy()
    np.testing.assert_array_equal(upper, lower)


@pytest.mark.parametrize("how", STRATEGIES)
def test_the_tagger_and_what_is_exported_go_by_them(how, tmp_path, no_report):
    changes = dict(STRATEGIES[how])
    source = write(tmp_path, intents=changes.pop("intents", False))
    tagging = {**changes.pop("tagging", {}), "word_shapes": True}
    run = run_experiment(tagged.settings(tmp_path / "run", source, tagging=tagging, **changes))
    assert run.load_metrics()["test"]["f1"] == 1.0

    classifier = Classifier.load(run)
    assert classifier.encoder.word_shapes
    assert classifier.encoder.width == HubLayer("minilm-static").width + len(SHAPES)
    texts = ["they told US no7 .", "they told us no7 .", "", "they told WHO no8 ."]
    lengths = [len(text.split(" ")) if text else 0 for text in texts]
    outputs = classifier.model(tf.constant(texts), training=False).numpy()
    expected = classifier.head.decode(outputs, lengths)
    found = [
        [word for word, tag in zip(text.split(" "), one["tags"], strict=False) if tag != "O"]
        for text, one in zip(texts, expected, strict=True)
    ]
    assert found == [["US"], [], [], ["WHO"]]
    (vectors,) = classifier.predict([texts])
    np.testing.assert_allclose(vectors, outputs, rtol=0, atol=0.05)  # half precision

    served = tmp_path / "served" / "1"
    save_tagger(classifier.encoder, classifier.head, classifier.network, served)
    assert audit(served) == []
    predictor = Predictor.load(served)
    answers = predictor.run([text.encode() for text in texts], "words")
    for row, (one, length) in enumerate(zip(expected, lengths, strict=True)):
        assert [tag.decode() for tag in answers["tags"][row, :length]] == one["tags"]
        np.testing.assert_allclose(answers["scores"][row, :length], one["scores"], atol=1e-5)
    raw = predictor(["they told UN no7."])
    named = raw["words"][0][raw["tags"][0] == b"B-place"]
    assert named.tolist() == [b"UN"]

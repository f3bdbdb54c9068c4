"""What a run keeps of its predictions."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trained import copied, sample_run, several_run
from tfhub_transfer.errors import RunError
from tfhub_transfer.evaluation.metrics import classification_metrics
from tfhub_transfer.evaluation.predictions import Predictions


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.getbasetemp()


@pytest.mark.parametrize("made", [sample_run, several_run])
def test_a_run_keeps_what_its_metrics_were_computed_from(root, made):
    run = made(root)
    predictions, described = Predictions.load(run), run.load_metrics()
    test = predictions.test
    again = classification_metrics(
        test.targets, test.probabilities, described["labels"], bootstrap=10
    )
    for name in ("n", "accuracy", "log_loss", "ece", "confusion_matrix"):
        assert again[name] == described["test"][name]
    assert len(predictions.validation.targets) == described["validation"]["n"]


def test_the_texts_are_of_the_validation_split(root):
    texts = Predictions.load(sample_run(root)).texts
    assert 0 < len(texts) <= 256
    assert len(set(texts)) == len(texts)
    assert texts[0] == max(texts, key=len)


@pytest.mark.parametrize("name", ["predictions.npz", "validation_texts.json"])
@pytest.mark.parametrize("content", [None, b"", b"no such thing", b"5", b"[1]"])
def test_damaged_predictions(root, tmp_path, name, content):
    run = copied(sample_run(root), tmp_path / "run")
    (run.path / name).unlink()
    if content is not None:
        (run.path / name).write_bytes(content)
    with pytest.raises(RunError, match="The run's predictions.*cannot be read.*Received: "):
        Predictions.load(run)


def test_targets_are_class_indices_or_zeros_and_ones(root):
    assert Predictions.load(sample_run(root)).validation.targets.ndim == 1
    several = Predictions.load(several_run(root)).validation
    assert several.targets.shape == several.probabilities.shape
    assert set(np.unique(several.targets)) == {0, 1}

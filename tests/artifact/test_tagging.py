"""A tagger's run that becomes an artifact: checked, described, and with its server's files."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest

from tests.trained import copied, joint_run, tagger_run
from tfhub_transfer.artifact import summary, verification, writer
from tfhub_transfer.artifact.predictor import Predictor
from tfhub_transfer.artifact.settings import ExportConfig
from tfhub_transfer.artifact.verification import HARD_TEXTS, Expected
from tfhub_transfer.artifact.writer import export_run
from tfhub_transfer.errors import ArtifactError, ConfigError, ConversionError, RunError
from tfhub_transfer.serving.batching import BatchingParameters

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.getbasetemp()


@pytest.fixture(scope="module")
def export(root, tmp_path_factory):
    """The joint run, checked in a process of its own; not to be written to."""
    directory = tmp_path_factory.mktemp("saved_models")
    config = ExportConfig(
        run=str(joint_run(root).path), name="slots", directory=str(directory)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "measure", functools.partial(writer.measure, seconds=0.1))
        return export_run(config)


def test_what_was_measured(export, root):
    metrics = json.loads((export.path / "metrics.json").read_text())
    run = joint_run(root).load_metrics()
    assert metrics["task"] == "tagging"
    assert metrics["test"] == run["test"]
    assert (metrics["labels"], metrics["intents"]) == (run["labels"], ["call", "flight"])
    assert metrics["parity"]["texts"] == 20 + len(HARD_TEXTS)
    assert 0 <= metrics["parity"]["difference"] <= verification.TOLERANCE
    assert "calibration" not in metrics


def test_the_warm_up_asks_both_signatures(export):
    predictor = Predictor.load(export.path)
    asked = []
    run = predictor.run
    predictor.run = lambda values, name: asked.append(name) or run(values, name)
    assert predictor.warm_up() == export.metrics["warm_up_requests"] == 12
    assert set(asked) == {"serving_default", "words"}


def test_a_server_is_told_not_to_split_requests(export):
    file = export.path.parent / "deploy" / "batching_parameters.txt"
    assert "enable_large_batch_splitting { value: false }" in file.read_text()
    assert "max_execution_batch_size" not in file.read_text()
    sizing = export.metrics["batching"]
    assert sizing["splitting"] is False
    # TensorFlow Serving refuses a version with a larger warm-up request
    assert sizing["max_batch_size"] == sizing["max_execution_batch_size"] >= 16
    assert BatchingParameters.read(str(file)).max_batch_size == sizing["max_batch_size"]


def test_the_card_is_a_tagger_s(export):
    card = (export.path / "model_card.md").read_text()
    assert "one of 9 tags, from which entities of 2 types" in card
    assert "as a whole one of 2 intents" in card
    assert "| This model | 1.000" in card
    assert "| city | " in card and "`S-PER` is one of a single word" in card
    assert "a CRF's best path" in card
    assert "Type by type" in card and "Calibration" not in card and "label`" not in card


def test_the_terminal_s_summary(export, capsys):
    summary.print_export(export)
    printed = capsys.readouterr().out
    for expected in ("slots, version 1", "entity F1", "right intents", "has all its ops"):
        assert expected in printed


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"reject_precision": 0.9}, ConfigError, r"must not be given\. Received: 0\.9"),
        ({"format": ("onnx",)}, ConversionError, r"not converted .*Received: --format onnx"),
    ],
)
def test_settings_for_whole_texts_are_refused_before_the_work(
    root, tmp_path, changes, error, text
):
    with pytest.raises(error, match=text):
        export_run(
            ExportConfig(run=str(tagger_run(root).path), directory=str(tmp_path), **changes)
        )
    assert not list(tmp_path.iterdir())


def test_a_run_without_its_texts(root, tmp_path):
    broken = copied(tagger_run(root), tmp_path / "run")
    (broken.path / "validation_texts.json").write_text("{}")
    with pytest.raises(RunError, match=r"should be a list of texts.*Received: .*run"):
        export_run(ExportConfig(run=str(broken.path), directory=str(tmp_path / "models")))


@pytest.mark.parametrize(
    ("found", "ties", "passes"),
    [
        ([[0.5, 0.9], [0.1, 0.0]], 0.0, True),
        ([[0.5, 0.9], [0.7, 0.0]], 0.0, False),
        ([[0.5, 0.9], [0.7, 0.0]], 0.25, True),
        ([[0.5, 0.9], [float("nan"), 0.0]], 0.0, False),
        ([[0.5], [0.1]], 0.9, False),
    ],
)
def test_how_answers_are_compared(tmp_path, monkeypatch, found, ties, passes):
    answered = json.dumps([{"scores": found}]).encode()

    class Process:
        returncode, stdout = 0, answered

    monkeypatch.setattr(verification.subprocess, "run", lambda *_, **__: Process)
    values = np.float32([[0.5, 0.9], [0.1, 0.0]])
    expected = [Expected("words", ["one", "two"], {"scores": values}, ties)]
    if passes:
        assert verification.verify(tmp_path, expected) <= verification.TOLERANCE
    else:
        with pytest.raises(ArtifactError, match=r"on 2 texts\. Received: a difference of .*"):
            verification.verify(tmp_path, expected)

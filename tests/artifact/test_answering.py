"""A run that answers questions, as an artifact: checked, described, with its server's files."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
import tensorflow as tf

from tests.trained import answerer_run, copied
from tfhub_transfer.artifact import summary, verification, writer
from tfhub_transfer.artifact.answering import HARD_PAIRS
from tfhub_transfer.artifact.predictor import Predictor
from tfhub_transfer.artifact.settings import ExportConfig
from tfhub_transfer.artifact.verification import Expected
from tfhub_transfer.artifact.writer import export_run
from tfhub_transfer.errors import ArtifactError, ConfigError, ConversionError, RunError

pytestmark = pytest.mark.slow


@functools.cache
def exported(root):
    config = ExportConfig(
        run=str(answerer_run(root).path), name="facts", directory=str(root / "answerer-models")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "measure", functools.partial(writer.measure, seconds=0.1))
        return export_run(config)


@pytest.fixture
def root(tmp_path_factory):
    return tmp_path_factory.getbasetemp()


@pytest.fixture
def export(root):
    """The run, checked in a process of its own; not to be written to."""
    return exported(root)


def test_what_was_measured(export, root):
    metrics = json.loads((export.path / "metrics.json").read_text())
    run = answerer_run(root).load_metrics()
    assert metrics["task"] == "span"
    assert metrics["test"] == run["test"]
    assert metrics["no_answer"] == run["no_answer"]
    assert metrics["parity"]["texts"] > len(HARD_PAIRS)
    assert 0 <= metrics["parity"]["difference"] <= verification.TOLERANCE


def test_every_weight_is_stored_once(export):
    stored = tf.train.load_checkpoint(str(export.path / "variables" / "variables"))
    types, shapes = stored.get_variable_to_dtype_map(), stored.get_variable_to_shape_map()
    # beside them there is what the checkpoint says of its objects
    sizes = [4 * np.prod(shapes[name]) for name, kind in types.items() if kind == tf.float32]
    assert sum(sizes) == export.metrics["size"]["weights_bytes"]


def test_the_warm_up_asks_both_signatures_real_questions(export):
    predictor = Predictor.load(export.path)
    asked = []
    run = predictor.run
    predictor.run = lambda values, name: asked.append((values, name)) or run(values, name)
    assert predictor.warm_up() == export.metrics["warm_up_requests"] == 12
    assert {name for _, name in asked} == {"serving_default", "n_best"}
    questions = {question for values, _ in asked for question, _ in values}
    assert all(question.startswith(b"Which ") for question in questions)


def test_a_server_may_split_requests(export):
    file = export.path.parent / "deploy" / "batching_parameters.txt"
    assert "enable_large_batch_splitting { value: true }" in file.read_text()


def test_the_commands_ask_a_question(export, capsys):
    body = (
        '{"instances": [{"question": "When did the answer come?", '
        '"context": "The answer came within an hour and solved it."}]}'
    )
    assert f"curl -d '{body}'" in (export.path.parent / "deploy" / "README.md").read_text()
    assert f"curl -d '{body}'" in (export.path / "model_card.md").read_text()
    summary.print_export(export)
    printed = capsys.readouterr().out
    for expected in ("facts, version 1", "exact match", "F1", "right not to answer", body):
        assert expected in printed


def test_the_card_is_of_answers(export):
    card = (export.path / "model_card.md").read_text()
    assert "Answers a question by a stretch of the text" in card
    assert "or says that there is no answer in it" in card
    assert "| This model | " in card and "questions without an answer" in card
    assert "| split | questions |" in card and "`answers`: string[B, 6]" in card
    assert "Calibration" not in card and "label`" not in card and "None" not in card


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"reject_precision": 0.9}, ConfigError, r"must not be given\. .*Received: 0\.9"),
        ({"format": ("onnx",)}, ConversionError, r"not converted .*Received: --format onnx"),
    ],
)
def test_settings_for_whole_texts_are_refused_before_the_work(
    root, tmp_path, changes, error, text
):
    with pytest.raises(error, match=text):
        export_run(
            ExportConfig(run=str(answerer_run(root).path), directory=str(tmp_path), **changes)
        )
    assert not list(tmp_path.iterdir())


def test_a_run_without_its_contexts(root, tmp_path):
    broken = copied(answerer_run(root), tmp_path / "run")
    (broken.path / "validation_texts.json").write_text('["Who?"]')
    with pytest.raises(RunError, match=r"should be a list of pairs.*Received: .*run"):
        export_run(ExportConfig(run=str(broken.path), directory=str(tmp_path / "models")))


@pytest.mark.parametrize(
    ("found", "passes"),
    [(["Ada", ""], True), (["Ada", "in"], False), (["Ada"], False)],
)
def test_how_texts_are_compared(tmp_path, monkeypatch, found, passes):
    class Process:
        returncode, stdout = 0, json.dumps([{"answer": found}]).encode()

    monkeypatch.setattr(verification.subprocess, "run", lambda *_, **__: Process)
    values = np.array(["Ada", ""], object)
    expected = [Expected("serving_default", [("who", "a"), ("b", "c")], {"answer": values})]
    if passes:
        assert verification.verify(tmp_path, expected) == 0
    else:
        with pytest.raises(ArtifactError, match=r"Received: a difference of .* on '\w+' on '\w'"):
            verification.verify(tmp_path, expected)

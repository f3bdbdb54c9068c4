"""Runs that become artifacts: what is in them, and what becomes of a failure."""

from __future__ import annotations

import json
import resource
import shutil

import numpy as np
import pytest
import tensorflow as tf
import yaml
from google.protobuf import text_format
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from tests.trained import copied, sample_run, several_run
from tfhub_transfer.artifact import audit, comparison, verification
from tfhub_transfer.artifact.classification import ClassificationExport
from tfhub_transfer.artifact.predictor import Predictor
from tfhub_transfer.artifact.settings import ExportConfig
from tfhub_transfer.artifact.writer import export_run
from tfhub_transfer.errors import (
    ArtifactError,
    AuditError,
    ConversionError,
    DataError,
    RunError,
    UnknownNameError,
)
from tfhub_transfer.evaluation.calibration import calibrate
from tfhub_transfer.evaluation.predictions import Predictions, Split
from tfhub_transfer.training.classifier import Classifier

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.getbasetemp()


@pytest.fixture(scope="module")
def run(root):
    return sample_run(root)


@pytest.fixture(scope="module")
def export(run, tmp_path_factory):
    """The sample's run, exported with a reject threshold; not to be written to."""
    directory = tmp_path_factory.mktemp("saved_models")
    return export_run(
        ExportConfig(run=str(run.path), name="mood", directory=str(directory), reject_precision=0.8)
    )


@pytest.fixture
def quick(monkeypatch):
    """Leave out what takes seconds and is not the point: a fresh process, timing a conversion."""
    monkeypatch.setattr(comparison, "_TURN_SECONDS", 0.001)
    monkeypatch.setattr(verification, "verify", lambda version, expected: 0.0)


def settings(run, directory, **changes):
    return ExportConfig(run=str(run.path), directory=str(directory), **changes)


def names(directory):
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


def test_what_lies_where(export):
    assert names(export.path) == [
        "assets.extra/tf_serving_warmup_requests",
        "assets/labels.txt",
        "fingerprint.pb",
        "metrics.json",
        "model_card.md",
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ]
    assert names(export.path.parent / "deploy") == [
        "README.md",
        "batching_parameters.txt",
        "compose.yaml",
        "kubernetes.yaml",
        "models.config",
    ]


def test_it_answers_as_the_run_s_model(run, export):
    classifier = Classifier.load(run)
    texts = [*Predictions.load(run).texts[:20], *verification.HARD_TEXTS]
    answers = Predictor.load(export.path)(texts)
    plain = classifier.model(tf.constant(texts), training=False).numpy()
    calibration = export.metrics["calibration"]
    warm = plain.astype(np.float64) ** (1 / calibration["temperature"])
    expected = warm / warm.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
    labels = np.array(classifier.head.labels)[expected.argmax(1)]
    labels = np.where(expected.max(1) < calibration["threshold"], "unknown", labels)
    assert [label.decode() for label in answers["label"]] == labels.tolist()
    assert "unknown" in labels, "else the test says nothing"


def test_what_was_measured(run, export):
    metrics = json.loads((export.path / "metrics.json").read_text())
    assert metrics == export.metrics
    assert metrics["calibration"] == calibrate(Predictions.load(run), precision=0.8).metrics
    assert metrics["calibration"]["validation"]["precision"] >= 0.8
    assert metrics["test"] == run.load_metrics()["test"]
    assert 0 <= metrics["parity"]["difference"] <= 1e-5
    assert metrics["parity"]["texts"] > len(verification.HARD_TEXTS)
    variables = export.path / "variables" / "variables.data-00000-of-00001"
    weights, size = metrics["size"]["weights_bytes"], metrics["size"]["bytes"]
    assert weights == pytest.approx(variables.stat().st_size, rel=1e-3)
    # 1.94 MB of it are the tokenizer's vocabulary, which is the encoder's too
    assert (size - 1.95e6) / weights < 1.05
    assert metrics["batching"]["max_batch_size"] >= 1


def test_warm_up_requests_are_real_texts(run, export):
    predictor = Predictor.load(export.path)
    assert predictor.warm_up() == export.metrics["warm_up_requests"] > 0
    file = export.path / "assets.extra/tf_serving_warmup_requests"
    texts = set()
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.HasField("predict_log"):
            assert log.predict_log.request.model_spec.name == "mood"
            texts.update(log.predict_log.request.inputs["text"].string_val)
    assert {text.decode() for text in texts} <= set(Predictions.load(run).texts)


def test_the_server_s_files_are_of_this_model(export):
    deploy = export.path.parent / "deploy"
    server = text_format.Parse(
        (deploy / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    assert [model.name for model in server.model_config_list.config] == ["mood"]
    compose = yaml.safe_load((deploy / "compose.yaml").read_text())
    assert compose["services"]["serving"]["image"] == "tensorflow/serving:2.19.0"
    assert "# mood, version 1" in (export.path / "model_card.md").read_text()


def test_stock_servers_run_it(export):
    for release in ("2.18", "2.19", "2.20"):
        assert audit.audit(export.path, release) == []


def test_a_run_with_several_labels(root, tmp_path, quick):
    export = export_run(settings(several_run(root), tmp_path))
    assert export.path == tmp_path / "several-run" / "1"
    classifier = Classifier.load(several_run(root))
    texts = ["superb and superb", "awful", "awful and superb", "", "a chair"]
    decoded = classifier.head.decode(classifier.model(tf.constant(texts), training=False).numpy())
    answers = Predictor.load(export.path)(texts)
    # a temperature moves no probability across one half
    assert [label.decode().split("|") for label in answers["label"]] == [
        row["label"] or [""] for row in decoded
    ]


def test_no_calibration(run, tmp_path, quick):
    export = export_run(settings(run, tmp_path, calibrate=False))
    assert export.metrics["calibration"]["temperature"] == 1.0
    texts = ["a fine day", ""]
    expected = Classifier.load(run).model(tf.constant(texts), training=False).numpy()
    answers = Predictor.load(export.path)(texts)
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-6)


def test_versions_go_up_and_edited_files_stay(export, run, tmp_path, quick):
    directory = shutil.copytree(export.path.parent, tmp_path / "mood")
    (directory / "deploy/compose.yaml").write_text("# mine\n")
    second = export_run(settings(run, tmp_path, name="mood"))
    assert second.path == directory / "2"
    assert second.kept == (directory / "deploy/compose.yaml",)
    assert (directory / "deploy/compose.yaml").read_text() == "# mine\n"
    with pytest.raises(ArtifactError, match=r"Versions only go up.* Received: --version 2"):
        export_run(settings(run, tmp_path, name="mood", version=2))


def test_a_wrong_answer_stops_the_export(run, tmp_path, monkeypatch):
    def other(self, classifier):
        wrong = {"probabilities": np.full((1, 3), 1 / 3)}
        return [verification.Expected("serving_default", ["a fine day"], wrong)]

    monkeypatch.setattr(ClassificationExport, "expected", other)
    with pytest.raises(ArtifactError, match="answers otherwise than the trained model"):
        export_run(settings(run, tmp_path, name="mood"))
    assert names(tmp_path) == ["mood/.lock"]


def test_what_does_not_load_stops_the_export(run, tmp_path, monkeypatch):
    real = verification.verify

    def broken(version, expected):
        (version / "variables/variables.index").unlink()
        return real(version, expected)

    monkeypatch.setattr(verification, "verify", broken)
    with pytest.raises(ArtifactError, match="does not load in a fresh process"):
        export_run(settings(run, tmp_path, name="mood"))
    assert names(tmp_path) == ["mood/.lock"]


def test_what_cannot_be_converted_is_not_exported_either(run, tmp_path, quick):
    config = settings(run, tmp_path, name="mood", format=("tflite", "onnx"))
    with pytest.raises(ConversionError, match="FastBertNormalize"):
        export_run(config)
    assert names(tmp_path) == ["mood/.lock", "mood/onnx/.lock", "mood/tflite/.lock"]


def test_a_conversion_appears_with_its_version(run, tmp_path, quick):
    leftover = tmp_path / "mood" / "tflite" / "1"
    leftover.mkdir(parents=True)  # as of an export that was killed before it published
    export = export_run(settings(run, tmp_path, name="mood", format=("tflite",)))
    (conversion,) = export.conversions
    assert conversion.file == leftover / "model.tflite"
    assert conversion.file.stat().st_size == conversion.bytes
    assert export.path.is_dir()


def test_a_full_disk_leaves_nothing(run, tmp_path, quick):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(ArtifactError, match="nothing of it is left behind"):
            export_run(settings(run, tmp_path, name="mood"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == ["mood/.lock"]


def test_what_the_server_refuses_is_not_written_unless_told_to(run, tmp_path, monkeypatch, quick):
    def refuse(version, release):
        raise AuditError(f"refused by {release}. Received: {version.name}")

    monkeypatch.setattr(audit, "check", refuse)
    with pytest.raises(AuditError, match=r"refused by 2\.18"):
        export_run(settings(run, tmp_path, name="mood", serving_version="2.18"))
    assert names(tmp_path) == ["mood/.lock"]
    export = export_run(settings(run, tmp_path, name="mood", allow_unservable=True))
    assert export.metrics["audited"] is False


def test_an_unknown_release_is_known_before_the_work(run, tmp_path):
    with pytest.raises(UnknownNameError, match=r"Unknown release.*Received: '2\.99'"):
        export_run(settings(run, tmp_path, serving_version="2.99"))
    assert not list(tmp_path.iterdir())


def test_a_precision_out_of_reach(run, tmp_path):
    wrong = copied(run, tmp_path / "run")
    found = Predictions.load(run)
    never = (found.validation.probabilities.argmax(axis=1) + 1) % 3
    Predictions(Split(never, found.validation.probabilities), found.test, found.texts).save(wrong)
    with pytest.raises(DataError, match=r"the most that one gives is 0\.0000\. Received: 0\.9"):
        export_run(settings(wrong, tmp_path / "models", reject_precision=0.9))
    assert not (tmp_path / "models").exists()


def test_a_run_that_is_not_finished(run, tmp_path):
    broken = copied(run, tmp_path / "run")
    (broken.path / "metrics.json").unlink()
    with pytest.raises(RunError, match="The run is not finished"):
        export_run(settings(broken, tmp_path / "models"))
    with pytest.raises(RunError, match="Not a run directory"):
        export_run(ExportConfig(run=str(tmp_path), name="x", directory=str(tmp_path / "models")))
    assert not (tmp_path / "models").exists()

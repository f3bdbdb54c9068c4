"""A student and its teacher, whole runs on made-up sentences."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.encoders.tiny import EMBEDDING_WIDTH, write_bert, write_text_embedding
from tests.trained import sentences, settings, without_report, write_csv, write_several
from tfhub_transfer.config import Config, DistillationConfig, EncoderConfig
from tfhub_transfer.data.examples import Dataset
from tfhub_transfer.data.splits import load
from tfhub_transfer.encoders.bulk import BulkEncoder
from tfhub_transfer.errors import ConfigError, RunError
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.runs import Run
from tfhub_transfer.training import checkpoint
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.distillation import Distillation
from tfhub_transfer.training.fine_tuning import FineTuning
from tfhub_transfer.training.strategy import Outcome
from tfhub_transfer.training.teacher import Teacher

pytestmark = pytest.mark.slow

TRAINING = {
    "strategy": "distillation",
    "epochs": 4,
    "learning_rate": 0.02,
    "encoder_learning_rate": 0.05,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("distillation")
    write_csv(folder / "rows.csv", sentences(160))
    # two of them stand in the labelled table, maybe in its test split
    more = [text for text, _ in sentences(80, seed=1)[:48]]
    (folder / "more.txt").write_text("\n".join(more) + "\n", encoding="utf-8")
    write_text_embedding(folder / "encoder")
    return folder


@pytest.fixture(scope="module")
def teacher(folder) -> Run:
    with without_report():
        return run_experiment(settings(folder / "teacher", folder / "rows.csv"))


def student(folder: Path, name: str, teacher: Path | str, **changes) -> Config:
    asked = DistillationConfig(
        **{"teacher": str(teacher), "weight": 0.9, **changes.pop("distillation", {})}
    )
    source = changes.pop("source", folder / "rows.csv")
    return settings(
        folder / name,
        source,
        training={**TRAINING, **changes.pop("training", {})},
        encoder=EncoderConfig(changes.pop("encoder", str(folder / "encoder"))),
        distillation=asked,
        **changes,
    )


def trained(config: Config) -> tuple[Outcome, Classifier, Dataset]:
    """Train as a run does, without its report."""
    run = Run.create(config)
    run.write_config(config)
    run.write_environment(config.seed)
    keras.utils.set_random_seed(config.seed)
    data = load(config.data, seed=config.seed)
    classifier = Classifier.build(config, data.labels, multi_label=data.multi_label)
    return Distillation(config, run).fit(classifier, data), classifier, data


def accuracy(outcome: Outcome, classifier: Classifier, data: Dataset) -> float:
    (probabilities,) = classifier.predict([data.test.texts()], outcome.encode)
    if data.multi_label:
        return float(((probabilities > 0.5) == data.test.labels).mean())
    return float((probabilities.argmax(axis=1) == data.test.labels).mean())


def test_a_student_reports_its_teacher(folder, teacher):
    run = run_experiment(student(folder, "reporting", teacher.path))
    metrics = run.load_metrics()
    told = metrics["teacher"]
    assert told["run"] == "teacher"
    assert told["accuracy"] == teacher.load_metrics()["test"]["accuracy"]
    assert (told["temperature"], told["unlabelled"]) == (2.0, 0)
    assert any("learned from the run teacher (minilm-static" in n for n in metrics["notes"])
    assert "learned from the run teacher" in run.report_file.read_text(encoding="utf-8")


def test_the_teacher_is_asked_once_for_each_text(folder, teacher, tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_TRANSFER_CACHE_DIR", str(tmp_path))
    calls: list[int] = []
    call = BulkEncoder.__call__

    def counted(self, texts):
        if self.width != EMBEDDING_WIDTH:  # the teacher's
            calls.append(len(texts))
        return call(self, texts)

    monkeypatch.setattr(BulkEncoder, "__call__", counted)
    unlabelled = {"unlabelled": str(folder / "more.txt")}
    config = student(folder, "asking", teacher.path, distillation=unlabelled)
    outcome, _, data = trained(config)
    more = set((folder / "more.txt").read_text(encoding="utf-8").splitlines())
    held_out = {*data.validation.texts(), *data.test.texts()}
    assert outcome.details["teacher"]["unlabelled"] == len(more - held_out)
    assert sum(calls) == len({*data.train.texts(), *more} - held_out)
    calls.clear()
    again = {**unlabelled, "temperature": 5.0}
    trained(student(folder, "asking-again", teacher.path, distillation=again))
    assert calls == []


def test_unlabelled_texts_join_with_the_teachers_word_alone(folder, teacher, monkeypatch):
    objectives = []
    build = FineTuning.__init__

    def noted(self, config, run, objective=None):
        objectives.append(objective)
        build(self, config, run, objective)

    fitted = []
    fit = FineTuning.fit
    monkeypatch.setattr(FineTuning, "__init__", noted)
    monkeypatch.setattr(FineTuning, "fit", lambda *given: fitted.append(given[2]) or fit(*given))
    asked = {"unlabelled": str(folder / "more.txt")}
    outcome, _, data = trained(student(folder, "more", teacher.path, distillation=asked))
    assert outcome.details["teacher"]["unlabelled"] == 46
    assert any(
        "46 unlabelled texts of" in note and "2 more were left out, for they stand" in note
        for note in outcome.notes
    )
    assert len(data.train) == 115, "the data set that is reported on is the labelled one"
    (joined,), (objective,) = fitted, objectives
    assert len(joined.train) == 115 + 46
    targets = objective.targets(joined.train, np.arange(115 + 46))
    labelled, taught = targets[:, 4], targets[:, 5]
    np.testing.assert_array_equal(labelled, np.arange(115 + 46) < 115)
    assert taught.all()
    # to balance classes by, they count as what the teacher takes them for
    np.testing.assert_array_equal(
        joined.train.labels[115:], targets[115:, 2:4].argmax(axis=1)
    )
    validation = objective.targets(joined.validation, np.arange(len(data.validation)))
    assert validation[:, 4].all()
    assert not validation[:, 5].any()


@pytest.mark.parametrize(
    "changes",
    [
        {
            "distillation": {"student": "feature_extraction"},
            "training": {"encoder_learning_rate": None},
        },
        {"distillation": {"vectors": 1.0}, "training": {"encoder_learning_rate": 1e-3}},
        {"training": {"truncate_loss": 0.1}, "data": {"balance": "oversample"}},
    ],
    ids=["frozen", "vectors", "truncated"],
)
def test_students_of_other_kinds_learn(folder, teacher, changes, request):
    config = student(
        folder, request.node.callspec.id, teacher.path, encoder="minilm-static", **changes
    )
    assert accuracy(*trained(config)) > 0.8


def test_a_student_of_several_labels_learns(folder):
    source = write_several(folder / "several.csv")
    changes = {"data": {"label_separator": "|"}}
    several = {**changes, "training": {"epochs": 10}}
    with without_report():
        teacher = run_experiment(settings(folder / "several-teacher", source, **several))
    asked = {"unlabelled": str(folder / "more.txt")}
    changes |= {"source": source, "distillation": asked, "encoder": "minilm-static"}
    config = student(folder, "several", teacher.path, **changes)
    assert accuracy(*trained(config)) > 0.8


def test_the_validation_loss_is_that_of_the_labels(folder, teacher):
    """An untrained head's, whatever the temperature."""
    losses = []
    for temperature in (1.0, 8.0):
        config = student(
            folder,
            f"validation-{temperature}",
            teacher.path,
            distillation={"temperature": temperature},
            training={"epochs": 1, "learning_rate": 1e-9, "encoder_learning_rate": 1e-9},
        )
        losses.append(trained(config)[0].progress.history[0])
    assert losses[0]["val_loss"] == pytest.approx(losses[1]["val_loss"], abs=1e-5)
    assert losses[0]["loss"] != pytest.approx(losses[1]["loss"], abs=1e-2)


def test_a_killed_student_resumes_to_the_same_weights(folder, teacher, monkeypatch):
    changes = {
        "distillation": {"unlabelled": str(folder / "more.txt"), "vectors": 0.5},
        "training": {"epochs": 3, "truncate_loss": 0.2},
        "data": {"word_dropout": 0.1, "word_swap": 0.1},
    }
    _, straight, _ = trained(student(folder, "straight", teacher.path, **changes))
    killed = student(folder, "killed", teacher.path, **changes)
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
    _, resumed, _ = trained(dataclasses.replace(killed, resume=True))
    weights = [classifier.model.get_weights() for classifier in (straight, resumed)]
    assert all(map(np.array_equal, *weights))


def test_the_answers_follow_the_order_of_the_labels(folder, teacher):
    config = student(folder, "order", teacher.path)
    data = load(config.data, seed=0)
    turned = dataclasses.replace(data, labels=data.labels[::-1])
    found = [Teacher(str(teacher.path), each).logits(data.train) for each in (data, turned)]
    positions = np.arange(10)
    straight, reversed_ = (answers.read(data.train, positions) for answers in found)
    np.testing.assert_array_equal(straight, reversed_[:, ::-1])
    assert not found[0].known(data.test, np.arange(5)).any()
    np.testing.assert_array_equal(found[0].read(data.test, np.arange(5)), np.zeros((5, 2)))


def test_a_teacher_may_be_asked_in_bfloat16(folder):
    encoder = EncoderConfig(str(write_bert(folder / "bert")))
    with without_report():
        config = settings(folder / "bert-teacher", folder / "rows.csv", encoder=encoder)
        path = str(run_experiment(config).path)
    data = load(config.data, seed=0)
    positions = np.arange(40)
    exact, rounded, default = (
        Teacher(path, data, precision).logits(data.train).read(data.train, positions)
        for precision in ("float32", "bfloat16", None)
    )
    np.testing.assert_array_equal(default, exact)
    assert not np.array_equal(rounded, exact)
    np.testing.assert_allclose(rounded, exact, atol=0.05)


def test_a_teacher_with_other_labels_is_refused(folder, teacher, tmp_path):
    write_csv(tmp_path / "rows.csv", [(t, label.upper()) for t, label in sentences(40)])
    config = student(folder, "other", teacher.path, source=tmp_path / "rows.csv")
    match = "only the teacher has 'good', 'poor'; only the data has 'GOOD', 'POOR'. Received: "
    with pytest.raises(ConfigError, match=match):
        trained(config)


def test_a_teacher_for_several_labels_is_refused(folder, teacher):
    config = student(folder, "for-several", teacher.path, data={"label_separator": "|"})
    with pytest.raises(ConfigError, match="gives one label per text, and the data has several"):
        trained(config)


def test_a_teacher_that_is_no_finished_run_is_refused(folder, tmp_path):
    with pytest.raises(RunError, match="Not a run directory"):
        trained(student(folder, "none", tmp_path))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"teacher": None}, "needs a finished run to learn from: add --distillation.teacher DIR"),
        ({"teacher": "{folder}/x"}, "A run cannot be its own teacher. Received: --run"),
        ({"unlabelled": "a.txt", "weight": 0.0}, "weight must be above 0 for unlabelled text"),
        ({"vectors": 1.0, "student": "feature_extraction"}, "takes distillation.student fine_tun"),
    ],
)
def test_settings_that_cannot_work_are_refused(folder, changes, match):
    changes = {"teacher": "t", **changes}
    if changes["teacher"]:
        changes["teacher"] = changes["teacher"].format(folder=folder)
    with pytest.raises(ConfigError, match=match):
        Config(
            run=str(folder / "x"),
            training=dataclasses.replace(Config().training, strategy="distillation"),
            distillation=DistillationConfig(**changes),
        )


@pytest.mark.parametrize("swap", [0.0, 0.2])
def test_changed_texts_do_not_go_with_the_cache(swap):
    data = dataclasses.replace(Config().data, word_dropout=0.2 - swap, word_swap=swap)
    with pytest.raises(ConfigError, match="add --encoder.cache false, or let the encoder move"):
        Config(data=data)
    Config(data=data, encoder=dataclasses.replace(Config().encoder, cache=False))

"""A finished run, measured again and on other data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import trained
from tfhub_transfer.config import DataConfig
from tfhub_transfer.errors import DataError, RunError
from tfhub_transfer.evaluation import classification
from tfhub_transfer.evaluation.scoring import score_run
from tfhub_transfer.runs import Run


@pytest.fixture
def run(tmp_path, tmp_path_factory) -> Run:
    return trained.copied(trained.sample_run(tmp_path_factory.getbasetemp()), tmp_path / "copy")


@pytest.fixture
def no_report(monkeypatch) -> None:
    monkeypatch.setattr(classification, "write_report", lambda run, **_: None)


@pytest.fixture
def other(tmp_path) -> Path:
    rows = [("Simply wonderful.", "positive"), ("Awful.", "negative"), ("It is a box.", "neutral")]
    return trained.write_csv(tmp_path / "other set.csv", rows * 4)


def test_its_own_test_split_gives_the_same_measures(run, no_report):
    directory, metrics = score_run(run, None, bootstrap=50)
    assert directory == run.path / "evaluations" / "own-test-split"
    assert metrics["test"] == run.load_metrics()["test"]
    assert metrics["labels"] == run.load_metrics()["labels"]
    assert Run(directory).load_metrics() == metrics


def test_another_data_set(run, other):
    before = run.metrics_file.read_bytes()
    directory, metrics = score_run(run, DataConfig(source=str(other)), bootstrap=10)
    assert directory == run.path / "evaluations" / "other-set.csv"
    assert metrics["test"]["n"] == 12
    assert metrics["data"] == "other set.csv"
    assert metrics["baselines"] == {}
    page = (directory / "report.html").read_text(encoding="utf-8")
    assert "copy measured on other set.csv" in page
    assert "python -m tfhub_transfer.evaluate --run" in page
    assert not (directory / "rejected.jsonl").exists()
    assert run.metrics_file.read_bytes() == before, "the run's own result stays"


def test_a_label_the_model_does_not_know(run, tmp_path, no_report):
    rows = [("Fine.", "positive"), ("Fine.", "sarcastic"), ("", "positive")]
    source = trained.write_csv(tmp_path / "x.csv", rows)
    output = tmp_path / "there" / "deep"
    directory, metrics = score_run(run, DataConfig(source=str(source)), bootstrap=10, output=output)
    assert directory == output
    assert metrics["test"]["n"] == 1
    rejected = [json.loads(line) for line in (output / "rejected.jsonl").read_text().splitlines()]
    assert [(row["row"], row["label"]) for row in rejected] == [(2, "sarcastic"), (3, "positive")]
    assert any("label unseen in training" in note for note in metrics["notes"])
    # the same again, on a file that was mended
    source = trained.write_csv(tmp_path / "x.csv", rows[:1])
    score_run(run, DataConfig(source=str(source)), bootstrap=10, output=output)
    assert not (output / "rejected.jsonl").exists()


def test_no_row_that_can_be_used(run, tmp_path):
    source = trained.write_csv(tmp_path / "x.csv", [("Fine.", "gut"), ("Bad.", "schlecht")])
    with pytest.raises(DataError, match=r"no row that can be used .*'negative', .*label unseen"):
        score_run(run, DataConfig(source=str(source)))
    assert (run.path / "evaluations" / "x.csv" / "rejected.jsonl").exists()


def test_an_unfinished_run(run):
    run.metrics_file.unlink()
    with pytest.raises(RunError, match=r"not finished: it has no metrics\.json"):
        score_run(run, None)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 nothing", None])
def test_a_damaged_model(run, damage):
    if damage is None:
        run.model_file.write_bytes(run.model_file.read_bytes()[:5000])
    else:
        run.model_file.write_bytes(damage)
    with pytest.raises(RunError, match=r"model cannot be read \(.*Received: .*model\.keras"):
        score_run(run, None)


def test_a_missing_model(run):
    run.model_file.unlink()
    with pytest.raises(RunError, match=r"model cannot be read \(.*not found.*model\.keras"):
        score_run(run, None)


def test_several_labels(tmp_path, tmp_path_factory, no_report):
    run = trained.several_run(tmp_path_factory.getbasetemp())
    source = trained.write_csv(tmp_path / "x.csv", [("wonderful", "good"), ("great", "good|poor")])
    data = DataConfig(source=str(source), label_separator="|")
    _, metrics = score_run(run, data, bootstrap=10, output=tmp_path / "out")
    assert metrics["test"]["n"] == 2
    assert "hamming_loss" in metrics["test"]

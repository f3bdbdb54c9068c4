"""What a search does where its data, its disk or its files are not as they were."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from pathlib import Path

import pytest

from tests import trained
from tests.evaluation.search.test_running import config_of, table, trials_of
from tfhub_transfer.errors import DataError, RunError, TrainingError
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.evaluation.search import running, trial
from tfhub_transfer.evaluation.search.result import TrialResult
from tfhub_transfer.evaluation.search.running import search
from tfhub_transfer.evaluation.search.trial import TrialRunner
from tfhub_transfer.runs import Run
from tfhub_transfer.training.search import Drawn
from tfhub_transfer.training.search_oracles import Budget

pytestmark = pytest.mark.slow

TWO = {"trials": 2, "space": {"head.l2": [0.1]}}


@pytest.fixture
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.fixture
def config(root, tmp_path, no_report):
    return config_of(root, tmp_path / "run", search=TWO, training={"epochs": 1})


@pytest.fixture
def searched(config) -> Run:
    """Two trials, of which none is retrained."""
    return trials_of(config)


def test_other_rows_are_not_compared(root, tmp_path, no_report):
    source = trained.write_csv(tmp_path / "mine.csv", trained.sentences(120))
    config = config_of(root, tmp_path / "run", search=TWO, training={"epochs": 1})
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, source=str(source)))
    trials_of(config)
    trained.write_csv(source, trained.sentences(80))
    with pytest.raises(RunError, match=r"The rows are not those .*rows\.txt"):
        search(dataclasses.replace(config, resume=True))
    trained.write_csv(source, trained.sentences(120))
    trials_of(dataclasses.replace(config, resume=True))


def test_a_second_search_of_a_process_reads_the_rows_anew(root, tmp_path, no_report):
    source = trained.write_csv(tmp_path / "mine.csv", trained.sentences(120))
    config = config_of(root, tmp_path / "one", search=TWO)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, source=str(source)))
    before = TrialRunner(config.space(), Budget(None)).prepare()
    trained.write_csv(source, trained.sentences(80))
    after = TrialRunner(config.space(), Budget(None)).prepare()
    assert len(after.train) < len(before.train)


def test_train_does_not_overwrite_a_search(searched):
    (searched.path / "config.yaml").write_text("seed: 0\n")
    plain = trained.settings(searched.path, "sample", overwrite=True)
    with pytest.raises(RunError, match="would delete the search in this directory"):
        run_experiment(plain)
    assert len(table(searched)) == 2


def test_a_mistyped_column_takes_no_place(config):
    data = dataclasses.replace(config.data, label_column="lable")
    with pytest.raises(DataError, match="lable"):
        search(dataclasses.replace(config, data=data))
    trials_of(config)


def test_a_full_disk_fails_no_trial(config, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(trial, "fit_classifier", full)
        with pytest.raises(RunError, match="Trial 0 could not be kept: .*No space left"):
            search(config)
    rows = table(trials_of(dataclasses.replace(config, resume=True)))
    assert [row["status"] for row in rows] == ["finished", "finished"]


def test_a_trial_goes_on_without_its_parent_s_checkpoint(root, tmp_path, no_report):
    config = config_of(root, tmp_path / "run", search={}, training={"epochs": 3, "patience": 3})
    runner = TrialRunner(config.space(), Budget(None))
    parent = tmp_path / "trial_0"
    parent.mkdir()
    runner(Drawn("1", tmp_path / "trial_1", {}, epochs=3, parent=(parent, 1)))
    result = TrialResult.load(tmp_path / "trial_1")
    assert result is not None
    assert (result.epochs, result.error) == (3, None)
    assert len(Run(tmp_path / "trial_1").history_file.read_text().splitlines()) == 4


def test_the_configuration_as_given_may_fail(root, tmp_path, monkeypatch, no_report):
    real = running.retrain

    def failing(config, directories, advance, *, baselines):
        if not baselines:
            raise TrainingError("The loss is no number any more")
        return real(config, directories, advance, baselines=baselines)

    monkeypatch.setattr(running, "retrain", failing)
    wanted = {"compare": True, "tuner": "grid", "space": {"head.hidden": [[16]]}}
    config = config_of(root, tmp_path / "run", search=wanted)
    metrics = search(config).load_metrics()["search"]
    assert metrics["as_given_failed"] == "The loss is no number any more"
    page = (tmp_path / "run" / "search" / "report.html").read_text(encoding="utf-8")
    assert "the configuration as given failed: The loss is no number" in " ".join(page.split())


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", "\x00"])
def test_a_damaged_result_is_as_none(tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    assert TrialResult.load(tmp_path) is None


@pytest.mark.parametrize(
    ("file", "content"),
    [("oracle.json", ""), ("oracle.json", "{}"), ("trial_1/trial.json", ""), ("trial_1", None)],
)
def test_damaged_files_of_the_search_are_named(searched, config, file, content):
    folder = searched.path / "search" / "trials"
    if content is None:
        shutil.rmtree(folder / file)
    else:
        (folder / file).write_text(content)
    with pytest.raises(RunError, match=f"files are damaged .*Received: {folder}"):
        search(dataclasses.replace(config, resume=True))


def test_the_advice_on_damaged_files_works(searched, config):
    folder = searched.path / "search" / "trials"
    before = {n: json.loads((folder / f"trial_{n}/result.json").read_text()) for n in "01"}
    (folder / "oracle.json").unlink()
    rows = table(trials_of(dataclasses.replace(config, resume=True)))
    assert {row["trial"]: float(row["log_loss"]) for row in rows} == {
        number: pytest.approx(result["scores"]["log_loss"]) for number, result in before.items()
    }


@pytest.mark.parametrize("content", [b"", b"\xff\xfe"])
def test_damaged_settings_are_named(searched, config, content):
    (searched.path / "search" / "search.yaml").write_bytes(content)
    with pytest.raises(RunError, match=r"settings cannot be read .*search\.yaml"):
        search(dataclasses.replace(config, resume=True))


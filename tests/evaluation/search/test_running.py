"""A search with real trials, from the first to the run that it leaves."""

from __future__ import annotations

import csv
import dataclasses
import functools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import trained
from tests.encoders import tiny
from tests.processes import killed
from tfhub_transfer import cli, tune
from tfhub_transfer.config import EncoderConfig
from tfhub_transfer.errors import ConfigError, DataError, EncoderError, RunError, TrainingError
from tfhub_transfer.evaluation import experiment
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.evaluation.search import running, trial
from tfhub_transfer.evaluation.search.directory import begin_search, open_search
from tfhub_transfer.evaluation.search.result import TrialResult
from tfhub_transfer.evaluation.search.running import search
from tfhub_transfer.runs import Run, as_yaml, config_from_dict
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.search_settings import SearchConfig, TuneConfig

pytestmark = pytest.mark.slow

# Keras knows no rulu, which is found out when a trial is built.
SPACE: dict[str, Any] = {"head.hidden": [[16]], "head.activation": ["rulu"]}


@functools.cache
def _encoder(root: Path) -> Path:
    return tiny.write_text_embedding(root / "search-encoder")


@functools.cache
def _source(root: Path) -> Path:
    return trained.write_csv(root / "search.csv", trained.sentences(120))


@pytest.fixture
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.getbasetemp()


def config_of(root: Path, run: Path, *, search: dict[str, Any], **changes: Any) -> TuneConfig:
    plain = trained.settings(
        run,
        _source(root),
        encoder=EncoderConfig(str(_encoder(root))),
        head={"hidden": (), **changes.pop("head", {})},
        **changes,
    )
    values = {item.name: getattr(plain, item.name) for item in dataclasses.fields(plain)}
    wanted = {"seeds": 1, "compare": False, "space": SPACE, "tuner": "grid", **search}
    return TuneConfig(**values, search=SearchConfig(**wanted))


def trials_of(config: TuneConfig, *, report: bool = False) -> Run:
    """Search, and leave out the retraining, and the report of the search unless it is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "retrain", _enough)
        if not report:
            patch.setattr(running, "write_search_report", lambda *_: None)
        with pytest.raises(_EnoughError):
            search(config)
    return Run(config.directory)


class _EnoughError(Exception):
    pass


def _enough(*_: object, **__: object) -> None:
    raise _EnoughError


@functools.cache
def _searched(root: Path) -> Run:
    """All four combinations, of which two fail, and two seeds; the hidden layer is better."""
    with trained.without_report():
        return search(config_of(root, root / "searched", search={"seeds": 2, "compare": True}))


@pytest.fixture
def searched(root) -> Run:
    return _searched(root)


def results(run: Run) -> dict[str, TrialResult | None]:
    folders = sorted((run.path / "search" / "trials").glob("trial_*"))
    return {folder.name: TrialResult.load(folder) for folder in folders}


def table(run: Run) -> list[dict[str, str]]:
    with (run.path / "search" / "trials.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def history(run: Run) -> list[list[str]]:
    """The history but for its last column, the seconds."""
    return [line.split(",")[:-1] for line in run.history_file.read_text().splitlines()]


def test_a_trial_is_what_train_would_do(root, searched, tmp_path, no_report):
    finished = [row for row in table(searched) if row["status"] == "finished"]
    (row,) = [row for row in finished if row["head.hidden"] == "[16]"]
    config = config_of(root, tmp_path / "run", search={}).of_run()
    head = dataclasses.replace(config.head, hidden=(16,))
    run = run_experiment(dataclasses.replace(config, head=head, run=str(tmp_path / "run")))
    folder = searched.path / "search" / "trials" / f"trial_{row['trial']}"
    assert history(Run(folder)) == history(run)
    with np.load(run.path / "predictions.npz") as arrays:
        right = arrays["validation_probabilities"].argmax(axis=1) == arrays["validation_targets"]
    assert float(row["accuracy"]) == pytest.approx(right.mean())


def test_the_best_is_an_ordinary_run(searched):
    metrics = searched.load_metrics()
    told = metrics["search"]
    rows = table(searched)
    finished = [row for row in rows if row["status"] == "finished"]
    best = min(finished, key=lambda row: float(row["log_loss"]))
    assert told["best_trial"] == best["trial"]
    assert told["best_score"] == pytest.approx(float(best["log_loss"]))
    config = config_from_dict(searched.load_config())
    assert list(config.head.hidden) == json.loads(best["head.hidden"])
    assert config.head.activation == best["head.activation"] == "relu"
    assert Classifier.load(searched).model(np.array(["a good film"])).shape == (1, 2)
    assert metrics["finished"]


def test_the_seeds_are_ordinary_runs_too(searched):
    told = searched.load_metrics()["search"]
    assert told["seeds"] == [0, 1]
    other = Run(searched.path / "search" / "seeds" / "1")
    assert config_from_dict(other.load_config()).seed == 1
    values = [run.load_metrics()["test"]["accuracy"] for run in (searched, other)]
    assert told["test_accuracy"]["values"] == values
    assert told["test_accuracy"]["mean"] == pytest.approx(np.mean(values))
    assert not told["as_given_is_best"]
    given = [Run(searched.path / "search" / "as_given" / n).load_metrics() for n in "01"]
    assert told["as_given"]["values"] == [run["test"]["accuracy"] for run in given]
    gain = np.mean(values) - np.mean(told["as_given"]["values"])
    assert told["difference"]["mean"] == pytest.approx(gain)


def test_a_trial_that_fails_is_told_and_the_search_goes_on(searched):
    rows = table(searched)
    failed = [row for row in rows if row["status"] == "failed"]
    assert [row["head.activation"] for row in failed] == ["rulu", "rulu"]
    assert len(rows) == 4
    assert searched.load_metrics()["search"]["failed"] == len(failed)
    page = (searched.path / "search" / "report.html").read_text(encoding="utf-8")
    for row in failed:
        assert row["error"].startswith("ConfigError: head.activation must be a name")
        assert f"Trial {row['trial']}: ConfigError: head.activation" in page


def test_the_report_needs_no_other_file(searched):
    page = (searched.path / "search" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3  # too few trials for the importance
    assert "Too few trials finished" in page
    assert "src=" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "python -m tfhub_transfer.tune --config" in page
    assert "On the test rows" in page
    assert f"python -m tfhub_transfer.export --run {searched.path}" in page
    assert "be careful: the trials are compared on" in page
    for name in ("scores", "parallel", "cost"):
        assert (searched.path / "search" / "plots" / f"{name}.png").exists()


def test_no_checkpoint_of_a_trial_is_left(searched):
    assert not list((searched.path / "search" / "trials").rglob("*.safetensors"))
    assert searched.model_file.exists()


def test_a_finished_search_is_not_repeated(root, searched, monkeypatch, capsys):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(trial, "fit_classifier", never)
    monkeypatch.setattr(experiment, "fit_classifier", never)
    before = searched.load_metrics()["search"]
    config = config_of(root, searched.path, search={"seeds": 2, "compare": True}, resume=True)
    after = search(config).load_metrics()["search"]
    before.pop("seconds"), after.pop("seconds")
    assert after == before


def test_the_test_labels_are_withheld(root, tmp_path, monkeypatch, no_report):
    seen = []
    real = trial.fit_classifier

    def watching(config, run, classifier, data):
        seen.append((data.test.labels.any(), data.validation.labels.any(), classifier.encoder))
        return real(config, run, classifier, data)

    monkeypatch.setattr(trial, "fit_classifier", watching)
    trials_of(config_of(root, tmp_path / "run", search={"trials": 2, "space": {"head.l2": [0.1]}}))
    assert [(test, validation) for test, validation, _ in seen] == [(False, True)] * 2
    assert seen[0][2] is seen[1][2], "the encoder is loaded once"
    assert seen[0][2] is not None


def test_two_combinations_that_come_to_the_same_are_trained_once(
    root, tmp_path, monkeypatch, no_report, capsys
):
    space = {"training.strategy": ["fine_tuning"], "training.layer_decay": [0.5]}
    run = trials_of(
        config_of(root, tmp_path / "run", search={"space": space}, training={"epochs": 1})
    )
    repeated = {row["trial"]: row["repeats"] for row in table(run) if row["repeats"]}
    rows = {row["trial"]: row for row in table(run)}
    # a frozen encoder has no layers that move
    ((number, twin),) = repeated.items()
    assert len(rows) == 4
    assert rows[number]["training.layer_decay"] == "1.0"
    assert rows[number]["log_loss"] == rows[twin]["log_loss"]
    assert f"as trial {twin}" in capsys.readouterr().err


def test_hyperband_goes_on_from_the_parent_s_checkpoint(root, tmp_path, no_report):
    space = {"training.learning_rate": [1e-3, 3e-3], "head.dropout": {"min": 0.0, "max": 0.5}}
    changes = {"training": {"epochs": 3, "patience": 3}}
    search_for = {"tuner": "hyperband", "space": space, "trials": 3}
    run = trials_of(config_of(root, tmp_path / "run", search=search_for, **changes))
    rows = table(run)
    epochs = [int(row["epochs"]) for row in rows]
    assert set(epochs) == {1, 3}
    grown = rows[epochs.index(3)]
    config = config_of(root, tmp_path / "straight", search={}, **changes).of_run()
    training = dataclasses.replace(
        config.training, learning_rate=float(grown["training.learning_rate"])
    )
    head = dataclasses.replace(config.head, dropout=float(grown["head.dropout"]))
    straight = run_experiment(
        dataclasses.replace(
            config, head=head, training=training, run=str(tmp_path / "straight")
        )
    )
    assert history(Run(run.path / "search" / "trials" / f"trial_{grown['trial']}")) == history(
        straight
    )


def test_the_budget_ends_a_trial_with_its_epoch(root, tmp_path, no_report):
    changes = {"training": {"epochs": 500, "patience": 500}}
    config = config_of(
        root, tmp_path / "run", search={"budget": "1s", "trials": 3},
        evaluation={"baselines": ()}, **changes,
    )  # fmt: skip
    (row,) = table(trials_of(config, report=True))
    assert row["stopped"] == "budget"
    assert row["status"] == "finished"
    assert 1 <= int(row["epochs"]) < 500
    page = (tmp_path / "run" / "search" / "report.html").read_text(encoding="utf-8")
    assert "ended by the budget" in " ".join(page.split())
    assert "not retrained yet" in page


def test_ctrl_c_keeps_what_is_finished(root, tmp_path, monkeypatch, no_report, capsys):
    real, ran = trial.fit_classifier, []

    def interrupted(*arguments):
        ran.append(None)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(trial, "fit_classifier", interrupted)
    space = {"head.l2": [0.1]}
    config = config_of(root, tmp_path / "run", search={"trials": 2, "space": space})
    with pytest.raises(KeyboardInterrupt):
        search(config)
    assert "--resume goes on" in capsys.readouterr().err
    assert [row["status"] for row in table(Run(tmp_path / "run"))] == ["finished", "unfinished"]
    run = trials_of(dataclasses.replace(config, resume=True))
    assert len(ran) == 3, "the first trial is not repeated"
    assert [row["status"] for row in table(run)] == ["finished", "finished"]


def test_more_trials_may_follow(root, tmp_path, no_report, capsys):
    config = config_of(
        root, tmp_path / "run", search={"trials": 1, "space": {"head.l2": [0.1]}}
    )
    trials_of(config)
    more = dataclasses.replace(
        config, resume=True, search=dataclasses.replace(config.search, trials=2)
    )
    assert len(table(trials_of(more))) == 2
    other = dataclasses.replace(more, head=dataclasses.replace(config.head, dropout=0.7))
    with pytest.raises(RunError, match=r"head\.dropout was 0\.2, received 0\.7"):
        search(other)


def test_all_trials_failing_is_an_error(root, tmp_path, no_report):
    config = config_of(
        root, tmp_path / "run", training={"learning_rate": 50.0, "epochs": 2},
        search={"space": {"head.hidden": [[32, 32]]}},
    )  # fmt: skip
    config = dataclasses.replace(
        config, head=dataclasses.replace(config.head, activation="exponential", hidden=(64, 64))
    )
    with pytest.raises(TrainingError, match="None of the trials.*TrainingError: The loss"):
        search(config)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"encoder": EncoderConfig("no/such/encoder", offline=True)}, EncoderError, "no/such"),
        ({"head": {"activation": "rulo"}}, ConfigError, "rulo"),
    ],
)
def test_what_would_fail_every_trial_ends_the_search(root, tmp_path, changes, error, text):
    encoder = changes.pop("encoder", None)
    config = config_of(root, tmp_path / "run", search={}, **changes)
    if encoder:
        config = dataclasses.replace(config, encoder=encoder)
    with pytest.raises(error, match=text):
        search(config)


def test_a_directory_is_not_taken_by_force(root, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    config = config_of(root, folder, search={})
    with pytest.raises(RunError, match=f"not empty.*--resume.*Received: {folder}"):
        open_search(config)
    with pytest.raises(RunError, match=r"--overwrite empties only.*search\.yaml"):
        open_search(dataclasses.replace(config, overwrite=True))
    with pytest.raises(RunError, match=r"Nothing to resume: no search\.yaml"):
        open_search(dataclasses.replace(config, resume=True))
    (folder / "config.yaml").write_text("seed: 0\n")
    run, home = open_search(dataclasses.replace(config, overwrite=True))
    assert (folder / "notes.txt").exists(), "nothing is lost before it begins"
    begin_search(dataclasses.replace(config, overwrite=True), run, home, "rows")
    assert not (folder / "notes.txt").exists()
    with pytest.raises(RunError, match=r"must not be a file"):
        open_search(config_of(root, _source(root), search={}))


def test_what_is_mistyped_does_not_cost_the_search_that_it_would_overwrite(
    root, searched, tmp_path
):
    path = tmp_path / "run"
    shutil.copytree(searched.path, path)
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()}
    data = {"label_column": "lable"}
    with pytest.raises(DataError, match="lable"):
        search(config_of(root, path, search={}, overwrite=True, data=data))
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_a_search_that_could_not_begin_takes_no_place(root, tmp_path):
    config = config_of(root, tmp_path / "run", search={}, overwrite=True)
    mistyped = dataclasses.replace(config.data, label_column="lable")
    with pytest.raises(DataError, match="lable"):
        search(dataclasses.replace(config, data=mistyped))
    open_search(dataclasses.replace(config, overwrite=False))


@pytest.mark.timeout(300)  # two processes start, and the machine may be busy
def test_a_kill_loses_no_finished_trial(root, tmp_path, no_report):
    space = {"head.l2": [1e-4, 0.1]}
    config = config_of(root, tmp_path / "run", search={"trials": 3, "space": space})
    file = tmp_path / "search.yaml"
    plain = {**config.settings(), "run": str(tmp_path / "run")}
    file.write_text(as_yaml(plain), encoding="utf-8")
    folder = tmp_path / "run" / "search" / "trials"
    killed("tune", "--config", file, when=(folder / "trial_1" / "checkpoints").exists)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("trial_*/result.json")}
    assert before
    with pytest.raises(RunError, match=r"has not trained its best .* --run \S+/run --resume`"):
        Run.open(config.directory)
    run = trials_of(dataclasses.replace(config, resume=True))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    rows = table(run)
    assert [row["trial"] for row in rows] == ["0", "1", "2"]
    assert {row["status"] for row in rows} == {"finished"}
    assert len({row["head.l2"] for row in rows}) == 3


def test_the_command(root, searched, tmp_path, monkeypatch, capsys):
    shutil.copytree(searched.path, tmp_path / "run")
    file = tmp_path / "run" / "search" / "search.yaml"
    flags = ["--config", str(file), "--run", str(tmp_path / "run"), "--resume"]
    assert cli.guarded(lambda: tune.main(flags)) == 0
    out = capsys.readouterr().out
    told = searched.load_metrics()["search"]
    assert f"best: trial {told['best_trial']}, log_loss {told['best_score']:.4f}" in out
    assert f"search report: {tmp_path / 'run' / 'search' / 'report.html'}" in out
    assert f"next: python -m tfhub_transfer.export --run {tmp_path / 'run'}" in out


def test_the_space_can_be_looked_at(capsys):
    flags = ["--dry-run", "--search.space", '{"head.hidden": [[], [8]], "head.l2": [0, 1e-3]}']
    assert cli.guarded(lambda: tune.main(flags)) == 0
    assert capsys.readouterr().out == (
        "head.hidden: [1024], [], [8]\nhead.l2: 0.0, 0.001\n2 settings, 6 combinations\n"
    )
    flags = ["--dry-run", "--search.space", '{"head.hiden": [[]]}']
    assert cli.guarded(lambda: tune.main(flags)) == cli.FAILED
    assert "Did you mean 'head.hidden'" in capsys.readouterr().err

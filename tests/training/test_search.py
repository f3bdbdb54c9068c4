"""Oracles and the loop over their trials, with trials that train nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfhub_transfer.config import TrainingConfig
from tfhub_transfer.training.search import Drawn, SearchTuner, TrialFailedError
from tfhub_transfer.training.search_oracles import Budget, LastingOracle, make_oracle
from tfhub_transfer.training.search_settings import SearchConfig, TuneConfig

SPACE = {
    "head.dropout": {"min": 0.0, "max": 0.9},
    "head.hidden": [[], [8], [8, 4]],
    "training.batch_size": {"min": 1, "max": 64, "log": True},
}
TUNERS = ["random", "grid", "bayesian", "hyperband"]


class Searched:
    """A search in a folder, whose trials score as `score` says."""

    def __init__(self, folder: Path, score: Callable[[Drawn], float], **search: Any):
        training = TrainingConfig(epochs=9)
        search = {"trials": 12, "space": SPACE, **search}
        self.config = TuneConfig(search=SearchConfig(**search), training=training)
        self.space = self.config.space()
        self.folder, self.score = folder, score
        self.ran: list[Drawn] = []
        self.oracle: LastingOracle

    def go_on(self) -> SearchTuner:
        """Search in what would be a new process."""
        self.oracle = make_oracle(self.config, self.space)
        self.oracle.budget = Budget(self.config.search.seconds)
        tuner = SearchTuner(self.oracle, self.space, self._run, self.folder / "trials")
        tuner.search()
        return tuner

    def _run(self, drawn: Drawn) -> dict[str, float]:
        value = self.score(drawn)
        self.ran.append(drawn)
        return {"log_loss": value, "accuracy": 1 - value}

    def drawn(self) -> list[dict[str, Any]]:
        return [trial.hyperparameters.values for trial in self.oracle.trials.values()]


def by_dropout(drawn: Drawn) -> float:
    return abs(drawn.settings.get("head.dropout", 0.3) - 0.6)


@pytest.mark.parametrize("tuner", TUNERS)
def test_the_configuration_is_tried_first_and_nothing_twice(tmp_path, tuner):
    searched = Searched(tmp_path, by_dropout, tuner=tuner)
    searched.go_on()
    first = searched.ran[0]
    assert first.settings == {}
    assert not any(drawn.settings == {} for drawn in searched.ran[1:] if not drawn.parent)
    settings = [json.dumps(drawn.settings) for drawn in searched.ran if not drawn.parent]
    assert len(set(settings)) == len(settings) == 12
    for drawn in searched.ran[1:]:
        config, taken = searched.space.applied(drawn.settings)
        assert taken == drawn.settings or drawn.settings == {}
        assert config.head.hidden in ((), (8,), (8, 4), (1024,))


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_search_that_is_stopped_goes_on_as_if_it_had_not_been(tmp_path, tuner):
    straight = Searched(tmp_path / "straight", by_dropout, tuner=tuner)
    straight.go_on()
    stops = [3, 7, 7, 11]

    def stopping(drawn: Drawn) -> float:
        if stops and len(stopped.ran) == stops[0]:
            stops.pop(0)
            raise KeyboardInterrupt
        return by_dropout(drawn)

    stopped = Searched(tmp_path / "stopped", stopping, tuner=tuner)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            stopped.go_on()
    stopped.go_on()
    assert [drawn.number for drawn in stopped.ran] == [drawn.number for drawn in straight.ran]
    assert stopped.drawn() == straight.drawn()
    ended = {trial.status for trial in stopped.oracle.trials.values()}
    assert ended == {"COMPLETED"}


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_failed_trial_does_not_stop_the_others(tmp_path, tuner):
    def failing(drawn: Drawn) -> float:
        if int(drawn.number) in (0, 1, 2, 3, 6):
            searched.ran.append(drawn)
            raise TrialFailedError("no good")
        return by_dropout(drawn)

    searched = Searched(tmp_path, failing, tuner=tuner)
    searched.go_on()
    trials = searched.oracle.trials
    assert len(searched.ran) >= 12
    assert {number for number, trial in trials.items() if trial.status == "FAILED"} == {
        drawn.number for drawn in searched.ran if int(drawn.number) in (0, 1, 2, 3, 6)
    }
    assert trials[searched.ran[0].number].message == "no good"
    assert searched.oracle.get_best_trials(1)[0].score is not None


def test_what_ends_all_trials_ends_the_search(tmp_path):
    def broken(drawn: Drawn) -> float:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        Searched(tmp_path, broken).go_on()


def test_a_kill_between_two_files_loses_nothing(tmp_path):
    states: list[Path] = []

    def keeping(drawn: Drawn) -> float:
        # as the files are while a trial runs
        if drawn.number == "05":
            states.append(Path(shutil.copytree(searched.folder / "trials", tmp_path / "running")))
        return by_dropout(drawn)

    searched = Searched(tmp_path / "search", keeping, tuner="random")
    searched.go_on()
    ended = searched.folder / "trials"
    # the trial's own file says that it ended, and the oracle's that it runs
    (killed,) = states
    shutil.copy(ended / "trial_05" / "trial.json", killed / "trial_05" / "trial.json")
    again = Searched(tmp_path / "again", by_dropout, tuner="random")
    shutil.copytree(killed, again.folder / "trials")
    again.go_on()
    assert [drawn.number for drawn in again.ran] == [f"{n:02}" for n in range(6, 12)]
    assert again.drawn() == searched.drawn()
    # the trial's own file was begun, and the oracle's does not know it
    shutil.copytree(ended / "trial_09", killed / "trial_06")
    third = Searched(tmp_path / "third", by_dropout, tuner="random")
    shutil.copytree(killed, third.folder / "trials")
    third.go_on()
    assert third.drawn() == searched.drawn()


def test_a_range_beside_the_configuration_s_own_value(tmp_path):
    space = {
        "head.l2": {"min": 1e-6, "max": 1e-3, "log": True},  # its own is 0
        "training.clip_norm": {"min": 0.1, "max": 10.0, "log": True},  # its own is none
    }
    searched = Searched(tmp_path, lambda drawn: drawn.settings.get("head.l2", 0.0), space=space)
    searched.go_on()
    assert searched.ran[0].settings == {}
    for drawn in searched.ran[1:]:
        assert 1e-6 <= drawn.settings["head.l2"] <= 1e-3
        assert 0.1 <= drawn.settings["training.clip_norm"] <= 10


def test_the_gaussian_process_finds_what_is_better(tmp_path):
    searched = Searched(tmp_path, by_dropout, tuner="bayesian", trials=24)
    searched.go_on()
    late = [drawn.settings["head.dropout"] for drawn in searched.ran[-6:]]
    assert min(abs(value - 0.6) for value in late) < 0.05


def test_the_grid_is_whole(tmp_path):
    space = {"head.hidden": [[], [8]], "head.dropout": {"min": 0.1, "max": 0.5, "step": 0.2}}
    searched = Searched(tmp_path, by_dropout, tuner="grid", trials=100, space=space)
    searched.go_on()
    assert searched.space.combinations == 9
    assert len({json.dumps(values) for values in searched.drawn()}) == 9


def test_hyperband_lets_the_best_go_on(tmp_path):
    searched = Searched(tmp_path, by_dropout, tuner="hyperband", trials=9)
    searched.go_on()
    children = [drawn for drawn in searched.ran if drawn.parent]
    assert sum(not drawn.parent for drawn in searched.ran) == 9
    assert {drawn.epochs for drawn in searched.ran} == {1, 3, 9}
    by_number = {drawn.number: drawn for drawn in searched.ran}
    for drawn in children:
        parent, epochs = drawn.parent
        origin = by_number[parent.name.removeprefix("trial_")]
        assert origin.settings == drawn.settings
        assert origin.epochs == epochs < drawn.epochs
    firsts = sorted(by_dropout(drawn) for drawn in searched.ran if drawn.epochs == 1)
    assert {by_dropout(drawn) for drawn in children if drawn.epochs == 3} == set(firsts[:3])


def test_no_trial_begins_after_the_budget(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("tfhub_transfer.training.search_oracles.time.monotonic", lambda: now[0])

    def taking(drawn: Drawn) -> float:
        now[0] += 25
        if len(searched.ran) == 1:
            raise KeyboardInterrupt
        return by_dropout(drawn)

    searched = Searched(tmp_path, taking, budget="100s")
    with pytest.raises(KeyboardInterrupt):
        searched.go_on()
    searched.ran.append(searched.ran[0])  # so that it is stopped once
    now[0] = 1000.0
    searched.go_on()
    # the first took 25 s, and so does each later one; what the stopped one took is not known
    assert len(searched.oracle.trials) == 4
    assert searched.oracle.budget.spent == pytest.approx(100)
    searched.go_on()
    assert len(searched.oracle.trials) == 4

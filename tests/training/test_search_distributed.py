"""A search whose trials are run by workers: what crosses the wire, and who takes part."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import pytest
from keras_tuner.src import protos

from tests.training.shared_search import Shared, by_dropout
from tfhub_transfer.training import search_worker
from tfhub_transfer.training.search import Drawn
from tfhub_transfer.training.search_worker import connected

# Several threads at once leave and enter the place where these are kept back.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:(currentThread|getName)")]


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(search_worker, "_IDLE_SECONDS", 0.05)


@pytest.mark.parametrize("tuner", ["random", "grid", "bayesian", "hyperband"])
def test_two_workers_share_a_search(tmp_path, tuner):
    shared = Shared(tmp_path, tuner=tuner)
    drawn: list[Drawn] = []

    def trial(one: Drawn) -> float:
        drawn.append(one)
        time.sleep(0.02)
        return by_dropout(one)

    chief = shared.chief()
    with shared.at_work("one", "other", trial=trial):
        chief.lead(shared.address)
    assert not shared.errors
    assert set(shared.statuses()) == {"COMPLETED"}
    assert sum(not one.parent for one in drawn) == 8
    numbers = [number for _, number in shared.ran]
    assert sorted(numbers) == sorted(shared.tuner.oracle.trials), "each ran once"
    assert {name for name, _ in shared.ran} == {"one", "other"}
    assert shared.told[-1][0] <= 2
    # what crossed the wire lost no digit
    for one in drawn:
        trial_here = shared.tuner.oracle.trials[one.number]
        assert trial_here.score == shared.scores[one.number]
        assert shared.tuner.drawn(trial_here) == one
    assert sum(one.settings == {} and not one.parent for one in drawn) == 1


def test_a_failed_trial_is_told_with_its_error(tmp_path):
    shared = Shared(tmp_path, trials=4)

    def trial(drawn: Drawn) -> float | str:
        return "no good" if drawn.number == "2" else by_dropout(drawn)

    chief = shared.chief()
    with shared.at_work("one", trial=trial):
        chief.lead(shared.address)
    assert shared.statuses() == ["COMPLETED", "COMPLETED", "FAILED", "COMPLETED"]
    assert shared.tuner.oracle.trials["2"].message == "no good"


def test_a_finished_search_needs_no_worker(tmp_path):
    shared = Shared(tmp_path, trials=2)
    with shared.at_work("one"):
        shared.chief().lead(shared.address)
    shared.chief(wait=0.1).lead(shared.address)
    assert shared.statuses() == ["COMPLETED"] * 2


def test_the_budget_reaches_the_workers(tmp_path):
    shared = Shared(tmp_path, budget="2s", trials=1000)
    chief = shared.chief()

    def trial(drawn: Drawn) -> float:
        time.sleep(0.2)
        return by_dropout(drawn)

    with shared.at_work("one", "other", trial=trial):
        chief.lead(shared.address)
    assert not shared.errors
    assert 2 <= len(shared.ran) <= 22
    assert min(shared.left) < max(shared.left) <= 2
    assert set(shared.statuses()) == {"COMPLETED"}
    without = Shared(tmp_path / "without", trials=1)
    chief = without.chief()
    with without.at_work("one"):
        chief.lead(without.address)
    assert without.left == [math.inf]


def test_a_worker_of_another_search_is_refused(tmp_path):
    shared = Shared(tmp_path, trials=1)
    chief = shared.chief()
    with (
        shared.at_work("one", token="other123"),
        shared.at_work("two", after=shared.errors),
    ):
        chief.lead(shared.address)
    (error,) = shared.errors
    assert "leads another search: chief and workers share one run directory" in str(error)
    assert {name for name, _ in shared.ran} == {"two"}


def test_a_worker_that_does_not_see_the_trials_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(search_worker, "_FILE_SECONDS", 0.1)
    shared, elsewhere = Shared(tmp_path / "here", trials=1), Shared(tmp_path / "elsewhere")
    elsewhere.address = shared.address
    chief = shared.chief()
    with elsewhere.at_work("one"), shared.at_work("two", after=elsewhere.errors):
        chief.lead(shared.address)
    (error,) = elsewhere.errors
    assert "a trial that is not here: chief and workers share the run directory" in str(error)
    assert shared.statuses() == ["COMPLETED"]


def test_an_error_of_the_oracle_ends_the_search(tmp_path, monkeypatch):
    shared = Shared(tmp_path, trials=3)
    chief = shared.chief()

    def broken(trial: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(shared.tuner.oracle, "_save_trial", broken)
    chief.oracle.trials["x"] = None  # so that nothing is drawn before there is a worker
    monkeypatch.setattr(chief, "_anything_left", lambda: True)
    with shared.at_work("one", wait=2.0), pytest.raises(OSError, match="the disk is full"):
        chief.lead(shared.address)
    assert "an error of its own" in str(shared.errors[0])


def test_a_worker_says_no_more_than_keras_tuner_s_own(tmp_path):
    """A client that was compiled from Keras Tuner's service alone is served."""
    shared = Shared(tmp_path, trials=1)
    chief = shared.chief()
    seen: list[str] = []

    def client() -> None:
        with connected(shared.address, 20) as channel:
            stub, service = protos.get_service_grpc().OracleStub(channel), protos.get_service()
            trial = stub.CreateTrial(service.CreateTrialRequest(tuner_id="abcd1234-x")).trial
            shared.scores[trial.trial_id] = 0.25
            stub.UpdateTrial(
                service.UpdateTrialRequest(trial_id=trial.trial_id, metrics={"log_loss": 0.5})
            )
            trial.status = protos.get_proto().TrialStatus.COMPLETED
            stub.EndTrial(service.EndTrialRequest(trial=trial))
            stub.EndTrial(service.EndTrialRequest(trial=trial))
            seen.append(stub.CreateTrial(service.CreateTrialRequest(tuner_id="abcd1234-x")).trial)

    thread = threading.Thread(target=client, daemon=True)
    thread.start()
    chief.lead(shared.address)
    thread.join(20)
    assert seen[0].status == protos.get_proto().TrialStatus.STOPPED
    assert shared.tuner.oracle.trials["0"].score == 0.25
    assert shared.tuner.oracle.end_order == ["0"]

"""Workers and chiefs that are killed, lost, stopped, or come back."""

from __future__ import annotations

import threading
import time

import pytest

from tests.training.shared_search import DeadError, Shared, by_dropout
from tfhub_transfer.errors import RunError
from tfhub_transfer.training import search_worker
from tfhub_transfer.training.search import Drawn

# Several threads at once leave and enter the place where these are kept back.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:(currentThread|getName)")]


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(search_worker, "_IDLE_SECONDS", 0.05)


def test_the_trial_of_a_worker_that_is_killed_goes_to_another(tmp_path, monkeypatch):
    monkeypatch.setattr(search_worker._Client, "hand_back", lambda self: None)
    shared, dead = Shared(tmp_path), threading.Event()

    def killed(drawn: Drawn) -> float:
        dead.set()
        raise DeadError

    def trial(drawn: Drawn) -> float:
        assert dead.wait(20)
        return by_dropout(drawn)

    chief = shared.chief(lease=2)
    with shared.at_work("victim", trial=killed), shared.at_work("one", trial=trial):
        chief.lead(shared.address)
    assert not shared.errors
    assert shared.statuses() == ["COMPLETED"] * 8
    ((_, lost),) = [one for one in shared.ran if one[0] == "victim"]
    assert ("one", lost) in shared.ran
    assert len(shared.ran) == 9, "nothing else ran twice"
    assert any("was not heard of for 2 s: lost" in what for _, what in shared.told)


def test_a_long_trial_is_not_taken_for_lost(tmp_path):
    shared = Shared(tmp_path, trials=2)
    chief = shared.chief(lease=1.0)

    def long(drawn: Drawn) -> float:
        time.sleep(2.5)
        return by_dropout(drawn)

    with shared.at_work("one", "other", trial=long):
        chief.lead(shared.address)
    assert len(shared.ran) == 2
    assert not any("lost" in what for _, what in shared.told)


def test_a_worker_that_was_taken_for_lost_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(search_worker._Client, "beat", lambda *_: None)
    shared, ended = Shared(tmp_path, trials=4), threading.Event()

    def trial(drawn: Drawn) -> float:
        if drawn.number == "0" and len(shared.ran) == 1:
            assert ended.wait(30)
        elif drawn.number == "0":
            ended.set()
            time.sleep(0.3)  # while the other comes back, and the search is not over
        return by_dropout(drawn)

    chief = shared.chief(lease=2.0)
    with shared.at_work("one", "other", trial=trial):
        chief.lead(shared.address)
    assert not shared.errors
    assert shared.statuses() == ["COMPLETED"] * 4
    assert sorted(number for _, number in shared.ran) == ["0", "0", "1", "2", "3"]
    assert sorted(shared.tuner.oracle.end_order) == ["0", "1", "2", "3"]


def test_a_worker_that_comes_back_after_the_search_ends_well(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(search_worker._Client, "beat", lambda *_: None)
    shared = Shared(tmp_path, trials=2)

    def trial(drawn: Drawn) -> float:
        if drawn.number == "0" and len(shared.ran) == 1:
            assert shared.over.wait(30)
        return by_dropout(drawn)

    chief = shared.chief(lease=1.0)
    with shared.at_work("one", "other", trial=trial):
        chief.lead(shared.address)
        shared.over.set()
    assert not shared.errors
    assert shared.statuses() == ["COMPLETED"] * 2
    assert "the search has ended without this worker" in capfd.readouterr().err


def test_a_worker_that_is_stopped_hands_its_trial_back(tmp_path):
    shared = Shared(tmp_path, trials=3)

    def stopped(drawn: Drawn) -> float:
        raise KeyboardInterrupt

    chief = shared.chief(lease=60)
    begun = time.monotonic()
    with shared.at_work("stopped", trial=stopped), shared.at_work("one"):
        chief.lead(shared.address)
    assert time.monotonic() - begun < 30, "no lease was waited for"
    assert [type(error) for error in shared.errors] == [KeyboardInterrupt]
    assert shared.statuses() == ["COMPLETED"] * 3
    assert any(what.endswith(" left") for _, what in shared.told)


def test_a_trial_that_every_worker_dies_of_is_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(search_worker._Client, "hand_back", lambda self: None)
    shared = Shared(tmp_path, trials=3)

    def deadly(drawn: Drawn) -> float:
        if drawn.number == "1":
            raise DeadError
        return by_dropout(drawn)

    chief = shared.chief(lease=1.0)
    with shared.at_work("1", "2", "3", "4", trial=deadly):
        chief.lead(shared.address)
    assert shared.statuses() == ["COMPLETED", "FAILED", "COMPLETED"]
    assert shared.tuner.oracle.trials["1"].message == "3 workers were lost while they ran it"


def test_workers_outlive_their_chief(tmp_path, capfd):
    shared, gone, back = Shared(tmp_path), threading.Event(), threading.Event()

    def trial(drawn: Drawn) -> float:
        if drawn.number == "3":
            gone.set()
            assert back.wait(20)
        return by_dropout(drawn)

    first = shared.chief()
    look = first._is_over

    def killed() -> bool:
        if gone.is_set():
            raise KeyboardInterrupt
        return look()

    first._is_over = killed
    with shared.at_work("one", trial=trial):
        with pytest.raises(KeyboardInterrupt):
            first.lead(shared.address)
        # in what would be a new process
        second = shared.chief(lease=5)
        threading.Timer(1.0, back.set).start()
        second.lead(shared.address)
    assert not shared.errors
    assert shared.statuses() == ["COMPLETED"] * 8
    assert [number for _, number in shared.ran] == [f"{n}" for n in range(8)], "none ran twice"


def test_a_chief_without_workers_ends(tmp_path):
    shared = Shared(tmp_path)
    with pytest.raises(RunError, match=r"no worker for 0\.3 s.*--resume.*Received: none"):
        shared.chief(wait=0.3).lead(shared.address)


def test_a_worker_without_a_chief_ends(tmp_path, capfd):
    shared = Shared(tmp_path)
    with pytest.raises(RunError, match=f"No chief.*--distributed chief.*{shared.address}"):
        shared.work("one", wait=0.3)
    assert "waiting for the chief at 127.0.0.1" in capfd.readouterr().err


def test_a_chief_that_stays_away_ends_its_worker(tmp_path, capfd):
    shared = Shared(tmp_path)
    chief = shared.chief()

    def trial(drawn: Drawn) -> float:
        chief._is_over = lambda: True
        time.sleep(1)
        return by_dropout(drawn)

    with shared.at_work("one", trial=trial, wait=1.0):
        chief.lead(shared.address)
    (error,) = shared.errors
    assert isinstance(error, RunError)
    assert str(error).startswith("The chief was away for more than 1 s")
    assert "begun again with --resume" in str(error)
    assert "the chief is away; waiting for it, 1 s at most" in capfd.readouterr().err

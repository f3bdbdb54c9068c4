"""A chief and its workers, in threads of one process, with trials that train nothing."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from keras_tuner.src import protos

from tfhub_transfer.config import TrainingConfig
from tfhub_transfer.errors import ConfigError, RunError
from tfhub_transfer.training import search_worker
from tfhub_transfer.training.search import Drawn, SearchTuner, TrialFailedError
from tfhub_transfer.training.search_address import Address
from tfhub_transfer.training.search_chief import Chief
from tfhub_transfer.training.search_oracles import Budget, make_oracle
from tfhub_transfer.training.search_settings import SearchConfig, TuneConfig
from tfhub_transfer.training.search_worker import SearchWorker, connected

# Several threads at once leave and enter the place where these are kept back.
pytestmark = pytest.mark.filterwarnings("ignore:(currentThread|getName)")

SPACE = {
    "head.dropout": {"min": 0.0, "max": 0.9},
    "head.hidden": [[], [8], [8, 4]],
    "training.batch_size": {"min": 1, "max": 64, "log": True},
}

# Keras Tuner is told by environment variables, which the threads have in common.
MAKING = threading.Lock()


class DeadError(Exception):
    """What a worker is killed by: it says nothing more."""


class Shared:
    """A search whose chief and workers share a folder, and what trials came to."""

    def __init__(self, folder: Path, **search: Any):
        search = {"trials": 8, "space": SPACE, "tuner": "random", **search}
        self.config = TuneConfig(search=SearchConfig(**search), training=TrainingConfig(epochs=9))
        self.space, self.folder = self.config.space(), folder
        self.address = Address("127.0.0.1", free_port())
        self.scores: dict[str, float | str] = {}
        self.ran: list[tuple[str, str]] = []
        self.left: list[float] = []
        self.told: list[tuple[int, str]] = []
        self.errors: list[BaseException] = []

    def chief(self, *, lease: float = 20.0, wait: float = 40.0, token: str = "abcd1234") -> Chief:
        oracle = make_oracle(self.config, self.space)
        oracle.budget = Budget(self.config.search.seconds)
        self.tuner = SearchTuner(oracle, self.space, self._collect, self.folder / "trials")
        return Chief(
            self.tuner, token=token, lease=lease, wait=wait,
            give_up=lambda drawn, why: self.scores.update({drawn.number: why}),
            tell=lambda count, what: self.told.append((count, what)),
        )  # fmt: skip

    def _collect(self, drawn: Drawn) -> dict[str, float]:
        score = self.scores[drawn.number]
        if isinstance(score, str):
            raise TrialFailedError(score)
        return {"log_loss": score}

    def work(
        self,
        name: str,
        trial: Callable[[Drawn], float | str] | None = None,
        *,
        token: str = "abcd1234",
        wait: float = 40.0,
        lease: float = 1.0,
    ) -> None:
        """Be a worker until the search is over."""

        def run(drawn: Drawn, left: float) -> dict[str, float]:
            self.ran.append((name, drawn.number))
            self.left.append(left)
            score = (trial or by_dropout)(drawn)
            self.scores[drawn.number] = score
            return self._collect(drawn)

        with connected(self.address, wait) as channel:
            with MAKING:
                worker = SearchWorker(
                    make_oracle(self.config, self.space), self.space, run, self.folder / "trials",
                    channel=channel, token=token, lease=lease, wait=wait,
                )  # fmt: skip
                assert "KERASTUNER_ORACLE_IP" not in os.environ
            with contextlib.suppress(DeadError):
                worker.search()

    @contextlib.contextmanager
    def at_work(
        self, *names: str, after: list[BaseException] | None = None, **how: Any
    ) -> Iterator[None]:
        """Have workers in threads; what they raise is in `errors`.

        They begin when there is something in `after`.
        """

        def of(name: str) -> None:
            while after is not None and not after:
                time.sleep(0.02)
            try:
                self.work(name, **how)
            except BaseException as error:
                self.errors.append(error)

        threads = [threading.Thread(target=of, args=(name,), daemon=True) for name in names]
        for thread in threads:
            thread.start()
        try:
            yield
        except BaseException as error:
            error.args = (*error.args, f"workers: {self.errors}, {self.told}")
            raise
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()

    def statuses(self) -> list[str]:
        return [trial.status for trial in self.tuner.oracle.trials.values()]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def by_dropout(drawn: Drawn) -> float:
    # of more digits than float32 has
    return abs(drawn.settings.get("head.dropout", 0.3) - 0.6) + 1e-9


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


def test_two_chiefs_do_not_share_a_port(tmp_path):
    shared = Shared(tmp_path)
    with socket.socket() as other:
        other.bind((shared.address.host, shared.address.port))
        other.listen()
        with pytest.raises(ConfigError, match=f"cannot listen at --oracle.*{shared.address}"):
            shared.chief().lead(shared.address)
        with pytest.raises(ConfigError, match="another process listens there.*free port"):
            shared.address.check_free()
    shared.address.check_free()


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


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:9000", "127.0.0.1", 9000), ("[::1]:1", "::1", 1), ("node-7:80", "node-7", 80)],
)
def test_an_address_is_a_host_and_a_port(text, host, port):
    assert Address.parse(text) == Address(host, port)
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize("text", ["", "9000", ":9000", "host", "host:", "host:0", "host:65536",
                                  "::1:9000", "host:9000:1", "ho st:9000"])  # fmt: skip
def test_any_other_address_is_refused(text):
    with pytest.raises(ConfigError, match="oracle must be HOST:PORT") as refused:
        Address.parse(text)
    assert str(refused.value).endswith(f"Received: {text!r}")


def test_a_host_that_nobody_knows_is_an_error():
    with pytest.raises(ConfigError, match="host of --oracle is unknown.*no.such.host:9000"):
        Address.parse("no.such.host:9000").check_known()
    with pytest.raises(ConfigError, match="cannot listen at --oracle: the host is not this mach"):
        Address.parse("192.0.2.1:9000").check_free()
    Address.parse("localhost:9000").check_known()


def test_only_the_given_host_is_listened_at(tmp_path):
    shared = Shared(tmp_path, trials=1)
    chief = shared.chief()
    other = Address("127.0.0.2", shared.address.port)
    with shared.at_work("one", trial=lambda drawn: (time.sleep(1), by_dropout(drawn))[1]):
        thread = threading.Thread(target=chief.lead, args=(shared.address,), daemon=True)
        thread.start()
        time.sleep(0.7)
        with grpc.insecure_channel(str(other)) as channel:
            ready = grpc.channel_ready_future(channel)
            with pytest.raises(grpc.FutureTimeoutError):
                ready.result(timeout=0.3)
            ready.cancel()
        thread.join(20)

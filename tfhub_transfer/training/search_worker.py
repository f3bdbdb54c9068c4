"""A worker of a search on more than one machine: Keras Tuner's client, which outlives its chief.

What to try comes from the trial's file in the shared directory, for Keras Tuner's messages carry
numbers as float32.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
from keras_tuner.engine.trial import Trial
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_client import OracleClient

from tfhub_transfer.errors import RunError
from tfhub_transfer.training.search import Drawn, SearchTuner
from tfhub_transfer.training.search_address import Address
from tfhub_transfer.training.search_chief import SECONDS_LEFT
from tfhub_transfer.training.search_oracles import LastingOracle
from tfhub_transfer.training.search_space import Space

__all__ = ["SearchWorker", "appeared", "connected"]

_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    # a chief that comes back is found within seconds
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
]
_IDLE_SECONDS = 0.5
_PATIENCE = 2.0  # before a wait is told
_BEATS = 5  # within a lease
_LAST_WORD_SECONDS = 2.0
# Other machines see a new file of a network file system only some seconds later.
_FILE_SECONDS = 30.0


@contextlib.contextmanager
def connected(address: Address, wait: float) -> Iterator[grpc.Channel]:
    """Yield the connection to a chief.

    Args:
        address: where the chief listens, or soon will.
        wait: seconds, at most.

    Raises:
        RunError: nobody listens there.
    """
    with grpc.insecure_channel(str(address), options=_OPTIONS) as channel:
        ready = grpc.channel_ready_future(channel)
        try:
            try:
                ready.result(timeout=min(_PATIENCE, wait))
            except grpc.FutureTimeoutError:
                print(f"waiting for the chief at {address}, {wait:g} s at most", file=sys.stderr)
                ready.result(timeout=max(0.0, wait - _PATIENCE))
        except grpc.FutureTimeoutError:
            raise RunError(
                f"No chief was found within {wait:g} s. Accepted: one that listens there, which "
                f"the same command with --distributed chief begins. Received: {address}"
            ) from None
        finally:
            ready.cancel()
        yield channel


def appeared(file: Path) -> bool:
    """Wait for a file that another machine has written; return whether it is there."""
    until = time.monotonic() + _FILE_SECONDS
    while not file.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


class SearchWorker(SearchTuner):
    """Runs what a chief hands out.

    Its `name` is how the chief tells of it.

    Args:
        oracle: as `make_oracle` returns it; the trials are drawn by the chief's.
        space: what it draws from.
        run: as `SearchTuner` takes it; called with the seconds left of the budget too.
        folder: of Keras Tuner's files, the chief's.
        channel: to the chief.
        token: of the chief's search.
        lease: seconds of silence after which the chief takes this worker for lost.
        wait: seconds that a chief may be away, at most.
        over: whether the search has ended; asked where the chief does not answer.
    """

    def __init__(
        self,
        oracle: LastingOracle,
        space: Space,
        run: Callable[[Drawn, float], Mapping[str, float]],
        folder: Path,
        *,
        channel: grpc.Channel,
        token: str,
        lease: float,
        wait: float,
        over: Callable[[], bool],
    ):
        self._beat = lease / _BEATS
        # in hexadecimal digits, for Keras Tuner takes a name with "chief" in it for the chief's
        self.name = secrets.token_hex(4)
        with _named(f"{token}-{self.name}"):
            super().__init__(oracle, space, lambda drawn: run(drawn, self.oracle.left), folder)
            self.oracle = _Client(oracle, folder, _PatientStub(channel, wait, over))

    def search(self) -> None:
        """Run trials until the chief has no more, or has ended the search without this worker.

        Raises:
            RunError: the chief was away for too long, or leads another search.
            Exception: whatever a trial raises but `TrialFailedError`; another worker gets it.
            KeyboardInterrupt: Ctrl-C; another worker gets the trial that was running.
        """
        try:
            super().search()
        except _OverError:
            print("the search has ended without this worker", file=sys.stderr)
        except BaseException:
            self.oracle.hand_back()
            raise

    def run_trial(self, trial: Trial) -> dict[str, float]:
        """Run one trial, and let the chief hear of it all the while."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(self._beat):
                self.oracle.beat(trial.trial_id, self._beat)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            return super().run_trial(trial)
        finally:
            ended.set()
            thread.join()

    def _run_and_update_trial(self, trial: Trial) -> None:
        self.run_trial(trial)  # the chief reads from its file what it came to

    def _is_worker(self) -> bool:
        return True


@contextlib.contextmanager
def _named(worker: str) -> Iterator[None]:
    """Tell Keras Tuner, in its own way, that what is made in the block is a worker."""
    told = {
        "KERASTUNER_TUNER_ID": worker,
        "KERASTUNER_ORACLE_IP": "127.0.0.1",  # of a channel that is not used
        "KERASTUNER_ORACLE_PORT": "1",
    }
    before = {name: os.environ.pop(name, None) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


class _Client(OracleClient):  # type: ignore[misc]
    """Keras Tuner's client; `left` are the seconds of the budget when the last trial was drawn."""

    left = math.inf

    def __init__(self, oracle: LastingOracle, folder: Path, stub: _PatientStub):
        super().__init__(oracle)
        self.stub, self._folder = stub, folder
        self._running: Trial | None = None

    def create_trial(self, tuner_id: str) -> Trial:
        """Return the next trial, when there is one; or one that says that there are no more."""
        request = protos.get_service().CreateTrialRequest(tuner_id=tuner_id)
        while True:
            trial = Trial.from_proto(self.stub.CreateTrial(request).trial)
            if trial.status != "IDLE":
                break
            time.sleep(_IDLE_SECONDS)
        if trial.status == "STOPPED":
            return trial
        self._running = trial
        self.left = float(self.stub.trailing.get(SECONDS_LEFT, "inf"))
        file = self._folder / f"trial_{trial.trial_id}" / "trial.json"
        if not appeared(file):
            raise RunError(
                f"The chief has drawn a trial that is not here: chief and workers share the run "
                f"directory. Received: no {file}"
            )
        return Trial.load(str(file))

    def end_trial(self, trial: Trial) -> None:
        """Tell the chief that a trial has ended."""
        super().end_trial(trial)
        self._running = None

    def beat(self, number: str, seconds: float) -> None:
        """Let the chief hear that a trial is being run; what is not heard in `seconds` is lost."""
        with contextlib.suppress(grpc.RpcError):
            request = protos.get_service().GetTrialRequest(trial_id=number)
            self.stub.once.GetTrial(request, timeout=seconds)

    def hand_back(self) -> None:
        """Hand back the trial that was running, if the chief is there to take it."""
        if self._running is not None:
            self._running.status = "RUNNING"
            request = protos.get_service().EndTrialRequest(trial=self._running.to_proto())
            with contextlib.suppress(grpc.RpcError):
                self.stub.once.EndTrial(
                    request, wait_for_ready=True, timeout=_LAST_WORD_SECONDS
                )


class _OverError(Exception):
    """The search has ended, and nobody waits for what a worker would say."""


class _PatientStub:
    """A chief's methods, asked again as long as it is away and the search goes on.

    Whatever is asked twice does no harm: a worker that has a trial gets the same one, and one that
    has ended has ended.
    """

    def __init__(self, channel: grpc.Channel, wait: float, over: Callable[[], bool]):
        self.once = protos.get_service_grpc().OracleStub(channel)
        self._wait, self._over = wait, over
        self.trailing: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return functools.partial(self._ask, getattr(self.once, name))

    def _ask(self, method: grpc.UnaryUnaryMultiCallable, request: Any, **_: object) -> Any:
        until, told = time.monotonic() + self._wait, False
        while True:
            try:
                answer, call = method.with_call(request, timeout=max(1.0, until - time.monotonic()))
            except grpc.RpcError as error:
                if self._over():
                    raise _OverError from error
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                    raise RunError(error.details()) from error
                if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > until:
                    raise RunError(
                        f"The chief was away for more than {self._wait:g} s, or had an error of "
                        f"its own. Accepted: a chief that is begun again with --resume within "
                        f"that time. Received: {error.code().name}, {error.details()}"
                    ) from error
                if not told:
                    print(
                        f"the chief is away; waiting for it, {self._wait:g} s at most",
                        file=sys.stderr,
                    )
                told = True
                time.sleep(_IDLE_SECONDS)
            else:
                self.trailing = dict(call.trailing_metadata())
                return answer

"""The chief of a search on more than one machine: Keras Tuner's service, which loses no trial.

Keras Tuner 1.4.8 waits for ever for a worker that was killed, sends idle workers home while a trial
may still come back, and carries numbers as float32 and no error texts. Hence here: a worker that is
silent for longer than its lease loses its trial to another; and what was drawn, and what it came
to, chief and workers read from the files of the directory that they share. Workers are heard of
when they ask for a trial and, while they run one, by `GetTrial`.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from keras_tuner.engine.trial import Trial
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer

from tfhub_transfer.errors import RunError
from tfhub_transfer.training.search import Drawn, SearchTuner, quiet
from tfhub_transfer.training.search_address import Address

__all__ = ["SECONDS_LEFT", "Chief"]

SECONDS_LEFT = "seconds-left"  # of the budget, beside a drawn trial
_STOPPED, _IDLE, _RUNNING = "STOPPED", "IDLE", "RUNNING"
_LOOK = 0.2  # seconds
_THREADS = 16
# A trial that takes its worker's memory takes the next one's too.
_LOSSES = 3


class Chief(OracleServicer):  # type: ignore[misc]
    """Hands out trials until there are no more.

    Args:
        tuner: with the oracle; its function says what a trial that ended on a worker came to.
        token: of the search, with which its workers' names begin.
        lease: seconds of silence after which a worker is lost.
        wait: seconds without any worker after which the search ends.
        give_up: called with a trial that lost too many workers and with what to say of it, before
            the tuner's function is asked what it came to.
        tell: called with the number of workers and with what happened to one.
    """

    def __init__(
        self,
        tuner: SearchTuner,
        *,
        token: str,
        lease: float,
        wait: float,
        give_up: Callable[[Drawn, str], None],
        tell: Callable[[int, str], None],
    ):
        super().__init__(tuner.oracle)
        self._tuner, self._token, self._lease, self._wait = tuner, token, lease, wait
        self._give_up, self._tell = give_up, tell
        self._lock = threading.RLock()
        self._heard: dict[str, float] = {}
        self._alone_since = time.monotonic()
        self._losses: Counter[str] = Counter()
        self._error: Exception | None = None
        self._done = False

    def lead(self, address: Address) -> None:
        """Serve at `address` until all trials have ended and all workers know it.

        Raises:
            ConfigError: the chief cannot listen there.
            RunError: there was no worker for too long.
            Exception: whatever the oracle raises.
            KeyboardInterrupt: Ctrl-C; the trials that were running are repeated by the next search.
        """
        with quiet():
            self._adopt()
            if self._anything_left():
                self._serve(address)

    def _serve(self, address: Address) -> None:
        server = grpc.server(
            futures.ThreadPoolExecutor(_THREADS),
            options=[("grpc.so_reuseport", 0)],  # or two chiefs would share a port
        )
        protos.get_service_grpc().add_OracleServicer_to_server(self, server)
        try:
            server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise address.cannot_listen(error) from error
        server.start()
        self._alone_since = time.monotonic()
        try:
            while not self._is_over():
                time.sleep(_LOOK)
        finally:
            server.stop(grace=1).wait()

    def CreateTrial(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Give a worker its trial."""
        worker = request.tuner_id
        if not worker.startswith(self._token):
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                "This chief leads another search: chief and workers share one run directory. "
                f"Received: a worker named {worker}",
            )
        with self._lock:
            known = worker in self._heard
            self._heard[worker] = time.monotonic()
            if not known:
                self._tell(len(self._heard), f"worker {_short(worker)} joined")
            trial = self._guarded(lambda: self._next(worker))
        left = self.oracle.budget.deadline - time.monotonic()
        context.set_trailing_metadata(((SECONDS_LEFT, repr(left)),))
        return protos.get_service().CreateTrialResponse(trial=trial.to_proto())

    def GetTrial(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Hear that a worker is at a trial."""
        # not behind the lock: while the oracle draws a trial for one, the others are not silent
        for worker in self._workers_of(request.trial_id):
            self._heard[worker] = time.monotonic()
        return super().GetTrial(request, context)

    def UpdateTrial(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Leave the scores, which are rounded to float32; the trial's file has them."""
        del context
        trial = self.oracle.get_trial(request.trial_id)
        return protos.get_service().UpdateTrialResponse(trial=trial.to_proto())

    def EndTrial(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Take in what a trial came to, or take it back from a worker that leaves."""
        number = request.trial.trial_id
        handed_back = Trial.from_proto(request.trial).status == _RUNNING
        with self._lock:
            if handed_back:
                for worker in self._workers_of(number):
                    self._guarded(lambda worker=worker: self._take_back(worker))
                    self._leave(worker, "left")
            elif self.oracle.get_trial(number).status == _RUNNING:  # and not told twice
                try:
                    self._guarded(lambda: self._end(number))
                except RunError as error:
                    context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return protos.get_service().EndTrialResponse()

    def _guarded(self, change: Callable[[], Any]) -> Any:
        """Change the oracle; after an error its own lock is never free again."""
        if self._error is not None:
            raise self._error
        try:
            return change()
        except RunError:
            raise  # of a file, before the oracle was asked
        except Exception as error:
            self._error = error
            raise

    def _next(self, worker: str) -> Trial:
        if not self._done:
            trial = self.oracle.create_trial(worker)
            if trial.status != _STOPPED:
                return trial
            if self.oracle.ongoing_trials:  # of which one may have to be run again
                trial.status = _IDLE
                return trial
            self._done = True
        del self._heard[worker]
        return Trial(self.oracle.get_space(), status=_STOPPED)

    def _end(self, number: str) -> None:
        trial = self.oracle.get_trial(number)
        self._tuner._try_run_and_update_trial(trial)
        if number in self.oracle._retry_queue:  # its worker was lost, and found again
            self.oracle._retry_queue.remove(number)
        self.oracle.end_trial(trial)
        self.oracle.save()  # Keras Tuner's own comes before the trial is no longer running

    def _take_back(self, worker: str) -> None:
        """Let another worker run what one was running."""
        trial = self.oracle.ongoing_trials.pop(worker)
        if trial.status == _RUNNING:
            self.oracle._retry_queue.append(trial.trial_id)
        self.oracle.save()

    def _lose(self, worker: str) -> None:
        if worker in self.oracle.ongoing_trials:
            number = self.oracle.ongoing_trials[worker].trial_id
            self._losses[number] += 1
            self._take_back(worker)
            if self._losses[number] == _LOSSES:
                drawn = self._tuner.drawn(self.oracle.get_trial(number))
                self._give_up(drawn, f"{_LOSSES} workers were lost while they ran it")
                self._end(number)
        self._leave(worker, f"was not heard of for {self._lease:g} s: lost")

    def _leave(self, worker: str, how: str) -> None:
        self._heard.pop(worker, None)
        self._tell(len(self._heard), f"worker {_short(worker)} {how}")

    def _workers_of(self, number: str) -> list[str]:
        ongoing = list(self.oracle.ongoing_trials.items())
        return [worker for worker, trial in ongoing if trial.trial_id == number]

    def _is_over(self) -> bool:
        """Look after the workers; return whether there is nothing left, and all know it."""
        with self._lock:
            if self._error is not None:
                raise self._error
            now = time.monotonic()
            heard = list(self._heard.items())
            silent = [worker for worker, when in heard if now - when > self._lease]
            for worker in silent:
                self._guarded(lambda worker=worker: self._lose(worker))
            if self._heard:
                self._alone_since = now
            elif self._done or now >= self.oracle.budget.deadline:
                return True
            elif now - self._alone_since > self._wait:
                raise RunError(
                    f"The search had no worker for {self._wait:g} s, and ends; finished trials are "
                    f"kept, and --resume goes on. Accepted: workers, which the same command with "
                    f"--distributed worker begins. Received: none"
                )
        return False

    def _adopt(self) -> None:
        """Leave to workers that outlived an earlier chief what they are at, as long as they are."""
        file = Path(self.oracle._get_oracle_fname())
        state = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        for worker, number in state.get("ongoing_trials", {}).items():
            if worker.startswith(self._token) and number in self.oracle._retry_queue:
                self.oracle._retry_queue.remove(number)
                self.oracle.ongoing_trials[worker] = self.oracle.get_trial(number)
                self._heard[worker] = time.monotonic()

    def _anything_left(self) -> bool:
        """Return whether the oracle has a trial to run; the first worker gets what it draws."""
        if self.oracle.ongoing_trials:
            return True
        trial = self.oracle.create_trial(self._token)
        if trial.status == _RUNNING:
            self._take_back(self._token)
        return trial.status != _STOPPED


def _short(worker: str) -> str:
    return worker.rpartition("-")[2]

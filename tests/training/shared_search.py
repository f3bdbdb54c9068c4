"""A chief and its workers, in threads of one process, with trials that train nothing."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tfhub_transfer.config import TrainingConfig
from tfhub_transfer.training.search import Drawn, SearchTuner, TrialFailedError
from tfhub_transfer.training.search_address import Address
from tfhub_transfer.training.search_chief import Chief
from tfhub_transfer.training.search_oracles import Budget, make_oracle
from tfhub_transfer.training.search_settings import SearchConfig, TuneConfig
from tfhub_transfer.training.search_worker import SearchWorker, connected

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
    """A search whose chief and workers share a folder, and what trials came to.

    `over` is set by whoever ends it for good.
    """

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
        self.over = threading.Event()

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
                    channel=channel, token=token, lease=lease, wait=wait, over=self.over.is_set,
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

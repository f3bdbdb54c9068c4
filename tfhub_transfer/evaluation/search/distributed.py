"""A search on more than one machine: what its chief and its workers do beside Keras Tuner's part.

All of them have the run directory, where trials leave their files; the chief alone writes the
search's own. `search/chief.json` says which search its workers belong to, and how; it is there as
long as the search goes on, so that a worker that finds no chief can tell that it is over.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfhub_transfer.errors import RunError
from tfhub_transfer.evaluation.search.directory import changed_settings, check_rows
from tfhub_transfer.evaluation.search.result import TrialResult
from tfhub_transfer.evaluation.search.trial import TrialRunner, digest_of, scores_of
from tfhub_transfer.evaluation.tracing import quiet_tracing
from tfhub_transfer.progress import progress
from tfhub_transfer.runs import SEARCH_SETTINGS, Run, installed_versions
from tfhub_transfer.training.search import Drawn, SearchTuner
from tfhub_transfer.training.search_chief import Chief
from tfhub_transfer.training.search_oracles import Budget, make_oracle
from tfhub_transfer.training.search_settings import TuneConfig
from tfhub_transfer.training.search_worker import SearchWorker, appeared, connected

__all__ = ["collected", "lead", "work"]

_FILE = "chief.json"
_PACKAGES = ("keras-tuner", "tfhub-transfer")


def lead(
    config: TuneConfig, tuner: SearchTuner, home: Run, tell: Callable[[int, str], None]
) -> None:
    """Have workers run the trials; Keras Tuner's part of a search, for a chief.

    Args:
        config: of the search.
        tuner: whose function is `collected`.
        home: the directory of the search.
        tell: called with the number of workers and with what happened to one.

    Raises:
        TransferError: the chief cannot listen, or has no worker for too long.
        KeyboardInterrupt: Ctrl-C.
    """
    file = home.path / _FILE
    about = {
        # that of a chief that was killed, whose workers wait for it
        "token": _read(file).get("token") or secrets.token_hex(4),
        "lease": config.lease_seconds,
        "versions": installed_versions(_PACKAGES),
    }
    home.write_json(_FILE, about)
    chief = Chief(
        tuner,
        token=about["token"],
        lease=config.lease_seconds,
        wait=config.wait_seconds,
        give_up=_give_up,
        tell=tell,
    )
    chief.lead(config.address)
    file.unlink()


def collected(drawn: Drawn) -> Mapping[str, float]:
    """Return what a trial scored on a worker.

    Raises:
        TrialFailedError: it came to nothing.
        RunError: the worker's file is not here.
    """
    result = TrialResult.load(drawn.directory)
    if result is None:
        raise RunError(
            f"A worker has ended a trial that left nothing here: chief and workers share the run "
            f"directory. Received: no result in {drawn.directory}"
        )
    return scores_of(result)


def _give_up(drawn: Drawn, why: str) -> None:
    nothing = dict.fromkeys(("encode", "train", "total"), 0.0)
    TrialResult(drawn.settings, error=why, seconds=nothing).save(drawn.directory)


def work(config: TuneConfig) -> int:
    """Run trials of a chief's search until it has no more; the whole of a worker.

    Args:
        config: the chief's, but for `distributed`, and for `search.trials` and what else a
            resumed search may change.

    Returns:
        How many trials it ran.

    Raises:
        TransferError: there is no chief, or it leads a search of other settings, or has another
            version of this package or of Keras Tuner; and whatever the parts raise on purpose.
        KeyboardInterrupt: Ctrl-C; another worker gets the trial that was running.
    """
    space, home = config.space(), Run(Path(config.run or "") / SEARCH_SETTINGS.parent)
    with connected(config.address, config.wait_seconds) as channel, quiet_tracing():
        about = _joined(config, home)
        runner = TrialRunner(space, Budget(None))
        check_rows(home, digest_of(runner.prepare()))
        told: dict[str, TrialResult] = {}

        def run(drawn: Drawn, left: float) -> Mapping[str, float]:
            runner.budget = Budget(left)
            for folder in sorted(drawn.directory.parent.glob("trial_*")):  # the others' too
                number = folder.name.removeprefix("trial_")
                if number not in told and (result := TrialResult.load(folder)):
                    told[number] = result
                    runner.remember(number, result)
            try:
                return runner(drawn)
            finally:
                if result := TrialResult.load(drawn.directory):
                    advance(1)
                    print(f"trial {drawn.number}: {result.told()}", file=sys.stderr, flush=True)

        worker = SearchWorker(
            make_oracle(config, space),
            space,
            run,
            home.path / "trials",
            channel=channel,
            token=about["token"],
            lease=about["lease"],
            wait=config.wait_seconds,
            over=lambda: not (home.path / _FILE).exists(),
        )
        print(f"worker {worker.name} of the chief at {config.address}", file=sys.stderr, flush=True)
        count = 0
        with progress("Trials of this worker", "trials") as bar:

            def advance(units: int) -> None:
                nonlocal count
                count += units
                bar(units)

            worker.search()
    print(f"the search is over: {count} trials were run here", file=sys.stderr)
    return count


def _joined(config: TuneConfig, home: Run) -> dict[str, Any]:
    """Return what the chief says of its search, if this worker can take part in it."""
    file = home.path / _FILE
    if not appeared(file):
        raise RunError(
            f"The chief at {config.address} leads no search in this run directory: chief and "
            f"workers share it. Received: no {file}"
        )
    about = _read(file)
    if about["versions"] != (own := installed_versions(_PACKAGES)):
        raise RunError(
            f"Chief and workers need the same versions. Accepted: the chief's "
            f"{about['versions']}. Received: {own}"
        )
    if changed := changed_settings(config, home):
        raise RunError(
            f"A worker needs the settings of its chief: give both the same flags and files. "
            f"Received: {'; '.join(changed)}"
        )
    return about


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return about

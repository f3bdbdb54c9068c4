"""The best settings, and those that were given, trained as ordinary runs over several seeds."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfhub_transfer.config import Config
from tfhub_transfer.errors import RunError
from tfhub_transfer.evaluation.bootstrap import Array
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.evaluation.metrics import predict
from tfhub_transfer.evaluation.predictions import Predictions
from tfhub_transfer.evaluation.protocols.significance import Difference, compare
from tfhub_transfer.progress import Advance
from tfhub_transfer.runs import SEARCH_SETTINGS, Run, config_from_dict

__all__ = ["Retrained", "difference", "retrain"]


@dataclass(frozen=True)
class Retrained:
    """Runs of one configuration, of a seed each.

    Attributes:
        accuracies: of the test rows, by seed.
        right: bool[N] for each seed, whether each test row's labels were all right.
        targets: of the test rows, for each seed.
    """

    accuracies: tuple[float, ...]
    right: tuple[Array, ...]
    targets: tuple[Array, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return mean, standard deviation (n - 1) and values of the test accuracy."""
        values = list(self.accuracies)
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return {"mean": float(np.mean(values)), "sd": deviation, "values": values}


def retrain(
    config: Config, directories: Sequence[Path], advance: Advance, *, baselines: bool
) -> Retrained:
    """Train `config` with as many seeds as directories; what is finished there stays.

    Args:
        config: of the runs, the first one's seed among it.
        directories: of the runs; what another configuration left there is deleted, but for
            the search that may be there.
        advance: told of each run.
        baselines: whether the first run is measured beside baselines, as the others are not.

    Raises:
        TransferError: whatever training raises on purpose.
        KeyboardInterrupt: Ctrl-C.
    """
    runs = []
    for number, directory in enumerate(directories):
        wanted = dataclasses.replace(config, seed=config.seed + number)
        if number or not baselines:
            measured = dataclasses.replace(config.evaluation, baselines=())
            wanted = dataclasses.replace(wanted, evaluation=measured)
        runs.append(_finished(wanted, Run(directory)))
        advance(1)
    tests = [Predictions.load(run).test for run in runs]
    right = [predict(test.targets, test.probabilities) == test.targets for test in tests]
    return Retrained(
        tuple(float(run.load_metrics()["test"]["accuracy"]) for run in runs),
        tuple(rows.all(axis=1) if rows.ndim == 2 else rows for rows in right),
        tuple(test.targets for test in tests),
    )


def _finished(config: Config, run: Run) -> Run:
    """Make a run, or what is missing of it."""
    if run.config_file.exists():
        there = config_from_dict(run.load_config())
        if dataclasses.replace(there, run=None) != config:
            with run.lock():
                run.empty(keep=(SEARCH_SETTINGS.parent.name,))
    if not _is_finished(run):
        run.write_config(config)  # something to resume, though the search lies beside it
        try:
            run_experiment(dataclasses.replace(config, run=str(run.path), resume=True))
        finally:
            keras.backend.clear_session()
            gc.collect()
        if not run.load_metrics()["finished"]:
            raise KeyboardInterrupt  # of which the run has made the best
    return run


def _is_finished(run: Run) -> bool:
    try:
        return bool(run.load_metrics()["finished"])
    except RunError:
        return False


def difference(ours: Retrained, theirs: Retrained) -> Difference:
    """Compare two configurations on their test rows, over all seeds."""
    same = all(np.array_equal(targets, ours.targets[0]) for targets in ours.targets)
    return compare(ours.right, theirs.right, same_rows=same)

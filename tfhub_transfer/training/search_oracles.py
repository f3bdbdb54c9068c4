"""Keras Tuner's oracles, with what a long search needs: a time budget, and files that survive.

An oracle draws trials and learns from their scores. Keras Tuner 1.4.8 writes its files in place,
cannot go on with a grid, and forgets a trial that is killed between the two files which say that it
is finished; hence the few methods here that are not public there.
"""

from __future__ import annotations

import functools
import json
import math
import time
import warnings
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from tfhub_transfer.errors import RunError
from tfhub_transfer.runs import atomic_path
from tfhub_transfer.training.search_settings import TuneConfig
from tfhub_transfer.training.search_space import Choice, Space

__all__ = ["Budget", "LastingOracle", "hyperparameters", "make_oracle"]

_DIRECTIONS = {"log_loss": "min", "accuracy": "max"}
_COMPLETED, _FAILED, _RUNNING, _STOPPED = "COMPLETED", "FAILED", "RUNNING", "STOPPED"
# Where the Gaussian process is asked: so many points anywhere, and as many near the best trials.
_POINTS, _BEST, _NEAR = 4096, 8, 0.1
_EVER = 10**9


class Budget:
    """The time that a search may take, its parts before a kill included.

    Args:
        seconds: of it; None for as long as it takes.
    """

    def __init__(self, seconds: float | None):
        self._seconds = math.inf if seconds is None else seconds
        self._before, self._start = 0.0, time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds until now."""
        return self._before + time.monotonic() - self._start

    @property
    def deadline(self) -> float:
        """When it is spent, as `time.monotonic` has it; infinite where there is no budget."""
        return self._start + self._seconds - self._before

    def resume(self, spent: float) -> None:
        """Go on, from now, after `spent` seconds."""
        self._before, self._start = spent, time.monotonic()


class LastingOracle(keras_tuner.Oracle):  # type: ignore[misc]
    """Begins with the configuration's own values, ends with the budget, and survives a kill."""

    budget = Budget(None)

    def _random_values(self) -> dict[str, Any] | None:
        if self.trials:
            values: dict[str, Any] | None = super()._random_values()
            return values
        return {parameter.name: parameter.default for parameter in self.hyperparameters.space}

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """Draw a trial, or end the search where the budget is spent."""
        if time.monotonic() < self.budget.deadline:
            return super().create_trial(tuner_id)
        self.tuner_ids.discard(tuner_id)
        return Trial(self.get_space(), status=_STOPPED)

    def get_state(self) -> dict[str, Any]:
        """Return Keras Tuner's state and the time spent."""
        return {**super().get_state(), "spent": self.budget.spent}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().set_state(state)
        self.budget.resume(state["spent"])

    def save(self) -> None:
        """Write the state as one file that is whole."""
        _write(Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial: Trial) -> None:
        _write(Path(self._get_trial_dir(trial.trial_id), "trial.json"), trial.get_state())

    def reload(self) -> None:
        """Go on from the files, wherever between two of them the kill came."""
        try:
            super().reload()
            # what is not in the oracle's file never ran
            self.trials = {number: self.trials[number] for number in self.start_order}
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise RunError(
                f"The search's own files are damaged ({type(error).__name__}). Delete oracle.json, "
                f"and the directories of trials whose trial.json is damaged: --resume then takes "
                f"over what the others came to. Received: {self._project_dir}"
            ) from error
        for number in tuple(self._retry_queue):
            trial = self.trials[number]
            if trial.status in (_COMPLETED, _FAILED):  # only the oracle's file does not know it
                self._retry_queue.remove(number)
                self._run_times[number] += 1
                self.end_order.append(number)
            else:
                trial.metrics = type(trial.metrics)()


class _Random(LastingOracle, keras_tuner.oracles.RandomSearchOracle):  # type: ignore[misc]
    """Draws at random."""


class _Bayesian(LastingOracle, keras_tuner.oracles.BayesianOptimizationOracle):  # type: ignore[misc]
    """Draws where a Gaussian process hopes for most, and nothing twice.

    Keras Tuner looks for that place by 50 descents with numerical gradients, which take 5 s for
    each trial of a head that trains in 2; the best of some thousand points take 0.1 s.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Draw values."""
        del trial_id
        scored = [t.score for t in self.trials.values() if t.status == _COMPLETED]
        if len(scored) < self.num_initial_points:
            drawn: dict[str, Any] = self._random_populate_space()
            return drawn
        if self.ongoing_trials:  # which other workers are at, and it guesses the scores of
            self._fit(*self._completed())
        points, scores = self._vectorize_trials()
        random = np.random.default_rng([self.seed, len(self.trials)])
        near = points[np.argsort(scores)[:_BEST]].repeat(_POINTS // _BEST, axis=0)
        far = random.uniform(size=(_POINTS, points.shape[1]))
        where = np.clip([*far, *(near + random.normal(0, _NEAR, near.shape))], 0, 1)
        self._fit(points, scores)
        with threadpool_limits(1):  # matrices too small to share
            mean, deviation = self.gpr.predict(where, return_std=True)
        for index in np.argsort(mean - self.beta * deviation):
            values = self._vector_to_values(where[index])
            if not self._duplicate(values):
                return {"status": _RUNNING, "values": values}
        return {"status": _STOPPED, "values": None}

    def _fit(self, points: np.ndarray, scores: np.ndarray) -> None:
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.gpr.fit(points, scores)

    def _completed(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what Keras Tuner makes of the trials that have ended."""
        trials, ongoing = self.trials, self.ongoing_trials
        self.trials = {n: trial for n, trial in trials.items() if trial.status == _COMPLETED}
        self.ongoing_trials = {}
        try:
            vectors: tuple[np.ndarray, np.ndarray] = self._vectorize_trials()
        finally:
            self.trials, self.ongoing_trials = trials, ongoing
        return vectors


class _Hyperband(LastingOracle, keras_tuner.oracles.HyperbandOracle):  # type: ignore[misc]
    """Gives many combinations few epochs, and the best of them more; draws `most` of them."""

    most = _EVER

    def _random_values(self) -> dict[str, Any] | None:
        drawn = sum("tuner/trial_id" not in t.hyperparameters.values for t in self.trials.values())
        return super()._random_values() if drawn < self.most else None


class _Grid(LastingOracle, keras_tuner.oracles.GridSearchOracle):  # type: ignore[misc]
    """Tries every combination; in order, which is not in Keras Tuner's file and made anew."""

    def reload(self) -> None:
        """Go on from the files."""
        super().reload()
        in_order = functools.cmp_to_key(
            lambda one, other: self._compare(
                one.hyperparameters.values, other.hyperparameters.values
            )
        )
        for trial in sorted(self.trials.values(), key=in_order):
            self._ordered_ids.insert(trial.trial_id)
        self._populate_next = list(self.start_order)


def make_oracle(config: TuneConfig, space: Space) -> LastingOracle:
    """Return the oracle that `config.search` asks for; its budget begins when it is set.

    Args:
        config: of the search.
        space: what is drawn from.
    """
    search = config.search
    common: dict[str, Any] = {
        "objective": keras_tuner.Objective(search.objective, _DIRECTIONS[search.objective]),
        "hyperparameters": hyperparameters(space),
        "seed": config.seed + 1,  # Keras Tuner takes 0 for none
        "tune_new_entries": False,
        "allow_new_entries": False,
        "max_consecutive_failed_trials": _EVER,
    }
    oracle: LastingOracle
    if search.tuner == "hyperband":
        oracle = _Hyperband(
            max_epochs=config.training.max_epochs, hyperband_iterations=_EVER, **common
        )
        oracle.most = search.trials
    elif search.tuner == "bayesian":
        # Keras Tuner would draw three times as many as there are settings before it learns
        random = min(3 * len(space.dimensions), max(5, search.trials // 3))
        oracle = _Bayesian(max_trials=search.trials, num_initial_points=random, **common)
    else:
        kind = _Grid if search.tuner == "grid" else _Random
        oracle = kind(max_trials=search.trials, **common)
    oracle.verbose = 0
    return oracle


def hyperparameters(space: Space) -> keras_tuner.HyperParameters:
    """Return the space in Keras Tuner's terms; values of a list as JSON, for they may be lists."""
    parameters = keras_tuner.HyperParameters()
    for dimension in space.dimensions:
        if isinstance(dimension, Choice):
            parameters.Choice(dimension.name, [json.dumps(value) for value in dimension.values])
            continue
        kind = parameters.Int if dimension.whole else parameters.Float
        high = dimension.high
        if dimension.step is not None and not dimension.whole:
            # Keras Tuner counts 0 to 0.3 by 0.1 as three values, for 0.3 // 0.1 is 2
            high += 1e-6 * dimension.step
        kind(
            dimension.name,
            dimension.low,
            high,
            step=dimension.step,
            sampling="log" if dimension.log else "linear",
            default=dimension.start,
        )
    return parameters


def _write(target: Path, state: dict[str, Any]) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text(json.dumps(state), encoding="utf-8")

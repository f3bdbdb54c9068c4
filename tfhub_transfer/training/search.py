"""Keras Tuner's loop over trials: what an oracle draws is handed to a function, and scored.

What a trial is, the loop does not know, nor whether its oracle is in this process.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial

from tfhub_transfer.training.search_oracles import LastingOracle, hyperparameters
from tfhub_transfer.training.search_space import Choice, Space

__all__ = ["Drawn", "SearchTuner", "TrialFailedError", "quiet"]


class TrialFailedError(Exception):
    """A trial came to nothing, and others may not."""


@dataclass(frozen=True)
class Drawn:
    """What a trial is to try.

    Attributes:
        number: of the trial, as its directory is named.
        directory: of the trial.
        settings: values by dotted name; none in the trial that is the configuration's own.
        epochs: after which the trial ends, where hyperband says so.
        parent: the directory of the trial that this one continues, and its epochs.
    """

    number: str
    directory: Path
    settings: Mapping[str, Any]
    epochs: int | None = None
    parent: tuple[Path, int] | None = None


class SearchTuner(BaseTuner):  # type: ignore[misc]
    """Runs what an oracle draws, here or elsewhere.

    Args:
        oracle: as `make_oracle` returns it.
        space: what it draws from.
        run: trains and measures a trial; returns the objective's value, maybe among others, or
            raises TrialFailedError.
        folder: of Keras Tuner's files.
    """

    def __init__(
        self,
        oracle: LastingOracle,
        space: Space,
        run: Callable[[Drawn], Mapping[str, float]],
        folder: Path,
    ):
        self._space, self._run, self._folder = space, run, folder
        with contextlib.redirect_stdout(io.StringIO()):  # it says which files it reads
            super().__init__(oracle, directory=str(folder.parent), project_name=folder.name)

    def search(self) -> None:
        """Run trials until there are enough of them, or the budget is spent.

        Raises:
            Exception: whatever a trial raises but `TrialFailedError`, which one can go on after.
            KeyboardInterrupt: Ctrl-C; the trial that was running is repeated by the next search.
        """
        with quiet():
            super().search()

    def run_trial(self, trial: Trial) -> dict[str, float]:
        """Run one trial."""
        return dict(self._run(self.drawn(trial)))

    def _try_run_and_update_trial(self, trial: Trial) -> None:
        # Keras Tuner's own goes on after any exception, and prints where each came from
        try:
            self._run_and_update_trial(trial)
        except TrialFailedError as error:
            trial.status, trial.message = "FAILED", str(error)
        else:
            trial.status = "COMPLETED"

    def drawn(self, trial: Trial) -> Drawn:
        """Return what a trial is to try."""
        values, number = trial.hyperparameters.values, trial.trial_id
        parent = values.get("tuner/trial_id")
        return Drawn(
            number=number,
            directory=self.directory_of(number),
            settings={} if self.is_own(trial) else self.settings(trial),
            epochs=values.get("tuner/epochs"),
            parent=parent and (self.directory_of(parent), values["tuner/initial_epoch"]),
        )

    def directory_of(self, number: str) -> Path:
        """Return where Keras Tuner keeps a trial."""
        return self._folder / f"trial_{number}"

    def is_own(self, trial: Trial) -> bool:
        """Whether a trial is that of the configuration's own values.

        The first one is, unless one of them lies outside of its range.
        """
        own = hyperparameters(self._space).values
        return not self._space.without_own and all(
            trial.hyperparameters.values.get(name) == value for name, value in own.items()
        )

    def settings(self, trial: Trial) -> dict[str, Any]:
        """Return what was drawn, by dotted name."""
        values = trial.hyperparameters.values
        return {
            dimension.name: json.loads(values[dimension.name])
            if isinstance(dimension, Choice)
            else dimension.within(values[dimension.name])
            for dimension in self._space.dimensions
        }

    def _get_tuner_fname(self) -> str:
        # what there is to go on from is the oracle's
        name: str = self.oracle._get_oracle_fname()
        return name

    def save(self) -> None:
        """Write the oracle's state, unless that is elsewhere."""
        if not self._is_worker():
            self.oracle.save()

    def reload(self) -> None:
        """Go on from the oracle's files, unless they are elsewhere."""
        if not self._is_worker():
            self.oracle.reload()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep back that Keras Tuner names threads as older Pythons did."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(currentThread|getName)", DeprecationWarning)
        yield

"""What the command `tune` may be told: all that `train` may, and how to search."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tfhub_transfer.checks import at_least
from tfhub_transfer.config import Config
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.training.search_address import Address
from tfhub_transfer.training.search_space import Space
from tfhub_transfer.training.search_space_reader import read_space

__all__ = ["SHORT_FLAGS", "SearchConfig", "TuneConfig"]

_SECONDS = {"s": 1, "m": 60, "h": 3600}
# What a process is told of its own part, which changes nothing of what is computed.
_OF_COMMAND = (
    "run", "resume", "overwrite", "dry_run", "distributed", "oracle", "wait", "lease"
)  # fmt: skip
SHORT_FLAGS = {
    f"--{name}": f"--search.{name}" for name in ("trials", "tuner", "budget", "seeds")
}


@dataclass(frozen=True)
class SearchConfig:
    """How settings are searched for.

    Attributes:
        tuner: Keras Tuner's `bayesian` (a Gaussian process), `hyperband` (many short trials, the
            best of which go on), `random` or `grid`.
        trials: at most this many; with `hyperband`, the combinations drawn, those that go on not
            counted again.
        budget: the time after which no trial begins and a running one ends with its epoch, as
            90s, 20m or 2h; the retraining at the end comes on top.
        seeds: the best settings are retrained with so many, from the configuration's own on.
        objective: of the validation rows: `log_loss`, at the temperature that suits it best, or
            `accuracy`. The loss itself would not do: label smoothing, L2 and focal loss change it.
        compare: also train the configuration as it was given with all seeds.
        space: what is varied; by default settings that suit the strategy.
    """

    tuner: Literal["bayesian", "hyperband", "random", "grid"] = "bayesian"
    trials: int = 40
    budget: str | None = None
    seeds: int = 3
    objective: Literal["log_loss", "accuracy"] = "log_loss"
    compare: bool = True
    space: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        at_least("search.trials", self.trials, 1)
        at_least("search.seeds", self.seeds, 1)
        if self.budget is not None and not self.seconds:
            raise ConfigError(
                f"search.budget must be a time such as 90s, 20m or 2h. Received: {self.budget!r}"
            )

    @property
    def seconds(self) -> float | None:
        """The budget; None if there is none."""
        return _seconds(self.budget or "")


@dataclass(frozen=True)
class TuneConfig(Config):
    """A training run whose settings are searched for.

    Attributes:
        search: how settings are searched for.
        dry_run: print the space and the number of combinations, and end.
        distributed: `chief` hands out the trials of `run` to workers, and retrains the best when
            they are done; `worker` runs trials of that chief. They share the run directory.
        oracle: HOST:PORT where the chief listens and its workers look for it. Whoever reaches it
            can take part: it asks for no password.
        wait: how long a chief waits while it has no worker, and a worker for its chief.
        lease: a worker that the chief has not heard of for so long is lost, and its trial given to
            another; a matter of the chief alone.
    """

    search: SearchConfig = field(default_factory=SearchConfig)
    dry_run: bool = False
    distributed: Literal["chief", "worker"] | None = None
    oracle: str | None = None
    wait: str = "10m"
    lease: str = "60s"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task != "classification":
            raise ConfigError(
                f"A search compares probabilities of classes: it takes task classification. "
                f"Received: task {self.task}"
            )
        self._check_distributed()
        names = [dimension.name for dimension in self.space().dimensions]
        if self.search.tuner == "hyperband":
            if "training.epochs" in names:
                raise ConfigError(
                    "hyperband itself decides how many epochs a trial takes: leave training.epochs "
                    "out of search.space. Received: training.epochs in it"
                )
            if "training.strategy" in names and self.training.epochs is None:
                raise ConfigError(
                    "hyperband shares out a number of epochs, and strategies have different ones "
                    "by default: add --training.epochs. Received: training.strategy in "
                    "search.space, and no training.epochs"
                )
        if self.training.tensorboard:
            raise ConfigError(
                "TensorBoard logs of all trials would be many: train the best settings with "
                "--config DIR/config.yaml --run ANOTHER --training.tensorboard afterwards. "
                "Received: training.tensorboard true"
            )

    def _check_distributed(self) -> None:
        for name in ("wait", "lease"):
            if not _seconds(getattr(self, name)):
                raise ConfigError(
                    f"{name} must be a time such as 90s, 20m or 2h. "
                    f"Received: {getattr(self, name)!r}"
                )
        if (self.distributed is None) != (self.oracle is None):
            there, missing = (
                (f"--oracle {self.oracle}", "--distributed chief or --distributed worker")
                if self.distributed is None
                else (f"--distributed {self.distributed}", "--oracle HOST:PORT")
            )
            raise ConfigError(
                f"A search on more than one machine needs both --distributed and --oracle: add "
                f"{missing}. Received: {there}"
            )
        if self.distributed is None:
            return
        self.address  # noqa: B018, it is checked where it is read
        if self.run is None:
            raise ConfigError(
                f"The chief of a search and its workers share the run directory: add --run DIR. "
                f"Received: --distributed {self.distributed} and no --run"
            )
        if self.distributed == "worker" and self.overwrite:
            raise ConfigError(
                "The run directory is the chief's to overwrite: leave out --overwrite. "
                "Received: --distributed worker --overwrite"
            )

    @property
    def address(self) -> Address:
        """Where the chief is; for a search of more than one machine alone."""
        return Address.parse(self.oracle or "")

    def check_address(self) -> None:
        """Check what can be checked of the chief's address before what takes long is begun.

        Raises:
            ConfigError: the chief cannot listen there; or its worker does not know the host.
        """
        if self.distributed == "chief":
            self.address.check_free()
        elif self.distributed == "worker":
            self.address.check_known()

    @property
    def wait_seconds(self) -> float:
        """How long chief and workers wait for each other."""
        return _seconds(self.wait) or 0.0

    @property
    def lease_seconds(self) -> float:
        """How long a worker may be silent."""
        return _seconds(self.lease) or 0.0

    def of_run(self) -> Config:
        """Return what all trials have in common, as `train` takes it."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(Config)}
        return Config(**{**values, "run": None, "resume": False, "overwrite": False})

    def space(self) -> Space:
        """Return what is varied.

        Raises:
            ConfigError: it names a setting or a value that cannot be.
        """
        return read_space(self.of_run(), self.search.space)

    def settings(self) -> dict[str, Any]:
        """Return all that decides what a search computes, as plain values."""
        return {key: value for key, value in self.to_dict().items() if key not in _OF_COMMAND}

    @property
    def directory(self) -> Path | None:
        """Where the runs go, if that was said."""
        return Path(self.run) if self.run else None


def _seconds(text: str) -> float | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    return float(found[1]) * _SECONDS[found[2]] if found else None

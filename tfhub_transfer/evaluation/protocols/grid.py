"""A protocol: a grid of runs, and the configuration of each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfhub_transfer.config import Config
from tfhub_transfer.dotted import nested
from tfhub_transfer.errors import ConfigError, TransferError
from tfhub_transfer.registry import did_you_mean
from tfhub_transfer.runs import config_from_dict

__all__ = ["DECIDED", "ENCODER_BASELINES", "Cell", "Entry", "Protocol"]

DECIDED = {
    "run": "--output",
    "resume": "being there already",
    "overwrite": "--output",
    "seed": "seeds",
    "data.shots": "shots",
    "evaluation.baselines": "baselines",
}
"""What a protocol itself decides, and by what."""
_OF_TRAINING = ("data.balance", "data.stages", "data.word_dropout", "data.word_swap")
ENCODER_BASELINES = ("linear_probe",)
"""Baselines that look at texts through an encoder, and so stand beside each of them."""


@dataclass(frozen=True)
class Entry:
    """A point on an axis of the grid.

    Attributes:
        name: unique on its axis; part of a path.
        settings: by dotted name, as `training.epochs`.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One run of the grid, or one baseline on one draw of a data set.

    Attributes:
        data: the data set's name.
        shots: training rows of each class; None for all.
        encoder: its name; None for a baseline that needs none.
        method: a strategy's name, or a baseline's.
        seed: of the run.
        is_baseline: whether `method` is a baseline.
        config: of the run, but for its directory.
    """

    data: str
    shots: int | None
    encoder: str | None
    method: str
    seed: int
    is_baseline: bool
    config: Config

    @property
    def path(self) -> Path:
        """The cell's directory below the protocol's."""
        shots = "all" if self.shots is None else f"{self.shots}-shots"
        return Path(
            self.data, shots, self.encoder or "no-encoder", self.method, f"seed-{self.seed}"
        )


@dataclass(frozen=True)
class Protocol:
    """A grid of runs and what they are compared with.

    Attributes:
        title: of the result's page.
        data: the data sets.
        encoders: the encoders.
        strategies: what is done with each of them.
        shots: training rows of each class, None for all.
        seeds: of the runs.
        baselines: fitted once for each data set, number of shots and seed.
        compare: a strategy or a baseline, or `ENCODER/STRATEGY`; without the encoder, each row is
            compared with the row of its own encoder.
        settings: of all runs.
    """

    title: str
    data: tuple[Entry, ...]
    encoders: tuple[Entry, ...]
    strategies: tuple[Entry, ...]
    shots: tuple[int | None, ...] = (None,)
    seeds: tuple[int, ...] = (0,)
    baselines: tuple[str, ...] = ()
    compare: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        axes: dict[str, list[Any]] = {
            "data": [entry.name for entry in self.data],
            "encoders": [entry.name for entry in self.encoders],
            "strategies and baselines": [
                *(entry.name for entry in self.strategies),
                *self.baselines,
            ],
            "shots": list(self.shots),
            "seeds": list(self.seeds),
        }
        for axis, values in axes.items():
            if not values:
                raise ConfigError(f"{axis} must list at least one. Received: none")
            if len(set(values)) < len(values):
                raise ConfigError(f"{axis} must differ from each other. Received: {values}")
        if self.compare is not None:
            accepted = [*self.baselines, *(entry.name for entry in self.strategies)]
            accepted += [
                f"{encoder.name}/{method}"
                for encoder in self.encoders
                for method in accepted
                if method not in self.baselines or method in ENCODER_BASELINES
            ]
            if self.compare not in accepted:
                raise ConfigError(
                    f"compare must name a row of the table."
                    f"{did_you_mean(self.compare, accepted)} Accepted: {', '.join(accepted)}. "
                    f"Received: {self.compare!r}"
                )

    def cells(self) -> tuple[Cell, ...]:
        """Return all runs and baselines, the first seed's first.

        Raises:
            ConfigError: settings of one cell do not go together; the text names the cell.
        """
        return tuple(self._cells())

    def _cells(self) -> Iterator[Cell]:
        for seed, data, shots in itertools.product(self.seeds, self.data, self.shots):
            for name in self.baselines:
                looking = self.encoders if name in ENCODER_BASELINES else (None,)
                for encoder in looking:
                    yield self._cell(data, shots, encoder, name, seed, None)
            for encoder, strategy in itertools.product(self.encoders, self.strategies):
                yield self._cell(data, shots, encoder, strategy.name, seed, strategy)

    def _cell(
        self,
        data: Entry,
        shots: int | None,
        encoder: Entry | None,
        method: str,
        seed: int,
        strategy: Entry | None,
    ) -> Cell:
        settings = dict(self.settings)
        for entry in (data, encoder, strategy):
            settings |= entry.settings if entry else {}
        if shots is not None:
            settings["data.shots"] = shots
        if strategy is None:
            settings = {key: value for key, value in settings.items() if _of_baselines(key)}
        settings["seed"] = seed
        settings["evaluation.baselines"] = [] if strategy else [method]
        where = f"{data.name}, {encoder.name if encoder else 'no encoder'}, {method}"
        try:
            config = config_from_dict(nested(settings))
        except TransferError as error:
            raise ConfigError(f"In the cell of {where}: {error}") from error
        name = encoder.name if encoder else None
        return Cell(data.name, shots, name, method, seed, strategy is None, config)

    def reference(self, cell: Cell) -> tuple[str | None, str] | None:
        """Return encoder and method of what a cell's row is compared with; None for nothing."""
        if self.compare is None:
            return None
        encoder, slash, method = self.compare.rpartition("/")
        if slash:
            return encoder, method
        if method in self.baselines and method not in ENCODER_BASELINES:
            return None, method
        if cell.encoder is None:
            return (self.encoders[0].name, method) if len(self.encoders) == 1 else None
        return cell.encoder, method


def _of_baselines(key: str) -> bool:
    """Whether a baseline depends on a setting; what is about training might not go with it."""
    return key.startswith(("data.", "encoder.", "evaluation.")) and key not in _OF_TRAINING

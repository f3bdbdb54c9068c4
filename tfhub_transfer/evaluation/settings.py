"""What the command `evaluate` may be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tfhub_transfer.config import DataConfig
from tfhub_transfer.errors import ConfigError

__all__ = ["EvaluateConfig", "MeasuredData"]

OWN = "run"

_GOES_WITH = {
    "data": ("--run",),
    "bootstrap": ("--run",),
    "seeds": ("--ablate",),
    "dry_run": ("--protocol", "--ablate"),
}


@dataclass(frozen=True)
class MeasuredData(DataConfig):
    """What the run is measured on; the run's own test split where no source is given."""

    source: str = OWN


@dataclass(frozen=True)
class EvaluateConfig:
    """Which run is measured, or which runs are made and compared.

    Attributes:
        run: the directory of a finished run, which is measured.
        protocol: a YAML file that names a grid of runs, which are made and compared.
        ablate: the directory of a run, which is made anew without each of its parts.
        seeds: with `ablate`, how many, from the run's own on.
        dry_run: with `protocol` or `ablate`, list the runs and what is done of them.
        output: where to write; by default `RUN/evaluations/NAME`, `runs/PROTOCOL` or
            `RUN/ablation`. Runs that are there are not repeated, and one that was stopped goes on.
        bootstrap: with `run`, resamples of the rows behind each 95% interval.
        data: with `run`, what it is measured on; its own test split where no source is given.
    """

    run: str | None = None
    protocol: str | None = None
    ablate: str | None = None
    seeds: int = 3
    dry_run: bool = False
    output: str | None = None
    bootstrap: int = 1000
    data: MeasuredData = field(default_factory=MeasuredData)

    def __post_init__(self) -> None:
        given = [
            f"--{name}" for name in ("run", "protocol", "ablate") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ConfigError(
                f"Give one of --run, a run to measure, --protocol, a YAML file of runs to make, "
                f"and --ablate, a run to take apart. Received: {' and '.join(given) or 'none'}"
            )
        for name, whose in _GOES_WITH.items():
            value = getattr(self, name)
            if value != getattr(type(self), name, MeasuredData()) and given[0] not in whose:
                raise ConfigError(
                    f"--{name} goes with {' or '.join(whose)}. Received: it with {given[0]}"
                )

    @property
    def directory(self) -> Path:
        """Where a protocol's or an ablation's runs go."""
        if self.output:
            return Path(self.output)
        if self.protocol:
            return Path("runs", Path(self.protocol).stem)
        return Path(str(self.ablate), "ablation")

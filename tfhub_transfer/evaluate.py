"""`python -m tfhub_transfer.evaluate`: a trained run, measured on another data set."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfhub_transfer import cli
from tfhub_transfer.config import DataConfig
from tfhub_transfer.runs import Run

_OWN = "run"


@dataclass(frozen=True)
class MeasuredData(DataConfig):
    """What the run is measured on; the run's own test split where no source is given."""

    source: str = _OWN


@dataclass(frozen=True)
class EvaluateConfig:
    """Which run is measured, and on what.

    Attributes:
        run: the directory of a finished run.
        output: where metrics.json and report.html go; `RUN/evaluations/NAME` when not given.
        bootstrap: resamples of the rows behind each 95% interval.
        data: what the run is measured on; its own test split where no source is given.
    """

    run: str
    output: str | None = None
    bootstrap: int = 1000
    data: MeasuredData = field(default_factory=MeasuredData)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the run and print the result table."""
    config = cli.parse("evaluate", "Measure a trained run.", EvaluateConfig, arguments)
    run = Run.open(config.run)
    cli.import_tensorflow()
    from tfhub_transfer.evaluation.report import print_result
    from tfhub_transfer.evaluation.scoring import score_run

    output = Path(config.output) if config.output else None
    data = None if config.data.source == _OWN else config.data
    directory, metrics = score_run(run, data, bootstrap=config.bootstrap, output=output)
    print_result(metrics, directory / "report.html")
    return 0


if __name__ == "__main__":
    sys.exit(cli.guarded(main))

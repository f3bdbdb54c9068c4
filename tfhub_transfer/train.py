"""`python -m tfhub_transfer.train`: labelled text in, a trained and measured model out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tfhub_transfer import cli
from tfhub_transfer.config import Config
from tfhub_transfer.runs import Run


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the flags say and print the result table."""
    config = cli.parse("train", "Train a text classifier.", Config, arguments)
    Run.named_by(config)

    # Imported here: TensorFlow takes seconds; help, wrong flags and a taken directory should not.
    cli.import_tensorflow()
    from tfhub_transfer.evaluation.experiment import run_experiment
    from tfhub_transfer.evaluation.page import print_next, print_result

    run = run_experiment(config)
    metrics = run.load_metrics()
    print_result(metrics, run.report_file)
    if not metrics["finished"]:
        return cli.INTERRUPTED
    print_next(run.path)
    return 0


if __name__ == "__main__":
    sys.exit(cli.guarded(main))

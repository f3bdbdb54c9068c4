"""`python -m tfhub_transfer.evaluate`: a run measured on other data, or many runs compared."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tfhub_transfer import cli
from tfhub_transfer.evaluation.protocols.ablation import ablation
from tfhub_transfer.evaluation.protocols.listing import print_cells
from tfhub_transfer.evaluation.protocols.protocol_file import read_protocol
from tfhub_transfer.evaluation.settings import OWN, EvaluateConfig
from tfhub_transfer.runs import Run


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the run and print the result table, or make the runs and print theirs."""
    arguments = sys.argv[1:] if arguments is None else arguments
    description = "Measure a trained run, or make and compare many."
    config = cli.parse("evaluate", description, EvaluateConfig, arguments)
    if config.run is not None:
        return _measure(config, Run.open(config.run))
    protocol = (
        ablation(Run.open(config.ablate), config.seeds)
        if config.ablate is not None
        else read_protocol(str(config.protocol))
    )
    if config.dry_run:
        print_cells(protocol, config.directory)
        return 0
    protocol.cells()  # settings that do not go together are told before TensorFlow is imported
    cli.import_tensorflow()
    from tfhub_transfer.evaluation.protocols.page import print_result
    from tfhub_transfer.evaluation.protocols.running import run_protocol

    command = shlex.join(["python", "-m", "tfhub_transfer.evaluate", *arguments])
    result = run_protocol(protocol, config.directory, command=command)
    print_result(result, config.directory)
    return cli.FAILED if result.failures else 0


def _measure(config: EvaluateConfig, run: Run) -> int:
    cli.import_tensorflow()
    from tfhub_transfer.evaluation.page import print_result
    from tfhub_transfer.evaluation.scoring import score_run

    output = Path(config.output) if config.output else None
    data = None if config.data.source == OWN else config.data
    directory, metrics = score_run(run, data, bootstrap=config.bootstrap, output=output)
    print_result(metrics, directory / "report.html")
    return 0


if __name__ == "__main__":
    sys.exit(cli.guarded(main))

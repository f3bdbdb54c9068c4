"""`python -m tfhub_transfer.train` in a process of its own, and what it wrote."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import ROOT, say
from tfhub_transfer.runs import Run


def train(run: Path, flags: Sequence[str], variables: Mapping[str, str] | None = None) -> Run:
    """Train in another process and return the run directory.

    Args:
        run: the run directory; emptied if there is a run in it.
        flags: of the command, but for `--run`.
        variables: of the environment, beside those of this process.

    Raises:
        SystemExit: the command failed; it has said why on standard error.
    """
    say(f"train {' '.join(flags)}")
    done = subprocess.run(
        command(run, flags),
        cwd=ROOT,
        check=False,
        env={**os.environ, **(variables or {})},
        stdout=subprocess.DEVNULL,
    )
    if done.returncode:
        raise SystemExit(f"error: training ended with exit code {done.returncode}: {flags}")
    return Run.open(run)


def command(run: Path, flags: Sequence[str]) -> list[str]:
    """Return the command that trains anew in `run`."""
    module = [sys.executable, "-m", "tfhub_transfer.train"]
    return [*module, "--run", str(run), "--overwrite", "true", *flags]


def history(run: Run) -> list[dict[str, float]]:
    """Return `history.csv`: one record for each epoch."""
    with run.history_file.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        return [{name: float(value) for name, value in row.items()} for row in rows]


def timing(run: Run) -> dict[str, float]:
    """Return the seconds that the run spent on encoding, on training and in all."""
    metrics: dict[str, Any] = run.load_metrics()
    return {name: float(value) for name, value in metrics["timing"].items()}

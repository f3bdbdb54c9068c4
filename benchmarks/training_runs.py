"""`python -m tfhub_transfer.train` in a process of its own, and what it wrote."""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from benchmarks.table import ROOT, say
from tfhub_transfer import cli
from tfhub_transfer.config import Config
from tfhub_transfer.runs import Run, config_from_dict


class Named(Protocol):
    """A row of a table, which is a run."""

    @property
    def name(self) -> str:
        """Of the row and the run directory."""


AnyRow = TypeVar("AnyRow", bound=Named)


def chosen_rows(
    module: str, doc: str | None, rows: Sequence[AnyRow], runs: Path
) -> tuple[argparse.Namespace, list[AnyRow], list[str]]:
    """Parse the flags of a table whose rows are runs.

    Args:
        module: of the table, below `benchmarks`.
        doc: its docstring.
        rows: all there are.
        runs: the folder of run directories, by default.

    Returns:
        The flags, with `again` and `runs`; the rows that were asked for; and further flags of every
        run.
    """
    names = [row.name for row in rows]
    arguments = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=doc)
    arguments.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"{', '.join(names)}; default all"
    )
    arguments.add_argument("--again", action="store_true", help="train finished rows anew")
    arguments.add_argument("--runs", type=Path, default=runs, help="the folder of run directories")
    arguments.add_argument(
        "--flag",
        action="append",
        default=[],
        metavar="FLAG=VALUE",
        help="a further flag of every run, as --flag=--data.limit=500",
    )
    chosen = arguments.parse_args()
    if unknown := set(chosen.rows) - set(names):
        arguments.error(f"no such row. Accepted: {', '.join(names)}. Received: {unknown.pop()}")
    further = [part for flag in chosen.flag for part in flag.split("=", 1)]
    return chosen, [row for row in rows if not chosen.rows or row.name in chosen.rows], further


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


def train_once(
    run: Path,
    flags: Sequence[str],
    variables: Mapping[str, str] | None = None,
    *,
    again: bool = False,
) -> Run:
    """Return the run, trained now unless it was finished with the settings that `flags` give.

    Args:
        run: the run directory; emptied if there is another run in it.
        flags: of the command, but for `--run`.
        variables: of the environment, beside those of this process.
        again: train anew in any case.

    Raises:
        SystemExit: the command failed; it has said why on standard error.
    """
    found = Run(run)
    if not again and found.metrics_file.exists() and found.config_file.exists():
        wanted = cli.parse("train", "", Config, flags)
        if settings_used(config_from_dict(found.load_config())) == settings_used(wanted):
            say(f"{run.name}: finished in an earlier call")
            return found
    return train(run, flags, variables)


def settings_used(config: Config) -> dict[str, Any]:
    """Return the settings that change what a run computes, those of other strategies left out."""
    sections = {"contrastive", "distillation", "adaptation"}
    strategy = config.training.strategy
    used = {"dann": "adaptation", "coral": "adaptation"}.get(strategy, strategy)
    ignored = {"run", "resume", "overwrite", *(sections - {used})}
    return {key: value for key, value in config.to_dict().items() if key not in ignored}


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

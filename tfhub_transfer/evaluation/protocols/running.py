"""A protocol -> its runs: what is finished stays, what was stopped goes on, what fails is told."""

from __future__ import annotations

import dataclasses
import functools
import gc
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.examples import Dataset, Examples
from tfhub_transfer.data.splits import load
from tfhub_transfer.errors import RunError
from tfhub_transfer.evaluation.baselines import baseline_rows, measure, ready_baselines
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.evaluation.predictions import Predictions, Split
from tfhub_transfer.evaluation.protocols.grid import Cell, Protocol
from tfhub_transfer.evaluation.protocols.listing import conflicts, is_finished
from tfhub_transfer.evaluation.protocols.page import Result, write_result
from tfhub_transfer.evaluation.protocols.table import rows_of
from tfhub_transfer.evaluation.tracing import quiet_tracing
from tfhub_transfer.runs import Run
from tfhub_transfer.training.classifier import Classifier

__all__ = ["run_protocol"]

_ERRORS = "errors.json"
_TIMED_TEXTS = 2000
_ROUNDS = 3  # at least
_SECONDS = 1.0  # at least, in all rounds together


def run_protocol(protocol: Protocol, output: Path, *, command: str) -> Result:
    """Make what is missing of a protocol's runs and write its table.

    All runs are made in this process and share the feature cache. A killed protocol goes on with
    the same call. A run that fails is passed over, its error kept in `errors.json`.

    Args:
        protocol: what to run.
        output: the directory of the runs, `table.csv`, `table.md` and `report.html`.
        command: what repeats this, for the report.

    Returns:
        The table, and what failed.

    Raises:
        RunError: a run is there already with other settings, or another process is at work.
        KeyboardInterrupt: Ctrl-C; what is finished is in the table.
    """
    cells, home = protocol.cells(), Run(output)
    if told := [f"{path} ({why})" for path, why in conflicts(cells, output).items()]:
        raise RunError(
            f"Runs of other settings are in the way. Give another --output, or delete them: "
            f"{'; '.join(told[:5])}. Received: --output {output}"
        )
    with home.lock(), quiet_tracing():
        errors: dict[str, dict[str, str]] = {}
        clock = _Clock(cells, output)
        (output / _ERRORS).unlink(missing_ok=True)
        try:
            for cell in cells:
                if error := _attempt(cell, cells, output):
                    errors[str(cell.path)] = error
                    home.write_json(_ERRORS, errors)
                clock.tell(cell, error["error"] if error else None)
        finally:
            failures = {path: error["error"] for path, error in errors.items()}
            result = Result(protocol, tuple(rows_of(protocol, output)), failures, command)
            write_result(result, home)
    return result


def _attempt(cell: Cell, cells: Sequence[Cell], output: Path) -> dict[str, str] | None:
    """Make a cell if it is not finished; return what went wrong."""
    try:
        if not is_finished(cell, output):
            _make(cell, Run(output / cell.path))
        _time_predictions(cell, cells, output)
    except Exception as error:  # whatever one cell dies of, the others may live
        return {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    return None


def _make(cell: Cell, run: Run) -> None:
    if cell.is_baseline:
        _measure_baseline(cell, run)
        return
    begun = run.config_file.exists()
    try:
        run_experiment(dataclasses.replace(cell.config, run=str(run.path), resume=begun))
    finally:
        # Keras keeps what it has made; of a hundred models that is too much
        keras.backend.clear_session()
        gc.collect()
    if not run.load_metrics()["finished"]:
        raise KeyboardInterrupt  # which the run has made the best of


def _measure_baseline(cell: Cell, run: Run) -> None:
    """Write a baseline's predictions and measures as a run's are written."""
    run.path.mkdir(parents=True, exist_ok=True)
    config = dataclasses.replace(cell.config, run=str(run.path))
    run.write_config(config)
    run.write_environment(config.seed)
    data = _loaded(config.data, config.seed, config.adaptation.labels)
    ((_, baseline),) = ready_baselines(config, data).items()
    train, notes = baseline_rows(config, data)
    start = time.monotonic()
    measured = measure(baseline, config, data, train)
    seconds = measured.metrics
    Predictions(
        Split(np.empty(0, np.int64), np.empty((0, len(data.labels)))),
        Split(data.test.labels, measured.probabilities),
        (),
    ).save(run)
    timing = {"train_s": seconds["fit_s"], "total_s": time.monotonic() - start}
    if _reads_texts(cell):
        timing["predict_texts_per_s"] = len(data.test) / max(seconds["predict_s"], 1e-9)
    metrics = {
        "baseline": cell.method,
        "data": data.name,
        "data_summary": {"splits": {"train": {"n": len(train)}}},
        "labels": list(data.labels),
        "finished": True,
        "test": measured.metrics,
        "notes": list(notes),
        "timing": timing,
    }
    run.write_json("metrics.json", metrics)


def _reads_texts(cell: Cell) -> bool:
    """Whether seconds of predicting mean anything: the majority reads none, a probe a cache."""
    return cell.method != "majority" and cell.encoder is None


def _time_predictions(cell: Cell, cells: Sequence[Cell], output: Path) -> None:
    """Time the model of one run for each data set, encoder and strategy.

    Strings in, probabilities out, by the bulk encoder, the feature cache left aside: what
    `predict` would do with up to 2,000 texts of the test split.
    """
    alike = [other for other in cells if _kind(other) == _kind(cell) and is_finished(other, output)]
    if cell.is_baseline or not alike or any("predict_texts_per_s" in _timing(other, output)
                                            for other in alike):
        return
    run, config = Run(output / alike[0].path), alike[0].config
    data = _loaded(config.data, config.seed, config.adaptation.labels)
    texts = _some_texts(data.test, config.seed)
    classifier = Classifier.load(run)
    list(classifier.predict([texts]))  # traces
    seconds: list[float] = []
    while len(seconds) < _ROUNDS or sum(seconds) < _SECONDS:
        start = time.perf_counter()
        list(classifier.predict([texts]))
        seconds.append(time.perf_counter() - start)
    metrics = run.load_metrics()
    metrics["timing"]["predict_texts_per_s"] = round(len(texts) / float(np.median(seconds)), 3)
    run.write_json("metrics.json", metrics)


def _timing(cell: Cell, output: Path) -> dict[str, float]:
    timing: dict[str, float] = Run(output / cell.path).load_metrics()["timing"]
    return timing


def _kind(cell: Cell) -> tuple[Any, ...]:
    return (cell.data, cell.encoder, cell.method)


def _some_texts(examples: Examples, seed: int) -> list[str]:
    drawn = np.random.default_rng(seed).permutation(len(examples))[:_TIMED_TEXTS]
    return examples.texts(drawn)


@functools.lru_cache(maxsize=1)
def _loaded(config: DataConfig, seed: int, names: str | None) -> Dataset:
    """Return a data set; the baselines of one draw follow each other."""
    return load(config, seed=seed, labels=names)


class _Clock:
    """Tells how far a protocol is, a line for each cell, and how long the rest may take."""

    def __init__(self, cells: Sequence[Cell], output: Path):
        self._cells = cells
        self._seconds: dict[Cell, float] = {}
        self._left = []
        for cell in cells:
            if is_finished(cell, output):
                self._seconds[cell] = _timing(cell, output)["total_s"]
            else:
                self._left.append(cell)
        self._began = time.monotonic()
        done = len(cells) - len(self._left)
        if done:
            self._say(f"{done} of {len(cells)} cells are finished already")

    def tell(self, cell: Cell, error: str | None) -> None:
        now = time.monotonic()
        if cell not in self._left:
            self._began = now
            return
        if error is None:
            self._seconds[cell] = now - self._began
        self._left.remove(cell)
        done = len(self._cells) - len(self._left)
        what = f"failed: {error}" if error else f"{now - self._began:.1f} s"
        left = sum(self._expected(other) for other in self._left)
        rest = f"; about {_duration(left)} left" if self._left and self._seconds else ""
        self._say(f"{done} of {len(self._cells)} cells, {cell.path}: {what}{rest}")
        self._began = now

    def _expected(self, cell: Cell) -> float:
        """Return the mean of cells that are most like it."""
        for like in (
            lambda other: _kind(other) == _kind(cell) and other.shots == cell.shots,
            lambda other: _kind(other) == _kind(cell),
            lambda other: other.method == cell.method,
            lambda other: True,
        ):
            known = [seconds for other, seconds in self._seconds.items() if like(other)]
            if known:
                return float(np.mean(known))
        return 0.0

    @staticmethod
    def _say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

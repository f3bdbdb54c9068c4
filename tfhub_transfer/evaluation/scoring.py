"""A finished run -> its measures on another data set; the whole of `tfhub_transfer.evaluate`."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path
from typing import Any

from tfhub_transfer.config import DataConfig
from tfhub_transfer.evaluation.page import Page
from tfhub_transfer.evaluation.task import Task
from tfhub_transfer.registry import EVALUATIONS
from tfhub_transfer.runs import Run, config_from_dict, environment
from tfhub_transfer.training.classifier import Classifier


def score_run(
    run: Run, data: DataConfig | None, *, bootstrap: int = 1000, output: Path | None = None
) -> tuple[Path, dict[str, Any]]:
    """Measure a run's model and write metrics and report.

    Args:
        run: a finished run.
        data: the rows to measure on: a test split, else validation, else all of one table. The
            run's own test split when None.
        bootstrap: resamples of the rows behind each 95% interval.
        output: where to write; `RUN/evaluations/NAME` when None.

    Returns:
        The directory written to, and what `metrics.json` holds there.

    Raises:
        TransferError: the run is not finished, or no row can be used.
    """
    start = time.monotonic()
    classifier = Classifier.load(run)
    config, described = config_from_dict(run.load_config()), run.load_metrics()
    task: Task = EVALUATIONS.load(config.task)(config)
    if data is None:
        measured = task.rows(task.load(), "test")
    else:
        slug = re.sub(r"[^\w.-]+", "-", Path(data.source).name).strip("-")
        output = output or run.path / "evaluations" / slug
        measured = task.load_other(data, classifier, output / "rejected.jsonl")
    target = Run(output or run.path / "evaluations" / "own-test-split")
    answers = task.answer(classifier, measured)
    metrics: dict[str, Any] = {
        "task": config.task,
        "data": measured.name,
        "encoder": classifier.encoder.encoder.name,
        "strategy": config.training.strategy,
        "run": run.path.name,
        "labels": list(classifier.head.labels),
        **{name: described[name] for name in classifier.head.facts},
        "test": task.measure(classifier, measured, answers, bootstrap=bootstrap),
        "baselines": {},
        "notes": list(measured.notes),
        "timing": {"total_s": round(time.monotonic() - start, 3)},
    }
    target.write_json("metrics.json", metrics)
    page = Page(
        title=f"{run.path.name} measured on {measured.name}",
        metrics=metrics,
        config=config.to_dict(),
        notes=measured.notes,
        command=f"python -m tfhub_transfer.evaluate --run {shlex.quote(str(run.path))}"
        + (f" --data.source {shlex.quote(data.source)}" if data else ""),
        environment=environment(),
        timing=metrics["timing"],
    )
    task.write_report(target, page, classifier, measured, answers)
    return target.path, metrics
